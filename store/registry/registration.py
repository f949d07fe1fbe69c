"""Makes a folder a version: a logged model of the run in MLflow, with what the run knows, and the version of it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from store.errors import InvalidValue
from store.registry.artifacts import folder_sha256
from store.registry.connection import resolving, translated
from store.registry.presentation import describe, signature_of, write_mlmodel
from store.settings import Settings

# What is also a folder, a part of an address, and a name in MLflow.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LONGEST_PARAM = 500
_BATCH = 1000


def check_name(name: str) -> None:
    """Refuse what cannot name a model, before anything is learned under that name.

    Raises
    ------
    InvalidValue : a name that MLflow, a path or an address cannot hold.
    """
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            f"{name!r} cannot be the name of a model.",
            remedy="Use up to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit.",
            field="name",
            value=name,
        )


def register(
    settings: Settings,
    api: Any,
    name: str,
    folder: Path,
    run_id: str,
    example: tuple[pd.DataFrame, pd.DataFrame],
    tags: Mapping[str, Any],
) -> int:
    """See `Registry.register`; `api` is an MLflow client."""
    check_name(name)
    labels = {key: str(value) for key, value in tags.items()} | {"sha256": folder_sha256(folder)}
    signature = signature_of(example)
    with translated(settings):
        _ensure_model(api, name, labels.get("family"))
        run = api.get_run(run_id)
        logged = api.create_logged_model(
            experiment_id=run.info.experiment_id,
            name=re.sub(r"[^\w\-]", "_", name),
            source_run_id=run_id,
            tags=labels,
            params={key: value for key, value in run.data.params.items() if len(value) <= _LONGEST_PARAM},
            model_type=labels.get("family", ""),
        )
        try:
            with tempfile.TemporaryDirectory() as scratch:
                write_mlmodel(Path(scratch), logged, run_id, signature, example[0], labels)
                shutil.copytree(folder, Path(scratch) / "model")
                api.log_model_artifacts(logged.model_id, scratch)
        except BaseException:
            api.finalize_logged_model(logged.model_id, "FAILED")
            raise
        api.finalize_logged_model(logged.model_id, "READY")
        _show_in_run(api, run, logged.model_id)
        with resolving(settings):
            made = api.create_model_version(
                name=name,
                source=f"models:/{logged.model_id}",
                run_id=run_id,
                tags=labels,
                description=describe(labels),
                model_id=logged.model_id,
            )
        # What MLflow's browser makes the link from the logged model to its version of.
        shown = json.dumps([{"name": name, "version": str(made.version)}])
        api.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": shown})
    return int(made.version)


def _ensure_model(api: Any, name: str, family: str | None) -> None:
    from mlflow.exceptions import MlflowException

    try:
        api.create_registered_model(name, tags={"family": family} if family else None)
    except MlflowException as error:
        if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
            raise


def _show_in_run(api: Any, run: Any, model_id: str) -> None:
    from mlflow.entities import LoggedModelOutput, Metric

    api.log_outputs(run.info.run_id, models=[LoggedModelOutput(model_id, step=0)])
    now = int(datetime.now(UTC).timestamp() * 1000)
    values = [
        Metric(key, value, now, 0, model_id=model_id, run_id=run.info.run_id) for key, value in run.data.metrics.items()
    ]
    for start in range(0, len(values), _BATCH):
        api.log_batch(run.info.run_id, metrics=values[start : start + _BATCH])
