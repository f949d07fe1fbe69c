"""How long subscriptions last: a discrete-time hazard by what is known at a moment, with censoring.

The chance to leave in the j-th period after a moment, given that one is still there, is

    h = 1 − exp(−exp(x_j · β))

the proportional hazards model grouped into periods (Prentice & Gloeckler, 1978). Each customer is looked at from
several moments, and each moment contributes the periods after it that were observed to their end or to the leaving
("landmarks": van Houwelingen, 2007, Scand. J. Statistics 34). Rows of one customer are not independent, so the
covariance is the sandwich over customers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import TrainingError

Floats = NDArray[np.float64]

# Standard deviation of the normal prior on every effect but the constant, per standard deviation of its column.
_PRIOR = 1.5
_MOST_STEPS = 100


@dataclass(frozen=True)
class Hazard:
    """Fitted effects.

    Attributes
    ----------
    names : of the columns; the first is the constant.
    centre, spread : of each column in the training rows: effects are per spread.
    beta : (p,) effects; covariance : (p, p).
    events, rows : leavings and customer-periods it was fitted to.
    """

    names: tuple[str, ...]
    centre: Floats
    spread: Floats
    beta: Floats
    covariance: Floats
    events: int
    rows: int

    def log_cumulative(self, columns: Floats) -> Floats:
        """x · β: logarithm of the hazard summed over the period, one per row."""
        return np.asarray(self.scaled(columns) @ self.beta)

    def scaled(self, columns: Floats) -> Floats:
        """The columns as the effects count them, shape (rows, p)."""
        return np.asarray((columns - self.centre) / self.spread)

    def to_dict(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("centre", "spread", "beta", "covariance")}
        return {"names": list(self.names), **arrays, "events": self.events, "rows": self.rows}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Hazard:
        arrays = {name: np.asarray(data[name], dtype=np.float64) for name in ("centre", "spread", "beta", "covariance")}
        return cls(names=tuple(data["names"]), events=data["events"], rows=data["rows"], **arrays)


def fit_hazard(names: tuple[str, ...], columns: Floats, left: Floats, who: NDArray[np.intp]) -> Hazard:
    """Penalised maximum likelihood by Fisher scoring.

    Parameters
    ----------
    columns : (customer-periods, p); the first column is 1.
    left : 1 where the customer left in that period, else 0.
    who : code of the customer of each row.

    Raises
    ------
    TrainingError : there is no row, or the steps do not settle.
    """
    if not len(left):
        raise TrainingError(
            "No period was observed to its end: nothing is known of how long customers stay.",
            remedy="Load a longer history.",
        )
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    centre[0], spread[0] = 0.0, 1.0
    spread = np.where(spread > 1e-9, spread, 1.0)
    x = (columns - centre) / spread
    penalty = np.full(x.shape[1], _PRIOR**-2)
    penalty[0] = 0.0
    rate = (left.sum() + 0.5) / (len(left) + 1.0)
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(-np.log1p(-rate))
    value = _penalised(x, left, beta, penalty)
    for _ in range(_MOST_STEPS):
        score, weight = _derivatives(x @ beta, left)
        information = (x * weight[:, None]).T @ x + np.diag(penalty)
        information[0, 0] += 1e-9
        step = np.linalg.solve(information, x.T @ score - penalty * beta)
        for _halving in range(30):
            after = _penalised(x, left, beta + step, penalty)
            if after >= value - 1e-12:
                break
            step /= 2
        beta = beta + step
        if abs(after - value) < 1e-9 * (1 + abs(value)):
            break
        value = after
    else:
        raise TrainingError("The hazard did not settle.", remedy="Look for extreme values in prices and tenures.")
    score, weight = _derivatives(x @ beta, left)
    information = (x * weight[:, None]).T @ x + np.diag(penalty)
    information[0, 0] += 1e-9
    inverse = np.linalg.inv(information)
    per_customer = np.stack([np.bincount(who, weights=column) for column in (x * score[:, None]).T], axis=1)
    covariance = inverse @ (per_customer.T @ per_customer) @ inverse
    return Hazard(names, centre, spread, beta, covariance, int(left.sum()), len(left))


def _derivatives(eta: Floats, left: Floats) -> tuple[Floats, Floats]:
    """Derivative of each row's log-likelihood by x · β, and its Fisher information."""
    total = np.exp(np.clip(eta, -30, 5))
    gone = -np.expm1(-total)
    slope = total * np.exp(-total) / gone
    return left * slope - (1 - left) * total, slope * total


def _penalised(x: Floats, left: Floats, beta: Floats, penalty: Floats) -> float:
    total = np.exp(np.clip(x @ beta, -30, 5))
    likelihood = left * np.log(-np.expm1(-total)) - (1 - left) * total
    return float(likelihood.sum() - 0.5 * (penalty * beta**2).sum())
