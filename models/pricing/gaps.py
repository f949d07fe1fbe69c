"""What was asked between two sales, where nobody bought and so nobody wrote it down.

Of the days between a sale at one price and the next sale at another, the first k had the former price and the others
the latter. Where demand is Poisson with rates λ₁ and λ₂ and any day may be that of the change, k has the weights
e^(−k (λ₁ − λ₂)): more of the days belong to the price at which less is sold. Giving each day to the nearer sale instead
would count the emptiness of dear days among the cheap ones, and demand would seem less elastic than it is. The rates
follow from the days that prices have, and these from the rates: both are found in turn (expectation–maximisation,
Dempster, Laird and Rubin, 1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

ROUNDS, STEPS = 6, 15
_SAME = 1e-6


@dataclass(frozen=True)
class Gaps:
    """Sales in the order of place and time, one row each, and the periods after them.

    Attributes
    ----------
    product, place : codes.
    price, quantity : of the row.
    empty : periods without a sale after the row, as far as the product was on offer.
    followed : whether the next row is of the same place.
    """

    product: Whole
    place: Whole
    price: Floats
    quantity: Floats
    empty: Whole
    followed: NDArray[np.bool_]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Whether the next sale of the same place had another price."""
        return self.followed & (np.abs(np.append(self.price[1:], np.inf) / self.price - 1) > _SAME)

    def before_change(self) -> Whole:
        """How many of the empty periods after each row still had its price; the others had that of the next row."""
        following = np.minimum(np.arange(len(self.price)) + 1, len(self.price) - 1)
        between = np.flatnonzero(self.changed & (self.empty > 0))
        mine = self.empty.astype(np.float64)
        mine[between] /= 2
        for _ in range(ROUNDS if len(between) else 0):
            covered = 1.0 + mine
            np.add.at(covered, following[between], (self.empty - mine)[between])
            rate = self._rates(covered)
            mine[between] = _expected(rate[between] - rate[following[between]], self.empty[between])
        return np.rint(mine).astype(np.int64)

    def _rates(self, covered: Floats) -> Floats:
        """Quantity per period at the price of each row: an effect of its place, an elasticity of its product."""
        x = np.log(self.price)
        slope = np.zeros(int(self.product.max()) + 1)
        sold = np.bincount(self.place, self.quantity)
        for _ in range(STEPS):
            weight = covered * np.exp(np.clip(slope[self.product] * x, -50, 50))
            total = np.bincount(self.place, weight)
            mean = weight * (sold / total)[self.place]
            centred = x - (np.bincount(self.place, weight * x) / total)[self.place]
            gradient = np.bincount(self.product, (self.quantity - mean) * x)
            curvature = np.bincount(self.product, mean * centred**2)
            step = np.where(curvature > 1e-9, gradient / np.maximum(curvature, 1e-9), 0.0)
            slope = np.clip(slope + np.clip(step, -1, 1), -8, 2)
            if np.abs(step).max() < 1e-6:
                break
        weight = np.exp(np.clip(slope[self.product] * x, -50, 50))
        return np.asarray(weight * (sold / np.bincount(self.place, covered * weight))[self.place])


def _expected(excess: Floats, periods: Whole) -> Floats:
    """Mean of k in 0 … n with weights e^(−k d)."""
    n = periods.astype(np.float64)
    d = np.where(np.abs(excess) * (n + 1) < 1e-4, 1.0, excess)
    exact = 1 / np.expm1(d) - (n + 1) / np.expm1(np.clip(d * (n + 1), -500, 500))
    return np.where(np.abs(excess) * (n + 1) < 1e-4, n / 2, np.clip(exact, 0, n))
