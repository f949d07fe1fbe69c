"""A user's own table of outcomes into the lifecycle, and a file of prompts into texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import suggestion
from features.gist import gists
from features.parsing import as_times
from features.reading import read_table
from features.snapshot import write_dataset
from models.routing.outcomes import COST, LATENCY, SCORE, TOKENS
from models.routing.splitting import FEWEST
from store.dataset import DatasetRef
from store.errors import EmptyData, InvalidValue, MissingColumn, WrongType

KINDS = (SCORE, COST, LATENCY, TOKENS)
MOST_MODELS = 500


@dataclass(frozen=True)
class Prepared:
    """A table that is ready to be learned from.

    Attributes
    ----------
    ref : gists of the prompts, scores from 0 to 1, costs; no words.
    models : names.
    scale : what the table writes for 0 and for 1.
    notes : what the user should know about it, one sentence each.
    """

    ref: DatasetRef
    models: tuple[str, ...]
    scale: tuple[float, float]
    notes: tuple[str, ...]


def prepare(
    source: str | Path, folder: Path, *, prompt: str = "prompt", group: str | None = None, time: str | None = None
) -> Prepared:
    """Read a wide table: `prompt`, for each model `<model>|score` and `<model>|cost`, optionally `<model>|latency` in
    milliseconds and `<model>|tokens` of the answer; cells may be missing.

    Parameters
    ----------
    source : a CSV or Parquet file, or a database URL with `::table`.
    group : column whose rows stay together in every split.
    time : column with dates: the latest rows become the holdout.

    Raises
    ------
    FileUnreadable, EmptyData, MissingColumn, InvalidValue, WrongType : each says what is wrong and what to do.
    """
    frame = read_table(str(source))
    frame.columns = [str(name).strip() for name in frame.columns]
    texts = prompts_of(frame, prompt)
    if len(frame) < 2 * FEWEST:
        raise EmptyData(
            f"The table has {len(frame)} rows; a policy needs at least {2 * FEWEST}.", remedy="Bring more rows."
        )
    models, notes = _models(frame)
    clean = _cells(frame, models)
    scale, told = _scale(clean, models)
    notes += told
    made = gists(texts)
    clean["words"], clean["structure"] = made.packed(), made.packed_structure()
    clean["row"] = np.arange(len(frame))
    roles = {"words": "words", "structure": "structure", "row": "row"}
    if group is not None:
        clean["group"] = _group(frame, group)
        roles["group"] = "group"
        notes.append(f"{clean['group'].nunique()} different values of {group}; the rows of each stay together.")
    if time is not None:
        _there(frame, time, "--time")
        moments = as_times(frame[time])
        clean["time"] = frame[time].astype(str) if moments.isna().any() else moments
        roles["time"] = "time"
    empty = int((np.diff(made.starts) == 0).sum())
    if empty:
        notes.append(f"{empty} prompts have no words: they count as usual prompts.")
    ref = write_dataset(clean, folder, roles=roles, source=Path(str(source)).name)
    return Prepared(ref, tuple(models), scale, tuple(notes))


def prompts_of(frame: pd.DataFrame, column: str) -> list[str]:
    """The prompts of a table as texts.

    Raises
    ------
    EmptyData : no rows.
    MissingColumn : there is no such column.
    InvalidValue : a prompt is missing; the message names its row.
    """
    if not len(frame):
        raise EmptyData("The table has no rows.", remedy="Check that the file holds data below its header.")
    _there(frame, column, "--prompt")
    missing = frame[column].isna()
    if missing.any():
        where = int(np.flatnonzero(missing.to_numpy())[0])
        raise InvalidValue(
            f"{column} is missing in {int(missing.sum())} of {len(frame)} rows, first in row {where + 1}.",
            remedy="Remove these rows, or write their prompts.",
            field=column,
        )
    return frame[column].astype(str).tolist()


def _there(frame: pd.DataFrame, column: str, option: str) -> None:
    if column not in frame.columns:
        raise MissingColumn(
            f"There is no column {column!r} ({option}).",
            remedy=suggestion(column, [name for name in map(str, frame.columns) if "|" not in name][:50]),
            field=column,
        )


def _models(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    names = [str(name) for name in frame.columns]
    scored = sorted(name.removesuffix(SCORE) for name in names if name.endswith(SCORE) and name != SCORE)
    if not scored:
        raise MissingColumn(
            "No column holds scores: none ends in '|score'.",
            remedy=f"Name them MODEL|score and MODEL|cost. {suggestion('model|score', names[:50])}",
            field=SCORE,
        )
    for name in names:
        for kind in KINDS[1:]:
            if name.endswith(kind) and name.removesuffix(kind) not in scored:
                raise MissingColumn(
                    f"{name!r} is of a model without scores: there is no column {name.removesuffix(kind) + SCORE!r}.",
                    remedy="Add it, or remove the column.",
                    field=name.removesuffix(kind) + SCORE,
                )
    for name in scored:
        if f"{name}{COST}" not in names:
            raise MissingColumn(
                f"The model {name!r} has scores and no costs: there is no column {name + COST!r}.",
                remedy="Add it; a model that costs nothing has 0 in it.",
                field=f"{name}{COST}",
            )
    if not 2 <= len(scored) <= MOST_MODELS:
        raise InvalidValue(
            f"The table has {len(scored)} models ({', '.join(scored[:5])}).",
            remedy=f"Bring between 2 and {MOST_MODELS}; one alone leaves nothing to choose.",
            field=SCORE,
        )
    return scored, []


def _cells(frame: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    clean: dict[str, pd.Series] = {}
    for name in models:
        for kind in KINDS:
            column = f"{name}{kind}"
            if column in frame:
                clean[column] = _numbers(frame[column], column, least=None if kind == SCORE else 0.0)
        seen = clean[f"{name}{SCORE}"].notna()
        if not seen.any() or not clean[f"{name}{COST}"].notna().any():
            raise InvalidValue(
                f"The columns of {name!r} hold no score or no cost at all.",
                remedy="Remove the model's columns, or fill them.",
                field=f"{name}{SCORE}",
            )
    return pd.DataFrame(clean)


def _numbers(series: pd.Series, column: str, least: float | None) -> pd.Series:
    values = series.astype(float) if series.dtype == bool else pd.to_numeric(series, errors="coerce")
    wrong = values.isna() & series.notna()
    if wrong.any():
        where = int(np.flatnonzero(wrong.to_numpy())[0])
        raise WrongType(
            f"{column} is no number in {int(wrong.sum())} rows, first {str(series.iloc[where])[:40]!r} in row "
            f"{where + 1}.",
            remedy="Write numbers; leave a cell empty where there is none.",
            field=column,
        )
    values = values.astype("float64")
    bad = np.isinf(values.to_numpy()) | (values.to_numpy() < least if least is not None else False)
    if bad.any():
        where = int(np.flatnonzero(bad)[0])
        raise InvalidValue(
            f"{column} is {values.iloc[where]:g} in row {where + 1}.",
            remedy="Costs, latencies and tokens are at least 0; leave a cell empty where there is none.",
            field=column,
            value=float(values.iloc[where]),
        )
    return values


def _scale(clean: pd.DataFrame, models: Sequence[str]) -> tuple[tuple[float, float], list[str]]:
    """Put scores between 0 and 1, in place."""
    columns = [f"{name}{SCORE}" for name in models]
    values = clean[columns].to_numpy()
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low == high:
        raise InvalidValue(
            f"Every score is {low:g}: no model is better than another.", remedy="Bring scores that differ.", field=SCORE
        )
    if low >= 0.0 and high <= 1.0:
        return (0.0, 1.0), []
    clean[columns] = (values - low) / (high - low)
    return (low, high), [f"Scores go from {low:g} to {high:g}; in the report {low:g} is 0 and {high:g} is 1."]


def _group(frame: pd.DataFrame, column: str) -> pd.Series:
    _there(frame, column, "--group")
    missing = frame[column].isna()
    # A row without a group is a group of its own.
    own = pd.Series([f"row {place + 1}" for place in range(len(frame))], index=frame.index)
    return frame[column].astype(str).where(~missing, own)
