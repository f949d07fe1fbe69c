"""Who joins when: sign-ups respond to price, season and weekday; what a customer is like follows from the plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import (
    HISTORY_DAYS,
    LIST_PRICE,
    PLANS,
    REGIONS,
    SIGNUP_COMPETITOR_ELASTICITY,
    SIGNUP_PRICE_ELASTICITY,
    Array,
    Span,
)
from features.world.calendar import Calendar
from features.world.prices import PriceBook

ARRIVALS_PER_STOCK_DAY = 0.00158
"""New customers a day for each customer of the first day: a little more than leave."""

GROWTH_PER_YEAR = 0.25
PLAN_SHARE = np.array([0.40, 0.34, 0.20, 0.06])
REGION_SHARE = np.array([0.28, 0.22, 0.20, 0.30])
WEEKDAY_SHARE = np.array([1.20, 1.25, 1.20, 1.10, 0.95, 0.65, 0.65])
KIND_OF_PLAN = np.array([[0.80, 0.20, 0.0], [0.50, 0.48, 0.02], [0.05, 0.75, 0.20], [0.0, 0.35, 0.65]])
CHANNEL_OF_KIND = np.array([[0.62, 0.14, 0.02, 0.22], [0.38, 0.26, 0.20, 0.16], [0.06, 0.28, 0.56, 0.10]])
TERM_OF_KIND = np.array([[0.62, 0.33, 0.05], [0.42, 0.44, 0.14], [0.12, 0.48, 0.40]])
"""Shares of contracts over 1, 12 and 24 months."""


@dataclass(frozen=True)
class Customers:
    """Everybody who ever was a customer, ordered by the day of joining. All arrays are (customers,).

    Attributes
    ----------
    number : running number, the source of `customer_id`.
    signup : day offset of joining; negative for customers of the first day.
    plan, region, kind, channel, country, term : codes into the tuples of `business`.
    employees : heads, 0 for a household.
    price : EUR per month agreed when joining.
    """

    number: Array
    signup: Array
    plan: Array
    region: Array
    kind: Array
    channel: Array
    country: Array
    term: Array
    employees: Array
    price: Array

    def __len__(self) -> int:
        return len(self.number)

    def part(self, rows: slice) -> Customers:
        """A contiguous part."""
        return Customers(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def customers(total: int, span: Span, book: PriceBook, days: Calendar, rng: np.random.Generator) -> Customers:
    """Draw `total` customers: the stock of the first day, then arrivals.

    Given their number, arrivals are spread over (day, region, plan) with probability proportional to
    share × growth × season × weekday × price^ε × competitor^κ, that is, as Poisson counts conditioned on their sum.
    """
    stock = min(total - 1, max(1, round(total / (1 + ARRIVALS_PER_STOCK_DAY * span.days))))
    weight = signup_weights(span, book, days)
    flat = np.cumsum(weight.ravel())
    drawn = np.sort(np.searchsorted(flat, rng.random(total - stock) * flat[-1], side="right"))
    day, region, plan = np.unravel_index(drawn, weight.shape)

    # Tenure of the stock: long-lived customers prevail among those who are still there.
    ago = 1 + np.minimum(rng.exponential(420.0, stock), HISTORY_DAYS - 2).astype(np.int64)
    signup = np.r_[np.sort(-ago), day]
    plan = np.r_[_draw(rng, np.broadcast_to(PLAN_SHARE, (stock, 4))), plan]
    region = np.r_[_draw(rng, np.broadcast_to(REGION_SHARE, (stock, 4))), region]
    kind = _draw(rng, KIND_OF_PLAN[plan])
    term = _draw(rng, TERM_OF_KIND[kind])
    heads = np.exp(rng.normal(np.array([0.0, 3.0, 5.3])[kind], np.array([0.0, 0.9, 0.8])[kind]))
    return Customers(
        number=np.arange(1, total + 1),
        signup=signup,
        plan=plan,
        region=region,
        kind=kind,
        channel=_draw(rng, CHANNEL_OF_KIND[kind]),
        country=2 * region + (rng.random(total) < 0.4),
        term=term,
        employees=np.where(kind == 0, 0, np.maximum(1, np.round(heads))).astype(np.int64),
        price=book.shelf[plan, region, signup + HISTORY_DAYS],
    )


def signup_weights(span: Span, book: PriceBook, days: Calendar) -> Array:
    """(days, regions, plans) relative rate of sign-ups: the demand function of the truth."""
    day = np.arange(span.days)
    of_year = 2 * np.pi * ((span.epoch + day) % 365.25) / 365.25
    rate = np.exp(np.log1p(GROWTH_PER_YEAR) * day / 365.25 + 0.15 * np.cos(of_year - 0.3))
    rate *= WEEKDAY_SHARE[days.weekday] * np.where(days.holiday.mean(axis=0) > 0.5, 0.6, 1.0)
    base = LIST_PRICE[:, None, None]
    shelf = (book.shelf[:, :, HISTORY_DAYS:] / base) ** SIGNUP_PRICE_ELASTICITY
    rival = (book.competitor[:, :, HISTORY_DAYS:] / base) ** SIGNUP_COMPETITOR_ELASTICITY
    cells = PLAN_SHARE[:, None, None] * REGION_SHARE[None, :, None] * shelf * rival
    assert cells.shape == (len(PLANS), len(REGIONS), span.days)
    return np.ascontiguousarray((cells * rate).transpose(2, 1, 0))


def _draw(rng: np.random.Generator, shares: Array) -> Array:
    """One code per row of `shares`."""
    edges = np.cumsum(shares, axis=1)
    codes: Array = (rng.random((len(shares), 1)) * edges[:, -1:] >= edges[:, :-1]).sum(axis=1)
    return codes
