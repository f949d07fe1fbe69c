"""Runs, model versions, aliases and verified local copies, on an MLflow store or server."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from store.errors import IntegrityFailed, ServiceUnavailable, UnknownModel, UnknownVersion
from store.ledger import promoted_sha256
from store.registry.artifacts import verified_copy
from store.registry.cards import read_card
from store.registry.connection import (
    as_ours,
    client,
    close_client,
    missing,
    mlflow,
    once_more,
    sqlite_file,
    tracking_uri,
    translated,
)
from store.registry.glance import State, settled_state
from store.registry.registration import register
from store.registry.runs import Run
from store.registry.versions import ModelInfo, VersionInfo, model_info, version_info
from store.same_file import Identity, identity
from store.settings import Settings


class Registry:
    """The model registry of `settings`. Cheap to make, safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._guard = threading.Lock()
        self._made: Any = None
        self._file: tuple[Path, Identity | None] | None = None
        # The models as last read, and the state of the store's files before that.
        self._read: tuple[State | None, list[ModelInfo]] = (None, [])

    @property
    def uri(self) -> str:
        """MLflow's tracking URI."""
        return tracking_uri(self.settings)

    @property
    def _client(self) -> Any:
        if self._made is None:
            with self._guard:
                if self._made is None:
                    made = client(self.settings)
                    path = sqlite_file(self.uri)
                    self._file = (path, identity(path)) if path else None
                    self._made = made
        self._check_file()
        return self._made

    def _check_file(self) -> None:
        """Never go on with a file that is no longer at its path: what it says is old, what it is told is lost."""
        if self._file is None:
            return
        path, opened = self._file
        now = identity(path)
        if now is None:
            raise ServiceUnavailable(
                f"The registry {path} is not there any more.",
                remedy="Put it back, from a backup if need be, or correct MERIT_MLFLOW_URI.",
            )
        if now != opened:
            self.close()
            self._file = path, now

    def close(self) -> None:
        """Close this process's connections to the store. The next use opens them again."""
        if self._made is not None:
            close_client(self._made)

    # ---------------------------------------------------------------- runs

    @contextmanager
    def run(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, Any] | None = None,
        *,
        parent: str | None = None,
        run_id: str | None = None,
    ) -> Iterator[Run]:
        """Open a run; it ends as FINISHED, or as FAILED when the block raises.

        Parameters
        ----------
        parent : id of the run that this one is shown under.
        run_id : go on with this run instead of starting one (a training run that is retried).
        """
        api = self._client
        labels = {key: str(value) for key, value in (tags or {}).items()}
        if parent:
            labels["mlflow.parentRunId"] = parent
        with translated(self.settings):
            if run_id is None:
                made = api.create_run(self._experiment(experiment), tags=labels, run_name=name)
            else:
                made = api.get_run(run_id)
                api.update_run(run_id, status="RUNNING")
        opened = Run(self.settings, api, made.info.run_id, made.info.experiment_id)
        if run_id is not None:
            opened.log_tags(labels)
        try:
            yield opened
        except BaseException as error:
            # What went wrong is the error to see, not that a server that is gone cannot be told of it.
            with suppress(Exception):
                api.set_terminated(opened.id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        with translated(self.settings):
            api.set_terminated(opened.id, "FINISHED")

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            folder = re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "experiment"
            location = f"{self.settings.resolved_artifact_root.rstrip('/')}/{folder}"
            try:
                return str(self._client.create_experiment(name, artifact_location=location))
            except MlflowException as error:
                if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    # ------------------------------------------------------------ versions

    def register(
        self,
        name: str,
        folder: Path | str,
        run_id: str,
        example: tuple[pd.DataFrame, pd.DataFrame],
        tags: Mapping[str, Any] | None = None,
    ) -> int:
        """Make the folder a version of the model `name` and return its number.

        It appears in MLflow as a logged model of the run, with its signature, parameters and metrics, and the folder
        below `model/`.

        Parameters
        ----------
        example : a few rows of input and what the model answers to them.
        tags : `dataset_digest`, `git_commit`, `candidate`, `family`, …; `sha256` of the folder is added.

        Raises
        ------
        InvalidValue : a name that MLflow, a path or an address cannot hold, or an example that yields no signature.
        EmptyData : the folder holds no file.
        """
        return register(self.settings, self._client, name, Path(folder), run_id, example, tags or {})

    def models(self) -> list[ModelInfo]:
        """Every registered model, by name."""
        state = settled_state(self._file[0] if self._file else None)
        if state is not None and state == self._read[0]:
            return list(self._read[1])
        found: list[ModelInfo] = []
        token = None
        with translated(self.settings):
            while True:
                page = self._client.search_registered_models(max_results=200, order_by=["name ASC"], page_token=token)
                found += [model_info(item) for item in page]
                token = page.token
                if not token:
                    self._read = (state, found)
                    return list(found)

    def model(self, name: str) -> ModelInfo:
        """One registered model.

        Raises
        ------
        UnknownModel : there is none of that name.
        """
        return model_info(self._model(name))

    def _model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if missing(error):
                raise UnknownModel(
                    f"There is no model {name!r}.",
                    remedy="See `merit registry list`, or train it with `merit train`.",
                    field="name",
                    value=name,
                ) from None
            raise as_ours(error, self.settings) from error

    def versions(self, name: str, limit: int | None = None, before: int | None = None) -> list[VersionInfo]:
        """The versions of a model, newest first; at most `limit`, and only those below `before`.

        Raises
        ------
        UnknownModel : there is none of that name.
        """
        aliases = self.model(name).aliases
        found: list[VersionInfo] = []
        token = None
        query = f"name='{name}'"
        with translated(self.settings):
            while True:
                page = self._client.search_model_versions(
                    query, max_results=200, order_by=["version_number DESC"], page_token=token
                )
                found += [version_info(item, aliases) for item in page if before is None or int(item.version) < before]
                token = page.token
                if not token or (limit is not None and len(found) >= limit):
                    return found[:limit]

    def version(self, name: str, version: int) -> VersionInfo:
        """One version.

        Raises
        ------
        UnknownModel, UnknownVersion : there is none.
        """
        return version_info(self._version(name, version), self.model(name).aliases)

    def _version(self, name: str, version: int) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(name, str(version))
        except MlflowException as error:
            if not missing(error) and getattr(error, "error_code", "") != "INVALID_PARAMETER_VALUE":
                raise as_ours(error, self.settings) from error
            self._model(name)
            raise UnknownVersion(
                f"The model {name!r} has no version {version}.",
                remedy=f"See `merit registry show {name}`.",
                field="version",
                value=version,
            ) from None

    # ------------------------------------------------------------- aliases

    def alias(self, name: str, alias: str) -> int | None:
        """The version that carries `alias`; None where none does or the model is unknown. One query."""
        from mlflow.exceptions import MlflowException

        try:
            return int(self._client.get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if missing(error):
                return None
            raise as_ours(error, self.settings) from error

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let `alias` point to `version`. For `champion`, use `store.promotions`: it keeps the ledger."""
        self._version(name, version)
        once_more(self.settings, lambda: self._client.set_registered_model_alias(name, alias, str(version)))

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias; nothing happens where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.delete_registered_model_alias(name, alias)
        except MlflowException as error:
            if not missing(error):
                raise as_ours(error, self.settings) from error

    # --------------------------------------------------------------- files

    def fetch(self, name: str, version: int) -> Path:
        """A local copy of the version's folder, checked against the digest it was registered with.

        The ledger's digest counts as well where the version was ever promoted: it lies in another database than the
        registry's tags, so that changing an artifact and its tag together is noticed.

        Raises
        ------
        UnknownModel, UnknownVersion : there is none.
        IntegrityFailed : the files are not those that were registered, or no longer there.
        """
        found = self._version(name, version)
        expected = found.tags.get("sha256")
        ledger = promoted_sha256(self.settings, name, version, found.run_id)
        if not expected or (ledger and ledger != expected):
            raise IntegrityFailed(
                f"Version {version} of {name!r} is tagged with the digest {expected}, the ledger has {ledger}.",
                remedy=f"Do not use it: `merit registry rollback {name}`, then train again.",
                field="version",
                value=version,
            )
        place = self.settings.root / "cache" / "models" / name / f"{version}-{expected[:16]}"
        with translated(self.settings):
            folder, digest = verified_copy(place, expected, lambda target: self._download(found, target))
        if folder is None:
            raise IntegrityFailed(
                f"The files of version {version} of {name!r} have the digest {digest}, {expected} was registered.",
                remedy=f"Do not use it: `merit registry rollback {name}`, then train again.",
                field="version",
                value=version,
            )
        return folder

    def card(self, name: str, version: int) -> str:
        """The HTML page about a version; raises UnknownEntity where there is none. See `store.registry.cards`."""
        return read_card(self.settings, self._client, name, version, self._version(name, version).run_id)

    def _download(self, version: Any, target: Path) -> None:
        location = version.source
        if location.startswith("models:/"):
            location = self._client.get_logged_model(location.removeprefix("models:/")).artifact_location
        artifacts = mlflow().artifacts
        kept = artifacts.list_artifacts(artifact_uri=location, tracking_uri=self.uri)
        if any(PurePosixPath(entry.path).name == "model" for entry in kept):
            artifacts.download_artifacts(
                artifact_uri=f"{location.rstrip('/')}/model", dst_path=str(target), tracking_uri=self.uri
            )
