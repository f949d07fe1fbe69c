"""How much dearer calls are than their decisions expected: the mean logarithm of the ratio, old calls fading."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, sqrt

_HALF_LIFE_S = 300.0
# A call counts for as much as so many others at least.
_MOST = 60.0
# One answer may be ten times as long as another: beyond that it says no more.
_FARTHEST = 2.3


@dataclass(slots=True)
class Surprise:
    """Of one model."""

    _count: float = 0.0
    _mean: float = 0.0
    _squares: float = 0.0
    _at: float = 0.0

    def take(self, logarithm: float, now: float) -> None:
        """A call cost e^logarithm times what was expected."""
        logarithm = min(_FARTHEST, max(-_FARTHEST, logarithm))
        self._count = min(_MOST, self._faded(now)) + 1.0
        self._at = now
        gap = logarithm - self._mean
        self._mean += gap / self._count
        self._squares += (gap * (logarithm - self._mean) - self._squares) / self._count

    def look(self, now: float) -> tuple[float | None, float, float]:
        """Mean logarithm, its standard error, and of how many calls; None where there is none."""
        count = self._faded(now)
        if count < 1.0:
            return None, 0.0, count
        return self._mean, sqrt(max(self._squares, 1e-4) / count), count

    def ratio(self, now: float) -> float | None:
        """Cost over what was expected."""
        mean = self.look(now)[0]
        return None if mean is None else exp(mean)

    def _faded(self, now: float) -> float:
        return float(self._count * 0.5 ** ((now - self._at) / _HALF_LIFE_S))
