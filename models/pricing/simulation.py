"""Playing prices through, where a product stands among its competitors, and what came of a price."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd

from features.parsing import as_times
from models.pricing.advice import Elasticity, Realised, Scenario, SimulatedPeriod, Standing
from models.pricing.advising import Known
from models.pricing.draws import Sale, draw, interval, outlook, response
from models.pricing.market import Cell
from models.pricing.optimum import BEYOND_SEEN
from store.errors import EmptyData, InvalidValue, MissingColumn, UnknownEntity


def simulate(known: Known, scenario: Scenario) -> list[SimulatedPeriod]:
    """Each product that the scenario touches, segment by segment, in weeks, or in months beyond 92 days.

    A product is touched where it is named, or where its demand is known to follow the price of one that is. An empty
    scenario shows every product with nothing changed.

    Raises
    ------
    UnknownEntity : a name is neither a product nor "product/segment".
    InvalidValue : an impossible number, or a new price for a product whose price never varied.
    """
    cells = known.market.cells
    prices = _assigned(known, scenario.prices, "prices")
    rivals = _assigned(known, scenario.competitor_prices, "competitor_prices")
    costs = _assigned(known, scenario.unit_costs, "unit_costs", zero=True)
    if not 0.5 <= scenario.level < 1.0:
        raise InvalidValue(
            f"level = {scenario.level!r} lies outside 0.5 to 1.", remedy="Give a level such as 0.9.", field="level"
        )
    named = {cells[at].product for at in (*prices, *rivals, *costs)}
    moved = {cells[at].product for at in prices}
    crossing = {
        product for (product, _, of), one in known.elasticities.items() if product and of in moved and one.identified
    }
    touched = named | crossing or set(known.market.products)
    periods = list(known.market.periods(scenario.horizon_days))
    found = []
    for at, cell in enumerate(cells):
        if cell.product not in touched:
            continue
        price = prices.get(at, cell.price)
        own = known.own(cell.product, cell.segment)
        if price != cell.price and not np.isfinite(own.value):
            raise InvalidValue(
                f"A price of {price:g} for {cell.name} cannot be simulated, because {own.reason}.",
                remedy="Leave it as it is, or vary it in an experiment first.",
                field=f"prices.{cell.name}",
                value=price,
            )
        rival = rivals.get(at)
        ratio = rival / cell.competitor if rival is not None and cell.competitor else 1.0
        cost = costs.get(at, cell.unit_cost or 0.0)
        crossed = _crossed(known, cell, prices)
        for days in periods:
            base = known.market.expected(cell, days)
            sale = Sale(base * crossed, price, cost, price / cell.price, own, ratio, known.rival(cell.product))
            seen = outlook(price, draw(known.market, [sale]), scenario.level)
            found.append(
                SimulatedPeriod(
                    product=cell.product,
                    segment=cell.segment,
                    start=days[0],
                    days=len(days),
                    price=price,
                    quantity=seen.quantity,
                    revenue=seen.revenue,
                    margin=seen.margin,
                    quantity_unchanged=base,
                    revenue_unchanged=base * cell.price,
                )
            )
    return found


def standings(known: Known) -> list[Standing]:
    """Every cell whose competitor's price is known, the relatively dearest first."""
    found = []
    for cell in known.market.cells:
        cross = known.elasticities.get((cell.product, None, "competitor"))
        if cell.competitor is None or cross is None:
            continue
        ratio = cell.price / cell.competitor
        found.append(Standing(cell.product, cell.segment, cell.price, cell.competitor, ratio, cross))
    return sorted(found, key=lambda one: (-one.ratio, one.product, one.segment or ""))


