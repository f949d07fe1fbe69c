"""Columns beside the target that are known in advance: prices, planned promotions, a weather forecast.

Rows without a target after a series' last known value are its future. For each series and column:

- a value must be there from the series' first time on and for every step of the horizon, else it is an error that names
  series, column and first missing time;
- in between, a missing value or step takes the last value before it (never a later one), as long as no more than a
  tenth are missing;
- several rows for one series and time: their mean, as for the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from features.contracts import suggestion
from features.frequency import Grid
from features.panel_layout import SERIES, numbers_of
from store.errors import InvalidValue, MissingColumn

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
_MOST_MISSING = 0.1
_RESERVED = ("unique_id", "ds", "y")


def split_exog(
    frame: pd.DataFrame, names: Sequence[str], id_column: str | None, time_column: str, target_column: str | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame without the exogenous columns, and those alone as `unique_id` (str) and float64 columns.

    Raises
    ------
    MissingColumn : a column is not there; the remedy names the closest. InvalidValue, WrongType : it cannot be used.
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    for name in names:
        if name in (id_column, time_column, target_column, *_RESERVED) or list(names).count(name) > 1:
            raise InvalidValue(
                f"Column {name!r} cannot be an exogenous column: it is the id, the time or the target, or named twice.",
                remedy=f"Name each other column once (--exog); {', '.join(_RESERVED)} cannot be other columns' names.",
                field="exog",
                value=name,
            )
        if name not in frame.columns:
            others = [column for column in frame.columns if column not in (id_column, time_column, target_column)]
            raise MissingColumn(
                f"There is no exogenous column {name!r}.", remedy=suggestion(name, others), field="exog", value=name
            )
    if target_column not in frame.columns:
        raise MissingColumn(
            f"There is no target column {target_column!r}, and a wide file cannot have exogenous columns.",
            remedy="Name the column to forecast (--target), or bring one row per series and time.",
            field=target_column,
        )
    has_id = id_column is not None and id_column in frame.columns
    ids = frame[id_column].astype(object) if has_id else pd.Series(SERIES, index=frame.index, dtype=object)
    columns = {name: numbers_of(frame[name], name).to_numpy() for name in names}
    return frame.drop(columns=list(names)), pd.DataFrame({"unique_id": ids.map(str).to_numpy(object), **columns})


def with_future(
    frame: pd.DataFrame,
    future: pd.DataFrame,
    names: Sequence[str],
    id_column: str | None,
    time_column: str,
    target_column: str | None,
) -> pd.DataFrame:
    """The rows of a second file after those of the first, without a target: whatever it says of the target is not read.

    Raises
    ------
    MissingColumn : the id, the time or an exogenous column is not in the second file.
    """
    has_id = id_column is not None and id_column in frame.columns
    needed = [*([id_column] if has_id else []), time_column, *names]
    for name in needed:
        if name not in future.columns:
            raise MissingColumn(
                f"The future values have no column {name!r}.",
                remedy=suggestion(str(name), [str(column) for column in future.columns]),
                field=str(name),
            )
    return pd.concat([frame, future[needed].assign(**{str(target_column): np.nan})], ignore_index=True)


def values_on(
    places: Ints, values: Floats, names: Sequence[str], series: str, length: int, horizon: int, grid: Grid, first: int
) -> tuple[Floats, list[str]]:
    """Values on the steps of one series and on its horizon, shape (length + horizon, k), and what was filled.

    Parameters
    ----------
    places : step of each row counted from the series' first, shape (r,), in any order, possibly repeated.
    values : shape (r, k), NaN where missing.
    first : place of the series' first step on the grid.

    Raises
    ------
    InvalidValue : see the module's text.
    """
    steps = length + horizon
    inside = (places >= 0) & (places < steps)
    places, values = places[inside], values[inside]
    full = np.full((steps, len(names)), np.nan)
    notes = []
    for k, name in enumerate(names):
        there = np.isfinite(values[:, k])
        count = np.bincount(places[there], minlength=steps)
        total = np.bincount(places[there], weights=values[there, k], minlength=steps)
        known = count > 0
        missing = np.flatnonzero(~known)
        late = missing[missing >= length]
        if len(late):
            _refuse(series, name, int(late[0]), f"{len(late)} of {horizon} steps ahead", grid, first)
        if len(missing) and missing[0] == 0:
            _refuse(series, name, 0, f"{len(missing)} of {length} steps of the past", grid, first)
        if len(missing) > _MOST_MISSING * length:
            _refuse(series, name, int(missing[0]), f"{len(missing)} of {length} steps of the past", grid, first)
        if len(missing):
            notes.append(f"{name}: {len(missing)} missing values of the past took the value before them")
        last = np.maximum.accumulate(np.where(known, np.arange(steps), 0))
        full[:, k] = (total / np.maximum(count, 1))[last]
    return full, notes


def _refuse(series: str, name: str, step: int, how_many: str, grid: Grid, first: int) -> None:
    stamp = int(grid.at(np.array([first + step]))[0])
    when = str(stamp) if grid.kind == "integer" else str(pd.Timestamp(stamp)).removesuffix(" 00:00:00")
    ahead = "ahead" in how_many
    raise InvalidValue(
        f"Series {series!r}: {name!r} is not known at {when} ({how_many} are missing).",
        remedy=(
            "Give it for the whole horizon: in a second file (--future), or in rows after the last known value "
            "that leave the target empty."
            if ahead
            else "Fill it in for the past, start the series where it begins, or leave the column out."
        ),
        field=name,
        value=when,
    )
