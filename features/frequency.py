"""The grid that the time stamps of a regular series lie on.

A grid turns time stamps into consecutive integers and back, so that finding gaps, filling them and naming the steps
ahead is integer arithmetic, the same for half-hours, business days, month ends and plain step numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from store.errors import InvalidValue

Kind = Literal["fixed", "month", "business", "integer"]
Ints = np.ndarray[Any, np.dtype[np.int64]]

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_MONTH = np.timedelta64(1, "M")
_UNITS = {
    "ns": 1, "us": 1_000, "ms": 1_000_000, "s": _SECOND, "sec": _SECOND, "t": 60 * _SECOND, "min": 60 * _SECOND,
    "minute": 60 * _SECOND, "h": 3600 * _SECOND, "hour": 3600 * _SECOND, "d": _DAY, "day": _DAY, "w": 7 * _DAY,
    "week": 7 * _DAY,
}  # fmt: skip
_MONTHS = {"m": 1, "ms": 1, "me": 1, "month": 1, "bm": 1, "bms": 1, "bme": 1, "q": 3, "qs": 3, "qe": 3, "quarter": 3}
_MONTHS |= {"bq": 3, "bqs": 3, "bqe": 3, "y": 12, "ys": 12, "ye": 12, "a": 12, "as": 12, "year": 12, "bys": 12}
_WORDS = {
    "hourly": "h", "daily": "d", "weekly": "w", "monthly": "m", "quarterly": "q", "yearly": "y", "annual": "y",
    "half-hourly": "30min",
}  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """A regular grid of time stamps.

    Attributes
    ----------
    kind : "fixed" (a constant number of nanoseconds), "month" (a number of months), "business" (Monday to Friday),
        "integer" (plain step numbers).
    step : nanoseconds, months, business days or units from one point to the next.
    anchor : fixed and integer: remainder of a point modulo `step`; month: remainder of the month count.
    day : month only: day of the month, 31 for the last one.
    offset : month and business: nanoseconds after midnight.
    """

    kind: Kind
    step: int
    anchor: int = 0
    day: int = 1
    offset: int = 0

    @property
    def alias(self) -> str:
        """A pandas-like name: "h", "30min", "D", "W", "MS", "ME", "QS", "B", "1"."""
        if self.kind == "integer":
            return str(self.step)
        if self.kind == "business":
            return "B" if self.step == 1 else f"{self.step}B"
        if self.kind == "month":
            unit, size = ("Y", 12) if self.step % 12 == 0 else ("Q", 3) if self.step % 3 == 0 else ("M", 1)
            count = self.step // size
            return f"{'' if count == 1 else count}{unit}{'E' if self.day == 31 else 'S'}"
        for name, size in (("W", 7 * _DAY), ("D", _DAY), ("h", 3600 * _SECOND), ("min", 60 * _SECOND), ("s", _SECOND)):
            if self.step % size == 0:
                count = self.step // size
                return name if count == 1 else f"{count}{name}"
        return f"{self.step}ns"

    @property
    def per_year(self) -> float:
        """Points in a year; 0 for plain step numbers."""
        return {
            "fixed": 365.25 * _DAY / self.step,
            "month": 12 / self.step,
            "business": 261 / self.step,
            "integer": 0.0,
        }[self.kind]

    def position(self, stamps: Ints) -> tuple[Ints, Ints]:
        """Place on the grid of each time stamp, and how far off the grid it lies (0 = on it).

        Parameters
        ----------
        stamps : nanoseconds since 1970 (or plain integers for an integer grid), shape (n,).

        Returns
        -------
        place and distance, each of shape (n,); distance in nanoseconds (days off, in nanoseconds, for months).
        """
        if self.kind in ("fixed", "integer"):
            place = np.round((stamps - self.anchor) / self.step).astype(np.int64)
            # Correct for the rounding of large integers to floats.
            rest = stamps - self.anchor - place * self.step
            place = place + np.floor_divide(rest + self.step // 2, self.step)
            return place, np.abs(stamps - self.anchor - place * self.step)
        days = np.floor_divide(stamps - self.offset, _DAY)
        if self.kind == "business":
            week, weekday = np.floor_divide(days + 3, 7), np.mod(days + 3, 7)
            count = week * 5 + np.minimum(weekday, 4)
            place = np.floor_divide(count - self.anchor, self.step)
            return place, np.abs(stamps - self.at(place))
        months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
        place = np.round((months - self.anchor) / self.step).astype(np.int64)
        return place, np.abs(stamps - self.at(place))

    def at(self, place: Ints) -> Ints:
        """Time stamps of places on the grid: the inverse of `position`, shape (n,)."""
        place = np.asarray(place, dtype=np.int64)
        if self.kind in ("fixed", "integer"):
            return place * self.step + self.anchor
        if self.kind == "business":
            count = place * self.step + self.anchor
            return (np.floor_divide(count, 5) * 7 + np.mod(count, 5) - 3) * _DAY + self.offset
        month = (place * self.step + self.anchor).astype("datetime64[M]")
        first = month.astype("datetime64[D]").astype(np.int64)
        last = (month + _MONTH).astype("datetime64[D]").astype(np.int64) - 1
        return np.minimum(first + self.day - 1, last) * _DAY + self.offset


def parse_frequency(freq: str | int) -> tuple[Kind, int]:
    """Kind and step of a frequency as people write it: "h", "30min", "D", "W-SUN", "MS", "QE-DEC", "B", "monthly", 1.

    Raises
    ------
    InvalidValue : the text is not a frequency.
    """
    text = str(freq).strip().lower()
    text = _WORDS.get(text, text)
    digits = len(text) - len(text.lstrip("0123456789"))
    # "W-SUN", "QE-DEC": where a week or a year ends is read off the data.
    count, unit = int(text[:digits] or 1), re.sub(r"-[a-z]{3}$", "", text[digits:].strip())
    if unit.endswith("s") and unit[:-1] in ("hour", "day", "week", "month", "quarter", "year", "minute"):
        unit = unit[:-1]
    if count > 0 and text:
        if not unit:
            return "integer", count
        # "M" is months and "min" minutes in every library; a lone "ms" is month start rather than milliseconds.
        if unit in _MONTHS:
            return "month", count * _MONTHS[unit]
        if unit == "b":
            return "business", count
        if unit in _UNITS:
            return "fixed", count * _UNITS[unit]
    raise InvalidValue(
        f"Frequency {freq!r} is not known.",
        remedy='Give one like "h", "30min", "D", "B", "W", "MS", "QS", "YS", or 1 for plain step numbers.',
        field="freq",
        value=freq,
    )


def grid_of(stamps: Ints, kind: Kind, step: int) -> Grid:
    """The grid of that kind and step that the time stamps lie on best.

    Parameters
    ----------
    stamps : sorted, distinct; nanoseconds since 1970 or plain integers, shape (n,), n ≥ 1.
    """
    if kind in ("fixed", "integer"):
        rest, counts = np.unique(np.mod(stamps, step), return_counts=True)
        return Grid(kind, step, anchor=int(rest[np.argmax(counts)]))
    offsets, counts = np.unique(np.mod(stamps, _DAY), return_counts=True)
    offset = int(offsets[np.argmax(counts)])
    days = np.floor_divide(stamps - offset, _DAY)
    if kind == "business":
        count = np.floor_divide(days + 3, 7) * 5 + np.minimum(np.mod(days + 3, 7), 4)
        rest, counts = np.unique(np.mod(count, step), return_counts=True)
        return Grid(kind, step, anchor=int(rest[np.argmax(counts)]), offset=offset)
    dates = days.astype("datetime64[D]")
    month = dates.astype("datetime64[M]")
    rest, counts = np.unique(np.mod(month.astype(np.int64), step), return_counts=True)
    anchor = int(rest[np.argmax(counts)])
    number = (dates - month.astype("datetime64[D]")).astype(np.int64) + 1
    length = ((month + _MONTH).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    at_end = bool(np.all(number >= length - 2)) and bool(np.any(number == length))
    return Grid(kind, step, anchor=anchor, day=31 if at_end else int(np.max(number)), offset=offset)


def infer_grid(stamps: Ints, *, integer: bool) -> Grid | None:
    """The grid that sorted, distinct time stamps lie on; None when fewer than three, or when no grid explains them.

    The most frequent distance names the kind; calendar months, quarters and years, whose lengths differ, are told by
    their range, and a run of days without a single weekend is taken for business days.
    """
    if len(stamps) < 3:
        return None
    gaps = np.diff(stamps)
    sizes, counts = np.unique(gaps, return_counts=True)
    # Where no distance prevails, the finest grid that holds them all.
    step = int(sizes[np.argmax(counts)]) if counts.max() * 2 >= len(gaps) else int(np.gcd.reduce(gaps))
    if integer:
        return grid_of(stamps, "integer", step)
    days = int(sizes[np.argmax(counts)]) / _DAY
    for size, low, high in ((1, 28, 31), (3, 89, 92), (6, 180, 185), (12, 365, 366)):
        if low <= days <= high and not (size == 1 and np.all(np.mod(gaps, 28 * _DAY) == 0)):
            return grid_of(stamps, "month", size)
    if step == _DAY and len(stamps) >= 10:
        weekday = np.mod(np.floor_divide(stamps, _DAY) + 3, 7)
        if not np.any(weekday >= 5):
            return grid_of(stamps, "business", 1)
    return grid_of(stamps, "fixed", step)


def default_seasons(grid: Grid) -> tuple[int, ...]:
    """Season lengths that data on this grid usually have, shortest first; empty when none is usual.

    Day, week and year for what is finer than a day (the year only where steps are at least hours), week and year for
    days, year for weeks, months and quarters.
    """
    if grid.kind == "integer":
        return ()
    if grid.kind == "business":
        return (5, 261) if grid.step == 1 else ()
    if grid.kind == "month":
        return (12 // grid.step,) if grid.step < 12 and 12 % grid.step == 0 else ()
    seasons = []
    for length in (3600 * _SECOND, _DAY, 7 * _DAY):
        if (
            length % grid.step == 0
            and length // grid.step > 1
            and (length > 3600 * _SECOND or grid.step < 60 * _SECOND)
        ):
            seasons.append(length // grid.step)
    if grid.step >= _DAY and grid.step <= 14 * _DAY:
        seasons.append(round(grid.per_year))
    return tuple(season for season in seasons if 2 <= season <= 20_000)


def stamps_of(values: pd.Series) -> Ints:
    """Nanoseconds since 1970 of a datetime column (any resolution, no time zone), or its plain integers."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return values.to_numpy("datetime64[ns]").astype(np.int64)
    return values.to_numpy(np.int64)
