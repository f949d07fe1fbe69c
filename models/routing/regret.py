"""What a policy loses on a prompt, over all trade-offs: the loss that policies are compared by.

At a weight λ of cost a choice m is worth q(m) − λ · c(m). The regret of a row is how much less the policy's choice is
worth than the best one that was there, averaged over λ's from 0 to twice the slope of the curve that choosing by each
model's mean gives on the training rows: around it a policy turns from dear models to cheap ones. The hull of a policy
at the cost where its slope is λ moves by what its choices at λ are worth more (envelope theorem), so that the mean
regret of two policies differs about as the areas under their curves do.

**Cells that were not seen.** Where a row shows some models only, a cell's worth is what a reward model fitted to the
training rows says of it, and where it was seen, that plus the error of the reward model over the probability of seeing
it: the doubly robust estimate (Dudík, Langford and Li, 2011), right on average when either the probabilities or the
reward model are. The reward model is the same for every policy that is judged on these rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.routing.curve import hull
from models.routing.outcomes import Outcomes
from models.routing.tradeoff import choose, scale_of

Floats = NDArray[np.float64]

WEIGHTS = 20


@dataclass(frozen=True)
class Reward:
    """A reward model's word for every cell, (rows, models), which no policy that is judged had a part in."""

    quality: Floats
    cost: Floats


@dataclass(frozen=True)
class Worth:
    """What each cell is worth: quality and cost without holes, (rows, models).

    Attributes
    ----------
    best_quality, best_cost : what the best choice of a row is taken from: the same where every cell was seen, else what
        the reward model says, since the best of noisy estimates is noise.
    estimated : share of cells that nobody saw.
    """

    quality: Floats
    cost: Floats
    best_quality: Floats
    best_cost: Floats
    estimated: float


def worth(judged: Outcomes, reward: Reward | None = None) -> Worth:
    """Quality and cost of every cell.

    Parameters
    ----------
    reward : what is said of cells that nobody saw; needed where there are any.
    """
    if judged.whole:
        return Worth(judged.score, judged.cost, judged.score, judged.cost, 0.0)
    assert reward is not None
    return Worth(
        _robust(judged.score, judged.shown, reward.quality),
        _robust(judged.cost, judged.shown, reward.cost),
        reward.quality,
        reward.cost,
        float((~judged.seen).mean()),
    )


def weights_of(train: Outcomes) -> Floats:
    """λ's to compare policies at, ascending: evenly from 0 to twice the slope of the blind choice's curve."""
    quality, cost = _filled(train.score).mean(axis=0), _filled(train.cost).mean(axis=0)
    costs, qualities = hull(cost, quality)
    if len(costs) < 2:
        usual = scale_of(_filled(train.score), _filled(train.cost))
    else:
        slope = np.diff(qualities) / np.diff(costs)
        # At evenly spaced costs, so that a slope counts as far as it reaches.
        evenly = costs[0] + (costs[-1] - costs[0]) * (np.arange(WEIGHTS) + 0.5) / WEIGHTS
        usual = float(np.median(slope[np.searchsorted(costs[1:-1], evenly, side="right")]))
    made: Floats = usual * np.linspace(0.0, 2.0, WEIGHTS + 1)
    return made


def regret_rows(quality: Floats, cost: Floats, real: Worth, weights: Floats) -> Floats:
    """Mean regret of each row.

    Parameters
    ----------
    quality, cost : predictions that the choices follow from.
    """
    rows = np.arange(len(quality))
    total = np.zeros(len(quality))
    for weight in weights:
        chosen = choose(quality, cost, float(weight))
        best = (real.best_quality - weight * real.best_cost).max(axis=1)
        total += best - (real.quality[rows, chosen] - weight * real.cost[rows, chosen])
    return np.asarray(total / len(weights))


def _robust(value: Floats, shown: Floats, reward: Floats) -> Floats:
    seen = ~np.isnan(value) & (shown > 0)
    return np.where(seen, reward + (np.where(seen, value, 0.0) - reward) / np.where(seen, shown, 1.0), reward)


def _filled(values: Floats) -> Floats:
    return np.where(np.isnan(values), np.nanmean(values, axis=0), values)
