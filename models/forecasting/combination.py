"""How the members' forecasts become one.

For months and longer steps, the median of ETS, ARIMA, CES and the mean of two theta methods: weights learned from
rolling origins did not beat a median on M1, M3 and Tourism. On days and finer steps, where members differ more, weights
from the errors over the rolling origins, shrunk towards equal ones; a member whose rolling error is a multiple of the
best one's is left out. In both, a single member takes over only where it won clearly, and at all origins but one.

References: Bates and Granger 1969; Stock and Watson 2004 (why simple combinations win); Petropoulos and Svetunkov 2020
(the median of ETS, theta, ARIMA and CES).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.forecasting.backtest import MemberRun, actuals
from models.forecasting.series import Floats

COMBINATION = "combination"
_SHRINK = 3.0  # origins at which learned weights count half
_HOPELESS = 3.0  # a member this many times worse than the best is left out
_TWINS = ("DynamicOptimizedTheta", "AutoTheta")
_ORIGINS_TO_WIN = 5  # a single member needs at least so many origins
_MARGIN = 0.80  # and an error below this share of the combination's


@dataclass(frozen=True)
class Combined:
    """The combination on one series.

    Attributes
    ----------
    path : forecast, shape (h,).
    paths : the same rule at the rolling origins, shape (k, h).
    spread, spreads : standard deviation over the members, of the same shapes.
    weights : member → weight, summing to 1; for a median, equal ones of the members that went into it.
    model : "combination", or the single member that replaces it.
    """

    path: Floats
    paths: Floats
    spread: Floats
    spreads: Floats
    weights: Mapping[str, float]
    model: str


def mean_errors(runs: Mapping[str, MemberRun], y: Floats, h: int) -> dict[str, Floats]:
    """Mean absolute error of each member at each rolling origin, shape (k,)."""
    return {
        name: np.nanmean(np.abs(run.paths - actuals(y, run.origins, h)), axis=1) if run.origins else np.empty(0)
        for name, run in runs.items()
    }


def combine(runs: Mapping[str, MemberRun], y: Floats, h: int, *, power: float, override: bool = True) -> Combined:
    """Combine the members of one series.

    Parameters
    ----------
    runs : at least one, all with the same rolling origins.
    y : the series up to the end that the runs start from.
    power : weights go with the rolling error to minus this power; 0 for the median instead of weights.
    override : whether a single member may replace the combination.
    """
    names = list(runs)
    errors = mean_errors(runs, y, h)
    overall = np.array([errors[name].mean() if len(errors[name]) else 0.0 for name in names])
    if power > 0 and overall.min() > 0:  # the median needs no such help, and is worse for it
        names = [name for name, error in zip(names, overall, strict=True) if error <= _HOPELESS * overall.min()]
    final = np.array([runs[name].path for name in names])
    past = np.array([runs[name].paths for name in names])
    weights = _weights([errors[name] for name in names], power)
    if power > 0:
        path, paths = weights @ final, np.tensordot(weights, past, axes=1)
    else:
        final, past = _voices(names, final), _voices(names, past)
        path, paths = np.median(final, axis=0), np.median(past, axis=0)
    model = COMBINATION
    if len(names) == 1:
        model = names[0]
    elif override:
        winner = _winner(names, errors, paths, runs[names[0]].origins, y, h)
        if winner is not None:
            model = winner
            path, paths = runs[winner].path, runs[winner].paths
            weights = np.array([1.0 if name == winner else 0.0 for name in names])
    return Combined(
        path,
        paths,
        final.std(axis=0),
        past.std(axis=0),
        {name: float(weight) for name, weight in zip(names, weights, strict=True)},
        model,
    )


def _voices(names: Sequence[str], paths: Floats) -> Floats:
    """One path per voice: the two theta methods, near twins, speak as one, by their mean."""
    twins = [place for place, name in enumerate(names) if name in _TWINS]
    if len(twins) < 2:
        return paths
    others = [paths[place] for place in range(len(names)) if place not in twins]
    return np.array([paths[twins].mean(axis=0), *others])


def _weights(errors: Sequence[Floats], power: float) -> Floats:
    count = len(errors)
    equal = np.full(count, 1.0 / count)
    origins = len(errors[0])
    if power == 0 or origins == 0 or count == 1:
        return equal
    mean = np.array([error.mean() for error in errors])
    usual = max(float(np.median(mean)), 1e-6 * float(mean.max()), 1e-300)
    inverse = 1.0 / (mean / usual + 0.05) ** power
    trust = origins / (origins + _SHRINK)
    return np.asarray(trust * inverse / inverse.sum() + (1 - trust) * equal)


def _winner(
    names: Sequence[str], errors: Mapping[str, Floats], paths: Floats, origins: Sequence[int], y: Floats, h: int
) -> str | None:
    """The member that beat the combination clearly at all but at most one of the origins, if there were enough."""
    if len(origins) < _ORIGINS_TO_WIN:
        return None
    combined = np.nanmean(np.abs(paths - actuals(y, origins, h)), axis=1)
    best = min(names, key=lambda name: float(errors[name].mean()))
    wins = int(np.count_nonzero(errors[best] < combined))
    clear = float(errors[best].mean()) < _MARGIN * float(combined.mean())
    return best if clear and wins >= len(origins) - 1 else None
