"""All settings in one typed place: environment variables with the prefix `MERIT_`, shown by `merit doctor`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.errors import SettingsError


class Settings(BaseSettings):
    """Where things are kept and how they run. Everything a run writes lives under `home`.

    Secrets are `SecretStr`, so that printing the settings never shows them.
    """

    model_config = SettingsConfigDict(env_prefix="MERIT_", frozen=True)

    home: Path = Field(Path(".merit"), description="Folder that holds everything a run writes")
    database_url: SecretStr | None = Field(None, description="SQLAlchemy URL; default: a SQLite file in home")
    mlflow_uri: str | None = Field(None, description="MLflow tracking URI; default: a SQLite file in home")
    artifact_root: str | None = Field(None, description="Where model artifacts go: a folder or an s3:// URL")
    prefect_api_url: str | None = Field(None, description="Prefect API; default: no server, flows run in process")
    host: str = Field("127.0.0.1", description="Address the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="Port of the API")
    prefect_port: int = Field(4200, ge=0, le=65535, description="Port of the Prefect server that `merit up` starts")
    mlflow_port: int = Field(5000, ge=0, le=65535, description="Port of the MLflow server that `merit up` starts")
    seed: int = Field(7, ge=0, description="Seed of everything random")
    watch_seconds: float = Field(2.0, gt=0, le=60, description="How often serving looks for a new champion")
    webhook_url: SecretStr | None = Field(None, description="Receives notifications as JSON")
    threads: int = Field(max(1, os.cpu_count() or 1), ge=1, description="Threads a training run may use")
    task_runner: Literal["threads", "dask"] = Field("threads", description="What works on tasks side by side")
    dask_address: str | None = Field(None, description="Dask scheduler, tcp://host:8786; default: one in the process")
    shadow: str = Field("", description="Models whose challenger answers silently: names with commas, or all")
    shadow_share: float = Field(0.2, gt=0, le=1, description="Share of a core that shadows may take")
    guard_hours: float = Field(24.0, ge=0, description="Hours after a promotion in which failing rolls it back")
    guard_latency_ms: float = Field(250.0, gt=0, description="Slowest single prediction, 95th percentile, before that")
    max_body_bytes: int = Field(5_000_000, ge=1024, description="Largest request body the API accepts")
    max_batch: int = Field(10_000, ge=1, description="Most customers or series in one request")
    offer_cost: float = Field(20.0, ge=0, description="Cost of one retention offer, in currency")
    offer_value: float = Field(120.0, ge=0, description="Revenue an accepted offer saves, in currency")
    offer_success: float = Field(0.4, ge=0, le=1, description="Share of leaving customers an offer keeps")

    @field_validator("dask_address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address and not re.fullmatch(r"(tcp|tls|ws|wss)://[^\s/]+", address):
            raise ValueError("no scheduler is named so, but for example tcp://host:8786")
        return address or None

    chronos_model: str | None = Field(
        None, description="Chronos-2 for forecasts: a folder or its name on the hub; default: not used"
    )
    chronos_seconds: float = Field(30.0, gt=0, description="Seconds that Chronos-2 may take for one series")

    # The LLM gateway
    embeddings_model: str | None = Field(
        None,
        description="What words mean, for routing policies: a folder of Model2Vec or its name on the hub",
    )
    providers_file: Path | None = Field(
        None, description="providers.toml of the gateway; default: the one in home, else the simulated provider alone"
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis that several gateways share budgets, limits and breakers through; default: one process"
    )
    data_key: SecretStr | None = Field(
        None, description="Encrypts kept prompts and answers: 32 bytes in base64; older keys after a comma"
    )
    quality_judge: str | None = Field(None, description="Model that judges a sample of answers; default: none does")
    quality_judge_share: float = Field(0.02, gt=0, le=1, description="Share of answers that the judge is shown")
    quality_judge_dollars: float = Field(1.0, gt=0, description="Most that the judge may cost in a day")
    simulator_port: int = Field(8100, ge=0, le=65535, description="Port of the simulated LLM provider of `merit up`")
    max_file_bytes: int = Field(100_000_000, ge=1024, description="Largest file that may be uploaded")
    max_files_bytes: int = Field(10_000_000_000, ge=1024, description="All files of a workspace together")
    max_batch_lines: int = Field(50_000, ge=1, le=10_000_000, description="Most requests in a batch of LLM calls")
    batch_concurrency: int = Field(8, ge=1, le=1000, description="Requests of batches under way at once")
    batch_yield_at: int = Field(32, ge=0, description="Other calls under way at which batches make room for them")
    finetune_poll_seconds: float = Field(5.0, gt=0, le=600, description="Between two looks at a fine-tuning job")
    events_heartbeat_seconds: float = Field(15.0, gt=0, le=3600, description="A sign of life in event streams")

    @property
    def root(self) -> Path:
        """`home`, absolute and existing.

        Raises
        ------
        SettingsError : it cannot be made.
        """
        path = self.home.expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"MERIT_HOME={path} cannot be made: {error.strerror}.",
                remedy="Set MERIT_HOME to a folder that you may write to.",
                field="MERIT_HOME",
                value=str(path),
            ) from None
        return path

    @property
    def resolved_database_url(self) -> str:
        """SQLAlchemy URL of the platform database."""
        return self.database_url.get_secret_value() if self.database_url else f"sqlite:///{self.root / 'merit.db'}"

    @property
    def resolved_mlflow_uri(self) -> str:
        """MLflow tracking URI; a server is not needed."""
        return self.mlflow_uri or f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def resolved_artifact_root(self) -> str:
        """Where MLflow experiments of ours keep their artifacts.

        An explicit location rather than the server's proxy, so that what was trained through a server can be read
        after it is gone, and the reverse.
        """
        return self.artifact_root or (self.root / "artifacts").as_uri()


def load_settings() -> Settings:
    """Settings from the environment.

    Raises
    ------
    SettingsError : a variable does not parse; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=True)[0]
        name = "MERIT_" + "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            f"{name}={first.get('input')!r}: {first['msg'].lower()}.",
            remedy=f"Correct or unset {name}.",
            field=name,
        ) from None