def realised(
    known: Known,
    product: str,
    segment: str | None,
    price: float,
    observed: pd.DataFrame,
    *,
    competitor_price: float | None = None,
    level: float = 0.9,
) -> Realised:
    """What was sold at an implemented price, beside what was expected for the same days at that price.

    Parameters
    ----------
    price : the one implemented; for a product with several segments they keep their relation to each other.
    observed : `date` and `quantity`, any number of rows a day; a day without a row was not observed.

    Raises
    ------
    UnknownEntity : the model knows no such product or segment.
    MissingColumn, InvalidValue, EmptyData : `observed` does not fit, or holds days that the model does not speak of.
    """
    if not (np.isfinite(price) and price > 0):
        raise InvalidValue(f"price = {price!r} is no price.", remedy="Give a positive number.", field="price")
    cells = known.market.select(product, segment)
    days, sold = _observed(observed)
    bases = [known.market.expected(cell, days) for cell in cells]
    last = float(np.average([cell.price for cell in cells], weights=bases if sum(bases) > 0 else None))
    own, rival = known.own(product, segment), known.rival(product)
    sales = []
    for cell, base in zip(cells, bases, strict=True):
        asked = price if len(cells) == 1 else cell.price * price / last
        ratio = competitor_price / cell.competitor if competitor_price is not None and cell.competitor else 1.0
        sales.append(Sale(base, asked, 0.0, asked / cell.price, own, ratio, rival))
    drawn = draw(known.market, sales)
    expected = outlook(price, drawn, level)
    revenue = sold * price
    # Revenue at one price: the interval of the quantity times that price.
    between = interval(expected.quantity.value * price, drawn.quantity[2] * price, level, least=0.0)
    verdict: Literal["above", "as expected", "below"] = "as expected"
    if revenue > between.high:
        verdict = "above"
    elif revenue < between.low:
        verdict = "below"
    details = {
        "expected_quantity": expected.quantity.value,
        "from": days[0].isoformat(),
        "to": days[-1].isoformat(),
        "elasticity": own.value if np.isfinite(own.value) else None,
        "unchanged_quantity": float(sum(bases)),
        "unchanged_revenue": float(sum(base * cell.price for base, cell in zip(bases, cells, strict=True))),
        "level": level,
    }
    return Realised(len(days), sold, revenue, between, verdict, details)


def _observed(observed: pd.DataFrame) -> tuple[tuple[date, ...], float]:
    for name in ("date", "quantity"):
        if name not in observed.columns:
            raise MissingColumn(
                f"The observations have no column {name!r}.", remedy="Send date and quantity for each day.", field=name
            )
    if not len(observed):
        raise EmptyData("There are no observations.", remedy="Send at least one day.", field="observed")
    moments = as_times(observed["date"])
    if moments.isna().any():
        at = int(np.flatnonzero(moments.isna().to_numpy())[0])
        raise InvalidValue(
            f"{observed['date'].iloc[at]!r} in row {at + 1} is no date.",
            remedy="Write dates as 2026-03-01.",
            field="date",
            value=str(observed["date"].iloc[at]),
        )
    quantity = pd.to_numeric(observed["quantity"], errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~np.isfinite(quantity) | (quantity < 0)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise InvalidValue(
            f"{observed['quantity'].iloc[at]!r} in row {at + 1} is no quantity.",
            remedy="Give numbers of at least 0.",
            field="quantity",
            value=str(observed["quantity"].iloc[at]),
        )
    return tuple(sorted(set(moments.dt.date))), float(quantity.sum())


def _assigned(known: Known, given: Mapping[str, float], field: str, *, zero: bool = False) -> dict[int, float]:
    """Position of the cell → number; "product/segment" goes before "product"."""
    cells = known.market.cells
    by_name = {cell.name: at for at, cell in enumerate(cells)}
    found: dict[int, float] = {}
    exact: set[int] = set()
    for name, value in given.items():
        if not np.isfinite(value) or value < 0 or (value == 0 and not zero):
            raise InvalidValue(
                f"{field}.{name} = {value!r} is not {'a cost' if zero else 'a price'}.",
                remedy=f"Give a {'number of at least 0' if zero else 'positive number'}.",
                field=f"{field}.{name}",
                value=value,
            )
        if name in by_name:
            found[by_name[name]] = float(value)
            exact.add(by_name[name])
        elif name in known.market.products:
            for at, cell in enumerate(cells):
                if cell.product == name and at not in exact:
                    found[at] = float(value)
        else:
            raise UnknownEntity(
                f"The model knows no {name!r}.",
                remedy=f"Name a product or product/segment, such as {cells[0].name!r}.",
                field=f"{field}.{name}",
                value=name,
            )
    if field == "prices":
        for at, value in found.items():
            low, high = cells[at].lowest * (1 - BEYOND_SEEN), cells[at].highest * (1 + BEYOND_SEEN)
            if not 0.5 * low <= value <= 2.0 * high:
                raise InvalidValue(
                    f"A price of {value:g} for {cells[at].name} lies far outside the prices in the data, "
                    f"{cells[at].lowest:.4g} to {cells[at].highest:.4g}.",
                    remedy="Nothing is known about demand there; choose a price nearer to them.",
                    field=f"prices.{cells[at].name}",
                    value=value,
                )
    return found


def _crossed(known: Known, cell: Cell, prices: Mapping[int, float]) -> float:
    """Factor on the demand of a cell from new prices of other products, where a cross elasticity is identified."""
    factor = 1.0
    for at, price in prices.items():
        other = known.market.cells[at]
        same_place = other.segment == cell.segment or other.segment is None
        if other.product == cell.product or not same_place:
            continue
        cross: Elasticity | None = known.elasticities.get((cell.product, None, other.product))
        if cross is not None and cross.identified:
            factor *= response(price / other.price, cross)
    return factor
