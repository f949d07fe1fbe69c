"""Methods in closed form, a millisecond a series: for forecasts that somebody waits for.

All three see a series as a level times a pattern of its season, and none needs a library that takes seconds to load.
Seasons in which next to nothing happens (weekends) weigh little: what happens there says little about the level.

References: Assimakopoulos and Nikolopoulos 2000, Hyndman and Billah 2003 (theta is exponential smoothing with half the
slope as drift); Gardner and McKenzie 1985 (damped trends); McCullagh and Nelder 1989 (quasi-likelihood).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.forecasting.series import Floats, Series

_Path = Callable[[int, int], Floats]

_RATES = (0.03, 0.06, 0.1, 0.2, 0.35, 0.6)
_CYCLES = 6  # that the seasonal mean looks back
_DAMPED = 0.97  # of the growth is left with each cycle
_ROUNDS = 12
_GROWTH = 0.05  # of a cycle: more than that is not expected
_MOST_GROWTH = 0.3


def seasonal_mean(series: Series, n: int, h: int) -> _Path:
    """The mean of the last cycles at the same place of the season, the later ones counting more."""
    del n, h

    def path(upto: int, steps: int) -> Floats:
        season = series.season
        values = [series.y[max(upto - (k + 1) * season, 0) : upto - k * season] for k in range(_CYCLES)]
        cycles = np.array([one for one in values if len(one) == season])
        if len(cycles) == 0:
            return np.full(steps, float(series.y[:upto].mean()))
        weights = 0.75 ** np.arange(len(cycles))
        return np.asarray((weights @ cycles / weights.sum())[np.arange(steps) % season])

    return path


def theta(series: Series, n: int, h: int) -> _Path:
    """Exponential smoothing of the level with half the slope of a straight line as its drift."""
    del h
    season = series.season
    if float(series.y[:n].min()) < 0.0:
        raise ValueError("it needs values that are not negative")
    rate = min(_RATES, key=lambda one: _smoothed(series.y[:n], season, one)[1])

    def path(upto: int, steps: int) -> Floats:
        y = series.y[:upto]
        level, _, pattern, weight = _smoothed(y, season, rate)
        index = np.arange(upto, dtype=float)
        rest = y / np.maximum(pattern[np.arange(upto) % season], 1e-9)
        slope = _weighted_slope(index, rest, weight)
        # Smoothing lags behind a slope by one over its rate.
        own = rate * float(weight.mean())
        lag = (1.0 - (1.0 - own) ** upto) / own - 1.0 if own > 0 else 0.0
        ahead = np.maximum(level + 0.5 * slope * (np.arange(1, steps + 1) + lag), 0.0)
        return np.asarray(ahead * pattern[np.arange(upto, upto + steps) % season])

    return path


def growth(series: Series, n: int, h: int) -> _Path:
    """Level, season and growth multiply: a quasi-Poisson regression, its growth shrunk and damped ahead."""
    del n, h
    season = series.season

    def path(upto: int, steps: int) -> Floats:
        y = series.y[:upto]
        size = float(np.abs(y).mean())
        if size == 0.0 or float(y.min()) < 0.0:
            raise ValueError("it needs values that are not negative, and not all zero")
        rates, slope = _quasi_poisson(y / size, season)
        cycles = np.arange(1, steps + 1) / season
        damped = (1.0 - _DAMPED**cycles) / (1.0 - _DAMPED)
        ahead = np.exp(np.clip(slope * damped, -3.0, 3.0))
        return np.asarray(size * rates[np.arange(upto, upto + steps) % season] * ahead)

    return path


def _smoothed(y: Floats, season: int, rate: float) -> tuple[float, float, Floats, Floats]:
    """The level after exponential smoothing, its mean error on the way, the season's pattern, and weights."""
    pattern = _pattern(y, season)
    factor = pattern[np.arange(len(y)) % season]
    weight = np.clip(factor, 0.0, 1.0)
    first = y[: 4 * season]
    level = float(first.sum() / max(float(factor[: 4 * season].sum()), 1e-9))
    missed = 0.0
    for value, share, trust in zip(y.tolist(), factor.tolist(), weight.tolist(), strict=True):
        gap = value - level * share
        missed += abs(gap)
        if share > 1e-9:
            level += rate * trust * gap / share
    return level, missed, pattern, weight


def _pattern(y: Floats, season: int) -> Floats:
    """What each place of the season is of the level, with mean 1; medians of ratios to the cycle around each value."""
    n = len(y)
    if season == 1 or n < 2 * season:
        return np.ones(season)
    sums = np.concatenate(([0.0], np.cumsum(y)))
    middle = np.arange(n)
    start = np.clip(middle - season // 2, 0, n - season)
    around = (sums[start + season] - sums[start]) / season
    ratio = np.divide(y, around, out=np.full(n, np.nan), where=around > 0)
    pattern = np.ones(season)
    for place in range(season):
        own = ratio[place::season]
        own = own[np.isfinite(own)]
        if len(own):
            # The mean of the middle half: as robust as need be, and less noisy than the median.
            own = np.sort(own)
            cut = len(own) // 4
            pattern[place] = float(own[cut : len(own) - cut].mean())
    mean = float(pattern.mean())
    return pattern / mean if mean > 0 else np.ones(season)


def _weighted_slope(index: Floats, values: Floats, weight: Floats) -> float:
    whole = float(weight.sum())
    if whole <= 0 or len(index) < 3:
        return 0.0
    along = index - float(weight @ index) / whole
    spread = float(weight @ along**2)
    return float(weight @ (along * values)) / spread if spread > 0 else 0.0


def _quasi_poisson(y: Floats, season: int) -> tuple[Floats, float]:
    """Expected values of the next cycle's places at the end of the series, and the growth of a cycle's logarithm.

    Given the growth, the rates of the places have a closed form; the growth is found by Newton's method.
    """
    n = len(y)
    place = np.arange(n) % season
    cycles = (np.arange(n) - (n - 1)) / season  # the end is 0: a rate is one of the end
    slope = 0.0
    # Values vary more than counts of their size would: what they vary by says how much the growth may be believed.
    spread = 1.0
    rates = np.ones(season)
    for _ in range(_ROUNDS):
        factor = np.exp(np.clip(slope * cycles, -6.0, 6.0))
        total = np.bincount(place, weights=y, minlength=season)
        exposure = np.bincount(place, weights=factor, minlength=season)
        rates = total / np.maximum(exposure, 1e-12)
        fitted = rates[place] * factor
        spread = float(np.sum((y - fitted) ** 2) / max(float(fitted.sum()), 1e-12)) * n / max(n - season - 1, 1)
        moment = np.bincount(place, weights=fitted * cycles, minlength=season)
        mean = moment / np.maximum(np.bincount(place, weights=fitted, minlength=season), 1e-12)
        along = cycles - mean[place]
        information = float(np.sum(fitted * along**2)) / max(spread, 1e-9)
        score = float(np.sum((y - fitted) * along)) / max(spread, 1e-9)
        step = (score - slope / _GROWTH**2) / (information + 1.0 / _GROWTH**2)
        slope = float(np.clip(slope + step, -_MOST_GROWTH, _MOST_GROWTH))
        if abs(step) < 1e-7:
            break
    return rates, slope
