"""What is asked of a pricing model and what it answers. Nothing here computes; see `models.pricing.model`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date
from typing import Any, Literal

Objective = Literal["margin", "revenue"]


@dataclass(frozen=True)
class Interval:
    """A number between two others, at the level its owner states."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Elasticity:
    """By how many percent the quantity changes when a price rises by one percent.

    Attributes
    ----------
    product : whose quantity; None for all products together.
    segment : within this group only; None for all of them.
    of : whose price: "own", "competitor", or another product.
    value, low, high : NaN where it cannot be estimated.
    level : of the interval, e.g. 0.9.
    method : how it was estimated: "double_ml" (cross-fitted), "instruments" (the same with instruments),
        "fixed_effects" (nothing to cross-fit besides panel effects), "pooled" (a segment's own estimate, shrunk towards
        its siblings').
    rows, price_levels : what it rests on: observations, and different prices among them.
    identified : whether it may be acted upon; `reason` says why not.
    """

    product: str | None
    segment: str | None
    of: str
    value: float
    low: float
    high: float
    standard_error: float
    level: float
    method: str
    rows: int
    price_levels: int
    identified: bool
    reason: str = ""


@dataclass(frozen=True)
class Constraints:
    """What a recommended price must respect. None: no such limit.

    Attributes
    ----------
    floor, ceiling : lowest and highest price.
    max_change : largest relative step from the current price, e.g. 0.1.
    min_margin : smallest share of the price left after the unit cost, e.g. 0.3; needs `unit_cost`.
    fairness : largest ratio of the highest to the lowest price among the segments of a product, e.g. 1.25.
    """

    floor: float | None = None
    ceiling: float | None = None
    max_change: float | None = 0.1
    min_margin: float | None = None
    fairness: float | None = None


@dataclass(frozen=True)
class Question:
    """Which price to ask for a product, from where it is now.

    Attributes
    ----------
    segment : one of the product's segments; None for all of them: one relative step for all, or, where
        `constraints.fairness` is given, a price for each, solved jointly. `Advice.segments` lists them.
    current_price : None: the last one seen in the data (of several segments: their mean, weighted by quantity).
    unit_cost : variable cost of one unit; 0 makes margin and revenue the same.
    competitor_price : None: the last one seen.
    horizon_days : over which quantity, revenue and margin are added up.
    level : of the intervals.
    """

    product: str
    segment: str | None = None
    current_price: float | None = None
    unit_cost: float = 0.0
    competitor_price: float | None = None
    objective: Objective = "margin"
    constraints: Constraints = field(default_factory=Constraints)
    horizon_days: int = 90
    level: float = 0.9


@dataclass(frozen=True)
class Outlook:
    """What a price is expected to bring over a horizon."""

    price: float
    quantity: Interval
    revenue: Interval
    margin: Interval


@dataclass(frozen=True)
class SegmentPrice:
    """What a recommendation for a whole product means for one of its segments.

    Attributes
    ----------
    quantity : expected at `price` over the horizon.
    advised : False where the segment's own elasticity is not identified: its price then stays.
    """

    segment: str
    current_price: float
    price: float
    quantity: float
    advised: bool = True


@dataclass(frozen=True)
class Advice:
    """The answer to a `Question`.

    Attributes
    ----------
    advised : whether a price is recommended. If not, `reason` begins with "cannot advise, because" and `experiment`
        says what would settle it.
    price : the recommended one; the current one where none is. Of several segments: their mean, weighted by quantity.
    now, then : expected at the current and at the recommended price; `then` is None where nothing is advised.
    gain_revenue, gain_margin : difference of the two over the horizon, with its own interval (the two outlooks share
        their errors).
    binding : the constraints without which the price would be another.
    position : price relative to the competitor's, e.g. 0.93; None where no competitor's price is known.
    segments : the price of each segment, where `question.segment` is None and the data know segments.
    """

    question: Question
    advised: bool
    reason: str
    current_price: float
    price: float
    elasticity: Elasticity
    experiment: str = ""
    now: Outlook | None = None
    then: Outlook | None = None
    gain_revenue: Interval | None = None
    gain_margin: Interval | None = None
    binding: tuple[str, ...] = ()
    position: float | None = None
    segments: tuple[SegmentPrice, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """Prices to play through. What is not named stays as last seen.

    Attributes
    ----------
    prices, competitor_prices : product, or "product/segment", → price.
    unit_costs : product → variable cost of a unit.
    horizon_days : from the day after the last one in the data.
    """

    prices: Mapping[str, float] = field(default_factory=dict)
    competitor_prices: Mapping[str, float] = field(default_factory=dict)
    unit_costs: Mapping[str, float] = field(default_factory=dict)
    horizon_days: int = 90
    level: float = 0.9


@dataclass(frozen=True)
class SimulatedPeriod:
    """One product in one period of a scenario, beside the same period with nothing changed."""

    product: str
    segment: str | None
    start: date
    days: int
    price: float
    quantity: Interval
    revenue: Interval
    margin: Interval
    quantity_unchanged: float
    revenue_unchanged: float


@dataclass(frozen=True)
class Standing:
    """Where a product stands among its competitors."""

    product: str
    segment: str | None
    price: float
    competitor_price: float
    ratio: float
    cross_elasticity: Elasticity


@dataclass(frozen=True)
class Realised:
    """What came of an implemented price, beside what was expected for the same days.

    Attributes
    ----------
    verdict : "as expected" within the interval, else "above" or "below".
    """

    days: int
    quantity: float
    revenue: float
    expected_revenue: Interval
    verdict: Literal["above", "as expected", "below"]
    details: Mapping[str, Any] = field(default_factory=dict)


def plain(value: Any) -> Any:
    """Any of these dataclasses, or a container of them, JSON-ready: dates as ISO text, NaN as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
