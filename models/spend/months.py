"""What a day or a month will have cost: what was spent so far and what may still come, path by path."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np

from models.forecasting.model import Floats

DRAWS = 2_000  # a probability is known to about one point


@dataclass(frozen=True)
class Month:
    """A month's bill in dollars.

    Attributes
    ----------
    month : 2026-11.
    spent : so far; 0 for one that has not begun.
    expected, low, high : by its end, or by the end of what is forecast where that comes first; the ends of an interval.
    whole : whether the forecast reaches its end.
    """

    month: str
    spent: float
    expected: float
    low: float
    high: float
    whole: bool


def still_to_come(draws: Floats, today: float) -> Floats:
    """Draws of daily spending with what is spent today already: today cannot become less than that.

    Parameters
    ----------
    draws : shape (count, days), today first.
    today : dollars spent today so far.
    """
    left = draws.copy()
    left[:, 0] = np.maximum(left[:, 0], today)
    return left


def running_sums(draws: Floats, days: Sequence[datetime], before: float) -> list[tuple[str, Floats]]:
    """Dollars since the first of the month after each day, month by month.

    Parameters
    ----------
    draws : from today on, shape (count, days).
    days : the days, in order.
    before : dollars spent this month before today.

    Returns
    -------
    Month and sums of shape (count, days of the month that are forecast), in order.
    """
    found = []
    place, begun = 0, before
    for month, members in groupby(days, key=lambda day: f"{day:%Y-%m}"):
        length = len(list(members))
        found.append((month, begun + np.cumsum(draws[:, place : place + length], axis=1)))
        place, begun = place + length, 0.0
    return found


def months_of(
    draws: Floats, days: Sequence[datetime], before: float, today: float, level: float = 80
) -> tuple[Month, ...]:
    """What each month will have cost.

    Parameters
    ----------
    draws, days, before : as in `running_sums`; `draws` as `still_to_come` gives them.
    today : dollars spent today so far.
    level : of the interval, in percent.
    """
    tails = [50 - level / 2, 50 + level / 2]
    found = []
    for place, (month, sums) in enumerate(running_sums(draws, days, before)):
        low, high = np.percentile(sums[:, -1], tails)
        spent = before + today if place == 0 else 0.0
        left = monthrange(*map(int, month.split("-")))[1] - (days[0].day - 1 if place == 0 else 0)
        whole = sums.shape[1] == left
        found.append(Month(month, spent, float(sums[:, -1].mean()), float(low), float(high), whole))
    return tuple(found)


def forecast_whole(month: str, sums: Floats) -> bool:
    """Whether every day of a month is forecast."""
    return bool(sums.shape[1] == monthrange(*map(int, month.split("-")))[1])
