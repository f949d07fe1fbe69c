"""Whether an elasticity may be acted upon, and if not, which experiment would settle it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from models.pricing.absorbed import Response

FEWEST_ROWS = 20
FEWEST_UNITS = 10
LEAST_LEFT = 0.02
"""Share of a price's variation within its panel unit that must be left once everything else is known."""

WEAK_INSTRUMENT = 10.0
"""First-stage F below which instruments are weak (Staiger and Stock, 1997, *Econometrica* 65)."""

POWER = 0.8
DETECTABLE = 1.0
MOST_WEEKS = 52
LEVELS = ((0.9, 1.0, 1.1), (0.8, 0.9, 1.0, 1.1, 1.2))


@dataclass(frozen=True)
class Evidence:
    """What an estimate rests on.

    Attributes
    ----------
    who : "basic", "basic in north", or "all products".
    of : whose price, for people: "its price", "the competitor's price", "the price of plus".
    levels : different prices; `only` is the one, where there is one.
    units : quantity sold in all.
    left : share of the price's variation that is left; NaN where it was not looked at.
    explained_by : what the price is a function of, where little is left.
    first_stage : F of the instruments; NaN without any.
    sign : −1 for an own price; 0 where either sign makes sense.
    """

    who: str
    of: str
    rows: int
    levels: int
    only: float
    units: float
    left: float
    explained_by: str
    value: float
    low: float
    high: float
    level: float
    response: Response
    first_stage: float = float("nan")
    sign: int = -1


def reason(found: Evidence) -> str:
    """Why an elasticity is not identified; "" where it is."""
    if found.rows < FEWEST_ROWS:
        return f"{found.who} has only {found.rows} rows, at least {FEWEST_ROWS} are needed"
    if found.levels < 2:
        return f"{found.of} of {found.who} never varied: it was {found.only:.4g} in all {found.rows} rows"
    if found.response == "count" and found.units < FEWEST_UNITS:
        return f"only {found.units:g} of {found.who} were sold in {found.rows} rows"
    if np.isfinite(found.left) and found.left < LEAST_LEFT:
        return (
            f"{found.of} of {found.who} is confounded: {found.explained_by} explain all but {found.left:.1%} of its "
            "variation, so its effect cannot be told from theirs"
        )
    if np.isfinite(found.first_stage) and found.first_stage < WEAK_INSTRUMENT:
        return (
            f"the instruments say too little about {found.of} of {found.who}: F = {found.first_stage:.1f} in the first "
            f"stage, at least {WEAK_INSTRUMENT:g} is needed"
        )
    if not np.isfinite(found.value):
        return f"nothing of {found.of} of {found.who} is left to learn from beside the other prices"
    interval = f"{found.low:.2f} to {found.high:.2f}"
    if found.low <= 0 <= found.high:
        return (
            f"the {found.level:.0%} interval of the elasticity of {found.who}, {interval}, does not exclude zero: even "
            "the sign is open"
        )
    if found.sign < 0 < found.low:
        return (
            f"the data say that {found.who} sells more when it is dearer (elasticity {found.value:.2f}, {interval}), "
            "which means that something else moves both"
        )
    return ""


def experiment(
    price: float,
    units_per_week: float,
    rows_per_week: float,
    dispersion: float,
    response: Response,
    level: float,
    *,
    where: str = "by region and week",
) -> str:
    """The price levels, and how long they must be tried, to tell an elasticity of −1 from zero.

    A randomised log price with variance v gives a standard error of √(φ / (N v)) after N units sold (counts with
    dispersion φ), or √(σ² / (n v)) after n rows (logarithms with residual variance σ²). Zero is excluded with
    probability `POWER` where 1 ≥ (z_{(1+level)/2} + z_{POWER}) · standard error.
    """
    wanted = DETECTABLE / float(ndtri((1 + level) / 2) + ndtri(POWER))
    pace = units_per_week if response == "count" else rows_per_week
    spread = max(dispersion, 1.0) if response == "count" else dispersion
    text = ""
    for levels in LEVELS:
        variance = float(np.var(np.log(levels)))
        needed = spread / (variance * wanted**2)
        weeks = needed / pace if pace > 0 else np.inf
        prices = ", ".join(_money(price * one) for one in levels)
        amount = f"{needed:,.0f} {'units sold' if response == 'count' else 'rows'}"
        span = f"about {max(1, int(np.ceil(weeks)))} weeks" if weeks < 1000 else "longer than can be waited for"
        text = (
            f"Draw the price at random from {prices} {where}: after {amount} ({span} at the present pace) an "
            f"elasticity of −1 would be told from zero in {POWER:.0%} of cases."
        )
        if weeks <= MOST_WEEKS:
            break
    return text


def _money(price: float) -> str:
    return f"{price:.2f}" if price >= 10 else f"{price:.3g}"
