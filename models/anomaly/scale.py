"""The scale that a detector works on: a business grows by percents, a temperature by degrees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Scale:
    """`log`: the logarithm of the value plus `shift`; `none`: the value itself."""

    kind: Literal["log", "none"]
    shift: float = 0.0

    def to(self, value: float) -> float:
        """On the working scale; what a logarithm cannot take counts as the least that it can."""
        if self.kind == "none":
            return value
        return math.log(max(value + self.shift, self._least))

    def all_to(self, values: Floats) -> Floats:
        """`to` of each, shape (n,); NaN stays NaN."""
        if self.kind == "none":
            return values
        return np.asarray(np.log(np.maximum(values + self.shift, self._least)))

    def back(self, value: float) -> float:
        """The inverse of `to`."""
        return value if self.kind == "none" else math.exp(min(value, 700.0)) - self.shift

    @property
    def _least(self) -> float:
        return max(1e-12, 0.1 * self.shift)


def scale_of(values: Floats) -> Scale:
    """Logarithms where all finite values are positive, or where none is negative and most are positive; of these
    shifted by half of what is small among the positive ones.
    """
    known = values[np.isfinite(values)]
    if len(known) == 0 or known.min() < 0:
        return Scale("none")
    positive = known[known > 0]
    if 2 * len(positive) < len(known):
        return Scale("none")
    small = float(np.quantile(positive, 0.1))
    if len(positive) == len(known):
        # A value of zero may still come: it then lies well below everything.
        return Scale("log", 1e-3 * small)
    return Scale("log", 0.5 * small)
