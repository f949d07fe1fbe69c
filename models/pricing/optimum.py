"""The price that a constant elasticity makes best within limits.

With Q ∝ p^ε, revenue p·p^ε has no optimum of its own: it rises with the price where ε > −1 and falls where ε < −1, so
the limits decide. Margin (p − c)·p^ε has its optimum at c·ε/(1 + ε) where ε < −1 (Lerner's rule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.pricing.advice import Constraints, Objective
from models.pricing.market import Cell
from store.errors import InvalidValue

BEYOND_SEEN = 0.10
"""Share by which a recommended price may lie outside the prices seen: the elasticity is known there only."""

STEPS = 4001

SAME = 5e-4
"""Relative difference below which two prices are one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Lowest and highest price of one cell, and which constraints set each."""

    low: float
    high: float
    low_by: tuple[str, ...]
    high_by: tuple[str, ...]


@dataclass(frozen=True)
class Stake:
    """One cell in an optimisation.

    Attributes
    ----------
    weight : expected quantity at `price`.
    elasticity : None where it is not identified: the price stays.
    """

    price: float
    unit_cost: float
    weight: float
    elasticity: float | None
    limits: Limits


def limits(cell: Cell, price: float, unit_cost: float, constraints: Constraints, seen: bool = True) -> Limits:
    """Every constraint on the price of one cell but fairness.

    Parameters
    ----------
    seen : whether the price must stay near the prices in the data.

    Raises
    ------
    InvalidValue : a constraint is no such number, or two contradict each other; the message names both.
    """
    check(constraints)
    lows = [(0.01 * price, "nothing")]
    highs = [(100.0 * price, "nothing")]
    if constraints.floor is not None:
        lows.append((constraints.floor, "floor"))
    if constraints.ceiling is not None:
        highs.append((constraints.ceiling, "ceiling"))
    if constraints.max_change is not None:
        lows.append((price * (1 - constraints.max_change), "max_change"))
        highs.append((price * (1 + constraints.max_change), "max_change"))
    if constraints.min_margin is not None:
        lows.append((unit_cost / (1 - constraints.min_margin), "min_margin"))
    if seen:
        # The price of today is always within what may be asked.
        lows.append((min(price, cell.lowest * (1 - BEYOND_SEEN)), "prices seen"))
        highs.append((max(price, cell.highest * (1 + BEYOND_SEEN)), "prices seen"))
    low, high = max(value for value, _ in lows), min(value for value, _ in highs)
    low_by = tuple(name for value, name in lows if value >= low * (1 - SAME))
    high_by = tuple(name for value, name in highs if value <= high * (1 + SAME))
    if low > high * (1 + 1e-12):
        raise InvalidValue(
            f"No price of {cell.name} satisfies all constraints: {_named(low_by[0], constraints)} asks for at least "
            f"{low:.4g}, {_named(high_by[0], constraints)} for at most {high:.4g} (now {price:.4g}).",
            remedy="Loosen one of the two.",
            field=f"constraints.{low_by[0]}" if low_by[0] in Constraints.__dataclass_fields__ else "current_price",
            value=low,
        )
    return Limits(low, max(low, high), low_by, high_by)


def check(constraints: Constraints) -> None:
    """Raise `InvalidValue` where a constraint is no possible number."""
    tests = {
        "floor": (0.0, np.inf, "a positive price"),
        "ceiling": (0.0, np.inf, "a positive price"),
        "max_change": (0.0, 10.0, "a share such as 0.1"),
        "min_margin": (0.0, 0.99, "a share below 1, such as 0.3"),
        "fairness": (1.0, np.inf, "a ratio of at least 1, such as 1.25"),
    }
    for name, (low, high, meaning) in tests.items():
        value = getattr(constraints, name)
        if value is not None and not (np.isfinite(value) and low <= value <= high):
            raise InvalidValue(
                f"{name} = {value!r} is not {meaning}.",
                remedy=f"Give {meaning}, or leave it out.",
                field=f"constraints.{name}",
                value=value,
            )


def best_step(stakes: Sequence[Stake], objective: Objective) -> float:
    """The one relative step for all cells, 1 for none.

    Raises
    ------
    InvalidValue : no step keeps every cell within its limits.
    """
    low = max(one.limits.low / one.price for one in stakes)
    high = min(one.limits.high / one.price for one in stakes)
    if low > high * (1 + 1e-12):
        raise InvalidValue(
            "No single relative step keeps every segment within its limits.",
            remedy="Ask for each segment by itself, or give `fairness` for a price for each of them.",
            field="segment",
        )
    steps = _grid(low, max(low, high))
    worth = sum((_worth(one, one.price * steps, objective) for one in stakes), start=np.zeros(len(steps)))
    return float(steps[_first_best(worth, steps, 1.0)])


def best_prices(stakes: Sequence[Stake], objective: Objective, fairness: float) -> Floats:
    """A price for each cell, the highest at most `fairness` times the lowest.

    For every window [m, m·fairness] on a logarithmic grid each cell takes its best price in the window; the best
    window wins.

    Raises
    ------
    InvalidValue : no prices keep the ratio within the limits.
    """
    from scipy.ndimage import maximum_filter1d

    low = min(_range(one)[0] for one in stakes)
    high = max(_range(one)[1] for one in stakes)
    if high <= low * (1 + 1e-12):
        return np.full(len(stakes), low)
    grid = np.geomspace(low, high, STEPS)
    width = int(np.floor(np.log(fairness) / np.log(grid[1] / grid[0]) + 1e-9)) + 1
    values = np.full((len(stakes), STEPS), -np.inf)
    for at, one in enumerate(stakes):
        lowest, highest = _range(one)
        inside = (grid >= lowest * (1 - 1e-9)) & (grid <= highest * (1 + 1e-9))
        if not inside.any() or one.elasticity is None:
            inside = np.arange(STEPS) == int(np.abs(np.log(grid / min(max(one.price, lowest), highest))).argmin())
        values[at, inside] = _worth(one, grid[inside], objective)
    window = min(width, STEPS)
    # The filter is centred: shifted so that entry m covers m … m + window − 1.
    best = maximum_filter1d(values, window, axis=1, mode="constant", cval=-np.inf, origin=-(window // 2))
    total = best.sum(axis=0)
    start = int(total.argmax())
    if not np.isfinite(total[start]):
        raise InvalidValue(
            f"No prices within the limits keep the ratio of highest to lowest below {fairness:g}.",
            remedy="Loosen max_change or fairness.",
            field="constraints.fairness",
            value=fairness,
        )
    chosen = []
    for at, one in enumerate(stakes):
        part = slice(start, start + window)
        pick = start + _first_best(values[at, part], grid[part], one.price)
        chosen.append(one.price if one.elasticity is None else float(grid[pick]))
    return np.asarray(chosen)


def _range(one: Stake) -> tuple[float, float]:
    return (one.price, one.price) if one.elasticity is None else (one.limits.low, one.limits.high)


def _grid(low: float, high: float) -> Floats:
    grid = np.geomspace(low, high, STEPS) if high > low else np.asarray([low])
    if low <= 1.0 <= high:
        grid[np.abs(grid - 1.0).argmin()] = 1.0
    return grid


def _worth(one: Stake, prices: Floats, objective: Objective) -> Floats:
    quantity = one.weight * (prices / one.price) ** (one.elasticity or 0.0)
    worth: Floats = quantity * (prices - (one.unit_cost if objective == "margin" else 0.0))
    return worth


def _first_best(worth: Floats, prices: Floats, now: float) -> int:
    """Among prices that are equally good, the one nearest to today's."""
    top = np.flatnonzero(worth >= worth.max() - 1e-12 * abs(worth.max()))
    return int(top[np.abs(np.log(prices[top] / now)).argmin()])


def without(constraints: Constraints, name: str) -> Constraints:
    """The constraints but one."""
    kept: Mapping[str, float | None] = {
        field: None if field == name else getattr(constraints, field) for field in Constraints.__dataclass_fields__
    }
    return Constraints(**kept)


def _named(by: str, constraints: Constraints) -> str:
    value = getattr(constraints, by, None)
    return by if value is None else f"{by} = {value:g}"
