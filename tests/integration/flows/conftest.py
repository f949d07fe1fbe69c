"""One Prefect server for all tests of flows, and a family small enough to train in milliseconds."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import models.families as families
from features.bulk_insert import insert_rows
from features.contracts import CONTRACTS
from features.contracts.schema import arrow_schema
from features.snapshot import read_dataset, write_dataset
from features.stored_rows import sql_table
from flows.environment import prefect_environment
from models.lifecycle.evaluation import Estimate, Evaluation
from models.lifecycle.family import Candidate, Metric, Model, Split
from store.database import dispose, engine, migrate
from store.dataset import DatasetRef, SnapshotRef
from store.settings import Settings

END = datetime(2026, 3, 1)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory, prefect_template: Path) -> Iterator[str]:
    """API address of a real server on a database of its own, its services set as by `merit up`."""
    from prefect.flow_engine import BaseFlowRunEngine
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_LOGGING_LEVEL,
        PREFECT_SERVER_LOGGING_LEVEL,
        temporary_settings,
    )
    from prefect.testing import utilities

    home = tmp_path_factory.mktemp("prefect")
    (home / "server").mkdir()
    shutil.copy(prefect_template, home / "server" / "prefect-test.db")
    services = prefect_environment(Settings(home=home / "merit"))
    quiet = {PREFECT_HOME: home, PREFECT_LOGGING_LEVEL: "ERROR", PREFECT_SERVER_LOGGING_LEVEL: "CRITICAL"}
    with pytest.MonkeyPatch.context() as own, temporary_settings(quiet):
        for name, value in services.items():
            if name.startswith("PREFECT_SERVER_SERVICES_"):
                own.setenv(name, value)
        own.setattr(utilities, "mkdtemp", lambda: str(home / "server"))
        # A heart sleeps for a second at a time, and every run would wait for it at its end.
        own.setattr(BaseFlowRunEngine, "heartbeat_seconds", None)
        with utilities.prefect_test_harness(server_startup_timeout=120):
            yield str(PREFECT_API_URL.value())


@pytest.fixture
def flow_settings(settings: Settings, prefect_server: str, mlflow_template: Path) -> Iterator[Settings]:
    """A home of this test's own, and the server."""
    shutil.copy(mlflow_template, settings.root / "mlflow.db")
    yield settings.model_copy(update={"prefect_api_url": prefect_server})
    dispose(settings)


# ------------------------------------------------------------------ a family


@dataclass(frozen=True)
class EnergyOptions:
    """`only` names the candidates; `fail` makes one of them fail."""

    only: tuple[str, ...] = ("overall", "region", "shrunk")
    fail: str = ""


@dataclass(frozen=True)
class EnergyModel:
    candidate: str
    selection: float
    means: Mapping[str, float]

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return frame["region"].map(self.means).fillna(self.means[""]).to_numpy(dtype=float)

    def save(self, folder: Path) -> None:
        body = {"candidate": self.candidate, "selection": self.selection, "means": dict(self.means)}
        (folder / "contract.json").write_text(json.dumps(body, sort_keys=True))

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return pd.DataFrame({"region": ["north"]}), pd.DataFrame({"energy_kwh": [self.means[""]]})


