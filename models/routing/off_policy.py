"""What a policy would have reached on calls that another one decided: told from the probabilities that were stored.

With a the model that was called, p its probability then, r what came of it, m the policy's choice, w = 1{a = m} / p:

    inverse propensity (Horvitz and Thompson, 1952)       mean of w · r
    self-normalised (Hájek, 1971)                         sum of w · r / sum of w
    doubly robust (Dudík, Langford and Li, 2011)          mean of r̂(m) + w · (r − r̂(a))

The effective sample size is (sum of w)² / sum of w²: so many calls, all decided as the policy would, tell as much.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.routing.judging import TRADEOFFS, Drawn, estimate
from models.routing.outcomes import Outcomes
from models.routing.regret import Worth
from models.routing.tradeoff import Tradeoff, choose

Floats = NDArray[np.float64]


def off_policy(
    quality: Floats, cost: Floats, knots: Tradeoff, judged: Outcomes, real: Worth, drawn: Drawn
) -> list[dict[str, Any]]:
    """Quality of the choice at each fifth trade-off by all three estimates, with 95 % intervals, and how many calls
    they rest on.

    Parameters
    ----------
    quality, cost : predictions that the choices follow from, (rows, models).
    real : quality of every cell, doubly robust.
    """
    rows = np.arange(len(quality))
    told = []
    for one in TRADEOFFS[::5]:
        chosen = choose(quality, cost, knots.weight(one))
        seen = judged.seen[rows, chosen]
        weight = np.where(seen, 1.0 / np.maximum(judged.shown[rows, chosen], 1e-12), 0.0)
        gained = weight * np.where(seen, judged.score[rows, chosen], 0.0)
        means = drawn.means(np.column_stack([gained, weight, real.quality[rows, chosen]]))
        normalised = means[:, 0] / np.where(means[:, 1] > 0, means[:, 1], np.nan)
        told.append(
            {
                "tradeoff": one,
                "inverse_propensity": estimate(means[:, 0]).to_dict(),
                "self_normalised": estimate(normalised).to_dict(),
                "doubly_robust": estimate(means[:, 2]).to_dict(),
                "matching_calls": int(seen.sum()),
                "effective_sample_size": float(weight.sum() ** 2 / max(float((weight**2).sum()), 1e-12)),
            }
        )
    return told
