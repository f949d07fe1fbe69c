"""A panel's forecasts made to add up, with intervals calibrated on what the reconciled forecasts got wrong.

Forecasts from the end and from every rolling origin are reconciled alike, and the intervals of each series come from
the errors of its reconciled rolling forecasts. So each interval is calibrated for its own series; the ends of intervals
do not add up, as the chance that all parts are high at once is not that of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.forecasting.backtest import actuals
from models.forecasting.engine import SeriesForecast, moved
from models.forecasting.hierarchy import Sum, sums_of, sums_that_hold
from models.forecasting.reconciliation import reconciled, shrunk_correlation, systems
from models.forecasting.series import Floats, Series

_PER_ORIGIN = 6  # errors of one rolling origin that count for the correlation: neighbours say the same twice


def made_coherent(
    series: Sequence[Series], results: Sequence[SeriesForecast], separator: str
) -> tuple[list[SeriesForecast], tuple[Sum, ...], tuple[str, ...]]:
    """The forecasts reconciled with the sums that ids tell of and data bear out.

    Returns
    -------
    Forecasts in the same order, the sums that they now satisfy, and a sentence on each sum that does not hold.
    """
    sums, notes = sums_that_hold(series, sums_of((one.name for one in series), separator))
    found = {result.name: result for result in results}
    by_name = {one.name: one for one in series}
    for names, constraints in systems(sums):
        group = [by_name[name] for name in names]
        for one, result in zip(group, _reconciled(group, [found[name] for name in names], constraints), strict=True):
            found[one.name] = result
    return [found[one.name] for one in series], sums, notes


def _reconciled(
    group: Sequence[Series], results: Sequence[SeriesForecast], constraints: Floats
) -> list[SeriesForecast]:
    h = len(results[0].path)
    scales = np.array([result.scores.scale for result in results])
    stop = np.array([result.nonnegative for result in results])
    # Rolling origins by their distance from the end, since parts may begin later than their total.
    origins = [
        [len(one) - origin for origin in next(iter(result.runs.values())).origins]
        for one, result in zip(group, results, strict=True)
    ]
    common = sorted(set.intersection(*map(set, origins)), reverse=True)
    rows = [[own.index(back) for back in common] for own in origins]
    past = np.array([result.backtest[places] for result, places in zip(results, rows, strict=True)])
    errors = np.array([actuals(one.y, [len(one) - back for back in common], h) for one in group]) - past
    thinned = errors[:, :, :: max(1, h // _PER_ORIGIN)].reshape(len(group), -1)
    seen = thinned[:, np.isfinite(thinned).all(axis=0)]
    correlation = shrunk_correlation(seen.T)
    path = reconciled(np.array([result.path for result in results]), constraints, scales, correlation, stop)
    backtests = [result.backtest.copy() for result in results]
    for k in range(len(common)):
        then = reconciled(past[:, k], constraints, scales, correlation, stop)
        for place, places in enumerate(rows):
            backtests[place][places[k]] = then[place]
    return [
        moved(one, result, path[place], backtests[place])
        for place, (one, result) in enumerate(zip(group, results, strict=True))
    ]
