"""Public holidays: days on which a business is usually not as usual."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any

import numpy as np

from features.frequency import Grid
from features.holiday_calendar import check_country, check_daily, holiday_days

_DAY = 86_400 * 10**9
_EPOCH = date(1970, 1, 1).toordinal()
_FEW = 4  # holidays below which nothing is known about them
MEMORY = 120


def checked(countries: Sequence[str], grid: Grid) -> tuple[str, ...]:
    """The countries as they were given.

    Raises
    ------
    InvalidValue : a country is not known, or the grid is coarser than days.
    """
    for country in countries:
        check_country(country)
    if countries:
        check_daily(grid)
    return tuple(countries)


def share(countries: tuple[str, ...], stamp: int) -> float:
    """Share of the countries in which a time stamp falls on a holiday, 0 – 1."""
    day = stamp // _DAY
    return _of_year(countries, date.fromordinal(day + _EPOCH).year).get(day, 0.0)


@lru_cache(maxsize=256)
def _of_year(countries: tuple[str, ...], year: int) -> dict[int, float]:
    first, last = (date(year, *ends).toordinal() - _EPOCH for ends in ((1, 1), (12, 31)))
    found: dict[int, float] = {}
    for country in countries:
        for day in holiday_days(country, first, last):
            found[day] = found.get(day, 0.0) + 1.0 / len(countries)
    return found


def beyond(residual: float, free: float, past: Sequence[tuple[float, float]]) -> float:
    """What of a holiday's residual past holidays do not explain.

    Anything between no effect and the effects of most holidays before (10th to 90th percentile, in proportion to the
    share of countries that have the day off) is usual.

    Parameters
    ----------
    past : share and residual of the holidays before.
    """
    if len(past) < _FEW:
        return residual
    effects: np.ndarray[Any, np.dtype[np.float64]] = np.array([one / part for part, one in past])
    low, high = np.percentile(effects, [10, 90]) * free
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    return residual - min(max(residual, low), high)
