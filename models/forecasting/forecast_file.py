"""Forecasts for a file that somebody brought, with no server and no set-up: what `merit forecast --data` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from features.gaps import Fill
from features.panel import Panel, read_panel
from features.panel_exog import with_future
from models.forecasting.crossing import Direction, check_threshold, crossing, row_of
from models.forecasting.engine import SeriesForecast
from models.forecasting.options import ForecastOptions, level_name
from models.forecasting.panel_members import check_members
from models.forecasting.panel_runs import forecast_all, series_of
from models.forecasting.parallel import Progress
from models.forecasting.seasons import too_long
from models.forecasting.series import Series
from models.forecasting.totals import check_known, read_hierarchy, with_totals
from store.errors import InvalidValue


@dataclass(frozen=True)
class FileForecast:
    """Forecasts and what happened on the way.

    Attributes
    ----------
    frame : unique_id, ds (as the input wrote it), model, forecast, lo-80, hi-80, …: one row per series and step, series
        in the order of the input.
    report : one row per series of the input: what was repaired (see `features.panel.Panel.report`), and season lengths,
        members, origins, seconds and notes of the forecast.
    notes : what had to be assumed about the file.
    crossings : one row per series on when it reaches a threshold, see `crossing.row_of`; empty when none was asked for.
    """

    frame: pd.DataFrame
    report: pd.DataFrame
    notes: tuple[str, ...]
    crossings: tuple[dict[str, Any], ...] = ()


def forecast_frame(
    frame: pd.DataFrame,
    options: ForecastOptions,
    *,
    id_column: str | None = "unique_id",
    time_column: str = "ds",
    target_column: str | None = "y",
    future: pd.DataFrame | None = None,
    hierarchy: str | None = None,
    cross: tuple[float, Direction] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> FileForecast:
    """Forecast every series of a frame, long or wide.

    A series is forecast from its own values alone: the result is the same in any batch, in any number of processes.

    Parameters
    ----------
    future : rows with the exogenous columns over the horizon; None where `frame` holds them, in rows after the last
        value that leave the target empty.
    hierarchy : columns whose values nest, e.g. "region,store", or the character between the parts of an id: what adds
        up then does in the forecasts, too; totals that are not there are added up first.
    cross : a threshold and a direction: when, and how probably, does each series reach it?
    threads : processes; None for `options.threads`.
    progress : called with (series done, series in all).

    Raises
    ------
    DataError : see `features.panel.read_panel` and `features.panel_exog`.
    """
    check_members((*(options.members or ()), *options.also))
    if threads is not None:
        options = replace(options, threads=threads)
    fill: Fill = "zero" if options.fill == "zero" else "interpolate"
    if future is not None:
        if not options.exog:
            raise InvalidValue(
                "Future values go with exogenous columns, and none was named.",
                remedy="Name them (--exog), or leave --future out.",
                field="future",
            )
        frame = with_future(frame, future, options.exog, id_column, time_column, target_column)
    if hierarchy is not None:
        frame, id_column, separator = read_hierarchy(frame, hierarchy, id_column)
        options = replace(options, hierarchy=separator)
    panel = read_panel(
        frame,
        id_column=id_column,
        time_column=time_column,
        target_column=target_column,
        freq=options.freq,
        fill=fill,
        exog=options.exog,
    )
    if options.hierarchy is not None:
        panel = with_totals(panel, options.hierarchy)
        check_known(panel, options.exog)
    series = series_of(panel, options)
    results = forecast_all(series, options, progress)
    h = options.horizon
    integer = panel.grid.kind == "integer"
    stamps = np.concatenate([one.stamps(len(one), len(one) + h) for one in series])
    data: dict[str, object] = {
        "unique_id": np.repeat(_ids(panel), h),
        "ds": panel.writing.write(pd.Series(stamps if integer else stamps.astype("datetime64[ns]"))).to_numpy(),
        "model": np.repeat(np.array([result.model for result in results], dtype=object), h),
        "forecast": np.concatenate([result.path for result in results]),
    }
    for level in options.levels:
        ends = [result.interval(level) for result in results]
        data[f"lo-{level_name(level)}"] = np.concatenate([low for low, _ in ends])
        data[f"hi-{level_name(level)}"] = np.concatenate([high for _, high in ends])
    worked = pd.DataFrame(
        {
            "unique_id": [result.name for result in results],
            "seasons": [",".join(str(season) for season in one.seasons) for one in series],
            "model": [result.model for result in results],
            "members": [
                ",".join(f"{name}={weight:.2f}" for name, weight in result.weights.items()) for result in results
            ],
            "origins": [len(next(iter(result.runs.values())).origins) for result in results],
            "seconds": [round(sum(run.seconds for run in result.runs.values()), 3) for result in results],
            "problems": [
                "; ".join([*too_long(options.seasons, len(one)), *result.notes])
                for one, result in zip(series, results, strict=True)
            ],
        }
    )
    made = pd.DataFrame(data)
    crossings = () if cross is None else tuple(_crossings(series, results, made["ds"].to_numpy(), *cross))
    return FileForecast(made, panel.report.merge(worked, on="unique_id", how="left"), panel.notes, crossings)


def _crossings(
    series: Sequence[Series], results: Sequence[SeriesForecast], stamps: Any, threshold: float, direction: Direction
) -> Iterator[dict[str, Any]]:
    check_threshold(threshold)
    h = len(results[0].path)
    for place, (one, result) in enumerate(zip(series, results, strict=True)):
        found = crossing(
            result.path, result.scores.scale, result.scores.quantiles, result.dependence, threshold, direction,
            nonnegative=result.nonnegative,
        )  # fmt: skip
        own = [_shown(stamp) for stamp in stamps[place * h : (place + 1) * h]]
        yield row_of(one.name, found, own, float(one.y[-1]), threshold, direction)


def _shown(stamp: Any) -> str:
    text = str(pd.Timestamp(stamp)) if isinstance(stamp, np.datetime64) else str(stamp)
    return text.removesuffix(" 00:00:00")


def _ids(panel: Panel) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """The ids as the input had them."""
    found = np.empty(len(panel.ids), dtype=object)
    found[:] = list(panel.ids)
    return found
