"""How the errors of a forecast hang together from step to step.

An interval says how far off one step may be. Whether a forecast that is too low today will still be too low in a month
decides how likely a threshold is crossed at some time: were the errors of 90 steps independent, nearly every threshold
within reach would be. So the correlation of the scaled errors at steps j < k is taken to be

    share · memory^(k − j) · (j / k)^growth,

a lasting part that is forgotten at a rate and, for series that wander, builds up with the horizon (a random walk has
share and memory 1 and growth ½), and noise that no step shares with another. The three numbers are those that fit the
errors at the rolling origins best, pooled with what the persistence of the series lets expect while origins are few.

Reference: Pinson et al. 2009 (scenarios from marginal forecasts and the correlation of their errors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.forecasting.series import Floats

_PRIOR = 3.0  # origins at which what was seen counts half
_MOST_STEPS = 48  # compared with each other, evenly spread over the horizon
_MEMORIES = (0.0, 0.3, 0.5, 0.65, 0.8, 0.88, 0.94, 0.97, 0.985, 0.995, 1.0)
_GROWTHS = (0.0, 0.25, 0.5)
_DIGITS = 4


@dataclass(frozen=True)
class Dependence:
    """Correlation of scaled errors over the steps.

    Attributes
    ----------
    share : of the errors' variance that lasts, from 0 to 1.
    memory : share of it that is left after one more step, from 0 to 1.
    growth : power of the ratio of the steps.
    """

    share: float
    memory: float
    growth: float

    def correlation(self, steps: Floats) -> Floats:
        """Correlation between steps, counted from 1: shape (len(steps), len(steps))."""
        low, high = np.minimum.outer(steps, steps), np.maximum.outer(steps, steps)
        lasting = self.share * self.memory ** (high - low) * (low / high) ** self.growth
        return np.asarray(np.where(low == high, 1.0, lasting))

    def draw(self, rng: np.random.Generator, count: int, h: int) -> Floats:
        """Standard normal paths with this correlation, shape (count, h)."""
        step = np.arange(1, h, dtype=float)
        keep = self.memory * (step / (step + 1.0)) ** self.growth
        lasting = rng.standard_normal((count, h))
        for k in range(1, h):
            lasting[:, k] = keep[k - 1] * lasting[:, k - 1] + np.sqrt(1.0 - keep[k - 1] ** 2) * lasting[:, k]
        noise = rng.standard_normal((count, h))
        return np.asarray(np.sqrt(self.share) * lasting + np.sqrt(1.0 - self.share) * noise)


def expected(persistence: float) -> Dependence:
    """What the persistence of a series lets expect: independent errors for noise, a random walk's for a random walk."""
    lasting = min(1.0, persistence * 1.1)  # seasonal differences of a random walk look a little less lasting than it is
    return Dependence(max(0.1, lasting), max(0.5, lasting), 0.5 * lasting**4)


def dependence_of(errors: Floats, persistence: float) -> Dependence:
    """The dependence that fits the scaled errors at the rolling origins.

    Parameters
    ----------
    errors : signed errors over their scale, shape (origins, h), NaN where nothing came yet.
    persistence : see `series.persistence`.
    """
    prior = expected(persistence)
    h = errors.shape[1]
    if h < 2:
        return prior
    places = np.unique(np.linspace(0, h - 1, min(h, _MOST_STEPS)).round().astype(int))
    steps = places + 1.0
    target = prior.correlation(steps)
    complete = errors[np.isfinite(errors).all(axis=1)][:, places]
    if len(complete):
        power = float(np.mean(complete**2))
        if power > 0:
            trust = len(complete) / (len(complete) + _PRIOR)
            target = trust * (complete.T @ complete) / (len(complete) * power) + (1 - trust) * target
    best, least = prior, np.inf
    off = ~np.eye(len(steps), dtype=bool)
    for growth in _GROWTHS:
        for memory in _MEMORIES:
            shape = Dependence(1.0, memory, growth).correlation(steps)[off]
            power = float(shape @ shape)
            share = float(np.clip(shape @ target[off] / power, 0.0, 1.0)) if power > 0 else 0.0
            miss = float(np.sum((target[off] - share * shape) ** 2))
            if miss < least:
                best, least = Dependence(round(share, _DIGITS), memory, growth), miss
    return best
