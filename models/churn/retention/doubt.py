"""How far probabilities may be off as a whole: a bootstrap over what calibration rests on.

Out-of-fold predictions of the training rows are drawn again and again, and σ(a·z + b) is fitted to each draw, z being
the calibrated log-odds. Where a and b land tells how well the level and the spread of the probabilities are known. Sums
over customers (revenue at risk, expected savings) take their intervals from these draws: errors of single customers
cancel out in a sum, an error of calibration does not.

Rows count as independent: of a customer who is looked at every month at most one row ends in leaving, so that the
likelihood of the rows is that of the customer's whole history (discrete-time survival; Singer & Willett 1993).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.churn.metrics import SMALLEST, sigmoid
from models.churn.model import ChurnModel
from models.lifecycle.evaluation import Estimate

Floats = NDArray[np.float64]

REPLICATES = 200
BINS = 200
NEWTON_STEPS = 12
# Pull of a to 1 and b to 0, in rows' worth: keeps a model that says one thing for everybody from a slope of its own.
RIDGE = 1.0


@dataclass(frozen=True)
class Doubt:
    """Draws of the calibration.

    Attributes
    ----------
    slope, shift : per draw, shape (replicates,): log-odds z become z·(1 + slope) + shift.
    """

    slope: Floats
    shift: Floats

    def of(self, point: Floats, sums: Callable[[Floats], Floats], probability: Floats) -> list[Estimate]:
        """Intervals of sums over customers.

        Parameters
        ----------
        point : the sums at the probabilities as they are.
        sums : from probabilities to the sums, each shape (sums,).

        Returns
        -------
        One estimate per sum, its 95 % interval from the draws.
        """
        held = np.clip(probability, SMALLEST, 1.0 - SMALLEST)
        z = np.log(held) - np.log1p(-held)
        drawn = np.asarray([sums(sigmoid(z * (1.0 + a) + b)) for a, b in zip(self.slope, self.shift, strict=True)])
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        return [
            Estimate(float(value), float(min(bottom, value)), float(max(top, value)))
            for value, bottom, top in zip(point, low, high, strict=True)
        ]


def doubt(model: ChurnModel, *, replicates: int = REPLICATES, seed: int = 0) -> Doubt:
    """Draws of a model's calibration from its own out-of-fold predictions."""
    trace = model.trace
    held = np.clip(model.calibration(trace.log_odds), SMALLEST, 1.0 - SMALLEST)
    z = np.log(held) - np.log1p(-held)
    # Rows of nearly the same z are drawn together: the draw of a few hundred counts instead of many thousand rows.
    order = np.argsort(z, kind="stable")
    code = np.empty(len(z), dtype=np.intp)
    code[order] = np.arange(len(z)) * min(BINS, len(z)) // len(z)
    count = np.bincount(code)
    centre = np.bincount(code, weights=z) / count
    share = np.bincount(code, weights=trace.y) / count
    rng = np.random.default_rng(seed)
    rows = rng.multinomial(len(z), count / len(z), size=replicates).astype(np.float64)
    left = rng.binomial(rows.astype(np.int64), share).astype(np.float64)
    fitted = _fit(centre, rows, left)
    usual = _fit(centre, count[None, :].astype(np.float64), (share * count)[None, :])[0]
    return Doubt(fitted[:, 0] - usual[0], fitted[:, 1] - usual[1])


def _fit(z: Floats, rows: Floats, left: Floats) -> Floats:
    """a and b of σ(a·z + b) per draw, by Newton's method on counts; shape (draws, 2)."""
    beta = np.tile([1.0, 0.0], (len(rows), 1))
    for _ in range(NEWTON_STEPS):
        p = sigmoid(beta[:, :1] * z + beta[:, 1:])
        residual = rows * p - left
        gradient = np.column_stack([residual @ z, residual.sum(axis=1)]) + RIDGE * (beta - [1.0, 0.0])
        weight = rows * p * (1 - p)
        aa, ab, bb = weight @ z**2 + RIDGE, weight @ z, weight.sum(axis=1) + RIDGE
        determinant = aa * bb - ab**2
        step = (
            np.column_stack([bb * gradient[:, 0] - ab * gradient[:, 1], aa * gradient[:, 1] - ab * gradient[:, 0]])
            / determinant[:, None]
        )
        # Held short: a step too far would leave the region in which the likelihood looks like a parabola.
        beta = beta - np.clip(step, -1.0, 1.0)
    return beta
