"""What one training run leaves in MLflow: parameters, metrics, its dataset, files."""

from __future__ import annotations

import json
import math
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from store.dataset import DatasetRef
from store.errors import InvalidValue
from store.registry.connection import once_more, translated
from store.settings import Settings

_NOT_IN_A_KEY = re.compile(r"[^\w\-./ :]")
_LONGEST_PARAM = 6000
_BATCH = 100
# Arrow → the types of an MLflow schema, for the column list that the browser shows.
_COLUMN_TYPES = {"bool": "boolean", "int": "long", "uint": "long", "float": "double", "double": "double"}


class Run:
    """A run that is open for writing.

    Attributes
    ----------
    id : MLflow's id of the run.
    experiment_id : MLflow's id of the experiment it belongs to.
    """

    def __init__(self, settings: Settings, client: Any, run_id: str, experiment_id: str) -> None:
        self._settings = settings
        self._client = client
        self.id = run_id
        self.experiment_id = experiment_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Keep parameters; values are written as text, long ones are cut at 6,000 characters."""
        from mlflow.entities import Param

        items = [Param(_key(name), _text(value)) for name, value in params.items()]
        with translated(self._settings):
            for start in range(0, len(items), _BATCH):
                self._client.log_batch(self.id, params=items[start : start + _BATCH])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Keep metrics, in one request. What is not a finite number is left out: MLflow's browser draws it as 0."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        items = [
            Metric(_key(name), float(value), now, step)
            for name, value in metrics.items()
            if value is not None and math.isfinite(float(value))
        ]
        with translated(self._settings):
            for start in range(0, len(items), 1000):
                self._client.log_batch(self.id, metrics=items[start : start + 1000])

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags on the run."""
        with translated(self._settings):
            for name, value in tags.items():
                self._client.set_tag(self.id, _key(name), str(value))

    def log_text(self, text: str, path: str) -> None:
        """Keep `text` as the artifact `path`."""
        self.log_bytes(text.encode(), path)

    def log_bytes(self, data: bytes, path: str) -> None:
        """Keep `data` as the artifact `path` (relative, with forward slashes)."""
        target = PurePosixPath(path)
        if target.is_absolute() or ".." in target.parts or not target.name:
            raise InvalidValue(
                f"{path!r} is not the relative path of an artifact.",
                remedy="Use a path like plots/roc.png.",
                field="path",
                value=path,
            )
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / target.name
            local.write_bytes(data)
            self.log_file(local, "" if target.parent == PurePosixPath(".") else str(target.parent))

    def log_file(self, path: Path | str, folder: str = "") -> None:
        """Keep a file, or a whole folder, below the artifact folder `folder`."""
        with translated(self._settings):
            if Path(path).is_dir():
                self._client.log_artifacts(self.id, str(path), folder or None)
            else:
                self._client.log_artifact(self.id, str(path), folder or None)

    def log_dataset(self, dataset: DatasetRef, context: str = "training") -> None:
        """Name the data this run learned from, with our digest over all its rows (MLflow's own hashes 10,000).

        MLflow keeps 36 characters of a digest; the whole one is the run's tag `dataset_digest`.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        roles = dict(dataset.roles)
        name = dataset.source or dataset.path.stem or "dataset"
        entry = Dataset(
            name=name[:500],
            digest=dataset.digest[:36],
            source_type="local",
            source=json.dumps({"uri": dataset.uri, "as_of": dataset.to_dict()["as_of"], "digest": dataset.digest}),
            schema=json.dumps({"mlflow_colspec": _columns(dataset.path)}),
            profile=json.dumps({"num_rows": dataset.rows, "roles": roles}),
        )
        inputs = [DatasetInput(dataset=entry, tags=[InputTag("mlflow.data.context", context)])]
        once_more(self._settings, lambda: self._client.log_inputs(self.id, datasets=inputs))
        self.log_tags({"dataset_digest": dataset.digest, "dataset_rows": dataset.rows})


def _columns(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    if not path.is_file():
        return []
    return [
        {"name": field.name, "type": _column_type(str(field.type)), "required": not field.nullable}
        for field in pyarrow.parquet.read_schema(path)
    ]


def _column_type(arrow: str) -> str:
    if arrow.startswith(("timestamp", "date")):
        return "datetime"
    return _COLUMN_TYPES.get(re.sub(r"\d+$", "", arrow), "string")


def _key(name: str) -> str:
    return _NOT_IN_A_KEY.sub("_", name)[:250]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_PARAM else text[: _LONGEST_PARAM - 1] + "…"
