"""A column of dates as people write them: one way or several, as text, numbers or time stamps with a zone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.parsing import as_times, month_comes_first
from features.time_stamps import OFFSET, read_stamps
from store.errors import InvalidValue


def read_dates(column: pd.Series, name: str, notes: list[str]) -> pd.Series:
    """Naive moments, with the index of `column`.

    Where a zone or offsets are given, what the local clock showed is kept: a purchase half an hour after midnight
    belongs to the day that has begun there. Numbers may be 20260131 or Unix time (UTC).

    Parameters
    ----------
    column : none missing; its index counts the rows of the file from 0.
    name : of the column, for messages.
    notes : what had to be assumed is added to it, one sentence each.

    Raises
    ------
    InvalidValue : a value is no date; the message names column, row and value.
    """
    column = _by_local_clock(column)
    try:
        values, writing, told = read_stamps(column, name, freq_kind="fixed")
    except InvalidValue:
        if pd.api.types.is_numeric_dtype(column):
            raise
        writing = None
    if writing is not None and pd.api.types.is_integer_dtype(values):
        raise InvalidValue(
            f"{name} holds numbers such as {column.iloc[0]}, which are no dates.",
            remedy="Write dates as 2026-01-31, 20260131 or Unix time.",
            field=name,
        )
    if writing is not None and not (writing.pattern.startswith("iso") and _iso(column).isna().any()):
        notes += told
        return values
    loose = as_times(column)
    if loose.isna().any():
        bad = int(np.flatnonzero(loose.isna().to_numpy())[0])
        count = int(loose.isna().sum())
        raise InvalidValue(
            f"Column {name!r}, row {column.index[bad] + 1}: {str(column.iloc[bad])[:80]!r} is no date that can be "
            f"read ({count} row{'' if count == 1 else 's'} in all).",
            remedy="Write dates as 2026-01-31, or remove the row.",
            field=name,
            value=str(column.iloc[bad])[:80],
        )
    which = "month" if month_comes_first(column.astype("string")) else "day"
    notes.append(f"{name} is written in several ways; where day and month could be either, the {which} was read first.")
    return loose


def _by_local_clock(column: pd.Series) -> pd.Series:
    """Without zone; texts only where every one has an offset, for else they are not of one kind."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        local: pd.Series = column.dt.tz_localize(None)
        return local
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column
    texts = column.astype("string").str.strip()
    offsets = texts.str.extract(OFFSET)[0]
    if offsets.isna().any():
        return column
    bare = [text[: -len(offset)].strip() for text, offset in zip(texts, offsets, strict=True)]
    return pd.Series(bare, index=column.index, name=column.name, dtype="str")


def _iso(column: pd.Series) -> pd.Series:
    return pd.to_datetime(column.astype("string"), errors="coerce", format="ISO8601", utc=True)
