"""How rare a score is: every detector's own false-alarm rate, from the scores that it gave before.

Scores of different detectors have different units. What they share is how often each was exceeded: below the highest
tenth of the past scores that is counted, above it a generalised Pareto tail is fitted to the excesses (peaks over
threshold; Pickands 1975, for streams Siffer et al. 2017). Its shape is 0.1, a little heavier than exponential, and more
while scores are few, since a few dozen excesses cannot tell it; its scale is shrunk towards that of a bell curve.

The detectors look at the same value, so their rarities depend on each other. The Cauchy combination (Liu and Xie 2020)
holds its level under any dependence, in the tail, which is where alarms are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

MEMORY = 365  # scores a tail looks back on
_SHAPE = 0.1
_DOUBT = 6.0  # what the shape is heavier by, divided by the number of scores: few scores have not seen much
_STRAIGHT = 0.01  # as good as exponential
_SHARE = 0.1  # of the scores that lie above the threshold
_PRIOR = 10.0  # excesses that the prior scale counts as
_PRIOR_SCALE = 0.5  # mean excess over the threshold, in units of how far it lies above the median: about a bell curve's
_LEAST_APART = 0.05  # of the highest score: less is rounding, not behaviour
_FEW = 8  # scores below which nothing is rare
RAREST = 1e-12


class Tail:
    """The scores of one detector on one series, and how often a score as high comes.

    Parameters
    ----------
    scores : earlier scores, oldest first, each ≥ 0; the last `MEMORY` are kept.
    decades : whether the scores are decimal logarithms of chances, whose tail is known: each further unit comes a tenth
        as often. Only how often the threshold is exceeded is then taken from the scores.
    """

    def __init__(self, scores: Sequence[float] = (), *, decades: bool = False) -> None:
        self._scores = list(scores)[-MEMORY:]
        self._decades = decades
        self._fitted: tuple[Floats, float, float, float, float] | None = None

    def __len__(self) -> int:
        return len(self._scores)

    def chance(self, score: float) -> float:
        """Estimated chance that a usual value scores at least as high; 1 while fewer than eight scores are known."""
        if len(self._scores) < _FEW:
            return 1.0
        ordered, threshold, scale, share, shape = self._fit()
        if score <= threshold:
            above = len(ordered) - int(np.searchsorted(ordered, score, side="left"))
            return min(1.0, (above + 1) / (len(ordered) + 1))
        chance: float = share * (1.0 + shape * (score - threshold) / scale) ** (-1.0 / shape)
        return max(chance, RAREST)

    def score_at(self, chance: float) -> float:
        """The score that is exceeded with that chance (below a tenth); infinite while too few are known."""
        if len(self._scores) < _FEW:
            return math.inf
        _, threshold, scale, share, shape = self._fit()
        ratio: float = (min(chance, share) / share) ** -shape
        return threshold + scale * (ratio - 1.0) / shape

    def add(self, score: float, most: float) -> None:
        """Learn a score, cut at `most`: an incident must not teach that incidents are usual."""
        self._scores.append(min(float(score), most))
        del self._scores[:-MEMORY]
        self._fitted = None

    def _fit(self) -> tuple[Floats, float, float, float, float]:
        if self._fitted is None:
            ordered = np.sort(np.array(self._scores))
            count = max(1, math.ceil(_SHARE * len(ordered)))
            excesses = ordered[-count:]
            threshold = float(ordered[-count - 1])
            # A detector that never moved has no scale of its own: any score above is then as rare as can be.
            usual = max(float(ordered[-1]), 1e-9)
            apart = max(threshold - float(ordered[len(ordered) // 2]), _LEAST_APART * usual)
            total = float(np.sum(excesses - threshold)) + _PRIOR * _PRIOR_SCALE * apart
            scale = max((1.0 - _SHAPE) * total / (count + _PRIOR), 1e-9)
            shape = _SHAPE + _DOUBT / len(ordered)
            if self._decades:
                scale, shape = 1.0 / math.log(10.0), _STRAIGHT
            self._fitted = ordered, threshold, scale, count / len(ordered), shape
        return self._fitted

    def state(self) -> list[float]:
        """JSON-ready; `Tail(state)` goes on from it."""
        return list(self._scores)


def combined(chances: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The Cauchy combination of rarities that may depend on each other, between `RAREST` and 1."""
    if not chances:
        return 1.0
    total = 0.0
    for name, chance in chances.items():
        bounded = min(max(chance, RAREST), 1.0 - 1e-3)
        # tan(π(½ − p)) without cancellation for tiny p.
        total += weights[name] / math.tan(math.pi * bounded)
    mean = total / sum(weights[name] for name in chances)
    chance = math.atan(1.0 / mean) / math.pi if mean > 0 else 0.5 - math.atan(mean) / math.pi
    return min(1.0, max(chance, RAREST))
