"""At most one offer per customer, the greatest total value, never above the budget: the multiple-choice knapsack.

Small enough problems are solved exactly by dynamic programming over the budget in steps of the largest amount that
divides all costs (Kellerer, Pferschy & Pisinger, *Knapsack Problems*, §11.5). Larger ones greedily along the convex
hull of each customer's offers, best value per cost first (Sinha & Zoltners 1979); the linear relaxation that is solved
on the way bounds what any plan could reach, and the distance to that bound is told.

Money is counted in whole millionths, costs rounded up and the budget down: a plan cannot overspend by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MICRO = 1_000_000
MOST_CELLS = 20_000_000
NONE = -1


@dataclass(frozen=True)
class Choice:
    """Which option each row takes.

    Attributes
    ----------
    option : per row, −1 for none.
    value : of all chosen options together.
    bound : no choice within the budget is worth more than this.
    exact : whether `value` is the greatest there is.
    """

    option: Integers
    value: float
    bound: float
    exact: bool


def in_micros(amount: float, *, up: bool) -> int:
    """An amount in whole millionths, rounded up (costs) or down (budgets); rounding noise below 1e-4 of one is none."""
    scaled = amount * MICRO
    near = round(scaled)
    if abs(scaled - near) < 1e-4:
        return int(near)
    return int(np.ceil(scaled)) if up else int(np.floor(scaled))


def choose(value: Floats, cost: Integers, budget: int | None, *, most_cells: int = MOST_CELLS) -> Choice:
    """Choose at most one option per row.

    Rows come first in ties, and options in their order: sort rows by something that does not depend on the file.

    Parameters
    ----------
    value : of every option in every row, shape (rows, options); options at or below 0 (or NaN) are never taken.
    cost : in millionths, shape (rows, options).
    budget : in millionths; None for as much as pays.
    """
    rows, options = value.shape
    usable = np.nan_to_num(value, nan=0.0) > 0
    if budget is not None:
        usable &= cost <= budget
    best = np.where(usable, value, -np.inf)
    if not rows or not options or not usable.any():
        return Choice(np.full(rows, NONE, dtype=np.int64), 0.0, 0.0, True)
    # The cheaper of equally good options.
    first = np.lexsort((np.broadcast_to(np.arange(options), value.shape), cost, -best), axis=1)[:, 0]
    unlimited = np.where(usable.any(axis=1), first, NONE)
    if budget is None or _total(cost, unlimited) <= budget:
        total = _worth(value, unlimited)
        return Choice(unlimited, total, total, True)
    greedy, bound = _greedy(best, cost, budget)
    found = _worth(value, greedy)
    if found >= bound * (1 - 1e-12):
        return Choice(greedy, found, found, True)
    exact = _exact(best, cost, budget, most_cells)
    if exact is not None:
        total = _worth(value, exact)
        # Sums of floats in another order may differ in the last bits.
        return Choice(exact, total, total, True) if total >= found else Choice(greedy, found, found, True)
    return Choice(greedy, found, bound, False)


def _total(cost: Integers, option: Integers) -> int:
    taken = np.flatnonzero(option >= 0)
    return int(cost[taken, option[taken]].sum())


def _worth(value: Floats, option: Integers) -> float:
    taken = np.flatnonzero(option >= 0)
    return float(value[taken, option[taken]].sum())


def _greedy(value: Floats, cost: Integers, budget: int) -> tuple[Integers, float]:
    """Steps up each row's convex hull, the best value per cost first; then whatever single swap still fits."""
    rows, gains, costs, options = _steps(value, cost)
    with np.errstate(divide="ignore"):
        efficiency = np.where(costs > 0, gains / np.maximum(costs, 1), np.inf)
    # Stable: equal efficiency in the order of rows; within a row the hull keeps falling, so its steps stay in order.
    order = np.argsort(-efficiency, kind="stable")
    chosen = np.full(len(value), NONE, dtype=np.int64)
    left = budget
    bound = 0.0
    broken = False
    blocked: set[int] = set()
    for at in order:
        row, price = int(rows[at]), int(costs[at])
        if not broken:
            if price <= left:
                bound += float(gains[at])
            else:
                bound += float(gains[at]) * left / price
                broken = True
        if row in blocked:
            continue
        if price <= left:
            chosen[row] = options[at]
            left -= price
        else:
            blocked.add(row)
    _fill(value, cost, chosen, left)
    return chosen, bound


