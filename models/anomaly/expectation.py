"""What a series is expected to be at its next step: a level, a season, and how far off that usually is.

Additive exponential smoothing whose residuals are cut at three times their usual size before they move anything
(Gelper, Fried and Croux 2010), started from medians of each phase of the season. How fast level and season follow is
chosen on the series' own past. One step costs microseconds, and everything it knows is a handful of numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]

_LEVELS = (0.05, 0.15, 0.4, 0.8)
_SEASONS = (0.05, 0.2)
_CUT = 3.0
_SPREAD_RATE = 0.04
_FOLDED = 1.2533  # standard deviation of a normal variable over its mean absolute value: sqrt(π / 2)


@dataclass
class Expectation:
    """State after some values; `expected` is about the next one.

    Attributes
    ----------
    season : length of the season; 1 for none.
    follow, turn : how fast the level and the season follow, between 0 and 1.
    pattern : what each phase adds to the level, shape (season,).
    phase : of the next value.
    spread : usual size of a residual (as a standard deviation), never 0.
    floor : what `spread` does not fall below.
    """

    season: int
    follow: float
    turn: float
    level: float = 0.0
    pattern: list[float] = field(default_factory=list)
    phase: int = 0
    spread: float = 1.0
    floor: float = 1e-9

    @property
    def expected(self) -> float:
        """The next value."""
        return self.level + self.pattern[self.phase]

    def learn(self, value: float) -> float:
        """Take in the next value; returns its residual."""
        residual = value - self.expected
        limit = _CUT * self.spread
        moved = min(max(residual, -limit), limit)
        self.level += self.follow * moved
        if self.season > 1:
            self.pattern[self.phase] += self.turn * (1.0 - self.follow) * moved
        self.spread = max(self.floor, self.spread + _SPREAD_RATE * (_FOLDED * abs(moved) - self.spread))
        self.skip()
        return residual

    def skip(self, steps: int = 1) -> None:
        """Pass over values that are missing or not to be learned from."""
        self.phase = (self.phase + steps) % self.season


def fitted(values: Floats, season: int) -> tuple[Expectation, Floats]:
    """The expectation after some values, with the rates that would have served best, and the residuals on the way.

    Parameters
    ----------
    values : shape (n,), NaN where missing, at least one of them finite.
    season : 1 for none; at least two full seasons are needed for another.

    Returns
    -------
    The state after the last value, and residuals of shape (n,), NaN where missing. The first cycles, which the start
    values come from, are part of it.
    """
    lead = int(np.isfinite(values).argmax())
    values = values[lead:]
    best: tuple[float, Expectation, Floats] | None = None
    start = _start(values, season)
    for follow in _LEVELS:
        for turn in _SEASONS if season > 1 else (0.0,):
            tried = Expectation(season, follow, turn, start.level, list(start.pattern), 0, start.spread, start.floor)
            residuals = _run(tried, values)
            later = np.abs(residuals[min(2 * season, len(values) // 2) :])
            later = later[np.isfinite(later)]
            # Absolute errors, cut: an incident in the past must not choose the rates.
            cost = float(np.minimum(later, 4.0 * np.median(later)).mean()) if len(later) else 0.0
            if best is None or cost < best[0] * (1.0 - 1e-9):
                best = cost, tried, residuals
    assert best is not None
    # Level and pattern were taken from these very values: what they leave is too little, the fewer the more.
    count = int(np.isfinite(values).sum())
    best[1].spread *= math.sqrt(count / max(count - season - 1, count / 4))
    return best[1], np.concatenate((np.full(lead, math.nan), best[2]))


def _run(state: Expectation, values: Floats) -> Floats:
    """`learn` and `skip` over many values: the same arithmetic in local names, three times as fast."""
    level, pattern, phase, spread = state.level, state.pattern, state.phase, state.spread
    follow, turn, season, floor = state.follow, state.turn * (1.0 - state.follow), state.season, state.floor
    residuals = []
    for value in values.tolist():
        residual = value - (level + pattern[phase])
        residuals.append(residual)
        if residual == residual:  # not NaN
            limit = _CUT * spread
            moved = limit if residual > limit else -limit if residual < -limit else residual
            level += follow * moved
            if season > 1:
                pattern[phase] += turn * moved
            spread = max(floor, spread + _SPREAD_RATE * (_FOLDED * abs(moved) - spread))
        phase = (phase + 1) % season
    state.level, state.phase, state.spread = level, phase, spread
    return np.array(residuals)


def _start(values: Floats, season: int) -> Expectation:
    """Level and pattern from medians over the first cycles, spread from what they leave."""
    head = values[: max(4 * season, 16)]
    level = float(np.nanmedian(head))
    pattern = np.zeros(season)
    if season > 1:
        # Deviations from the median of a season around each value, so that a trend does not become a pattern.
        around = np.array([_middle(head, k, season) for k in range(len(head))])
        for phase in range(season):
            own = (head - around)[phase::season]
            own = own[np.isfinite(own)]
            pattern[phase] = np.median(own) if len(own) else 0.0
        pattern -= pattern.mean()
        cycle = head[: 2 * season] - pattern[np.arange(min(len(head), 2 * season)) % season]
        level = float(np.nanmedian(cycle)) if np.isfinite(cycle).any() else level
    rest = head - level - pattern[np.arange(len(head)) % season]
    rest = rest[np.isfinite(rest)]
    floor = max(1e-9, 1e-3 * float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0)
    spread = max(floor, 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) if len(rest) else floor)
    return Expectation(season, 0.0, 0.0, level, pattern.tolist(), 0, spread, floor)


def _middle(values: Floats, place: int, season: int) -> float:
    low = max(0, min(place - season // 2, len(values) - season))
    window = values[low : low + season]
    return float(np.nanmean(window)) if np.isfinite(window).any() else math.nan
