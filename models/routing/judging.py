"""A policy on rows that it has not seen: its curve with intervals, what is read off it, and others on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate
from models.routing.curve import Read, Singles, read
from models.routing.regret import Worth
from models.routing.tradeoff import Tradeoff, choose, spread

Floats = NDArray[np.float64]

TRADEOFFS = tuple(round(one / 20, 2) for one in range(21))
READ = ("aiq", "apgr", "quality_at_quarter", "kept_at_quarter")


@dataclass(frozen=True)
class Points:
    """What came of each row under each trade-off: (rows, trade-offs)."""

    cost: Floats
    quality: Floats


@dataclass(frozen=True)
class Drawn:
    """Resamples of groups: how often each row is in each.

    Attributes
    ----------
    counts : (replicates, rows), float32; the first is the sample itself.
    """

    counts: NDArray[np.float32]

    @classmethod
    def of(cls, group: NDArray[np.int64], replicates: int, seed: int) -> Drawn:
        """The same draws for the same rows: what is read off two policies is paired."""
        draw = np.random.default_rng(seed)
        _, place = np.unique(group, return_inverse=True)
        groups = int(place.max()) + 1
        counts = np.ones((replicates + 1, len(group)), np.float32)
        for one in range(1, replicates + 1):
            counts[one] = np.bincount(draw.integers(0, groups, groups), minlength=groups)[place]
        return cls(counts)

    def means(self, values: Floats) -> Floats:
        """(replicates + 1, columns)."""
        total = self.counts.sum(axis=1, dtype=np.float64)
        made: Floats = (self.counts @ values.astype(np.float32)).astype(np.float64) / total[:, None]
        # The sample itself as exactly as it can be told.
        made[0] = values.mean(axis=0)
        return made


def points_of(quality: Floats, cost: Floats, knots: Tradeoff, real: Worth) -> Points:
    """Choose by predictions, and look up what came of it."""
    rows = np.arange(len(quality))
    chosen = [choose(quality, cost, knots.weight(one)) for one in TRADEOFFS]
    return Points(
        np.stack([real.cost[rows, one] for one in chosen], axis=1),
        np.stack([real.quality[rows, one] for one in chosen], axis=1),
    )


def readings(points: Points, real: Worth, drawn: Drawn) -> dict[str, Floats]:
    """What is read off the curve in each resample, the sample itself first."""
    cost, quality = drawn.means(points.cost), drawn.means(points.quality)
    single_cost, single_quality = drawn.means(real.cost), drawn.means(real.quality)
    found: list[Read] = [
        read(cost[i], quality[i], Singles(single_cost[i], single_quality[i])) for i in range(len(cost))
    ]
    return {name: np.array([getattr(one, name) for one in found]) for name in READ}


def estimate(values: Floats) -> Estimate:
    """The first value with the 95 % interval of the others."""
    rest = values[1:][np.isfinite(values[1:])]
    if not len(rest) or not np.isfinite(values[0]):
        return Estimate(float(values[0]), float("nan"), float("nan"))
    low, high = np.quantile(rest, [0.025, 0.975])
    return Estimate(float(values[0]), float(low), float(high))


def curve_of(points: Points, drawn: Drawn) -> list[dict[str, object]]:
    """Mean cost and quality at each trade-off, with intervals."""
    cost, quality = drawn.means(points.cost), drawn.means(points.quality)
    return [
        {
            "tradeoff": one,
            "cost": estimate(cost[:, i]).to_dict(),
            "quality": estimate(quality[:, i]).to_dict(),
        }
        for i, one in enumerate(TRADEOFFS)
    ]


def references(
    real: Worth, blind: tuple[Floats, Floats], group_means: Floats | None, cost: Floats
) -> dict[str, Points]:
    """Policies that need no fit.

    Parameters
    ----------
    blind : mean quality and cost of each model on the training rows; (models).
    group_means : mean quality of each model in the row's own group, (rows, models); None where groups are not known.
    cost : predicted costs, for the one that knows the group.
    """
    rows = len(real.quality)
    everyone = np.full(rows, 1.0)

    def always(place: int) -> Points:
        return Points(real.cost[:, [place]], real.quality[:, [place]])

    singles = Singles(blind[1], blind[0])
    made = {
        "random": Points(real.cost.mean(axis=1)[:, None] * everyone[:, None], real.quality.mean(axis=1)[:, None]),
        "cheapest": always(singles.cheapest),
        "best single": always(singles.strongest),
    }
    if group_means is not None:
        knots = spread(group_means, cost, real.quality, real.cost)
        made["dataset mean"] = points_of(group_means, cost, knots, real)
    if not real.estimated:
        knots = spread(real.quality, real.cost, real.quality, real.cost)
        made["oracle"] = points_of(real.quality, real.cost, knots, real)
    return made


def differences(own: Mapping[str, Floats], others: Mapping[str, Mapping[str, Floats]]) -> list[dict[str, object]]:
    """How much more the policy reaches than each of the others, on the same resamples."""
    rows: list[dict[str, object]] = []
    for name, other in others.items():
        row: dict[str, object] = {"against": name}
        for one in READ:
            if np.isfinite(own[one][0]) and np.isfinite(other[one][0]):
                row[one] = estimate(own[one] - other[one]).to_dict()
        rows.append(row)
    return rows
