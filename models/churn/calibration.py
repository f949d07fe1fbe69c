"""From log-odds to probabilities that mean what they say, kept as a few numbers.

- `none`: the logistic function.
- `platt`: σ(a·z + b) (Platt 1999).
- `beta`: σ(a·ln p − b·ln(1 − p) + c), a, b ≥ 0 (Kull, Silva Filho & Flach, "Beta calibration", AISTATS 2017).
- `isotonic`: a monotone step function (Zadrozny & Elkan 2002), smoothed by interpolation and held away from 0 and 1.

One of them replaces `none` only where cross-fitted predictions say that it helps, by more than chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.churn.metrics import log_loss_rows, sigmoid

Method = Literal["none", "platt", "beta", "isotonic"]
Floats = NDArray[np.float64]

FEWEST_FOR_ISOTONIC = 5000
CROSS_FITS = 5
STANDARD_ERRORS = 1.0


@dataclass(frozen=True)
class Calibration:
    """A fitted map from log-odds to probability.

    Attributes
    ----------
    values : `platt`: a, b; `beta`: a, b, c; `isotonic`: log-odds followed by as many probabilities.
    """

    method: Method = "none"
    values: tuple[float, ...] = field(default=())

    def __call__(self, log_odds: Floats) -> Floats:
        """Probabilities, float64, in the shape of `log_odds`."""
        if self.method == "platt":
            return sigmoid(self.values[0] * log_odds + self.values[1])
        if self.method == "beta":
            a, b, c = self.values
            return sigmoid(-a * np.logaddexp(0.0, -log_odds) + b * np.logaddexp(0.0, log_odds) + c)
        if self.method == "isotonic":
            half = len(self.values) // 2
            return np.asarray(np.interp(log_odds, self.values[:half], self.values[half:]))
        return sigmoid(log_odds)

    def to_dict(self) -> dict[str, Any]:
        return {"method": self.method, "values": list(self.values)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        return cls(data["method"], tuple(data["values"]))


def fit_calibration(log_odds: Floats, y: NDArray[np.int64], method: Method) -> Calibration:
    """Fit one method by maximum likelihood."""
    if method == "none":
        return Calibration()
    if method == "isotonic":
        return _isotonic(log_odds, y)
    if method == "platt":
        features = np.column_stack([log_odds, np.ones_like(log_odds)])
        return Calibration("platt", tuple(_newton(features, y, np.array([1.0, 0.0]))))
    low = -np.logaddexp(0.0, -log_odds)
    high = np.logaddexp(0.0, log_odds)
    both = np.column_stack([low, high, np.ones_like(log_odds)])
    fitted = _newton(both, y, np.array([1.0, 1.0, 0.0]))
    # A negative slope would turn the ranking round: that side is left out, as in the paper.
    if fitted[0] < 0:
        fitted = np.array([0.0, *_newton(both[:, 1:], y, np.array([1.0, 0.0]))])
    elif fitted[1] < 0:
        a, c = _newton(both[:, [0, 2]], y, np.array([1.0, 0.0]))
        fitted = np.array([a, 0.0, c])
    return Calibration("beta", tuple(float(v) for v in fitted))


def choose_calibration(log_odds: Floats, y: NDArray[np.int64], fold: NDArray[np.int64]) -> tuple[Calibration, Floats]:
    """The method whose cross-fitted log loss is best, if it beats doing nothing by more than one standard error.

    Parameters
    ----------
    log_odds : out-of-fold predictions.
    fold : of every row; a row's probability is never computed by a map that has seen the row.

    Returns
    -------
    The calibration fitted on all rows, and the cross-fitted probabilities of the method chosen.
    """
    plain = sigmoid(log_odds)
    base = log_loss_rows(y, plain)
    best: tuple[Method, Floats, float] = ("none", plain, float(base.mean()))
    methods: list[Method] = ["platt", "beta"]
    if len(y) >= FEWEST_FOR_ISOTONIC:
        methods.append("isotonic")
    for method in methods:
        crossed = np.empty(len(y))
        for k in np.unique(fold):
            held = fold == k
            crossed[held] = fit_calibration(log_odds[~held], y[~held], method)(log_odds[held])
        gain = base - log_loss_rows(y, crossed)
        mean = float(gain.mean())
        if mean > STANDARD_ERRORS * float(gain.std()) / np.sqrt(len(y)) and float(base.mean()) - mean < best[2]:
            best = (method, crossed, float(base.mean()) - mean)
    return fit_calibration(log_odds, y, best[0]), best[1]


def _newton(features: Floats, y: NDArray[np.int64], start: Floats, ridge: float = 1e-6) -> Floats:
    """Logistic regression of a few features; damped Newton steps."""
    beta = start.copy()

    def loss(candidate: Floats) -> float:
        z = features @ candidate
        return float(np.mean(np.logaddexp(0.0, z) - y * z)) + 0.5 * ridge * float(candidate @ candidate)

    current = loss(beta)
    for _ in range(50):
        p = sigmoid(features @ beta)
        gradient = features.T @ (p - y) / len(y) + ridge * beta
        hessian = (features * (p * (1 - p))[:, None]).T @ features / len(y) + ridge * np.eye(len(beta))
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(beta - size * step) > current:
            size /= 2
        beta = beta - size * step
        new = loss(beta)
        if current - new < 1e-12:
            break
        current = new
    return beta


def _isotonic(log_odds: Floats, y: NDArray[np.int64]) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(log_odds, y)
    x, p = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
    # Rule of succession at both ends: a block of n positives is no certainty.
    ends = 1.0 / (2.0 + np.sqrt(len(y)))
    p = np.clip(p, ends * y.mean(), 1.0 - ends * (1.0 - y.mean()))
    return Calibration("isotonic", (*map(float, x), *map(float, p)))
