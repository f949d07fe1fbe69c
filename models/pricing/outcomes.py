"""What came of a price that was set: earned beside expected, at this price and at the one before."""

from __future__ import annotations

from typing import Any

import pandas as pd

from models.pricing.advice import Interval, plain
from models.pricing.model import PricingModel


def measured(
    model: PricingModel,
    product: str,
    segment: str | None,
    *,
    price: float,
    before: float,
    observed: pd.DataFrame,
    level: float,
) -> dict[str, Any]:
    """Realised against expected revenue, and what was gained over the price before; JSON-ready.

    The gain is what was earned less what the model expects of the price before on the same days. Its interval is that
    of the expectation: what was earned is known.

    Parameters
    ----------
    model : the version that recommended the price: a later one has learned from the days it would have to foretell.
    price, before : as implemented, and the one it replaced.
    observed : `date` and `quantity`, one row a day.
    level : of the intervals.

    Returns
    -------
    The fields of `Realised`, and `gained_revenue` (value, low, high), `first_day`, `last_day`, `learned_days`: how many
    of the days the model had learned from, so that it foretold nothing of them.

    Raises
    ------
    UnknownEntity, MissingColumn, InvalidValue, EmptyData : see `PricingModel.realised`.
    """
    found = model.realised(product, segment, price, observed, level=level)
    unchanged = model.realised(product, segment, before, observed, level=level).expected_revenue
    gained = Interval(found.revenue - unchanged.value, found.revenue - unchanged.high, found.revenue - unchanged.low)
    days = pd.to_datetime(observed["date"])
    learned = 0 if model.market is None else int((days < pd.Timestamp(model.market.start)).sum())
    body: dict[str, Any] = plain(found)
    if body["details"].get("elasticity") is None:
        # Of an experiment: what it is compared with must be said.
        body["details"]["note"] = "what a price does was not known: expected as if it made no difference"
    return {
        **body,
        "gained_revenue": plain(gained),
        "first_day": days.min().date().isoformat(),
        "last_day": days.max().date().isoformat(),
        "learned_days": learned,
    }
