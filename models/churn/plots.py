"""Plots of a classifier on its holdout, as SVG. matplotlib is loaded here and nowhere else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.churn.metrics import equal_mass_bins

if TYPE_CHECKING:
    from models.churn.fairness import SliceFairness
    from models.churn.reasons.importance import Importance

Floats = NDArray[np.float64]

MOST_POINTS = 300
MOST_BARS = 18


def plots(y: NDArray[np.int64], p: Floats, threshold: float, candidate: str) -> dict[str, bytes]:
    """`calibration.svg`, `ranking.svg` (ROC and precision–recall) and `gain.svg`."""
    return {
        "calibration.svg": _calibration(y, p, candidate),
        "ranking.svg": _ranking(y, p, threshold, candidate),
        "gain.svg": _gain(y, p, candidate),
    }


def importance_plot(found: Sequence[Importance], candidate: str) -> dict[str, bytes]:
    """`importance.svg`: the columns that weigh most; nothing where none weighs anything."""
    shown = [one for one in found[:MOST_BARS] if one.value > 0][::-1]
    if not shown:
        return {}
    figure, axes = new_figure(height=1.4 + 0.24 * len(shown), width=5.6)
    value = np.asarray([one.value for one in shown])
    errors = [value - [one.low for one in shown], np.asarray([one.high for one in shown]) - value]
    axes.barh([_short(one.column) for one in shown], value, xerr=errors, color="#c7d7fe", ecolor="0.3", capsize=2)
    axes.set(xlabel="mean |contribution| to the log-odds, 95 % interval", title=f"What {candidate} looks at")
    return {"importance.svg": svg(figure)}


def fairness_plot(found: Sequence[SliceFairness], candidate: str) -> dict[str, bytes]:
    """`fairness.svg`: calibration gap and flagged ratio of the largest slices; nothing where there is no slice."""
    shown = sorted(found, key=lambda one: (-one.rows, one.column, one.level))[:MOST_BARS][::-1]
    if not shown:
        return {}
    figure, (left, right) = new_figure(2, height=1.4 + 0.24 * len(shown), width=5.2)
    names = [_short(f"{one.column} = {one.level}") for one in shown]
    for axes, measure, usual, title in (
        (left, "calibration_gap", 0.0, "probability − share that left"),
        (right, "flagged_ratio", 1.0, "flagged, others = 1, same outcome"),
    ):
        axes.axvline(usual, color="0.6", linewidth=1)
        for place, one in enumerate(shown):
            estimate = one.measures[measure]
            colour = "#b42318" if measure in one.differs else "#1f77b4"
            if np.isfinite(estimate.value):
                axes.plot([estimate.low, estimate.high], [place, place], color=colour, linewidth=1.5)
                axes.plot([estimate.value], [place], "o", color=colour, markersize=4)
        axes.set(xlabel=f"{title}, 95 % interval", ylim=(-0.6, len(shown) - 0.4))
        axes.set_yticks(range(len(shown)), names if axes is left else [""] * len(shown))
    left.locator_params(axis="x", nbins=5)
    right.set_xscale("log")
    right.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    right.minorticks_off()
    # Beyond a factor of 30 a bar only tells that little is known.
    right.set_xlim(1 / 30, 30)
    figure.suptitle(f"Slices of {candidate}; red: beyond chance", fontsize=11)
    return {"fairness.svg": svg(figure)}


def _short(text: str) -> str:
    return text if len(text) <= 32 else text[:29] + "..."


def new_figure(columns: int = 1, height: float = 4.2, width: float = 4.8) -> tuple[Any, Any]:
    """A figure without a window, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def svg(figure: Any, kind: Literal["svg", "png"] = "svg") -> bytes:
    """The figure as SVG, or as PNG; the same numbers give the same bytes."""
    import matplotlib

    out = io.BytesIO()
    # A fixed salt and no date: the same numbers give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "meritorder", "svg.fonttype": "none"}):
        figure.savefig(out, format=kind, dpi=120, metadata={"Date" if kind == "svg" else "Software": None})
    return out.getvalue()


def _calibration(y: NDArray[np.int64], p: Floats, candidate: str) -> bytes:
    figure, axes = new_figure()
    bins = equal_mass_bins(p)
    count = np.bincount(bins)
    used = count > 0
    mean = (np.bincount(bins, weights=p)[used]) / count[used]
    share = (np.bincount(bins, weights=y)[used]) / count[used]
    error = 1.96 * np.sqrt(share * (1 - share) / count[used])
    top = float(min(1.0, 1.1 * max(mean.max(), (share + error).max())))
    axes.plot([0, top], [0, top], color="0.6", linewidth=1)
    axes.errorbar(mean, share, yerr=error, fmt="o-", markersize=4, capsize=2)
    axes.set(xlabel="predicted probability", ylabel="share that left", title=f"Calibration, {candidate}")
    return svg(figure)


def _ranking(y: NDArray[np.int64], p: Floats, threshold: float, candidate: str) -> bytes:
    hits, seen = _cumulated(y, p)
    positives, negatives = hits[-1], seen[-1] - hits[-1]
    figure, (left, right) = new_figure(2)
    keep = _thinned(len(hits))
    left.plot((seen - hits)[keep] / negatives, hits[keep] / positives)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    left.set(xlabel="false positive rate", ylabel="true positive rate", title=f"ROC, {candidate}")
    right.plot(hits[keep][1:] / positives, hits[keep][1:] / seen[keep][1:])
    right.axhline(positives / seen[-1], color="0.6", linewidth=1)
    flagged = p >= threshold
    if flagged.any():
        right.plot([y[flagged].sum() / positives], [y[flagged].mean()], "o", label=f"threshold {threshold:.3g}")
        right.legend()
    right.set(xlabel="recall", ylabel="precision", title=f"Precision and recall, {candidate}", ylim=(0, 1.02))
    return svg(figure)


def _gain(y: NDArray[np.int64], p: Floats, candidate: str) -> bytes:
    hits, seen = _cumulated(y, p)
    figure, axes = new_figure()
    keep = _thinned(len(hits))
    axes.plot(seen[keep] / seen[-1], hits[keep] / hits[-1], label=candidate)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="at random")
    axes.plot([0, hits[-1] / seen[-1], 1], [0, 1, 1], color="0.8", linewidth=1, label="knowing everything")
    axes.legend()
    axes.set(xlabel="share of customers, riskiest first", ylabel="share of those that leave", title="Gain")
    return svg(figure)


def _cumulated(y: NDArray[np.int64], p: Floats) -> tuple[Floats, Floats]:
    order = np.argsort(-p, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    hits = np.cumsum(y[order])[ends]
    return np.append(0.0, hits), np.append(0.0, ends + 1.0)


def _thinned(count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.intp))
