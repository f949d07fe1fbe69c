"""From the layouts that people keep series in, long or wide, to `unique_id, ds, y`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.parsing import as_number, decimal_mark, is_missing
from store.errors import InvalidValue, MissingColumn, WrongType

SERIES = "series"  # the id of the only series of a file that has no id column


def to_long(
    frame: pd.DataFrame, id_column: str | None, time_column: str, target_column: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Columns `unique_id` (as it was), `ds` (as it was) and `y` (float64, NaN where missing), and what was assumed.

    Raises
    ------
    MissingColumn : a column that was named is not there.
    InvalidValue : an id is missing, a value is no number; the message names column, value and row.
    """
    names = [str(name) for name in frame.columns]
    frame = frame.set_axis(names, axis=1)
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise InvalidValue(f"Column {double!r} occurs twice.", remedy="Rename one of them.", field=double)
    if time_column not in names:
        raise MissingColumn(
            f"There is no time column {time_column!r}; the columns are {_listing(names)}.",
            remedy="Name the time column (--time).",
            field=time_column,
        )
    notes: list[str] = []
    has_id, has_target = id_column is not None and id_column in names, target_column in names
    if has_target and not has_id and id_column not in (None, "unique_id"):
        raise MissingColumn(
            f"There is no id column {id_column!r}; the columns are {_listing(names)}.",
            remedy="Name the column that tells the series apart (--id), or leave it out for a single series.",
            field=id_column,
        )
    if has_id and not has_target:
        rest = [name for name in names if name not in (id_column, time_column)]
        if target_column == "y" and len(rest) == 1:
            target_column, has_target = rest[0], True
            notes.append(f"{target_column!r} is taken for the value: no other column is left")
        else:
            raise MissingColumn(
                f"There is no target column {target_column!r}; the columns are {_listing(names)}.",
                remedy="Name the column to forecast (--target).",
                field=target_column,
            )
    if has_target:
        assert target_column is not None
        ids = frame[id_column] if has_id else pd.Series(SERIES, index=frame.index, dtype=object)
        if ids.isna().any():
            row = int(np.flatnonzero(ids.isna())[0]) + 1
            raise InvalidValue(
                f"Column {id_column!r} is missing in row {row} ({int(ids.isna().sum())} such rows).",
                remedy="Fill in the id or remove the rows.",
                field=id_column,
            )
        y = numbers_of(frame[target_column], target_column)
        return pd.DataFrame({"unique_id": ids, "ds": frame[time_column], "y": y}).reset_index(drop=True), notes
    if target_column not in (None, "y") or id_column not in (None, "unique_id"):
        raise MissingColumn(
            f"There is no column {target_column or id_column!r}; the columns are {_listing(names)}.",
            remedy="Name the columns (--id, --time, --target), or only --time if each other column is a series.",
            field=target_column or id_column,
        )
    wide = [name for name in names if name != time_column]
    if not wide:
        raise MissingColumn(
            f"There is no column beside {time_column!r}.", remedy="Give at least one series.", field="y"
        )
    parts = [
        pd.DataFrame({"unique_id": name, "ds": frame[time_column], "y": numbers_of(frame[name], name)}) for name in wide
    ]
    note = f"read as wide: one series per column beside {time_column!r}"
    return pd.concat(parts, ignore_index=True), [note]


def _listing(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:12]) + (", …" if len(names) > 12 else "")


def numbers_of(column: pd.Series, name: str) -> pd.Series:
    """A column as floats; missing and infinite become NaN."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        values = pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
    elif pd.api.types.is_datetime64_any_dtype(column):
        raise WrongType(f"Column {name!r} holds dates, not numbers.", remedy="Name a numeric column.", field=name)
    else:
        codes, levels = pd.factorize(column)
        mark = decimal_mark([str(level) for level in levels]) or "."
        parsed = np.full(len(levels) + 1, np.nan)
        for place, level in enumerate(levels):
            try:
                parsed[place] = np.nan if is_missing(level) else as_number(level, mark)
            except (ValueError, TypeError):
                row = int(np.flatnonzero(codes == place)[0]) + 1
                raise InvalidValue(
                    f"Column {name!r}, row {row}: {level!r} is no number.",
                    remedy="Correct the value, leave it empty, or name another column.",
                    field=name,
                    value=str(level),
                ) from None
        values = parsed[codes]
    return pd.Series(np.where(np.isfinite(values), values, np.nan), index=column.index)
