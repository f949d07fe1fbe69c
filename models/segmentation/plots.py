"""Plots of a division, as PNG: how the number of segments was chosen, and what sets the segments apart."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.segmentation.model import SegmentationModel


def plots(model: SegmentationModel) -> dict[str, bytes]:
    """`choice_of_k.png` where several numbers were tried, and `segments.png` where there are several."""
    out = {}
    tried = model.facts["choice"].get("tried", [])
    if len(tried) > 1:
        out["choice_of_k.png"] = choice_plot(tried, int(model.facts["choice"]["k"]), model.candidate)
    if len(model.segments) > 1:
        out["segments.png"] = profile_plot(model)
    return out


def choice_plot(tried: Sequence[Mapping[str, Any]], chosen: int, candidate: str) -> bytes:
    """Stability, silhouette and BIC against the number of segments."""
    figure, axes = _figure(3, 1, (11.0, 3.4))
    k = [int(one["k"]) for one in tried]
    stable = np.array([one["stability"] for one in tried])
    low, high = (np.array([one[name] for one in tried]) for name in ("low", "high"))
    spread = np.clip([stable - low, high - stable], 0, None)
    axes[0].errorbar(k, stable, yerr=spread, fmt="o-", capsize=3, color="C0")
    axes[0].axhline(0.75, color="0.7", linewidth=1, linestyle="--")
    axes[0].set(title="stability (adjusted Rand index)", ylim=(min(0.0, float(low.min())), 1.02))
    axes[1].plot(k, [one["silhouette"] for one in tried], "o-", color="C1")
    axes[1].set(title="silhouette")
    axes[2].plot(k, [one["bic"] for one in tried], "o-", color="C2")
    axes[2].set(title="BIC (lower is better)")
    for axis in axes:
        axis.axvline(chosen, color="0.4", linewidth=1, linestyle=":")
        axis.set(xlabel="number of segments", xticks=k)
    figure.suptitle(f"{candidate}: {chosen} segments")
    return _png(figure)


def profile_plot(model: SegmentationModel) -> bytes:
    """Standard deviations of each side of behaviour off the mean of all customers, one row per segment."""
    concepts = [one.name for one in model.behaviour.concepts if one.name in model.segments[0].wording.sides]
    ordered = sorted(model.segments, key=lambda one: one.id)
    table = np.array([[one.wording.sides.get(concept, 0.0) for concept in concepts] for one in ordered])
    figure, axis = _figure(1, 1, (2.6 + 1.1 * len(concepts) + 1.8, 1.4 + 0.5 * len(ordered)))
    shown = axis.imshow(table, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto")
    axis.set_xticks(range(len(concepts)), concepts)
    names = [f"{one.id}  {one.name} ({one.share:.0%})" for one in ordered]
    axis.set_yticks(range(len(ordered)), names)
    for row in range(len(ordered)):
        for column in range(len(concepts)):
            ink = "white" if abs(table[row, column]) > 1.3 else "black"
            axis.text(
                column,
                row,
                f"{round(table[row, column], 1) + 0.0:+.1f}",
                ha="center",
                va="center",
                fontsize=8,
                color=ink,
            )
    figure.colorbar(shown, ax=axis, label="standard deviations")
    return _png(figure)


def _figure(columns: int, rows: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def _png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
