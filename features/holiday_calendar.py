"""Public holidays of a country or of a part of it, as days since 1970 (the `holidays` library knows about 250)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np

from features.frequency import Grid
from store.errors import InvalidValue

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
FLAGS = ("holiday", "day before a holiday", "day after a holiday")
_DAY = 86_400 * 10**9
_EPOCH = date(1970, 1, 1).toordinal()


def check_country(code: str) -> tuple[str, str | None]:
    """Country and subdivision of "DE" or "DE-BY", in the library's spelling.

    Raises
    ------
    InvalidValue : there is no such country or subdivision; the remedy names what is close.
    """
    import holidays
    from holidays.registry import COUNTRIES

    known = holidays.list_supported_countries(include_aliases=False)
    country, _, part = (piece.strip() for piece in str(code).strip().partition("-"))
    country = country.upper()
    if country not in known:
        codes = {name.replace("_", " "): entry[1] for name, entry in COUNTRIES.items() if entry[1] in known}
        by_name = difflib.get_close_matches(str(code).lower(), list(codes), n=3, cutoff=0.6)
        by_code = difflib.get_close_matches(country, list(known), n=3, cutoff=0.5)
        close = [f"{codes[name]} ({name.title()})" for name in by_name] or by_code
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        raise InvalidValue(
            f"Holidays of country {code!r} are not known.",
            remedy=f"{hint}Give an ISO 3166 code such as DE, US or DE-BY; {len(known)} countries are known.",
            field="holidays",
            value=code,
        )
    if not part:
        return country, None
    parts = {name.upper(): name for name in known[country]}
    if part.upper() not in parts:
        close = difflib.get_close_matches(part.upper(), list(parts), n=1)
        hint = f"Did you mean {country}-{parts[close[0]]}? " if close else ""
        raise InvalidValue(
            f"Country {country} has no subdivision {part!r} with holidays of its own.",
            remedy=f"{hint}There is: {', '.join(known[country]) or 'none'}.",
            field="holidays",
            value=code,
        )
    return country, parts[part.upper()]


def holiday_days(code: str, first: int, last: int) -> Mapping[int, str]:
    """Day since 1970 → name of each public holiday from `first` to `last`, both inclusive."""
    import holidays

    country, part = check_country(code)
    years = range(date.fromordinal(first + _EPOCH).year, date.fromordinal(last + _EPOCH).year + 1)
    found = holidays.country_holidays(country, subdiv=part, years=years)
    days = {day.toordinal() - _EPOCH: str(name) for day, name in found.items()}
    return {day: days[day] for day in sorted(days) if first <= day <= last}


def days_of(stamps: Ints) -> Ints:
    """Day since 1970 of time stamps in nanoseconds, shape (n,)."""
    return np.asarray(np.floor_divide(stamps, _DAY), dtype=np.int64)


def holiday_flags(stamps: Ints, days: Mapping[int, str], grid: Grid) -> Floats:
    """1 where a time stamp falls on a holiday, on the day before one, on the day after one: shape (n, 3).

    On business days, before and after skip the weekend.
    """
    day = days_of(stamps)
    free = np.array(sorted(days), dtype=np.int64)
    if grid.kind == "business":
        dates = day.astype("datetime64[D]")
        before = np.busday_offset(dates, 1, roll="forward").astype(np.int64)
        after = np.busday_offset(dates, -1, roll="forward").astype(np.int64)
    else:
        before, after = day + 1, day - 1
    return np.column_stack([np.isin(which, free) for which in (day, before, after)]).astype(np.float64)


def check_daily(grid: Grid) -> None:
    """Raise InvalidValue unless steps are days or finer."""
    if grid.kind == "business" or (grid.kind == "fixed" and grid.step <= _DAY):
        return
    raise InvalidValue(
        f"Holidays go with days and finer steps; this is frequency {grid.alias}.",
        remedy="Leave --holidays out, or give the number of holidays in each step as a column of its own (--exog).",
        field="holidays",
    )
