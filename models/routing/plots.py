"""Figures of a policy: cost–quality curves on the holdout."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models.routing.curve import hull
from models.routing.judging import Points

Floats = NDArray[np.float64]

_COLOURS = ("#0b6e4f", "#c1666b", "#48639c", "#8d6a9f", "#b08d57", "#555555")


def curves(
    own: Points, others: Mapping[str, Points], models: Sequence[str], cost: Floats, quality: Floats, title: str
) -> dict[str, bytes]:
    """Curves of a policy and of others over a logarithmic cost, and the single models as dots.

    Parameters
    ----------
    cost, quality : means of the models.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for place, (name, points) in enumerate({title: own, **others}.items()):
        x, y = points.cost.mean(axis=0), points.quality.mean(axis=0)
        colour = _COLOURS[place % len(_COLOURS)]
        if len(x) == 1:
            continue
        costs, qualities = hull(x, y)
        axes.plot(
            costs, qualities, color=colour, lw=2.2 if place == 0 else 1.2, label=name, zorder=3 if place == 0 else 2
        )
        if place == 0:
            axes.plot(x, y, "o", ms=3, color=colour, zorder=4)
    axes.plot(cost, quality, "D", ms=4, color="black", zorder=5, label="single models")
    for name, x, y in zip(models, cost, quality, strict=True):
        if len(models) <= 16:
            axes.annotate(name, (x, y), xytext=(4, -8), textcoords="offset points", fontsize=7)
    if cost.min() > 0:
        axes.set_xscale("log")
    axes.set_xlabel("mean cost of a prompt")
    axes.set_ylabel("mean quality")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=130, metadata={"Software": None})
    return {"cost_quality.png": target.getvalue()}
