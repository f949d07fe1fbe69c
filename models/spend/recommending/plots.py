"""What was saved as a picture: estimates beside what was measured, and what a call cost before and after."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from features.views.llm_costs import cost_cells
from models.spend.recommending.advice import LEVEL
from store.settings import Settings
from store.spend_recommendations import SpendRecommendation

_BEFORE = timedelta(days=42)
_BLUE, _GREY, _RED, _GREEN = "#1f77b4", "#555555", "#c8102e", "#2ca02c"


def savings_plot(settings: Settings, rows: Sequence[SpendRecommendation], as_of: datetime) -> bytes:
    """PNG: of each recommendation the estimated and the measured saving with their intervals; below it, for the first
    that has another model answer, dollars a call by day."""
    from matplotlib.figure import Figure

    told = [row for row in rows if (row.measured or {}).get("saved") is not None]
    shown = next((row for row in told if "use" in row.advice["scope"]), None)
    height = 1.4 + 0.5 * max(len(told), 1)
    figure = Figure(figsize=(9, height + (0.0 if shown is None else 3.0)), layout="constrained")
    ratios = [height] if shown is None else [height, 3.0]
    axes = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
    _intervals(axes[0], told)
    if shown is not None:
        _calls(axes[1], settings, shown, as_of)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _intervals(axis: Any, rows: Sequence[SpendRecommendation]) -> None:
    for place, row in enumerate(rows):
        assert row.measured is not None
        measured = row.measured["saved_a_month"]
        pairs = ((row.advice["saving"], _GREY, "estimated", 0.12), (measured, _BLUE, "measured", -0.12))
        for one, colour, label, shift in pairs:
            bars = [[one["value"] - one["low"]], [one["high"] - one["value"]]]
            axis.errorbar(
                one["value"], place + shift, xerr=bars, fmt="o", color=colour, capsize=3, markersize=4,
                label=label if place == 0 else None,
            )  # fmt: skip
    axis.axvline(0, color=_GREY, linewidth=0.6)
    axis.set_yticks(range(len(rows)), [f"{row.workspace}: {row.kind}" for row in rows], fontsize=7)
    axis.set_ylim(-0.6, max(len(rows), 1) - 0.4)
    axis.set_title(f"Saved, dollars a month ({LEVEL:.0%} intervals)", fontsize=9, loc="left")
    axis.tick_params(axis="x", labelsize=7)
    if rows:
        axis.legend(fontsize=7, frameon=False, loc="upper left", ncols=2)


def _calls(axis: Any, settings: Settings, row: SpendRecommendation, as_of: datetime) -> None:
    assert row.accepted is not None
    since = datetime.fromisoformat(str(row.accepted["since"]).removesuffix("Z"))
    scope = row.advice["scope"]
    cells = cost_cells(settings, since - _BEFORE, as_of, workspace=row.workspace)
    mine = cells[(cells["asked"] == scope["asked"]) & cells["complexity"].isin(scope["complexities"])]
    parts = (
        (f"asked of {scope['asked']}", mine[mine["part"] == ""], _GREY),
        ("held back", mine[mine["part"] == "held back"], _RED),
        (f"answered by {scope['use']}", mine[mine["part"] == "used"], _GREEN),
    )
    for label, cell, colour in parts:
        daily = cell.groupby("day")[["cost", "calls"]].sum()
        axis.plot(daily.index, 1_000 * daily["cost"] / daily["calls"], ".", color=colour, markersize=5, label=label)
    axis.axvline(pd.Timestamp(since), color=_BLUE, linewidth=0.9, linestyle=":")
    axis.annotate(" accepted", (pd.Timestamp(since), axis.get_ylim()[1]), fontsize=7, color=_BLUE, va="top")
    axis.set_ylim(0)
    words = f"{row.workspace}, {' and '.join(scope['complexities'])} tasks: thousandths of a dollar a call, by day"
    axis.set_title(words, fontsize=9, loc="left")
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False, ncols=3, loc="upper right")
