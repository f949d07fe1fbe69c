"""A picture of a series taken apart."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from models.forecasting.decomposition import Decomposition

_INK, _LINE, _BREAK = "#555555", "#1f77b4", "#d62728"


def decomposition_plot(found: Decomposition) -> bytes:
    """PNG: the series with its trend and its broken line, each season, the remainder; breaks as bands of dates."""
    from matplotlib.figure import Figure

    stamps = found.stamps
    times: Any = stamps if found.series.grid.kind == "integer" else stamps.astype("datetime64[ns]")
    rows = 2 + len(found.seasonal)
    height = 3.0 + 1.4 * (rows - 1)
    figure = Figure(figsize=(10, height))
    # Margins in inches: a layout that is computed takes half of the time of the whole picture.
    figure.subplots_adjust(left=0.09, right=0.98, top=1 - 0.55 / height, bottom=0.3 / height, hspace=0.12)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=[2.2, *[1.0] * (rows - 1)])[:, 0]
    axes[0].plot(times, found.series.y[found.first :], color=_INK, linewidth=0.7, label="series")
    axes[0].plot(times, found.trend, color=_LINE, linewidth=1.4, label="trend")
    axes[0].plot(times, found.breaks.line, color=_BREAK, linewidth=1.0, linestyle="--", label="level with breaks")
    axes[0].legend(fontsize=7, loc="upper left", ncols=3)
    axes[0].set_title(found.series.name, fontsize=10, loc="left", pad=12)
    for axis, (season, part) in zip(axes[1:], found.seasonal.items(), strict=False):
        axis.plot(times, part, color=_LINE, linewidth=0.7)
        axis.set_ylabel(f"season {season}", fontsize=8)
    axes[-1].bar(times, found.remainder, color=_INK, width=_width(times))
    axes[-1].set_ylabel("remainder", fontsize=8)
    last = len(found.trend) - 1
    for point in found.breaks.points:
        for axis in axes:
            axis.axvline(times[point.at], color=_BREAK, linewidth=0.8)
            axis.axvspan(times[point.low], times[min(point.high, last)], color=_BREAK, alpha=0.12, linewidth=0)
    for axis in axes:
        axis.tick_params(labelsize=7)
        axis.margins(x=0.01)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _width(times: Any) -> Any:
    step = np.diff(times[:2])
    return step[0] if len(step) else 1
