"""Quantity, revenue and margin of a price with their uncertainty, by the same draws for every price.

The level comes from the demand models: expected quantity at the price last seen. The response to another price comes
from the causal elasticity alone, never from the demand models, whose price slope is a correlation:

    Q(p) = M · (p / p₀)^ε · (c / c₀)^κ · exp(σ z₁ − σ²/2) + √(φ M') z₂

with ε and κ drawn from their estimates, σ the spread of the level and φ the dispersion around it. Draws are the same
quantiles of the normal distribution each time, so that the same question has the same answer, and two prices share
their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.pricing.advice import Elasticity, Interval, Outlook
from models.pricing.market import Market

DRAWS = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sale:
    """One cell at one price over some days.

    Attributes
    ----------
    base : expected quantity at the prices last seen.
    ratio, rival_ratio : price and competitor's price over those last seen.
    """

    base: float
    price: float
    unit_cost: float
    ratio: float
    own: Elasticity | None
    rival_ratio: float = 1.0
    rival: Elasticity | None = None


@dataclass(frozen=True)
class Drawn:
    """Sums over cells: expected values and draws, with the noise of single outcomes or without.

    Attributes
    ----------
    quantity, revenue, margin : (expected, draws without noise, draws with noise).
    """

    quantity: tuple[float, Floats, Floats]
    revenue: tuple[float, Floats, Floats]
    margin: tuple[float, Floats, Floats]


@lru_cache(maxsize=1)
def normals() -> Floats:
    """Four columns of standard normal draws, shape (DRAWS, 4), each the quantiles of the distribution, shuffled."""
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(DRAWS) + 0.5) / DRAWS)
    rng = np.random.default_rng(20_240_229)
    return np.column_stack([rng.permutation(quantiles) for _ in range(4)])


def draw(market: Market, sales: Sequence[Sale]) -> Drawn:
    """Add up some sales.

    Cells share the draw of the elasticity and of the level: their estimates come from the same rows, and a year that
    goes badly goes badly everywhere. Only the noise of single outcomes averages out.
    """
    z = normals()
    level = np.exp(market.level_spread * z[:, 0] - market.level_spread**2 / 2)
    names = ("quantity", "revenue", "margin")
    means = dict.fromkeys(names, 0.0)
    free: dict[str, Floats] = {name: np.zeros(DRAWS) for name in names}
    variances = dict.fromkeys(names, 0.0)
    for sale in sales:
        expected = sale.base * response(sale.ratio, sale.own) * response(sale.rival_ratio, sale.rival)
        drawn = sale.base * level * _responses(sale.ratio, sale.own, z[:, 1])
        drawn = drawn * _responses(sale.rival_ratio, sale.rival, z[:, 2])
        for name, worth in (("quantity", 1.0), ("revenue", sale.price), ("margin", sale.price - sale.unit_cost)):
            means[name] += worth * expected
            free[name] = free[name] + worth * drawn
            variances[name] += worth**2 * market.dispersion * expected
    return Drawn(*((means[name], free[name], free[name] + np.sqrt(variances[name]) * z[:, 3]) for name in names))


def response(ratio: float, elasticity: Elasticity | None) -> float:
    """ratio^ε; 1 where nothing changes or nothing is known."""
    if ratio == 1.0 or elasticity is None or not np.isfinite(elasticity.value):
        return 1.0
    return float(ratio**elasticity.value)


def _responses(ratio: float, elasticity: Elasticity | None, z: Floats) -> Floats | float:
    if ratio == 1.0 or elasticity is None or not np.isfinite(elasticity.value):
        return 1.0
    drawn: Floats = np.exp(np.log(ratio) * (elasticity.value + elasticity.standard_error * z))
    return drawn


def interval(value: float, draws: Floats, level: float, *, least: float | None = None) -> Interval:
    """The value between the quantiles of its draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    if least is not None:
        low, high = max(low, least), max(high, least)
    return Interval(value, float(min(low, value)), float(max(high, value)))


def outlook(price: float, drawn: Drawn, level: float) -> Outlook:
    """What a price is expected to bring, noise included; a quantity is never negative."""
    return Outlook(
        price=price,
        quantity=interval(drawn.quantity[0], drawn.quantity[2], level, least=0.0),
        revenue=interval(drawn.revenue[0], drawn.revenue[2], level, least=0.0),
        margin=interval(drawn.margin[0], drawn.margin[2], level),
    )


def gain(before: Drawn, after: Drawn, name: str, level: float) -> Interval:
    """Difference of what is expected; both share their errors, so that only the response to the price is uncertain."""
    first, second = getattr(before, name), getattr(after, name)
    return interval(second[0] - first[0], second[1] - first[1], level)
