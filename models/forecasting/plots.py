"""Pictures of a judged forecast."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from features.panel import Panel
from models.forecasting.model import ForecastModel
from models.forecasting.series import Ints

_SHOWN = 4


def plots(model: ForecastModel, known: Panel, coming: Panel, loss: pd.Series) -> dict[str, bytes]:
    """`forecasts.png`: the series at the best, middle and worst of the losses with what came and the intervals."""
    from matplotlib.figure import Figure

    ranked = loss.sort_values().index
    places = np.unique(np.linspace(0, len(ranked) - 1, min(_SHOWN, len(ranked))).round().astype(int))
    past = {name: (y, stamps) for name, y, stamps in known.series()}
    ahead = {name: (y, stamps) for name, y, stamps in coming.series()}
    height = 2.4 * len(places)
    figure = Figure(figsize=(10, height))
    # Margins in inches: a layout that is computed takes half of the time of the whole picture.
    figure.subplots_adjust(left=0.08, right=0.97, top=1 - 0.3 / height, bottom=0.3 / height, hspace=0.35)
    axes = figure.subplots(len(places), 1, squeeze=False)[:, 0]
    integer = model.stamps.dtype.kind != "M"
    for axis, place in zip(axes, places, strict=True):
        name = str(ranked[place])
        y, stamps = past[name]
        shown = 4 * model.horizon
        row = np.array([model.ids.index(name)])
        path = model.paths[row[0]]
        times = model.stamps[row[0]]
        axis.plot(_times(stamps[-shown:], integer), y[-shown:], color="#555555", linewidth=0.8)
        actual, when = ahead[name]
        axis.plot(_times(when, integer), actual, color="black", linewidth=0.9, label="came")
        axis.plot(times, path, color="#1f77b4", linewidth=1.1, label="forecast")
        for level, alpha in ((95, 0.15), (80, 0.25)):
            half = model.half_widths(row, model.horizon, level)[0]
            axis.fill_between(times, path - half, path + half, color="#1f77b4", alpha=alpha, linewidth=0)
        axis.set_title(f"{name}   MASE {float(loss[name]):.2f}", fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
    axes[0].legend(fontsize=7, loc="upper left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return {"forecasts.png": buffer.getvalue()}


def _times(stamps: Ints, integer: bool) -> np.ndarray[Any, Any]:
    return stamps if integer else stamps.astype("datetime64[ns]")
