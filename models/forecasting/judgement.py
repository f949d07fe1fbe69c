"""A forecast against what came."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd

from features.panel import Panel
from models.forecasting.metrics import quantile_losses
from models.forecasting.model import Floats, ForecastModel
from models.forecasting.series import naive_scale
from models.lifecycle.evaluation import Estimate, Evaluation, Plots, slices_of
from store.errors import EmptyData

_CRPS_LEVELS = tuple(range(10, 100, 10))
_REPLICATES = 2_000
_TIMED = 30


def judge(
    model: ForecastModel, known: Panel, coming: Panel, seasons: Mapping[str, int], *, candidate: str
) -> Evaluation:
    """Evaluate a model that starts where `known` ends on what came afterwards.

    Parameters
    ----------
    seasons : season length of each series for the scale of its errors, the same for every model.

    Returns
    -------
    Evaluation with one loss per series and step: |y − forecast| over the series' seasonal naive error before it
    (MASE's denominator; Hyndman and Koehler 2006). Metrics are means over series with a percentile bootstrap over
    series: mase, smape, coverage_80, coverage_95, crps (scaled like mase). A slice is a group of series: what stands
    before the slash of an id.
    """
    rows = _rows(model, known, coming, seasons)
    per_series = rows.groupby("group", sort=False)[["loss", "smape", "in80", "in95", "crps"]].mean()
    names = {"loss": "mase", "smape": "smape", "in80": "coverage_80", "in95": "coverage_95", "crps": "crps"}
    metrics = {name: _estimate(per_series[column].to_numpy()) for column, name in names.items()}
    losses = rows[["loss", "group", "step"]]
    if rows["group"].str.contains("/").any():
        losses = losses.assign(**{"slice.series": rows["group"].str.split("/").str[0]})
    models = pd.Series([model.contract["series"][name]["model"] for name in model.ids]).value_counts()
    from models.forecasting.plots import plots

    return Evaluation(
        candidate=candidate,
        losses=losses,
        metrics=metrics,
        slices=slices_of(losses, at_least=1),
        latency_ms=_latency(model),
        plots=Plots(lambda: plots(model, known, coming, per_series["loss"])),
        details={
            "series": len(per_series),
            "steps": int(rows["step"].max()),
            "models": {str(name): int(count) for name, count in models.items()},
            "mase_by_series": {str(name): round(float(value), 4) for name, value in per_series["loss"].items()},
            "mase_by_step": [round(float(v), 4) for v in rows.groupby("step")["loss"].mean()],
        },
    )


def _rows(model: ForecastModel, known: Panel, coming: Panel, seasons: Mapping[str, int]) -> pd.DataFrame:
    """One row per judged series and step, indexed by a key that every model on this holdout shares."""
    ahead = {name: (y, stamps) for name, y, stamps in coming.series()}
    parts = []
    for name, y, _ in known.series():
        if name not in ahead or name not in model.ids:
            continue
        place = model.ids.index(name)
        actual, stamps = ahead[name]
        steps = min(len(actual), model.horizon)
        actual = actual[:steps]
        scale = naive_scale(y, seasons[name]) or max(float(np.abs(y).mean()), 1.0)
        path = model.paths[place, :steps]
        row = np.array([place])
        half = {level: model.half_widths(row, steps, level)[0] for level in (80, 95, *_CRPS_LEVELS)}
        error = np.abs(actual - path)
        size = np.abs(actual) + np.abs(path)
        widths = np.array([half[level] for level in _CRPS_LEVELS])
        parts.append(
            pd.DataFrame(
                {
                    "loss": error / scale,
                    "smape": np.divide(error, size, out=np.zeros_like(error), where=size > 0),
                    "in80": (error <= half[80]).astype(float),
                    "in95": (error <= half[95]).astype(float),
                    "crps": quantile_losses(actual, path, widths, _CRPS_LEVELS) / scale,
                    "group": name,
                    "step": np.arange(1, steps + 1),
                },
                index=pd.Index([f"{name}|{stamp}" for stamp in stamps[:steps]], name="row"),
            )
        )
    if not parts:
        raise EmptyData(
            "The model knows none of the series of the holdout.", remedy="Train on the same series.", field="unique_id"
        )
    return pd.concat(parts)


def _estimate(values: Floats) -> Estimate:
    """Mean over series with a 95 % percentile bootstrap interval."""
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    draws = np.random.default_rng(0).integers(0, len(values), size=(_REPLICATES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high))


def _latency(model: ForecastModel) -> float:
    """Median milliseconds of answering for one series with the model's levels."""
    name = [model.ids[0]]
    model.forecast(name, levels=model.levels)
    seconds = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        model.forecast(name, levels=model.levels)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds) * 1e3)
