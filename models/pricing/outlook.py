"""The market as it stands at the end of the data: last prices, and what the demand models expect at them."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from models.pricing.market import WEEKS_AHEAD, WEEKS_BACK, Cell, Market
from models.pricing.members import Demand
from models.pricing.panel import EPOCH, Floats, Panel

RECENT_DAYS = 60.0
ROWS_AT_ONCE = 500_000


def market_of(panel: Panel, demand: Demand) -> Market:
    """Cells with their last prices and a year of expected rates.

    The level is asked of the demand models at the prices last seen, with controls as they usually were of late; places
    that sold nothing in the last 60 days, or the last four periods where that is longer, are taken as closed.
    """
    places = _last_of_places(panel)
    if panel.day is not None:
        recent = max(RECENT_DAYS, 4 * float(panel.length.max()))
        alive = places["day"] >= float(panel.day.max()) - recent
        # A cell whose every place is closed is still spoken of: as it was last.
        lasting = places.groupby("market")["day"].transform("max") == places["day"]
        gone = ~places.groupby("market")["day"].transform("max").ge(float(panel.day.max()) - recent)
        places = places[alive | (gone & lasting)].reset_index(drop=True)
    rates = _rates(panel, places, demand)
    seen = pd.DataFrame({"market": panel.market_code, "price": panel.price}).groupby("market")["price"]
    lowest, highest = seen.min(), seen.max()
    cells = []
    for code, part in places.groupby("market", sort=True):
        weights = rates[part.index].mean(axis=1)
        cells.append(
            Cell(
                product=str(part["product"].iloc[0]),
                segment=str(part["segment"].iloc[0]) or None,
                price=_weighted(part["price"], weights) or float(part["price"].iloc[0]),
                competitor=_weighted(part["competitor"], weights),
                unit_cost=_weighted(part["cost"], weights),
                lowest=float(lowest[code]),
                highest=float(highest[code]),
                rates=rates[part.index].sum(axis=0),
            )
        )
    cells.sort(key=lambda cell: (cell.product, cell.segment or ""))
    return Market(tuple(cells), panel.start, demand.noise.dispersion, demand.noise.level_spread)


def _last_of_places(panel: Panel) -> pd.DataFrame:
    """One row per place, in the order of `Panel.place`: its last day, and the last price, competitor's price and cost
    that were known."""
    rows = len(panel)
    frame = pd.DataFrame(
        {
            "place": panel.place,
            "market": panel.market_code,
            "product": panel.product,
            "segment": panel.segment,
            "group": panel.group,
            "day": np.zeros(rows) if panel.day is None else panel.day,
            "price": panel.price,
            "competitor": np.full(rows, np.nan) if panel.competitor is None else panel.competitor,
            "cost": np.full(rows, np.nan) if panel.cost is None else panel.cost,
        }
    )
    if panel.day is None:
        # Without time no price is the last one: the usual one stands in.
        frame["price"] = frame.groupby("place")["price"].transform("median")
    ordered = frame.sort_values(["place", "day"], kind="stable")
    return ordered.groupby("place", sort=True).last().reset_index()


def _rates(panel: Panel, places: pd.DataFrame, demand: Demand) -> Floats:
    """Expected quantity a day, shape (places, weeks)."""
    weeks = WEEKS_BACK + WEEKS_AHEAD
    first = (panel.start - EPOCH - timedelta(weeks=WEEKS_BACK)).days
    timeless = panel.day is None
    count = 1 if timeless else weeks
    # Beyond the last day numbered periods go on like dated ones.
    begin = first if panel.dated else float(panel.start.toordinal() - EPOCH.toordinal()) - 7 * WEEKS_BACK
    found = np.empty((len(places), count))
    at_once = max(1, ROWS_AT_ONCE // count)
    usual = {control.name: control.usual for control in demand.encoder.controls}
    for low in range(0, len(places), at_once):
        part = places.iloc[low : low + at_once]
        rows = len(part) * count

        def spread(values: pd.Series, count: int = count) -> np.ndarray:
            return np.repeat(values.to_numpy(), count)

        competitor = spread(part["competitor"])
        asked = Panel(
            product=spread(part["product"]),
            segment=spread(part["segment"]),
            group=spread(part["group"]),
            day=None if timeless else np.tile(begin + 7.0 * np.arange(count), len(part)),
            length=np.full(rows, float(np.median(panel.length)) if timeless else 7.0),
            price=spread(part["price"]),
            quantity=np.zeros(rows),
            competitor=None if np.isnan(competitor).all() else competitor,
            cost=None,
            controls=pd.DataFrame({name: [value] * rows for name, value in usual.items()}, index=range(rows)),
            instruments=np.empty((rows, 0)),
            dated=panel.dated,
        )
        found[low : low + at_once] = (demand.mean(asked) / asked.length).reshape(len(part), count)
    return np.repeat(found, weeks, axis=1) if timeless else found


def _weighted(values: pd.Series, weights: Floats) -> float | None:
    """Mean of what is known, weighted by quantity; None where nothing is."""
    known = values.notna().to_numpy()
    if not known.any():
        return None
    if known.sum() == 1:
        return float(values[known].iloc[0])
    return float(np.average(values[known], weights=np.maximum(weights[known], 1e-12)))
