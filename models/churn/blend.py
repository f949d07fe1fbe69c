"""A weighted mean of log-odds. Weights are learned out of fold, never negative, sum to one, shrunk towards equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.churn.metrics import log_loss_rows, sigmoid

Floats = NDArray[np.float64]

# Penalty on the squared distance to equal weights, in units of mean log loss: about as many rows' worth of doubt.
SHRINK_ROWS = 10.0


def fit_weights(log_odds: Floats, y: NDArray[np.int64]) -> Floats:
    """Weights that minimise log loss + (10 / rows)·Σ(w − 1/K)².

    Parameters
    ----------
    log_odds : out-of-fold predictions, shape (rows, members).

    Returns
    -------
    float64, shape (members,), ≥ 0, sum 1.
    """
    from scipy.optimize import minimize

    members = log_odds.shape[1]
    equal = np.full(members, 1.0 / members)
    shrink = SHRINK_ROWS / len(y)

    def loss(w: Floats) -> tuple[float, Floats]:
        z = log_odds @ w
        value = float(np.mean(np.logaddexp(0.0, z) - y * z)) + shrink * float(((w - equal) ** 2).sum())
        slope = log_odds.T @ (sigmoid(z) - y) / len(y) + 2.0 * shrink * (w - equal)
        return value, slope

    found = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * members,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda w: np.ones_like(w)},
        options={"ftol": 1e-10, "maxiter": 200},
    )
    weights = np.clip(found.x, 0.0, None)
    if not found.success or not np.isfinite(weights).all() or weights.sum() <= 0:
        return equal
    # Rounded, so that the last bits of an optimiser do not decide a digest; tiny weights are not worth a model's time.
    weights = np.where(weights < 0.01, 0.0, weights)
    weights = np.round(weights / weights.sum(), 6)
    weights[np.argmax(weights)] += 1.0 - weights.sum()
    return np.asarray(np.round(weights, 6))


def mix(log_odds: Floats, weights: Floats) -> Floats:
    """Weighted sum over members in a fixed order, the same for one row as for many."""
    total = log_odds[:, 0] * weights[0]
    for k in range(1, len(weights)):
        total = total + log_odds[:, k] * weights[k]
    return np.asarray(total)


def cross_fit(log_odds: Floats, y: NDArray[np.int64], fold: NDArray[np.int64]) -> Floats:
    """Blended log-odds of every row by weights learned from the other folds."""
    out = np.empty(len(y))
    for k in np.unique(fold):
        held = fold == k
        out[held] = mix(log_odds[held], fit_weights(log_odds[~held], y[~held]))
    return out


def log_loss_of(log_odds: Floats, y: NDArray[np.int64]) -> float:
    """Mean log loss in nats."""
    return float(log_loss_rows(y, sigmoid(log_odds)).mean())
