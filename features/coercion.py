"""From what a source holds to the types of a contract: each value converted or named with its reason.

Nothing is guessed: days and moments are ISO 8601 (or `31.12.2026`, which has one reading only), a whole number may be
written `12.0` but not `12.5`, and what does not convert stays out of the column and is reported with its row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.contracts import Column, Contract

Mask = npt.NDArray[np.bool_]

_MISSING_TEXTS = frozenset({"", "na", "n/a", "nan", "null", "none", "nat", "-", "\\n"})
_MISSING_IN_TEXT = frozenset({"", "NULL", "\\N"})
_DECIMAL_COMMA = r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?(?:[eE][+-]?\d+)?"
_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})

# What 64-bit nanoseconds can hold, so that no library stumbles; 9999-12-31 means "never" and belongs left empty.
_FIRST, _LAST = pd.Timestamp("1700-01-01"), pd.Timestamp("2261-12-31 23:59:59.999999")


@dataclass(frozen=True)
class Unfit:
    """Values of one column that do not convert.

    Attributes
    ----------
    rows : mask over the frame's rows.
    reason : without the value: "is not a whole number".
    """

    column: str
    rows: Mask
    reason: str


@dataclass(frozen=True)
class Coerced:
    """A frame with the contract's columns and types, default index.

    Attributes
    ----------
    frame : strings as `str`, integers as int64 (float64 where some are missing), numbers float64, booleans bool (object
        where some are missing), dates and timestamps datetime64[us].
    unfit : what did not convert; those cells are missing in `frame`.
    notes : changes worth telling: times of day dropped, time zones converted, blanks cut off.
    """

    frame: pd.DataFrame
    unfit: tuple[Unfit, ...] = ()
    notes: tuple[str, ...] = field(default=())


def coerce(frame: pd.DataFrame, contract: Contract, decimal: str = ".") -> Coerced:
    """Convert the columns of `contract` that are in `frame`; nullable ones that are not there come out empty.

    Parameters
    ----------
    decimal : decimal sign of numbers held as text; with "," the dot separates thousands.
    """
    columns: dict[str, pd.Series] = {}
    unfit: list[Unfit] = []
    notes: list[str] = []
    for column in contract:
        if column.name in frame.columns:
            source = frame[column.name].reset_index(drop=True)
        elif column.nullable:
            source = pd.Series(np.nan, index=range(len(frame)), dtype="float64")
        else:
            continue
        values, bad, reason, note = _convert(source, column, decimal)
        columns[column.name] = values
        if bad.any():
            unfit.append(Unfit(column.name, bad, reason))
        if note:
            notes.append(f"{column.name}: {note}")
    return Coerced(pd.DataFrame(columns, index=range(len(frame))), tuple(unfit), tuple(notes))


def _convert(source: pd.Series, column: Column, decimal: str) -> tuple[pd.Series, Mask, str, str]:
    if isinstance(source.dtype, pd.CategoricalDtype):
        source = source.astype(source.cat.categories.dtype)
    if column.type == "string":
        return _texts(source)
    if column.type in ("date", "timestamp"):
        return _moments(source, day=column.type == "date")
    if column.type == "boolean":
        return _booleans(source)
    return _numbers(source, whole=column.type == "integer", decimal=decimal)


def _as_text(source: pd.Series) -> pd.Series:
    """Trimmed texts; missing stays missing."""
    return source.astype("str").str.strip() if source.dtype != "str" else source.str.strip()


def _texts(source: pd.Series) -> tuple[pd.Series, Mask, str, str]:
    missing = source.isna().to_numpy()
    if pd.api.types.is_float_dtype(source.dtype):
        # Identifiers that pandas read as numbers because some were missing: 17.0 is "17".
        numbers = source.to_numpy(dtype="float64", na_value=np.nan)
        whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
        text = source.astype("str")
        integers = pd.Series(np.where(whole, numbers, 0)).astype("int64").astype("str")
        text = text.mask(pd.Series(whole), integers)
        return text.mask(missing), np.zeros(len(source), dtype=bool), "", ""
    texts = source.astype("str").mask(missing)
    trimmed = texts.str.strip()
    cut = int((trimmed != texts).to_numpy()[~missing].sum())
    trimmed = trimmed.mask(trimmed.isin(_MISSING_IN_TEXT))
    note = f"blanks around {cut:,} values cut off" if cut else ""
    # Postgres cannot hold a zero character.
    bad = trimmed.str.contains("\0", regex=False).fillna(False).to_numpy(dtype=bool)
    return trimmed.mask(bad) if bad.any() else trimmed, bad, "is not free of zero characters", note


def _numbers(source: pd.Series, *, whole: bool, decimal: str) -> tuple[pd.Series, Mask, str, str]:
    reason = "is not a whole number" if whole else "is not a number"
    if pd.api.types.is_bool_dtype(source.dtype) or pd.api.types.is_datetime64_any_dtype(source.dtype):
        return _nothing(source, "float64"), source.notna().to_numpy(), reason, ""
    if pd.api.types.is_integer_dtype(source.dtype) and not source.hasnans:
        # Kept as they are: above 2⁵³ a float would lose digits.
        return source.astype("int64" if whole else "float64"), np.zeros(len(source), dtype=bool), reason, ""
    if pd.api.types.is_numeric_dtype(source.dtype):
        values = pd.Series(source.to_numpy(dtype="float64", na_value=np.nan))
        missing = np.isnan(values.to_numpy())
    else:
        texts = _as_text(source)
        if decimal == ",":
            # A dot only between groups of three digits: 1.234,5 is a number here, 1.5 is not.
            grouped = texts.str.fullmatch(_DECIMAL_COMMA).fillna(False).astype(bool)
            texts = texts.str.replace(".", "", regex=False).str.replace(",", ".", regex=False).where(grouped, "?")
        values = pd.to_numeric(texts, errors="coerce")
        if whole and pd.api.types.is_integer_dtype(values.dtype):
            return values.astype("int64"), np.zeros(len(source), dtype=bool), reason, ""
        values = values.astype("float64")
        missing = source.isna().to_numpy()
        unread = np.isnan(values.to_numpy()) & ~missing
        if unread.any():
            missing = missing | (unread & _as_text(source).str.lower().isin(_MISSING_TEXTS).to_numpy())
    numbers = values.to_numpy(dtype="float64", copy=True)
    bad = ~np.isfinite(numbers) & ~missing
    if whole:
        finite = np.isfinite(numbers)
        bad |= finite & ((numbers != np.floor(np.where(finite, numbers, 0))) | (np.abs(numbers) > 2**53))
    numbers[bad | missing] = np.nan
    if whole and not np.isnan(numbers).any():
        return pd.Series(numbers.astype("int64")), bad, reason, ""
    return pd.Series(numbers), bad, reason, ""


def _booleans(source: pd.Series) -> tuple[pd.Series, Mask, str, str]:
    missing = source.isna().to_numpy()
    texts = _as_text(source).str.lower()
    yes, no = texts.isin(_TRUE).to_numpy(), texts.isin(_FALSE).to_numpy()
    missing = missing | texts.isin(_MISSING_TEXTS).to_numpy()
    bad = ~(yes | no | missing)
    values = pd.Series(yes & ~missing)
    if (bad | missing).any():
        values = values.astype("object").mask(bad | missing, None)
    return values, bad, "is not true or false", ""


def _moments(source: pd.Series, *, day: bool) -> tuple[pd.Series, Mask, str, str]:
    reason = "is not a date (YYYY-MM-DD" if day else "is not a moment (YYYY-MM-DD HH:MM:SS in UTC"
    reason += f", years {_FIRST.year} to {_LAST.year})"
    zone = ""
    if pd.api.types.is_numeric_dtype(source.dtype):
        return _nothing(source, "datetime64[us]"), source.notna().to_numpy(), reason, ""
    if pd.api.types.is_datetime64_any_dtype(source.dtype):
        values, missing = source, source.isna().to_numpy()
        if getattr(source.dtype, "tz", None) is not None:
            zone = f"converted from {source.dt.tz} to UTC" if str(source.dt.tz) != "UTC" else ""
            values = source.dt.tz_convert("UTC").dt.tz_localize(None)
    else:
        texts = _as_text(source)
        missing = (source.isna() | texts.str.lower().isin(_MISSING_TEXTS)).to_numpy()
        texts = texts.mask(missing)
        values = _parse(texts)
        if values.isna().to_numpy()[~missing].any():
            rest = values.isna() & ~missing
            dotted = pd.to_datetime(texts[rest], format="%d.%m.%Y", errors="coerce")
            values = values.mask(rest, dotted.reindex(values.index).astype(values.dtype))
    in_range = values.between(_FIRST, _LAST).to_numpy()
    values = values.mask(~in_range).astype("datetime64[us]")
    bad = values.isna().to_numpy() & ~missing
    note = zone
    if day:
        days = values.dt.normalize()
        dropped = int((days != values).to_numpy()[values.notna().to_numpy()].sum())
        values = days
        if dropped:
            note = ", ".join(filter(None, (zone, f"time of day dropped from {dropped:,} values")))
    return values, bad, reason, note


def _parse(texts: pd.Series) -> pd.Series:
    """ISO 8601 to naive UTC; what is something else becomes NaT."""
    # A year or a month alone is ISO 8601 too, but no day.
    parsed = pd.to_datetime(texts.where(texts.str.len() >= 8), format="ISO8601", errors="coerce", utc=True)
    return parsed.dt.tz_localize(None).astype("datetime64[us]")


def _nothing(source: pd.Series, dtype: str) -> pd.Series:
    return pd.Series(np.nan if dtype == "float64" else pd.NaT, index=range(len(source)), dtype=dtype)
