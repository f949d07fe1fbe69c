"""Cost–quality curves of policies, and the numbers that are read off them.

A policy with a trade-off gives a point (mean cost, mean quality) for each. Between two of its points it can toss a
coin, so that what it reaches is the upper concave hull of its points; and nobody need pay more for less, so that the
hull never falls. The cheapest single model is anybody's to use and belongs to each hull.

    AIQ  = 1 / (c₁ − c₀) · ∫ from c₀ to c₁ of hull(c) dc        c₀, c₁: mean cost of the cheapest and the dearest model
    APGR = mean over c from c(weakest) to c(strongest) of (hull(c) − q(weakest)) / (q(strongest) − q(weakest))

AIQ is that of Hu et al. (RouterBench, 2024), APGR that of Ong et al. (RouteLLM, 2024) over costs in place of shares of
calls; the strongest is the model of the highest mean quality, the weakest that of the lowest among the cheaper ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Share of the best single model's cost at which quality is read off.
CHEAP = 0.25


@dataclass(frozen=True)
class Singles:
    """The models by themselves.

    Attributes
    ----------
    cost, quality : means, one per model.
    """

    cost: Floats
    quality: Floats

    @property
    def cheapest(self) -> int:
        return int(np.lexsort((-self.quality, self.cost))[0])

    @property
    def strongest(self) -> int:
        return int(np.lexsort((self.cost, -self.quality))[0])

    @property
    def weakest(self) -> int | None:
        """None where no model is cheaper and worse than the strongest."""
        best = self.strongest
        below = np.flatnonzero((self.cost < self.cost[best]) & (self.quality < self.quality[best]))
        return int(below[np.argmin(self.quality[below])]) if len(below) else None


@dataclass(frozen=True)
class Read:
    """What is read off a curve.

    Attributes
    ----------
    aiq, apgr : see above; NaN where there is no range of costs.
    quality_at_quarter : at `CHEAP` of the best single model's cost.
    kept_at_quarter : the same, as a share of the best single model's quality.
    """

    aiq: float
    apgr: float
    quality_at_quarter: float
    kept_at_quarter: float


def hull(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """The upper concave hull of points that never falls, from its cheapest point on.

    Returns
    -------
    Costs, ascending, and qualities, ascending, of its corners.
    """
    order = np.lexsort((-quality, cost))
    kept: list[tuple[float, float]] = []
    for place in order:
        x, y = float(cost[place]), float(quality[place])
        if kept and y <= kept[-1][1]:
            continue
        while len(kept) >= 2:
            (x0, y0), (x1, y1) = kept[-2], kept[-1]
            if (y1 - y0) * (x - x0) <= (y - y0) * (x1 - x0):
                kept.pop()
            else:
                break
        if kept and x <= kept[-1][0]:
            kept.pop()
        kept.append((x, y))
    corners = np.array(kept)
    return corners[:, 0], corners[:, 1]


def area(costs: Floats, qualities: Floats, low: float, high: float) -> float:
    """Mean height of a hull between two costs; flat beyond its last corner, and before its first."""
    if not high > low:
        return float("nan")
    inside = (costs > low) & (costs < high)
    x = np.concatenate([[low], costs[inside], [high]])
    y = np.interp(x, costs, qualities)
    return float(np.sum((y[1:] + y[:-1]) / 2.0 * np.diff(x)) / (high - low))


def read(cost: Floats, quality: Floats, singles: Singles) -> Read:
    """Read a curve off its points."""
    cheap, best, weak = singles.cheapest, singles.strongest, singles.weakest
    costs, qualities = hull(np.append(cost, singles.cost[cheap]), np.append(quality, singles.quality[cheap]))
    aiq = area(costs, qualities, float(singles.cost.min()), float(singles.cost.max()))
    at = float(np.interp(CHEAP * singles.cost[best], costs, qualities))
    top = float(singles.quality[best])
    apgr = float("nan")
    if weak is not None:
        bottom = float(singles.quality[weak])
        mean = area(costs, qualities, float(singles.cost[weak]), float(singles.cost[best]))
        apgr = (mean - bottom) / (top - bottom)
    return Read(aiq, apgr, at, at / top if top > 0 else float("nan"))
