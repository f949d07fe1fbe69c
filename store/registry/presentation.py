"""What MLflow shows of a version: signature, example, description."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from store.errors import InvalidValue


def signature_of(example: tuple[pd.DataFrame, pd.DataFrame]) -> Any:
    """An MLflow `ModelSignature` of an example of input and output.

    Integers, nullable ones too, count as float64: a column without a missing value today may have one tomorrow, and
    MLflow silently gives up on nullable integers.

    Raises
    ------
    InvalidValue : the example is empty or yields no signature; there is no version without one.
    """
    given, answered = example
    for side, frame in (("input", given), ("output", answered)):
        if not isinstance(frame, pd.DataFrame) or frame.empty:
            raise InvalidValue(
                f"The example {side} of a model must be a frame with at least one row and column.",
                remedy="Give a few rows, and what the model answers to them.",
                field="example",
            )
    import warnings

    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = infer_signature(_plain(given), _plain(answered))
    except (MlflowException, TypeError, ValueError) as error:
        raise _refused(given, answered, str(error)) from error
    if made is None or made.inputs is None or made.outputs is None:
        raise _refused(given, answered, "no schema could be inferred")
    return made


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, pd.Series[Any]] = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_bool_dtype(column.dtype) and not column.isna().any():
            columns[str(name)] = column.astype("bool")
        elif pd.api.types.is_numeric_dtype(column.dtype):
            columns[str(name)] = column.astype("float64")
        elif pd.api.types.is_datetime64_any_dtype(column.dtype):
            columns[str(name)] = (
                column.astype("datetime64[ns]") if column.dt.tz is None else column.dt.tz_localize(None)
            )
        else:
            texts = [None if value is None or value is pd.NA or value != value else str(value) for value in column]
            columns[str(name)] = pd.Series(texts, index=column.index, dtype="object")
    return pd.DataFrame(columns)


def _refused(given: pd.DataFrame, answered: pd.DataFrame, why: str) -> InvalidValue:
    shown = {"input": given.dtypes.astype(str).to_dict(), "output": answered.dtypes.astype(str).to_dict()}
    return InvalidValue(
        f"The example yields no signature ({why}); its columns are {shown}.",
        remedy="Use numbers, booleans, text and dates only.",
        field="example",
    )


def write_mlmodel(
    target: Path, logged: Any, run_id: str, signature: Any, example: pd.DataFrame, labels: Mapping[str, str]
) -> None:
    """Write the `MLmodel` file and the example that lie beside the folder of a version."""
    from mlflow.models import Model

    described = Model(
        artifact_path=logged.artifact_location,
        run_id=run_id,
        signature=signature,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        metadata=dict(labels),
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        },
    )
    described.add_flavor("meritorder", contract="model/contract.json", sha256=labels["sha256"])
    described.save(str(target / "MLmodel"))
    text = example.head(5).to_json(orient="split", index=False, date_format="iso", default_handler=str)
    (target / "input_example.json").write_text(text or "{}")


def describe(labels: Mapping[str, str]) -> str:
    """One line for people: the candidate, its data, its code."""
    parts = [labels.get("candidate", "")]
    if digest := labels.get("dataset_digest"):
        parts.append(f"dataset {digest[:12]}")
    if commit := labels.get("git_commit"):
        parts.append(f"commit {commit[:8]}")
    return " · ".join(part for part in parts if part)
