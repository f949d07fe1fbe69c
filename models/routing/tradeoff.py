"""From a trade-off between 0, quality, and 1, cost, to a choice.

The model is chosen whose predicted quality − λ · predicted cost is highest: for any budget of the mean cost there is a
λ with which no other choice reaches more predicted quality (Lagrange). A trade-off of 0 is λ = 0, the best predicted
quality; 1 is λ = ∞, the cheapest. Between them λ is spread along the curve where it bends, on predictions of rows that
were not learned from: one of 0.1, 0.2, …, 0.9 is put a little below a quarter of the best single model's cost, which
people ask for, and the others one after the other where they add most to the area under the curve of the points so far.
What lies between two is found by the geometric mean of their λ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.routing.curve import hull

Floats = NDArray[np.float64]

KNOTS = 11
_TRIED, _SPAN = 400, 1e3
_MOST_ROWS = 10_000
# Of the best single model's cost; some of a quarter is left for the error of a mean.
_ASKED_FOR = 0.235
# λ of a trade-off next to 0 and next to 1, relative to the knot beside it.
_BEYOND = 30.0


@dataclass(frozen=True)
class Tradeoff:
    """λ for every trade-off.

    Attributes
    ----------
    weights : λ at 0.1, 0.2, …, 0.9, ascending, in quality per unit of cost.
    """

    weights: tuple[float, ...]

    def weight(self, tradeoff: float) -> float:
        """λ; infinite at 1."""
        if tradeoff <= 0.0:
            return 0.0
        if tradeoff >= 1.0:
            return float("inf")
        inner = np.log(np.asarray(self.weights))
        known = np.concatenate([[inner[0] - np.log(_BEYOND)], inner, [inner[-1] + np.log(_BEYOND)]])
        places = np.linspace(0.0, 1.0, len(known))
        return float(np.exp(np.interp(tradeoff, places, known)))


def choose(quality: Floats, cost: Floats, weight: float) -> NDArray[np.int64]:
    """The model of each row: highest quality − λ · cost; the cheaper of two alike, then the first."""
    return chosen(np.ascontiguousarray(quality.T), np.ascontiguousarray(cost.T), weight)


def chosen(quality: Floats, cost: Floats, weight: float) -> NDArray[np.int64]:
    """As `choose`, of arrays whose rows are the models: many prompts by few models go several times as fast this way.

    Parameters
    ----------
    quality, cost : (models, rows), contiguous.
    """
    if np.isinf(weight):
        lowest = cost.min(axis=0)
        return _least(np.where(cost <= lowest, -quality, np.inf))
    score = quality - weight * cost
    return _least(np.where(score >= score.max(axis=0) - 1e-12, cost, np.inf))


def _least(values: Floats) -> NDArray[np.int64]:
    """Number of the least of each column, the first of several."""
    least = values[0].copy()
    place = np.zeros(values.shape[1], np.int64)
    for number in range(1, len(values)):
        better = values[number] < least
        place[better] = number
        np.minimum(least, values[number], out=least)
    return place


def spread(quality: Floats, cost: Floats, reached: Floats, spent: Floats) -> Tradeoff:
    """Where to put the trade-offs.

    Parameters
    ----------
    quality, cost : predictions of rows that were not learned from, (rows, models).
    reached, spent : what came of each cell, without holes.
    """
    if len(quality) > _MOST_ROWS:
        some = np.linspace(0, len(quality) - 1, _MOST_ROWS).astype(np.int64)
        quality, cost, reached, spent = quality[some], cost[some], reached[some], spent[some]
    tried = scale_of(quality, cost) * np.geomspace(1.0 / _SPAN, _SPAN, _TRIED)
    rows = np.arange(len(quality))
    by_model = np.ascontiguousarray(quality.T), np.ascontiguousarray(cost.T)
    points = []
    for weight in (0.0, *tried, float("inf")):
        taking = chosen(*by_model, weight)
        points.append((float(spent[rows, taking].mean()), float(reached[rows, taking].mean())))
    x, y = np.array(points).T
    # Ends first; then, again and again, what adds most.
    taken = [0, len(tried) + 1]
    inner = np.arange(1, len(tried) + 1)
    asked = _ASKED_FOR * float(spent.mean(axis=0)[int(np.argmax(reached.mean(axis=0)))])
    below = inner[x[inner] <= asked]
    if len(below) and x[below[0]] > x[-1]:
        taken.append(int(below[0]))
    for _ in range(KNOTS - len(taken)):
        gain = _added(x, y, taken)
        gain[taken] = -1.0
        # Of those that add as much, the one farthest from the others, so that equal points do not crowd.
        gap = np.abs(np.arange(len(x))[:, None] - np.array(taken)).min(axis=1)
        alike = gain >= gain.max() - 1e-9 * max(float(gain.max()), 1e-12)
        taken.append(int(np.argmax(np.where(alike, gap, -1))))
    return Tradeoff(tuple(float(tried[one - 1]) for one in sorted(taken)[1:-1]))


def scale_of(quality: Floats, cost: Floats) -> float:
    """Typical difference of quality between models over the typical difference of cost: λ lies around it."""
    differing = float(np.mean(np.std(quality, axis=1)))
    spending = float(np.mean(np.std(cost, axis=1)))
    return max(differing, 1e-6) / spending if spending > 0 else 1.0


def _added(x: Floats, y: Floats, taken: list[int]) -> Floats:
    """Area that each point adds to the hull of those that were taken: the triangle over the side it lies above."""
    costs, qualities = hull(x[taken], y[taken])
    above = np.maximum(y - np.interp(x, costs, qualities), 0.0)
    place = np.clip(np.searchsorted(costs, x, side="right"), 1, max(len(costs) - 1, 1))
    wide = costs[np.minimum(place, len(costs) - 1)] - costs[place - 1]
    made: Floats = above * wide / 2.0
    return made
