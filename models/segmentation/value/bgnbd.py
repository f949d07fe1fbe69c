"""BG/NBD: how often customers buy while they are there, and when they stop.

A customer buys at a rate λ ~ Gamma(r, α) and, after each repeat purchase, stops for good with probability
p ~ Beta(a, b). With x repeat purchases, the last at t, in T units of time since the first one:

    L = A₁ A₂ ((α + T)^−(r+x) + [x > 0] a / (b + x − 1) (α + t)^−(r+x))
    A₁ = Γ(r + x) α^r / Γ(r),   A₂ = Γ(a + b) Γ(b + x) / (Γ(b) Γ(a + b + x))

Fader, Hardie & Lee (2005), "Counting your customers the easy way", Marketing Science 24(2). Everything is computed on
logarithms, and expectations as integrals over p that are positive throughout: the closed form by ₂F₁ cancels where
a is near 1 and is undefined for customers without a repeat purchase where a + b < 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.segmentation.value.likelihood import Floats, Maximum, Parameter, maximise

NODES = 24
_ROWS_AT_ONCE = 20_000
NAMES = ("r", "alpha", "a", "b")


@dataclass(frozen=True)
class BgNbd:
    """A fitted BG/NBD model.

    Attributes
    ----------
    parameters : r, alpha (in the unit of time of the data), a, b, with intervals.
    log_likelihood : of the customers it was fitted to.
    """

    parameters: Mapping[str, Parameter]
    log_likelihood: float
    identified: bool

    def _values(self) -> tuple[float, float, float, float]:
        r, alpha, a, b = (self.parameters[name].value for name in NAMES)
        return r, alpha, a, b

    def p_alive(self, x: Floats, last: Floats, age: Floats) -> Floats:
        """Probability that a customer has not stopped.

        Parameters
        ----------
        x : repeat purchases; last : time of the last one since the first purchase; age : time since the first.

        Returns
        -------
        One per customer, 0 to 1; 1 without a repeat purchase, since in this model one stops only after one.
        """
        r, alpha, a, b = self._values()
        odds = np.log(a) - np.log(b + np.maximum(x, 1) - 1) + (r + x) * (np.log(alpha + age) - np.log(alpha + last))
        return np.where(x > 0, np.exp(-np.logaddexp(0.0, odds)), 1.0)

    def expected_purchases(self, x: Floats, last: Floats, age: Floats, horizon: float | Floats) -> Floats:
        """Purchases expected within a horizon from now, given the past.

        P(alive) · E[(1 − (A / (A + p h))^(r + x)) / p],  A = α + T,  p ~ Beta(a, b + x): the expectation over p by
        Gauss–Jacobi quadrature. The integrand is positive and smooth, so nothing cancels.

        Parameters
        ----------
        horizon : one time, or several of them.

        Returns
        -------
        Shape (customers,), or (customers, horizons) for several.
        """
        r, alpha, a, b = self._values()
        ends = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        out = np.empty((len(x), len(ends)))
        alive = self.p_alive(x, last, age)
        counts, which = np.unique(x, return_inverse=True)
        for place, count in enumerate(counts):
            p, weight = beta_nodes(a, b + float(count))
            rows: NDArray[np.intp] = np.flatnonzero(which == place)
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                part = rows[start : start + _ROWS_AT_ONCE]
                reach = p[None, :] / (alpha + age[part])[:, None]
                for column, end in enumerate(ends):
                    bought = -np.expm1(-(r + count) * np.log1p(reach * end)) / p
                    out[part, column] = alive[part] * (bought @ weight)
        return out if np.ndim(horizon) else out[:, 0]

    def to_dict(self) -> dict[str, Any]:
        return {
            "parameters": {name: self.parameters[name].to_dict() for name in NAMES},
            "log_likelihood": self.log_likelihood,
            "identified": self.identified,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BgNbd:
        found = {name: Parameter.from_dict(data["parameters"][name]) for name in NAMES}
        return cls(found, data["log_likelihood"], data["identified"])


def fit_bgnbd(x: Floats, last: Floats, age: Floats) -> BgNbd:
    """Fit by maximum likelihood.

    Parameters
    ----------
    x, last, age : as `BgNbd.p_alive`; customers that are equal in all three are computed once.

    Raises
    ------
    TrainingError : the likelihood is finite nowhere.
    """
    table, count = np.unique(np.column_stack([x, last, age]), axis=0, return_counts=True)
    total = len(age)
    unit = max(float(np.mean(age)), 1e-9)  # α is of the order of the ages, whatever their unit
    x, last, age = table[:, 0], table[:, 1] / unit, table[:, 2] / unit
    weight: Floats = count / float(total)

    def objective(at: Floats) -> tuple[float, Floats]:
        value, gradient = log_likelihood(np.exp(at), x, last, age)
        return -float(weight @ value), -(weight @ gradient)

    rate = float(weight @ x) / max(float(weight @ age), 1e-9)
    starts = [
        (np.log(r), np.log(r / max(rate, 1e-6)), np.log(a), np.log(b))
        for r in (0.25, 1.0, 4.0)
        for a, b in ((0.8, 2.5), (0.1, 5.0))
    ]
    found: Maximum = maximise(objective, starts, total, (0.0,) * 4)
    parameters = dict(zip(NAMES, found.parameters, strict=True))
    parameters["alpha"] = _scaled(parameters["alpha"], unit)
    # Densities of ages in other units differ by a factor for each repeat purchase.
    shift = float(total * (weight @ x) * np.log(unit))
    return BgNbd(parameters, found.log_likelihood - shift, found.free)


def log_likelihood(at: Floats, x: Floats, last: Floats, age: Floats) -> tuple[Floats, Floats]:
    """Log-likelihood of every customer, and its gradient by the logarithms of (r, α, a, b).

    Returns
    -------
    Shapes (customers,) and (customers, 4).
    """
    from scipy.special import digamma, gammaln

    r, alpha, a, b = (float(value) for value in at)
    repeated = x > 0
    less = b + np.maximum(x, 1) - 1
    stay = -(r + x) * np.log(alpha + age)
    stop = np.where(repeated, np.log(a) - np.log(less) - (r + x) * np.log(alpha + last), -np.inf)
    both = np.logaddexp(stay, stop)
    value = (
        gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        + gammaln(a + b) - gammaln(b) + gammaln(b + x) - gammaln(a + b + x)
        + both
    )  # fmt: skip
    stopped = np.exp(stop - both)
    stayed = 1.0 - stopped
    by_r = digamma(r + x) - digamma(r) + np.log(alpha) - stayed * np.log(alpha + age) - stopped * np.log(alpha + last)
    by_alpha = r / alpha - (r + x) * (stayed / (alpha + age) + stopped / (alpha + last))
    common = digamma(a + b) - digamma(a + b + x)
    by_a = common + stopped / a
    by_b = common - digamma(b) + digamma(b + x) - stopped / less
    return value, np.column_stack([r * by_r, alpha * by_alpha, a * by_a, b * by_b])


def beta_nodes(a: float, b: float) -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss–Jacobi quadrature for an expectation over Beta(a, b).

    Golub & Welsch (1969): eigenvalues of the Jacobi matrix of the polynomials orthogonal under the density; the squared
    first components of its eigenvectors are weights that sum to 1, whatever the size of the parameters.
    """
    left, right = b - 1.0, a - 1.0  # exponents of (1 − y) and (1 + y) on [−1, 1]
    n = np.arange(NODES, dtype=np.float64)
    s = 2 * n + left + right
    with np.errstate(invalid="ignore", divide="ignore"):
        diagonal = (right**2 - left**2) / (s * (s + 2))
        m = n[1:]
        t = 2 * m + left + right
        square = 4 * m * (m + left) * (m + right) * (m + left + right) / (t**2 * (t + 1) * (t - 1))
    # The general terms are 0/0 for the first ones where exponents cancel.
    diagonal[0] = (right - left) / (left + right + 2)
    square[0] = 4 * (1 + left) * (1 + right) / ((2 + left + right) ** 2 * (3 + left + right))
    matrix = np.diag(diagonal) + np.diag(np.sqrt(square), 1) + np.diag(np.sqrt(square), -1)
    values, vectors = np.linalg.eigh(matrix)
    nodes = np.clip((1 + values) / 2, 1e-15, 1.0)
    return nodes, vectors[0] ** 2


def _scaled(one: Parameter, unit: float) -> Parameter:
    def times(value: float | None) -> float | None:
        return None if value is None else value * unit

    return Parameter(one.value * unit, times(one.standard_error), times(one.low), times(one.high))
