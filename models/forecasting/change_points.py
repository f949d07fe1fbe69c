"""When the level or the growth of a series changed for good.

The series without its short seasons, in logarithms where it is positive, is taken to be a straight line that breaks now
and then, plus a yearly wave, plus noise that may remember. Optimal partitioning (PELT) finds the breaks that reduce the
squared error by more than a penalty: three parameters a break (place, level, slope) at log n each, in units of the
noise's long-run variance. A series that wanders like a random walk has a long-run variance so large that its wandering
counts for no break. What lasts fewer steps than `shortest` is an incident rather than a break, and cut off first.

References: Killick, Fearnhead and Eckley 2012 (PELT, by the library `ruptures`); Bai and Perron 1998 (breaks in linear
models); Hansen 2000 (the set of places that the likelihood does not rule out, and its critical value 7.35 at 95 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.forecasting.series import Floats, Ints

PENALTY = 3.0  # long-run variances times log n that a break must be worth
_INCIDENT = 4.0  # robust standard deviations beyond which a value is cut off
_CRITICAL = 7.35
_Z = 1.96
_HARMONICS = 2
_ROUNDS = 3
_MOST_REMEMBERED = 0.98
_MOSTLY_SAME = 4.0
_EXACT = 1e-6  # noise that rounding alone may be, as a share of the level
_BLOCKS = 16  # fewer say nothing about their spread
_GRID = 150  # places tried in the first search; each break is then moved to its best place


@dataclass(frozen=True)
class ChangePoint:
    """A lasting break.

    Attributes
    ----------
    at, low, high : index of the first step after the break, and its 95 % confidence set.
    jump : change of the level, (estimate, low, high) at 95 %: a share of it where `relative`, else in units.
    before, after : growth per step before and after, in the same measure.
    growth_changed : whether the 95 % interval of the change of growth leaves out zero.
    """

    at: int
    low: int
    high: int
    jump: tuple[float, float, float]
    before: float
    after: float
    growth_changed: bool
    relative: bool


@dataclass(frozen=True)
class Breaks:
    """The broken line.

    Attributes
    ----------
    line : fitted level at every step, without waves and noise, in units, shape (n,).
    growth : of the last piece per step, (estimate, low, high) at 95 %, a share where `relative`.
    penalty : what a break had to reduce the squared error by, in squared units (of the logarithm where `relative`).
    """

    points: tuple[ChangePoint, ...]
    line: Floats
    growth: tuple[float, float, float]
    relative: bool
    penalty: float


def find_breaks(level: Floats, *, year: float = 0.0, shortest: int = 28) -> Breaks:
    """The lasting breaks of a series without short seasons.

    Parameters
    ----------
    level : values, shape (n,), finite.
    year : steps in a year, for a yearly wave; 0 for none. Needs one of them, for its second harmonic one and a half.
    shortest : steps that a level must last on both sides.
    """
    relative = bool(level.min() > 0)
    values = np.log(level) if relative else level
    n = len(values)
    waves = _waves(n, year)
    least = (_EXACT * (1.0 if relative else float(np.abs(values).max()))) ** 2
    if n < 2 * shortest:
        rest = values - _fit(values, (), waves, 0.0).line
        noise = max(_remembering(rest) if n > 3 else 0.0, float(rest @ rest) / max(n - 2, 1), least)
        fit = _fit(values, (), waves, noise)
        return Breaks((), np.exp(fit.line) if relative else fit.line, _outward(fit.growth(), relative), relative, 0.0)
    values = _without_incidents(values, shortest)
    places: tuple[int, ...] = ()
    fit = _fit(values, places, waves, 0.0)
    for _ in range(_ROUNDS):
        noise = max(_long_run_variance(values - fit.wave - fit.line, shortest), least)
        penalty = PENALTY * noise * np.log(n)
        found = _search(values - fit.wave, penalty, shortest)
        refitted = _fit(values, found, waves, noise)
        if found == places:
            break
        places, fit = found, refitted
    # Some were found for the sake of a wave that was not known yet: the least useful goes first, until all are needed.
    while places:
        without = [_fit(values, _less(places, k), waves, noise).error for k in range(len(places))]
        worst = int(np.argmin(without))
        if without[worst] - _fit(values, places, waves, noise).error > penalty:
            break
        places = _less(places, worst)
    fit = _fit(values, places, waves, noise)
    points = tuple(_point(fit, k, values - fit.wave, noise, relative) for k in range(len(places)))
    line = np.exp(fit.line) if relative else fit.line
    return Breaks(points, line, _outward(fit.growth(), relative), relative, float(penalty))


@dataclass(frozen=True)
class _Fit:
    """A broken line and waves, by least squares; columns are 1, t, and for each place a step and a change of slope."""

    places: tuple[int, ...]
    line: Floats
    wave: Floats
    coefficients: Floats
    errors: Floats  # standard errors
    error: float  # sum of squares

    def estimate(self, column: int, scale: float = 1.0) -> tuple[float, float, float]:
        value, error = float(self.coefficients[column]) * scale, float(self.errors[column]) * scale
        return value, value - _Z * error, value + _Z * error

    def growth(self) -> tuple[float, float, float]:
        """Slope of the last piece; its error that of its last change."""
        column = 3 + 2 * (len(self.places) - 1) if self.places else 1
        value = float(self.coefficients[1] + self.coefficients[3 : 3 + 2 * len(self.places) : 2].sum())
        error = _Z * float(self.errors[column])
        return value, value - error, value + error

    def slope(self, k: int) -> float:
        """Slope before place k."""
        return float(self.coefficients[1] + self.coefficients[3 : 3 + 2 * k : 2].sum())


def _less(places: tuple[int, ...], which: int) -> tuple[int, ...]:
    return tuple(place for k, place in enumerate(places) if k != which)


def _fit(values: Floats, places: Sequence[int], waves: Floats, noise: float) -> _Fit:
    n = len(values)
    index = np.arange(n, dtype=float)
    columns = [np.ones(n), index]
    for place in places:
        after = index >= place
        columns += [after.astype(float), np.where(after, index - place, 0.0)]
    lines = np.column_stack(columns)
    design = np.column_stack((lines, waves))
    inverse = np.linalg.pinv(design.T @ design, hermitian=True)
    coefficients = inverse @ (design.T @ values)
    line = lines @ coefficients[: lines.shape[1]]
    errors = np.sqrt(np.maximum(noise * np.diag(inverse), 0.0))
    wave = waves @ coefficients[lines.shape[1] :]
    return _Fit(tuple(places), line, wave, coefficients, errors, float(np.sum((values - line - wave) ** 2)))


def _waves(n: int, year: float) -> Floats:
    harmonics = 0 if year <= 0 or n < year else 1 if n < 1.5 * year else _HARMONICS
    if harmonics == 0:
        return np.empty((n, 0))
    angle = 2 * np.pi * np.arange(n) / year
    return np.column_stack([wave(k * angle) for k in range(1, harmonics + 1) for wave in (np.sin, np.cos)])


def _without_incidents(values: Floats, width: int) -> Floats:
    """Values no farther from the median around them than chance would have it."""
    import pandas as pd

    around = pd.Series(values).rolling(2 * width + 1, center=True, min_periods=1).median().to_numpy()
    rest = values - around
    spread = _spread(rest)
    return np.asarray(around + np.clip(rest, -_INCIDENT * spread, _INCIDENT * spread)) if spread > 0 else values


def _long_run_variance(values: Floats, shortest: int) -> float:
    """Variance of a sum of noise per step; the largest that any of several scales shows.

    Means over blocks of b steps differ twice (second differences) by a variance of 6/b of it, whatever the level and
    the growth; a break touches two or three of many, which their median hardly notices. From single steps, the noise
    taken for AR(1): differences have the variance 2v(1 − ρ) and the first autocorrelation −(1 − ρ)/2, and the long-run
    variance is v(1 + ρ)/(1 − ρ).
    """
    found = [_remembering(values)]
    for width in (shortest // 2, shortest, 2 * shortest):
        blocks = len(values) // width if width > 1 else 0
        if blocks >= _BLOCKS:
            means = values[len(values) - blocks * width :].reshape(blocks, width).mean(axis=1)
            twice = np.diff(means, 2)
            found.append(width / 6.0 * (1.4826 * float(np.median(np.abs(twice - np.median(twice))))) ** 2)
    return max(*found, 1e-300)


def _remembering(values: Floats) -> float:
    steps = np.diff(values)
    middle = float(np.median(steps))
    spread = _spread(steps - middle)
    steps = np.clip(steps - middle, -4 * spread, 4 * spread) if spread > 0 else steps - middle
    power = float(steps @ steps)
    if power <= 0:
        return 0.0
    memory = float(np.clip(1 + 2 * float(steps[1:] @ steps[:-1]) / power, 0.0, _MOST_REMEMBERED))
    variance = power / len(steps) / (2 * (1 - memory))
    return variance * (1 + memory) / (1 - memory)


def _spread(values: Floats) -> float:
    """Standard deviation of what lies around zero as its median has it, which a few incidents do not move; where 95 of
    100 values tell of one several times as large, theirs: values of which most are the same (sales on few days) are
    noisy, not exact with many incidents."""
    away = np.abs(values)
    usual, nearly_all = 1.4826 * float(np.median(away)), float(np.quantile(away, 0.95)) / _Z
    return nearly_all if nearly_all > _MOSTLY_SAME * usual else usual


class _Sums:
    """Squared error of a straight line on any stretch, from sums made once."""

    def __init__(self, values: Floats) -> None:
        t = np.arange(len(values), dtype=float) - len(values) / 2.0
        rows = np.vstack((np.ones(len(values)), t, t * t, values, t * values, values * values))
        self.totals = np.concatenate((np.zeros((6, 1)), np.cumsum(rows, axis=1)), axis=1)

    def error(self, start: Ints | int, end: Ints | int) -> Floats:
        """For stretches [start, end), broadcast."""
        first, last = np.broadcast_arrays(start, end)
        n, t, tt, y, ty, yy = self.totals[:, last] - self.totals[:, first]
        across = tt - t * t / n
        slope = np.where(across > 1e-9, (ty - t * y / n) / np.where(across > 1e-9, across, 1.0), 0.0)
        return np.asarray(np.maximum(yy - y * y / n - slope * (ty - t * y / n), 0.0))


def _search(values: Floats, penalty: float, shortest: int) -> tuple[int, ...]:
    """Breaks on a coarse grid, each then moved to its best place."""
    import ruptures

    sums = _Sums(values)
    n = len(values)
    jump = max(1, n // _GRID)
    marks = np.append(np.arange(0, n, jump), n)
    table = sums.error(marks[:-1, None], np.maximum(marks[None, :], marks[:-1, None] + 1))

    class Line(ruptures.base.BaseCost):  # type: ignore[misc] # the library has no types
        model = "line"
        min_size = 3

        def fit(self, signal: Floats) -> Line:
            self.signal = signal
            return self

        def error(self, start: int, end: int) -> float:
            return float(table[start // jump, -(-end // jump)])

    search = ruptures.Pelt(custom_cost=Line(), min_size=shortest, jump=jump).fit(values)
    places = [int(place) for place in search.predict(pen=penalty)[:-1]]
    for _ in range(2):
        for k, place in enumerate(places):
            left, right = ([0, *places][k], [*places, n][k + 1])
            tried = np.arange(max(left + shortest, place - 2 * jump), min(right - shortest, place + 2 * jump) + 1)
            if len(tried):
                places[k] = int(tried[np.argmin(sums.error(left, tried) + sums.error(tried, right))])
    return tuple(places)


def _point(fit: _Fit, k: int, values: Floats, noise: float, relative: bool) -> ChangePoint:
    place = fit.places[k]
    left, right = ([0, *fit.places][k], [*fit.places, len(values)][k + 1])
    sums = _Sums(values)
    tried = np.arange(min(left + 3, place), max(right - 2, place + 1))
    cost = sums.error(left, tried) + sums.error(tried, right)
    possible = tried[cost <= cost.min() + _CRITICAL * noise]
    changed = fit.estimate(3 + 2 * k)
    return ChangePoint(
        place,
        int(min(possible.min(), place)),
        int(max(possible.max(), place)),
        _outward(fit.estimate(2 + 2 * k), relative),
        _share(fit.slope(k), relative),
        _share(fit.slope(k + 1), relative),
        bool(changed[1] > 0 or changed[2] < 0),
        relative,
    )


def _share(value: float, relative: bool) -> float:
    return float(np.expm1(value)) if relative else value


def _outward(estimate: tuple[float, float, float], relative: bool) -> tuple[float, float, float]:
    value, low, high = (_share(one, relative) for one in estimate)
    return value, low, high
