"""What the simulated business sells, where, and the constants of nature that its truth file states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

PLANS = ("basic", "plus", "pro", "enterprise")
REGIONS = ("north", "south", "east", "west")
KINDS = ("household", "business", "industrial")
CHANNELS = ("web", "partner", "sales", "referral")
CONTRACT_MONTHS = (1, 12, 24)
COUNTRIES = ("DK", "SE", "ES", "IT", "PL", "CZ", "DE", "NL")
"""Two per region, in the order of `REGIONS`: country c lies in region c // 2."""

LIST_PRICE = np.array([19.0, 49.0, 149.0, 690.0])
"""EUR per month of each plan on the first day of the price history."""

SIGNUP_PRICE_ELASTICITY = -1.4
"""Sign-ups of a plan in a region are proportional to its price to this power."""

SIGNUP_COMPETITOR_ELASTICITY = 0.6
"""… and to the competitor's price to this power."""

USAGE_PRICE_ELASTICITY = -0.4
"""API calls of a customer are proportional to the price paid, relative to `LIST_PRICE`, to this power."""

HISTORY_DAYS = 1096
"""Customers of the first day joined, and prices are known, up to this many days before it."""

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Span:
    """The days that are simulated. Day 0 is `start`; days before it are negative.

    Attributes
    ----------
    start : first day.
    days : number of days.
    """

    start: date
    days: int

    @property
    def end(self) -> date:
        """Last day."""
        return self.start + timedelta(days=self.days - 1)

    @property
    def as_of(self) -> datetime:
        """The morning after the last day: nothing that is recorded later exists yet."""
        return datetime.combine(self.end + timedelta(days=1), time(6))

    @property
    def epoch(self) -> int:
        """Days from 1970-01-01 to `start`."""
        return (self.start - date(1970, 1, 1)).days

    @property
    def as_of_microseconds(self) -> int:
        return (self.epoch + self.days) * MICROSECONDS_PER_DAY + 6 * 3_600_000_000

    def dates(self, offsets: Array) -> Array:
        """Day offsets → datetime64[D]."""
        return (offsets.astype(np.int64) + self.epoch).astype("datetime64[D]")

    def offsets(self, dates: Array) -> Array:
        """datetime64[D] → day offsets (int64)."""
        return dates.astype("datetime64[D]").astype(np.int64) - self.epoch

    def stamps(self, offsets: Array, hours: float | Array = 0.0) -> Array:
        """Day offsets and an hour of the day → microseconds since 1970 (int64), to the second."""
        seconds = np.round(np.asarray(hours, dtype=np.float64) * 3600).astype(np.int64)
        return (offsets.astype(np.int64) + self.epoch) * MICROSECONDS_PER_DAY + seconds * 1_000_000


def add_months(dates: Array, months: Array) -> Array:
    """datetime64[D] plus calendar months; the 31st becomes the last day of a shorter month, as in SQL."""
    month = dates.astype("datetime64[M]")
    day = (dates - month.astype("datetime64[D]")).astype(np.int64)
    target = month + months.astype("timedelta64[M]")
    last = ((target + np.timedelta64(1, "M")).astype("datetime64[D]") - target.astype("datetime64[D]")).astype(
        np.int64
    ) - 1
    result: Array = target.astype("datetime64[D]") + np.minimum(day, last).astype("timedelta64[D]")
    return result
