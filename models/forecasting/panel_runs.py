"""A whole panel through the engine: series out of frames, members over all of them, results into a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.gaps import Fill
from features.holiday_calendar import check_daily
from features.panel import Panel, read_panel
from models.forecasting.backtest import MemberRun, actuals, recent_origins
from models.forecasting.coherence import made_coherent
from models.forecasting.covariates import with_covariates
from models.forecasting.engine import (
    BASELINE,
    ENOUGH_DAYS,
    Known,
    SeriesForecast,
    conclude,
    forecast_series,
    plan,
    run_members,
    weight_power,
)
from models.forecasting.hierarchy import Sum, sums_of, sums_that_hold
from models.forecasting.model import SHARES, ForecastModel, Runs, read_runs, write_runs
from models.forecasting.options import ForecastOptions
from models.forecasting.panel_backtest import run_panel_member, why_not
from models.forecasting.panel_members import PANEL_MEMBERS, absence
from models.forecasting.parallel import Progress, map_series
from models.forecasting.seasons import seasons_of
from models.forecasting.series import Floats, Series, naive_scale

PIECE = 100  # series worked on by one task
ENGINE = "1"  # part of the cache key: raise it when a member's forecast changes


def panel_of(frame: pd.DataFrame, roles: Mapping[str, str], options: ForecastOptions) -> Panel:
    """The clean panel of a training frame; see `features.panel.read_panel` for what is repaired and refused."""
    fill: Fill = "zero" if options.fill == "zero" else "interpolate"
    return read_panel(
        frame,
        id_column=roles.get("entity", "unique_id"),
        time_column=roles.get("time", "ds"),
        target_column=roles.get("target", "y"),
        freq=options.freq,
        fill=fill,
        exog=options.exog,
    )


def series_of(
    panel: Panel, options: ForecastOptions, frozen: Mapping[str, Sequence[int]] | None = None
) -> list[Series]:
    """The series of a panel with their season lengths and with what is known about them in advance.

    Parameters
    ----------
    frozen : season lengths decided before, by id: a recipe keeps the seasons that it was judged with.
    """
    found = []
    table = None
    if panel.exog is not None:
        table = {str(name): rows for name, rows in panel.exog.groupby("unique_id", sort=False)}
    if options.holidays is not None:
        check_daily(panel.grid)
    for name, y, stamps in panel.series():
        first = int(_place(panel, stamps[:1]))
        asked = (frozen or {}).get(name, options.seasons)
        grid = panel.grid
        if not np.array_equal(grid.at(np.array([first])), stamps[:1]):
            from features.frequency import grid_of

            grid = grid_of(stamps[:1], grid.kind, grid.step)
            first = int(grid.position(stamps[:1])[0][0])
        one = Series(name, y, seasons_of(y, grid, asked), grid, first)
        if options.exog or options.holidays is not None:
            one = with_covariates(one, table, options.exog, options.holidays, options.horizon)
        found.append(one)
    return found


def rows_of(series: Sequence[Series], options: ForecastOptions) -> pd.DataFrame:
    """Series with exogenous columns as a frame: `unique_id`, `ds`, `y` and the columns, without holes; after the last
    value of each series `options.horizon` rows without `y`, which are its future.
    """
    h = options.horizon
    stamps = np.concatenate([one.stamps(0, len(one) + h) for one in series])
    integer = series[0].grid.kind == "integer"
    own = [one.covariates.values[: len(one) + h, : one.covariates.own] for one in series if one.covariates is not None]
    values = np.concatenate(own)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.array([one.name for one in series], dtype=object), [len(o) + h for o in series]),
            "ds": stamps if integer else stamps.astype("datetime64[ns]"),
            "y": np.concatenate([np.append(one.y, np.full(h, np.nan)) for one in series]),
            **{name: values[:, k] for k, name in enumerate(options.exog)},
        }
    )


def _place(panel: Panel, stamps: np.ndarray[Any, Any]) -> int:
    return int(panel.grid.position(stamps)[0][0])


def forecast_all(
    series: Sequence[Series], options: ForecastOptions, progress: Progress | None = None
) -> list[SeriesForecast]:
    """The combination for every series, in order.

    A series is forecast from its own values alone, unless a member that learns from the whole panel is asked for.
    """
    of_panel, notes = _of_panel(series, options)
    work = partial(_forecast_one, options=options, notes=notes)
    tasks = [(one, {name: runs[one.name] for name, runs in of_panel.items() if one.name in runs}) for one in series]
    results = map_series(work, tasks, options.threads, progress)
    return coherent(series, results, options)[0]


def coherent(
    series: Sequence[Series], results: list[SeriesForecast], options: ForecastOptions
) -> tuple[list[SeriesForecast], tuple[Sum, ...]]:
    """The forecasts made to add up where the options say so, and the sums that they satisfy."""
    if options.hierarchy is None:
        return results, ()
    results, sums, notes = made_coherent(series, results, options.hierarchy)
    for note in notes:
        total = note.split(" is not reconciled", 1)[0]
        results = [replace(one, notes=(*one.notes, note)) if one.name == total else one for one in results]
    return results, sums


def _of_panel(series: Sequence[Series], options: ForecastOptions) -> tuple[Runs, tuple[str, ...]]:
    """What the members that learn from the whole panel forecast, those asked for; and notes on those that cannot."""
    runs, notes = {}, []
    for name in dict.fromkeys((*(options.members or ()), *options.also)):
        if name in PANEL_MEMBERS:
            try:
                runs[name] = run_panel_member(
                    PANEL_MEMBERS[name], series, options.horizon, at=_origins_by_name(series, options)
                )
            except ValueError as error:
                notes.append(f"{name}: {error}")
    return runs, tuple(notes)


def _forecast_one(
    task: tuple[Series, Mapping[str, Mapping[int, Floats]]], *, options: ForecastOptions, notes: tuple[str, ...]
) -> SeriesForecast:
    series, of_panel = task
    ready = {name: run for name, run in _common_origins(of_panel, len(series), options.horizon).items() if run.origins}
    return forecast_series(
        series, options.horizon, members=options.members, also=options.also, budget=options.seconds_per_series,
        nonnegative=options.nonnegative, ready=ready, notes=notes, origins=origins_for(series, options),
    )  # fmt: skip


def origins_for(series: Series, options: ForecastOptions) -> tuple[int, ...] | None:
    """Rolling origins of a series; None for those of the engine, also where it is too short for recent ones."""
    return (recent_origins(len(series), series.season) or None) if options.recent_origins else None


def _origins_by_name(series: Sequence[Series], options: ForecastOptions) -> dict[str, tuple[int, ...]]:
    return {one.name: own for one in series if (own := origins_for(one, options)) is not None}


def run_member_on_all(
    name: str, series: Sequence[Series], options: ForecastOptions, known: Runs | None = None
) -> dict[str, dict[int, Floats]]:
    """Series → origin → path of one member, for the series it can forecast; taken from the cache where possible.

    The path from the end of a series is filed under its length. With a cache, large panels are worked on and kept
    piece by piece, so that pieces may be made elsewhere; members that learn from all series together are not.
    """
    if options.cache is not None and pieces_of(name, series) > 1:
        parts = (run_member_on_all(name, piece, options, known) for piece in in_pieces(series))
        return {key: value for part in parts for key, value in part.items()}
    cached = _cache_file(name, series, options)
    if cached is not None and cached.exists():
        return {key: dict(value) for key, value in read_runs(cached).get(name, {}).items()}
    own = (known or {}).get(name, {})
    if name in PANEL_MEMBERS:
        at = _origins_by_name(series, options)
        found = run_panel_member(PANEL_MEMBERS[name], series, options.horizon, own, at)
    else:
        tasks = [(one, own.get(one.name)) for one in series if planned_alone(name, one, options)]
        work = partial(_run_one, name=name, options=options)
        found = {key: value for key, value in map_series(work, tasks, options.threads) if value}
    if cached is not None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        draft = cached.with_name(f".{cached.name}.{id(found)}")
        write_runs({name: found}, draft)
        draft.replace(cached)
    return found


def pieces_of(name: str, series: Sequence[Series]) -> int:
    """Into how many pieces a panel falls for a member; 1 where it learns from all series together."""
    return 1 if name in PANEL_MEMBERS else max(1, -(-len(series) // PIECE))


def in_pieces(series: Sequence[Series]) -> list[Sequence[Series]]:
    return [series[start : start + PIECE] for start in range(0, len(series), PIECE)]


def why_unsuited(name: str, series: Sequence[Series], options: ForecastOptions) -> str:
    """Why a member could forecast none of the series, told of the longest one."""
    longest = max(series, key=len)
    if reason := absence(name):
        return reason
    if name in PANEL_MEMBERS:
        reasons = why_not(PANEL_MEMBERS[name], series)
        return f"series {longest.name!r}: {reasons.get(longest.name, 'too few values before the rolling origins')}"
    chosen, left_out = plan(longest, (name,), options.seconds_per_series)
    if chosen != (name,):
        return f"series {longest.name!r}: {'; '.join(left_out)}"
    _, problems = run_members(longest, [name], options.horizon, budget=options.seconds_per_series)
    return f"series {longest.name!r}: {'; '.join(problems)}"


def planned(series: Series, options: ForecastOptions) -> tuple[str, ...]:
    """The members that suit a series, those that learn from the whole panel included.

    Those join where members are weighted by their rolling errors; a median of months has no use for one more voice.
    """
    local, _ = plan(series, options.members, options.seconds_per_series, also=options.also)
    asked = (*(options.members or ()), *options.also)
    if options.members is None and weight_power(series) > 0 and len(series) >= ENOUGH_DAYS:
        asked = (*asked, *(name for name, member in PANEL_MEMBERS.items() if member.usual))
    return (*local, *(name for name in PANEL_MEMBERS if name in asked))


def planned_alone(name: str, series: Series, options: ForecastOptions) -> bool:
    """Whether a member suits a series when nothing but it is asked for."""
    return plan(series, (name,), options.seconds_per_series)[0] == (name,)


def _run_one(
    task: tuple[Series, Mapping[int, Floats] | None], *, name: str, options: ForecastOptions
) -> tuple[str, dict[int, Floats]]:
    series, known = task
    h, budget = options.horizon, options.seconds_per_series
    kept = tuple(sorted(origin for origin in known if origin < len(series))) if known else None
    origins = origins_for(series, options) if kept is None else kept
    runs, _ = run_members(series, [name], h, budget=budget, known={name: known} if known else None, origins=origins)
    run = runs.get(name)
    if run is None:
        return series.name, {}
    paths = {origin: run.paths[row] for row, origin in enumerate(run.origins)}
    return series.name, paths | {len(series): run.path}


def conclude_all(
    series: Sequence[Series], runs: Runs, options: ForecastOptions, *, candidate: str
) -> tuple[list[SeriesForecast], float]:
    """Combine the members' runs per series; also the mean scaled error at the rolling origins.

    A series that no member could forecast gets the seasonal naive forecast; the mean is NaN when that is all of them.
    Where series are sums of others the forecasts add up.
    """
    ready: list[dict[str, MemberRun]] = []
    notes: list[list[str]] = []
    for one in series:
        own = {name: by_series[one.name] for name, by_series in runs.items() if one.name in by_series}
        if own:
            ready.append(_common_origins(own, len(one), options.horizon))
            notes.append([])
        else:
            naive, problems = run_members(
                one, [BASELINE], options.horizon, budget=options.seconds_per_series, origins=origins_for(one, options)
            )
            ready.append(naive)
            notes.append([f"{candidate} does not suit this series", *problems])
    results, errors = [], []
    for one, own_runs, problems in zip(series, ready, notes, strict=True):
        said = [*(one.covariates.notes if one.covariates else ()), *problems]
        results.append(conclude(one, own_runs, options.horizon, notes=said, nonnegative=options.nonnegative))
    results, _ = coherent(series, results, options)
    for one, result in zip(series, results, strict=True):
        scale = naive_scale(one.y, one.season)
        if result.backtest.size and scale > 0:
            origins = next(iter(result.runs.values())).origins
            seen = np.abs(result.backtest - actuals(one.y, origins, options.horizon))
            errors.append(float(np.nanmean(seen)) / scale)
    if all(notes):
        return results, float("nan")
    return results, float(np.mean(errors)) if errors else 1.0


def _common_origins(own: Mapping[str, Mapping[int, Floats]], end: int, h: int) -> dict[str, MemberRun]:
    """Paths by origin as member runs over the origins that all members share."""
    if not own:
        return {}
    common = sorted(set.intersection(*(set(paths) for paths in own.values())) - {end})
    return {
        name: MemberRun(
            paths[end], tuple(common), np.array([paths[origin] for origin in common]).reshape(len(common), h)
        )
        for name, paths in own.items()
    }


def model_of(
    series: Sequence[Series],
    results: Sequence[SeriesForecast],
    options: ForecastOptions,
    *,
    candidate: str,
    selection: float,
    runs: Runs | None = None,
) -> ForecastModel:
    """Everything that answering and a later origin need."""
    h = options.horizon
    integer = series[0].grid.kind == "integer"
    stamps = np.array([one.stamps(len(one), len(one) + h) for one in series])
    contract: dict[str, Any] = {
        "horizon": h,
        "frequency": series[0].grid.alias,
        "levels": [float(level) for level in options.levels],
        "series": {
            one.name: {
                "model": result.model,
                "weights": {name: round(weight, 6) for name, weight in result.weights.items()},
                "seasons": list(one.seasons),
                "length": len(one),
                "last": int(one.stamps(len(one) - 1, len(one))[0]),
                "nonnegative": result.nonnegative,
                "dependence": [result.dependence.share, result.dependence.memory, result.dependence.growth],
                "last_value": float(one.y[-1]),
                "notes": list(result.notes),
            }
            for one, result in zip(series, results, strict=True)
        },
    }
    if of_panel := [name for name in PANEL_MEMBERS if name in (runs or {})]:
        contract["panel_members"] = of_panel
    if options.hierarchy is not None:
        contract["hierarchy"] = options.hierarchy
        sums, _ = sums_that_hold(series, sums_of((one.name for one in series), options.hierarchy))
        contract["sums"] = [[one.total, list(one.parts)] for one in sums]
    if options.exog:
        contract["exog"] = list(options.exog)
    if options.holidays is not None:
        contract["holidays"] = options.holidays
    return ForecastModel(
        candidate=candidate,
        selection=selection,
        contract=contract,
        ids=tuple(one.name for one in series),
        stamps=stamps if integer else stamps.astype("datetime64[ns]"),
        paths=np.array([result.path for result in results]),
        scales=np.array([result.scores.scale for result in results]),
        quantiles=np.array([result.scores.quantiles(SHARES) for result in results]),
        runs=runs or {},
    )


def frozen_seasons(model: ForecastModel) -> dict[str, tuple[int, ...]]:
    """The season lengths of a recipe, by series; (1,) where it has none."""
    return {name: tuple(info["seasons"]) or (1,) for name, info in model.contract["series"].items()}


def known_runs(model: ForecastModel) -> dict[str, Known]:
    return {name: dict(by_series) for name, by_series in model.runs.items()}


def _cache_file(name: str, series: Sequence[Series], options: ForecastOptions) -> Path | None:
    if options.cache is None:
        return None
    own = PANEL_MEMBERS[name].identity() if name in PANEL_MEMBERS else ""
    digest = hashlib.sha256(f"{ENGINE} {name} {own} {options.horizon} {options.members}".encode())
    if options.recent_origins:
        digest.update(b" recent origins")
    for one in series:
        digest.update(f"{one.name} {one.seasons} {one.grid} {one.first}".encode())
        digest.update(np.ascontiguousarray(one.y).tobytes())
        if one.covariates is not None:
            digest.update(f"{one.covariates.names} {one.covariates.holidays}".encode())
            digest.update(np.ascontiguousarray(one.covariates.values).tobytes())
    return Path(options.cache) / f"{name}-{digest.hexdigest()[:24]}.parquet"
