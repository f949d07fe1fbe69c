"""Intervals from what rolling origins got wrong, for any level.

Each error is divided by a scale that is known before it. Its size is a geometric mean of how far the series moves in a
season, how far the members disagree, and how far off earlier origins were. Its shape over the steps is the series' own,
too: it grows with the step the more, the longer a deviation of the series lasts (not at all for noise around a level,
trend or season, with the step to the power 0.4 for a random walk), follows the members' disagreement a little, and is
tilted by the slope of the errors at the rolling origins, shrunk towards none while origins are few. The scaled errors
of a series' own origins, each origin scaled without looking at itself, are pooled with a fixed sample of scaled errors
(`conformal_prior`); the quantile of that pool times the scale of the coming step is the half width. So a short series
gets calibrated intervals, a long one more and more its own, and nothing depends on what other series are in the file.
(Pooling the errors of a panel instead was tried: origins that overlap know each other's outcomes, and intervals came
out too narrow.)

References: Vovk, Gammerman and Shafer 2005 (conformal prediction); Lei et al. 2018 (locally weighted scores).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.forecasting.series import Floats

_OWN = 4.0  # origins at which own errors count half in the size of the scale
_SPREAD = 0.55  # share of the members' disagreement in the rest of it
_SPREAD_BY_STEP = 0.15  # the scale follows the disagreement from step to step with this power
_GROWTH = 0.4  # the scale grows with the step to this power times the persistence of the series
_TILT = 6.0  # origins at which the slope of the own errors over the steps counts half
_STEEPEST = 0.5  # the tilt is the step to at most this power, up or down
_SEEN = (
    40  # steps over which its mean is one: longer horizons leave fewer, and more alike, rolling origins to learn from
)
_FLOOR = 0.05  # no part of the scale falls below this share of the naive scale
_MOST = 5.0  # nor does a member that runs away count as more disagreement than this many naive scales
_PRIOR_WEIGHT = 5.0  # the fixed sample counts like so many origins
_FEW = 3  # so many origins say nothing about the shape of the errors, only about their size


@dataclass(frozen=True)
class Scores:
    """All that is needed for an interval at any level.

    Attributes
    ----------
    scale : scale of the error at each coming step, shape (h,).
    scores : sorted scaled absolute errors, shape (s,).
    weights : cumulative weights of `scores`, ascending to 1, shape (s,).
    """

    scale: Floats
    scores: Floats
    weights: Floats

    def half_width(self, level: float) -> Floats:
        """Half width of the interval at a level in percent, shape (h,)."""
        return np.asarray(self.scale * self.quantiles(np.array([level / 100.0]))[0])

    def quantiles(self, shares: Floats) -> Floats:
        """Quantiles of the scaled errors, ascending with `shares`; past the last score the tail is a power law."""
        middle = self.weights - np.diff(self.weights, prepend=0.0) / 2.0
        top = float(middle[-1])
        inside = np.interp(shares, middle, self.scores)
        beyond = self.scores[-1] * ((1.0 - top) / (1.0 - np.minimum(shares, 1 - 1e-9))) ** 0.25
        return np.asarray(np.where(shares <= top, inside, beyond))


def error_scale(naive: float, spread: Floats, errors: Floats, persistence: float) -> Floats:
    """Scale of the error at each step, shape (h,).

    Parameters
    ----------
    naive : `naive_scale` of the series, > 0.
    spread : standard deviation over the members at each step, shape (h,); zeros when there is one member.
    errors : absolute errors at earlier origins, shape (k, h), NaN where nothing came yet; k may be 0.
    persistence : how long deviations of the series last, from 0 to 1, see `series.persistence`.
    """
    floor = _FLOOR * naive
    seen = errors[np.isfinite(errors)]
    own = float(seen.mean()) if len(seen) else 0.0
    share = len(errors) / (len(errors) + _OWN) if own > 0 else 0.0
    shape = np.arange(1, len(spread) + 1, dtype=float) ** (_GROWTH * persistence)
    rest = float(np.log(naive))
    if np.any(spread > 0):
        disagreement = np.log(np.clip(spread, floor, _MOST * naive))
        usual = float(disagreement.mean())
        rest = (1 - _SPREAD) * rest + _SPREAD * usual
        shape = shape * np.exp(_SPREAD_BY_STEP * (disagreement - usual))
    if own > 0:
        shape = shape * _tilt(errors, shape)
    size = np.exp((1 - share) * rest + share * np.log(max(own, floor)))
    return np.asarray(size * shape / shape[:_SEEN].mean())


def _tilt(errors: Floats, shape: Floats) -> Floats:
    """The step to the power by which the errors grow faster (or slower) than `shape`, shrunk; shape (h,).

    A straight line through the logarithms of the mean error in blocks of 1, 2, 4, 8, … steps.
    """
    h = len(shape)
    step = np.arange(1, h + 1, dtype=float)
    scaled = errors / shape
    places, sizes = [], []
    start, width = 0, 1
    while start < h:
        stop = h if h - start < 2 * width else start + width
        block = scaled[:, start:stop]
        if np.any(np.isfinite(block)):
            places.append(float(np.log(step[start:stop]).mean()))
            sizes.append(float(np.nanmean(block)))
        start, width = stop, 2 * width
    if len(places) < 2:
        return np.ones(h)
    mean = float(np.nanmean(scaled))
    along = np.array(places) - np.mean(places)
    height = np.log(np.maximum(np.array(sizes) / mean, 0.1))
    slope = float(along @ height) / (float(along @ along) * (1.0 + _TILT / len(errors)))
    return np.asarray(step ** float(np.clip(slope, -_STEEPEST, _STEEPEST)))


def calibrate(
    naive: float, spread: Floats, errors: Floats, spreads: Floats, sample: Floats, persistence: float
) -> Scores:
    """Scores of one series.

    Parameters
    ----------
    naive : `naive_scale` of the series, > 0.
    spread : disagreement of the members at the coming steps, shape (h,).
    errors : absolute errors of the combination at the rolling origins, shape (k, h), NaN where nothing came yet.
    spreads : disagreement of the members at the rolling origins, shape (k, h).
    sample : scaled errors to pool the series' own with: `prior_scores`.
    persistence : how long deviations of the series last, from 0 to 1, see `series.persistence`.
    """
    own = scaled_errors(naive, errors, spreads, persistence)
    trust = max(0.0, 1.0 - _FEW / len(own)) if own else 0.0
    pool = [sample, *own]
    weights = [np.full(len(sample), _PRIOR_WEIGHT / len(sample)), *(np.full(len(one), trust / len(one)) for one in own)]
    scores, weight = np.concatenate(pool), np.concatenate(weights)
    order = np.argsort(scores, kind="stable")
    return Scores(
        error_scale(naive, spread, errors, persistence),
        scores[order],
        np.cumsum(weight[order]) / weight.sum(),
    )


def scaled_errors(naive: float, errors: Floats, spreads: Floats, persistence: float) -> list[Floats]:
    """Errors of each rolling origin over the scale that the other origins give; steps not seen yet are left out.

    Parameters and shapes as for `calibrate`; one array per origin that has any error.
    """
    found = []
    for row in range(len(errors)):
        others = np.delete(errors, row, axis=0)
        scaled = errors[row] / error_scale(naive, spreads[row], others, persistence)
        if np.any(np.isfinite(scaled)):
            found.append(scaled[np.isfinite(scaled)])
    return found


def interval(
    path: Floats, half: Floats, scale: Floats, level: float, *, nonnegative: bool | np.ndarray[Any, Any]
) -> tuple[Floats, Floats]:
    """path ∓ half, always strictly around the path and finite, and stopped at zero where asked.

    The least half width is a billionth of the error scale at most (or what the path's digits can tell), and grows with
    the level. Where a path that must not be negative is 0, the lower end lies that little below it: for a series of
    nothing but zeros, never lower than a billionth of its scale. Above 0, several lower ends may all be 0.

    Parameters
    ----------
    path, half, scale : of one shape.
    level : in percent.
    nonnegative : whether to stop at zero; a bool, or an array that goes with `path`.
    """
    least = np.maximum(np.abs(path) * 1e-12, scale * 5e-10) * (1.0 + level / 100.0)
    half = np.maximum(half, least)
    low = path - half
    stopped = np.where(path > 0, np.maximum(low, 0.0), path - least)
    return np.asarray(np.where(nonnegative, stopped, low)), np.asarray(path + half)
