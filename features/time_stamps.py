"""Reading a column of time stamps as it was written, and writing new ones the same way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from store.errors import InvalidValue

_FORMATS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H",
    "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d.%m.%Y", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M",
    "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M",
    "%m-%d-%Y", "%d-%m-%Y", "%Y%m%d", "%Y%m%d%H", "%Y%m%d%H%M%S", "%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y",
    "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%Y %b", "%Y %B", "%d-%b-%y", "%m/%d/%y", "%d/%m/%y",
    "%G-W%V-%u",
)  # fmt: skip
_WEEK = re.compile(r"^\d{4}(-?)W\d{2}$", re.IGNORECASE)
OFFSET = re.compile(r"\d\d:\d\d[^+-]*((?:Z|[+-]\d\d(?::?\d\d)?))$")
"""A UTC offset, or Z, after a time of day; the first group."""

_QUARTER = re.compile(r"^(\d{4})([ -]?Q)([1-4])$", re.IGNORECASE)
Kind = Literal["text", "datetime", "integer"]


@dataclass(frozen=True)
class Writing:
    """How the time stamps of a file were written.

    Attributes
    ----------
    kind : text, datetime or plain integers.
    pattern : strftime pattern of a text; "quarterQ" for 2024Q1, "quarter-Q" for 2024-Q1; "iso" for anything that pandas
        understood.
    dtype : dtype of the input column, for datetimes and integers.
    zone : time zone of a datetime column, UTC offset of a text.
    local : whether time stamps are, inside, the clock of that zone; else they are UTC. Both without a zone.
    """

    kind: Kind
    pattern: str = ""
    dtype: str = ""
    zone: str = ""
    local: bool = False

    def write(self, values: pd.Series) -> pd.Series:
        """Time stamps (naive, or integers) as the input had them; the index is kept."""
        if self.kind == "integer":
            return values.astype(np.int64)
        if self.kind == "datetime" and self.local:
            # An hour that comes twice is taken the first time; one that is left out moves to the next that exists.
            first = np.ones(len(values), dtype=bool)
            local: pd.Series = values.dt.tz_localize(self.zone, ambiguous=first, nonexistent="shift_forward")
            return local
        if self.kind == "datetime":
            return values.dt.tz_localize("UTC").dt.tz_convert(self.zone) if self.zone else values
        distinct = pd.Series(values.unique())
        if self.pattern == "iso":
            texts = distinct.map(lambda stamp: stamp.isoformat(sep=" ") + self.zone)
        elif self.pattern == "iso-t":
            texts = distinct.map(lambda stamp: stamp.isoformat() + self.zone)
        else:
            texts = _written(distinct, self.pattern)
        return values.map(dict(zip(distinct, texts, strict=True))).astype(object)


def _written(stamps: pd.Series, pattern: str) -> pd.Series:
    """Distinct time stamps as texts, in the input's pattern; where that cannot tell them (hours from a file of days,
    months from one of quarters), with what is missing appended, else year-month-day with as much of the time as needed.
    """
    texts: pd.Series
    quarters = pattern.startswith("quarter")
    if quarters and ((stamps.dt.month % 3 == 1) & _at_day_one(stamps)).all():
        between = pattern.removeprefix("quarter") or "Q"
        texts = stamps.dt.year.astype(str) + between + stamps.dt.quarter.astype(str)
        return texts
    if pattern == "year" and ((stamps.dt.month == 1) & _at_day_one(stamps)).all():
        texts = stamps.dt.year.astype(str)
        return texts
    if pattern.startswith("%G") and not pattern.endswith("%u"):
        texts = stamps.dt.strftime(pattern)
        if (pd.to_datetime(texts + "-1", format=f"{pattern}-%u", errors="coerce") == stamps).all():
            return texts
        pattern = "%Y-%m-%d"
    tried = [] if quarters or pattern == "year" else [pattern]
    if "%d" in pattern:
        present = next((k for k, part in enumerate(("%S", "%M", "%H")) if part in pattern), 3)
        more = {3: (" %H:%M", " %H:%M:%S"), 2: (":%M", ":%M:%S"), 1: (":%S",), 0: ()}[present]
        tried += [pattern + rest for rest in more]
    for one in (*tried, "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"):
        texts = stamps.dt.strftime(one)
        if (pd.to_datetime(texts, format=one, errors="coerce") == stamps).all():
            return texts
    return stamps.map(lambda stamp: stamp.isoformat(sep=" "))


def _at_day_one(stamps: pd.Series) -> pd.Series:
    first: pd.Series = (stamps.dt.day == 1) & (stamps == stamps.dt.normalize())
    return first


def read_stamps(column: pd.Series, name: str, *, freq_kind: str | None = None) -> tuple[pd.Series, Writing, list[str]]:
    """Time stamps as naive `datetime64[ns]` or as `int64`.

    With a zone or UTC offsets they become UTC, except where only the local clock is regular (midnights across a clock
    change, which are 23 or 25 hours apart) or where the offset is one throughout: then they are what that clock showed.

    Parameters
    ----------
    column : as read: text, dates, datetimes with or without zone, numbers, periods; a missing one is an error.
    freq_kind : the kind of the frequency that was asked for, when there is one: numbers such as 20240131 or 1990 stay
        plain step numbers when it is "integer".

    Returns
    -------
    values with the index of `column`, how they were written, and what had to be assumed, as sentences.

    Raises
    ------
    InvalidValue : a value is missing or is no time stamp; the message names column, value and row.
    """
    if column.isna().any():
        _refuse(column, column.isna().to_numpy(), name, "is missing")
    if isinstance(column.dtype, pd.PeriodDtype):
        return column.dt.to_timestamp().astype("datetime64[ns]"), Writing("datetime", dtype="datetime64[ns]"), []
    if pd.api.types.is_datetime64_any_dtype(column):
        zone = str(column.dt.tz) if column.dt.tz is not None else ""
        naive = column.dt.tz_convert("UTC").dt.tz_localize(None) if zone else column
        local = bool(zone) and _regular_by_clock(column.dt.tz_localize(None), naive)
        if local:
            naive = column.dt.tz_localize(None)
        return naive.astype("datetime64[ns]"), Writing("datetime", dtype=str(column.dtype), zone=zone, local=local), []
    if pd.api.types.is_bool_dtype(column):
        _refuse(column, np.ones(len(column), dtype=bool), name, "is no time stamp")
    if pd.api.types.is_numeric_dtype(column):
        return _read_numbers(column, name, freq_kind)
    return _read_text(column, name, freq_kind)


def _read_numbers(column: pd.Series, name: str, freq_kind: str | None) -> tuple[pd.Series, Writing, list[str]]:
    whole = column.to_numpy(np.float64)
    off = ~np.isfinite(whole) | (whole != np.round(whole))
    if off.any():
        _refuse(column, off, name, "is no whole step number")
    numbers = column.astype(np.int64)
    if freq_kind != "integer" and numbers.between(1800_01_01, 2200_12_31).all():
        dates = pd.to_datetime(numbers.astype(str), format="%Y%m%d", errors="coerce")
        if dates.notna().all():
            return dates.astype("datetime64[ns]"), Writing("text", "%Y%m%d"), [f"{name} was read as dates YYYYMMDD"]
    if freq_kind == "month" and numbers.between(1500, 2500).all():
        dates = pd.to_datetime(numbers.astype(str) + "-01-01", format="%Y-%m-%d")
        return dates.astype("datetime64[ns]"), Writing("text", "year"), []
    if freq_kind in ("fixed", "business") and numbers.between(10**8, 10**14).all():
        unit: Literal["s", "ms"] = "s" if numbers.max() < 10**11 else "ms"
        dates = pd.to_datetime(numbers, unit=unit)
        return (
            dates.astype("datetime64[ns]"),
            Writing("datetime", dtype="datetime64[ns]"),
            [f"{name}: Unix time in {unit}"],
        )
    return numbers, Writing("integer", dtype=str(column.dtype)), []


def _read_text(column: pd.Series, name: str, freq_kind: str | None) -> tuple[pd.Series, Writing, list[str]]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    codes, levels = pd.factorize(column)
    texts = pd.Series([str(level).strip() for level in levels], dtype=object)
    if texts.str.fullmatch(r"-?\d{1,7}|\d{8,}").all():
        return _read_numbers(pd.Series(texts.astype(np.int64).to_numpy()[codes], index=column.index), name, freq_kind)
    notes: list[str] = []
    parsed, writing = _parse_texts(texts, notes, name)
    bad = parsed.isna().to_numpy()
    if bad.any():
        _refuse(column, bad[codes], name, "is no time stamp that can be read")
    return pd.Series(parsed.to_numpy()[codes], index=column.index), writing, notes


def _parse_texts(texts: pd.Series, notes: list[str], name: str) -> tuple[pd.Series, Writing]:
    quarters = texts.str.extract(_QUARTER)
    if quarters[0].notna().all():
        months = (quarters[2].astype(int) * 3 - 2).astype(str).str.zfill(2)
        dates = pd.to_datetime(quarters[0] + "-" + months + "-01", format="%Y-%m-%d")
        return dates.astype("datetime64[ns]"), Writing("text", f"quarter{quarters[1].iloc[0]}")
    weeks = texts.str.extract(_WEEK)
    if weeks[0].notna().all() and weeks[0].nunique() == 1:
        pattern = f"%G{weeks[0].iloc[0]}W%V"
        dates = pd.to_datetime(texts.str.upper() + "-1", format=f"{pattern}-%u", errors="coerce")
        return dates.astype("datetime64[ns]"), Writing("text", pattern)
    best: tuple[int, str, pd.Series] | None = None
    sample = texts.iloc[:50]
    for pattern in _FORMATS:
        if pd.to_datetime(sample, format=pattern, errors="coerce").notna().sum() * 2 < len(sample):
            continue
        parsed = pd.to_datetime(texts, format=pattern, errors="coerce")
        count = int(parsed.notna().sum())
        if best is None or count > best[0]:
            best = (count, pattern, parsed)
        elif count == best[0] == len(texts) and _regular(parsed) > _regular(best[2]):
            # Day and month can both be read either way: take the reading that gives regular steps.
            best = (count, pattern, parsed)
    if best is not None and best[0] < len(texts) and texts.str.match(r"\d{4}-").all():
        iso = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
        if iso.notna().all():
            best = None
    if best is not None and best[0] * 2 >= len(texts):
        if best[1][:5] in ("%m/%d", "%d/%m", "%m-%d", "%d-%m"):
            notes.append(f"{name} was read as {best[1]}")
        return best[2].astype("datetime64[ns]"), Writing("text", best[1])
    aware = pd.to_datetime(texts, errors="coerce", utc=True, format="ISO8601")
    if aware.isna().any():
        loose = pd.to_datetime(texts, errors="coerce", utc=True, format="mixed")
        aware = loose if loose.notna().sum() > aware.notna().sum() else aware
    pattern = "iso-t" if texts.str.contains(r"\dT\d").all() else "iso"
    utc = aware.dt.tz_localize(None).astype("datetime64[ns]")
    offsets = texts.str.extract(OFFSET)[0]
    if not offsets.notna().any():
        return utc, Writing("text", pattern)
    if offsets.notna().all() and aware.notna().all():
        shown = [text[: -len(offset)].strip() for text, offset in zip(texts, offsets, strict=True)]
        clock = pd.to_datetime(pd.Series(shown), errors="coerce", format="mixed").astype("datetime64[ns]")
        last = str(offsets[int(np.argmax(utc.to_numpy()))])
        steady = offsets.nunique() == 1
        if steady or _regular_by_clock(clock, utc):
            if not steady:
                notes.append(
                    f"{name} has changing UTC offsets, was taken by the local clock and is written with {last}"
                )
            return clock, Writing("text", pattern, zone=last, local=True)
    if not offsets.isin(["Z", "+00:00", "+0000"]).all():
        notes.append(f"{name} has UTC offsets and is written in UTC")
    return utc, Writing("text", pattern, zone="Z" if (offsets == "Z").all() else "+00:00")


def _regular_by_clock(clock: pd.Series, utc: pd.Series) -> bool:
    """Whether the local clock shows fewer times of day than UTC does, as for local midnights across a clock change."""
    if clock.isna().any() or clock.nunique() < utc.nunique():
        return False
    return bool((clock - clock.dt.normalize()).nunique() < (utc - utc.dt.normalize()).nunique())


def _regular(stamps: pd.Series) -> float:
    """Share of the most frequent distance among sorted time stamps, in days."""
    gaps = np.diff(np.sort(stamps.to_numpy("datetime64[D]")).astype(np.int64))
    return float(np.unique(gaps, return_counts=True)[1].max() / len(gaps)) if len(gaps) else 1.0


def _refuse(column: pd.Series, bad: np.ndarray[Any, np.dtype[np.bool_]], name: str, what: str) -> None:
    row = int(np.flatnonzero(bad)[0])
    value = column.iloc[row]
    more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
    raise InvalidValue(
        f"Column {name!r}, row {row + 1}: {value!r} {what}{more}.",
        remedy="Correct or remove the row, or name another time column.",
        field=name,
        value=None if pd.isna(value) else str(value),
    )
