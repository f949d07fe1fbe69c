"""Maximum likelihood of a few positive parameters: on their logarithms, with a gradient, from several starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import TrainingError

Floats = NDArray[np.float64]
# (log parameters) → (mean negative log-likelihood, its gradient)
Objective = Callable[[Floats], tuple[float, Floats]]

BOUND = 9.0
"""Logarithms are kept within ±9: 0.0001 to 8100. A parameter that wants to go farther is not identified."""

_STEP = 1e-4
_SAME = 1e-9
_AGREE = 3
_Z = 1.959964


@dataclass(frozen=True)
class Parameter:
    """A fitted parameter with its 95 % interval (delta method on its logarithm).

    Attributes
    ----------
    low, high, standard_error : None where the data do not identify it.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        return {"value": self.value, "standard_error": self.standard_error, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Parameter:
        return cls(data["value"], data["standard_error"], data["low"], data["high"])


@dataclass(frozen=True)
class Maximum:
    """Where the likelihood is largest.

    Attributes
    ----------
    log_likelihood : of all customers together.
    free : whether every parameter lies inside its bounds.
    """

    parameters: tuple[Parameter, ...]
    log_likelihood: float
    free: bool


def maximise(objective: Objective, starts: Sequence[Sequence[float]], count: int, offset: Sequence[float]) -> Maximum:
    """The best of the maxima that several starts lead to; starts after the third that lead to the best are spared.

    Parameters
    ----------
    objective : mean negative log-likelihood of one customer and its gradient, by the log parameters.
    starts : log parameters to begin from.
    count : customers, to scale likelihood and information back.
    offset : added to the exponential of each parameter, e.g. 1 for one that must exceed 1.

    Raises
    ------
    TrainingError : no start led to a finite likelihood.
    """
    from scipy.optimize import minimize

    best: Any = None
    agreed = 0
    for start in starts:
        if agreed == _AGREE:
            break
        with np.errstate(all="ignore"):
            found = minimize(
                objective,
                np.clip(np.asarray(start, dtype=np.float64), -BOUND, BOUND),
                jac=True,
                method="L-BFGS-B",
                bounds=[(-BOUND, BOUND)] * len(start),
                options={"maxiter": 500, "ftol": 1e-14, "gtol": 1e-9},
            )
        if not np.isfinite(found.fun):
            continue
        if best is not None and abs(found.fun - best.fun) <= _SAME * (1 + abs(best.fun)):
            agreed += 1
        if best is None or found.fun < best.fun:
            agreed = 1 if best is None or found.fun < best.fun - _SAME * (1 + abs(best.fun)) else agreed
            best = found
    if best is None:
        raise TrainingError(
            "The likelihood is finite at none of its starts.", remedy="Look for extreme values in the amounts or dates."
        )
    at: Floats = np.asarray(best.x, dtype=np.float64)
    free = bool(np.all(np.abs(at) < BOUND - 0.01))
    errors = _errors(objective, at, count) if free else np.full(len(at), np.nan)
    parameters = []
    for place, error, shift in zip(at.tolist(), errors.tolist(), offset, strict=True):
        size = float(np.exp(place))
        if not np.isfinite(error):
            parameters.append(Parameter(size + shift, None, None, None))
            continue
        low, high = (float(np.exp(place + sign * min(_Z * error, 700.0))) for sign in (-1, 1))
        parameters.append(Parameter(size + shift, size * error, low + shift, min(high + shift, 1e300)))
    return Maximum(tuple(parameters), -float(best.fun) * count, free)


def _errors(objective: Objective, at: Floats, count: int) -> Floats:
    """Standard errors of the log parameters: the inverse of the information, by differences of the gradient."""
    size = len(at)
    hessian = np.empty((size, size))
    for place in range(size):
        step = np.zeros(size)
        step[place] = _STEP
        hessian[place] = (objective(at + step)[1] - objective(at - step)[1]) / (2 * _STEP)
    information = count * (hessian + hessian.T) / 2
    values, vectors = np.linalg.eigh(information)
    if values[0] <= 1e-10 * max(values[-1], 1e-300):
        return np.full(size, np.nan)
    return np.asarray(np.sqrt(np.einsum("ij,j,ij->i", vectors, 1 / values, vectors)))