class EnergyFamily:
    """Energy a customer meters on a day, by the mean of the region. `meeting` lets two runs wait for each other."""

    name = "energy"
    tables: tuple[str, ...] = ("customers", "usage_daily")
    primary = Metric("squared_error", "lower", "kWh²")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"
    meeting: threading.Barrier | None = None
    fitted: list[str] = []  # noqa: RUF012 - shared on purpose: what was fitted, in any run

    def __init__(self, options: EnergyOptions) -> None:
        self.options = options

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        customers = pd.read_parquet(snapshot.table("customers"))[["customer_id", "region"]]
        usage = pd.read_parquet(snapshot.table("usage_daily"))[["customer_id", "day", "energy_kwh"]]
        frame = usage.merge(customers, on="customer_id")
        roles = {"entity": "customer_id", "time": "day", "target": "energy_kwh"}
        return write_dataset(frame, folder, as_of=snapshot.as_of, roles=roles, source=f"snapshot {snapshot.digest[:8]}")

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        days = frame["day"].drop_duplicates().sort_values()
        cut = days.iloc[int(0.7 * len(days))]
        return Split(frame[frame["day"] < cut], frame[frame["day"] >= cut], f"days from {cut:%Y-%m-%d} are the holdout")

    def candidates(self) -> Sequence[Candidate]:
        known = {
            "overall": Candidate("overall", baseline=True),
            "region": Candidate("region"),
            "shrunk": Candidate("shrunk", needs=("overall", "region")),
        }
        return [known[name] for name in self.options.only]

    def fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> EnergyModel:
        type(self).fitted.append(candidate.name)
        if candidate.name == self.options.fail:
            raise RuntimeError("the library gave up")
        means = {"": float(train["energy_kwh"].mean())}
        if candidate.name == "region":
            means |= {str(key): float(value) for key, value in train.groupby("region")["energy_kwh"].mean().items()}
        if candidate.name == "shrunk":
            assert set(fitted) == set(candidate.needs)
            region = fitted["region"]
            assert isinstance(region, EnergyModel)
            means |= {key: 0.5 * value + 0.5 * means[""] for key, value in region.means.items() if key}
        model = EnergyModel(candidate.name, 0.0, means)
        return EnergyModel(candidate.name, float(np.mean((train["energy_kwh"] - model.predict(train)) ** 2)), means)

    def load(self, folder: Path) -> EnergyModel:
        return EnergyModel(**json.loads((folder / "contract.json").read_text()))

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        assert isinstance(model, EnergyModel)
        loss = (holdout["energy_kwh"] - model.predict(holdout)) ** 2
        losses = pd.DataFrame({"loss": loss.to_numpy(), "group": holdout["customer_id"].to_numpy(), "step": 0})
        losses.index = pd.Index(holdout["customer_id"] + holdout["day"].dt.strftime(" %Y-%m-%d"))
        mean = float(loss.mean())
        slices = pd.DataFrame({"slice": ["all"], "rows": [len(holdout)], "value": [mean]})
        estimate = Estimate(mean, 0.9 * mean, 1.1 * mean)
        return Evaluation(model.candidate, losses, {"squared_error": estimate}, slices, latency_ms=0.01)

    def finalise(
        self, model: Model, frame: pd.DataFrame, roles: Mapping[str, str], champion: Model | None = None
    ) -> Model:
        if self.meeting is not None:
            self.meeting.wait(timeout=60)
        return model

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:
        customers = pd.read_parquet(snapshot.table("customers")).drop_duplicates("customer_id", keep="last")
        return customers.set_index("customer_id")[["region"]]


@pytest.fixture
def energy(monkeypatch: pytest.MonkeyPatch) -> type[EnergyFamily]:
    """The family, known to the lifecycle as `energy`."""
    known = {**families.FAMILIES, "energy": ("energy_family_of_tests", "EnergyFamily", "EnergyOptions")}
    monkeypatch.setattr(families, "FAMILIES", known)
    monkeypatch.setitem(sys.modules, "energy_family_of_tests", sys.modules[__name__])
    monkeypatch.setattr(EnergyFamily, "fitted", [])
    return EnergyFamily


# --------------------------------------------------------------------- data


def load_usage(settings: Settings, *, customers: int = 30, days: int = 60, effect: float = 3.0) -> None:
    """Customers whose region says how much energy they meter, known the day after."""
    rng = np.random.default_rng(1)
    names = [f"C{number:03}" for number in range(customers)]
    regions = np.array(["north", "south", "east"])[np.arange(customers) % 3]
    start = pd.Timestamp(END) - pd.Timedelta(days=days)
    people = pd.DataFrame(
        {
            "customer_id": names,
            "signup_date": start,
            "kind": "business",
            "region": regions,
            "channel": "web",
            "employees": 10,
            "country": "DE",
            "event_time": start,
            "recorded_at": start,
        }
    )
    grid = pd.MultiIndex.from_product([range(customers), range(days)], names=["who", "when"]).to_frame(index=False)
    day = start + pd.to_timedelta(grid["when"], unit="D")
    level = 20 + effect * (grid["who"] % 3)
    usage = pd.DataFrame(
        {
            "customer_id": [names[who] for who in grid["who"]],
            "day": day,
            "api_calls": 5,
            "storage_gb": 1.0,
            "compute_hours": 0.5,
            "energy_kwh": level + rng.normal(0, 1, len(grid)),
            "active_users": 2,
            "event_time": day + timedelta(days=1),
            "recorded_at": day + timedelta(days=1),
        }
    )
    migrate(settings)
    with engine(settings).begin() as connection:
        for name, frame in (("customers", people), ("usage_daily", usage)):
            contract = CONTRACTS[name]
            schema = arrow_schema(contract)
            rows = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
            insert_rows(connection, sql_table(contract), rows)


def today() -> date:
    return END.date()


__all__ = ["END", "EnergyFamily", "load_usage", "read_dataset"]
