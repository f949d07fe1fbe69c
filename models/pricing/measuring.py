"""Implemented prices measured by the platform's own sign-ups, once they have held for long enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pandas as pd

from models.pricing.model import PricingModel
from models.pricing.outcomes import measured
from store import recommendations
from store.errors import DataError, RegistryError, StateConflict, UnknownEntity
from store.recommendations import Recommendation
from store.registry import Registry
from store.settings import Settings

SAME_PRICE = 0.01
"""Relative difference up to which the price in the tables is the implemented one."""


@dataclass(frozen=True)
class Measurement:
    """What became of one implemented recommendation.

    Attributes
    ----------
    days : on which the implemented price stood in the tables.
    verdict : "above", "as expected", "below"; "" where it was not measured, and `note` says why.
    """

    id: str
    product: str
    segment: str | None
    days: int
    verdict: str = ""
    note: str = ""


def implemented(settings: Settings, name: str) -> list[Recommendation]:
    """Every recommendation of a model that was implemented and not measured, the newest first."""
    found: list[Recommendation] = []
    cursor = None
    while True:
        page = recommendations.page(settings, model=name, state="implemented", limit=1000, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def measure_all(
    settings: Settings, name: str, daily: pd.DataFrame, *, days: int | None = None, by: str | None = None
) -> list[Measurement]:
    """Measure each implemented recommendation whose days are over; it happens once to each.

    The version that recommended a price is asked what it expected, whoever is champion now.

    Parameters
    ----------
    daily : `features.views.demand.demand_frame(snapshot, every="day")`.
    days : that the price must have held for; the horizon that was asked for by default.
    """
    registry = Registry(settings)

    @cache
    def version(number: int) -> PricingModel:
        return PricingModel.load(registry.fetch(name, number))

    return [_measure(settings, version, found, daily, days, by) for found in implemented(settings, name)]


def sold(daily: pd.DataFrame, found: Recommendation) -> pd.DataFrame:
    """Sign-ups on the days on which the implemented price stood in the tables.

    A day counts where the mean price over the segments in question lies within a percent of the implemented one: an
    experiment or another change of price in between would be taken for its effect.

    Returns
    -------
    `date` (datetime64) and `quantity` (float64), one row a day, in order.
    """
    assert found.implemented is not None
    price = float(found.implemented["price"])
    parts = found.advice.get("segments") or []
    if parts:
        # The price of several segments is told as a mean weighted by quantity; here all weigh the same.
        price *= sum(one["price"] for one in parts) / len(parts) / float(found.advice["price"])
    mine = daily[(daily["plan"] == found.product) & (daily["day"] >= pd.Timestamp(found.implemented["at"]))]
    if found.segment is not None:
        mine = mine[mine["region"] == found.segment]
    by_day = mine.groupby("day").agg(price=("price", "mean"), quantity=("quantity", "sum"))
    held = by_day[(by_day["price"] / price - 1).abs() <= SAME_PRICE]
    return held["quantity"].rename_axis("date").reset_index()


def _measure(
    settings: Settings,
    version: Callable[[int], PricingModel],
    found: Recommendation,
    daily: pd.DataFrame,
    days: int | None,
    by: str | None,
) -> Measurement:
    assert found.implemented is not None
    observed = sold(daily, found)
    wanted = days or int(found.request["horizon_days"])

    def left(note: str) -> Measurement:
        return Measurement(found.id, found.product, found.segment, len(observed), note=note)

    if len(observed) < wanted:
        at = f"{found.implemented['price']:g} from {found.implemented['at']}"
        return left(f"the tables know {len(observed)} of {wanted} days at {at}")
    try:
        outcome = measured(
            version(found.version),
            found.product,
            found.segment,
            price=float(found.implemented["price"]),
            before=float(found.advice["current_price"]),
            observed=observed.head(wanted),
            level=float(found.request["level"]),
        )
        recommendations.measure(settings, found.id, outcome, by=by)
    except (DataError, RegistryError, UnknownEntity, StateConflict) as error:
        return left(error.message)
    return Measurement(found.id, found.product, found.segment, outcome["days"], outcome["verdict"])