def _steps(value: Floats, cost: Integers) -> tuple[Integers, Floats, Integers, Integers]:
    """Steps of the upper convex hull of (cost, value) of every row, from nothing upwards."""
    rows: list[int] = []
    gains: list[float] = []
    costs: list[int] = []
    options: list[int] = []
    for row in np.flatnonzero((value > 0).any(axis=1)):
        usable = [int(k) for k in np.flatnonzero(value[row] > 0)]
        usable.sort(key=lambda k: (int(cost[row, k]), -float(value[row, k]), k))
        hull: list[tuple[int, float, int]] = [(0, 0.0, NONE)]
        for k in usable:
            point = (int(cost[row, k]), float(value[row, k]), k)
            if point[1] <= hull[-1][1]:
                continue
            while len(hull) > 1 and not _above(hull[-2], hull[-1], point):
                hull.pop()
            if len(hull) == 1 or point[0] > hull[-1][0]:
                hull.append(point)
        for before, after in pairwise(hull):
            rows.append(int(row))
            gains.append(after[1] - before[1])
            costs.append(after[0] - before[0])
            options.append(after[2])
    return (
        np.asarray(rows, dtype=np.int64),
        np.asarray(gains, dtype=np.float64),
        np.asarray(costs, dtype=np.int64),
        np.asarray(options, dtype=np.int64),
    )


def _above(a: tuple[int, float, int], b: tuple[int, float, int], c: tuple[int, float, int]) -> bool:
    """Whether b lies above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) > (c[1] - a[1]) * (b[0] - a[0])


def _fill(value: Floats, cost: Integers, chosen: Integers, left: int) -> None:
    """Spend what is left: the best change of a single row that fits, as long as there is one."""
    present = np.where(chosen >= 0, chosen, 0)
    index = np.arange(len(value))
    while left > 0:
        own_value = np.where(chosen >= 0, value[index, present], 0.0)
        own_cost = np.where(chosen >= 0, cost[index, present], 0)
        gain = value - own_value[:, None]
        gain = np.where(cost - own_cost[:, None] <= left, gain, -np.inf)
        at = int(np.argmax(gain))
        row, option = at // value.shape[1], at % value.shape[1]
        if not gain[row, option] > 1e-12:
            return
        left -= int(cost[row, option] - own_cost[row])
        chosen[row] = present[row] = option


def _exact(value: Floats, cost: Integers, budget: int, most_cells: int) -> Integers | None:
    """Dynamic programming, or None where the table would be too large."""
    usable = value > 0
    rows = np.flatnonzero(usable.any(axis=1))
    step = int(np.gcd.reduce(cost[usable]))
    width = budget // step + 1
    if width * len(rows) > most_cells:
        return None
    best = np.zeros(width)
    taken = np.full((len(rows), width), NONE, dtype=np.int8)
    for place, row in enumerate(rows.tolist()):
        new = best.copy()
        for k in np.flatnonzero(usable[row]):
            price = int(cost[row, k]) // step
            candidate = best[: width - price] + value[row, k]
            better = candidate > new[price:]
            new[price:][better] = candidate[better]
            taken[place, price:][better] = k
        best = new
    chosen = np.full(len(value), NONE, dtype=np.int64)
    at = int(np.argmax(best))
    for place in range(len(rows) - 1, -1, -1):
        option = int(taken[place, at])
        if option >= 0:
            chosen[rows[place]] = option
            at -= int(cost[rows[place], option]) // step
    return chosen
