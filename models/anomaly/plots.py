"""Series with what was expected of them and what was unusual."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.anomaly.checks import SEVERITIES
from models.anomaly.events import Event
from models.anomaly.watch import Watched

_SHOWN = 6
_COLOURS = {"low": "#e0a100", "medium": "#e06c00", "high": "#c8102e", "critical": "#7a0019"}


def plot(found: Watched) -> bytes:
    """PNG of the series with the most severe events (up to six; the first ones where there is no event)."""
    from matplotlib.figure import Figure

    names = _worst(found)
    figure = Figure(figsize=(11, 2.3 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), 1, squeeze=False)[:, 0]
    for axis, name in zip(axes, names, strict=True):
        checks = found.checks[name]
        stamps = checks["at"].to_numpy(np.int64)
        times = stamps if found.grid.kind == "integer" else stamps.astype("datetime64[ns]")
        axis.fill_between(times, checks["low"], checks["high"], color="#1f77b4", alpha=0.18, linewidth=0,
                          label="usual")  # fmt: skip
        axis.plot(times, checks["value"], color="#333333", linewidth=0.8)
        _limit(axis, checks)
        for severity in SEVERITIES:
            here = (checks["severity"] == severity).to_numpy()
            if here.any():
                axis.scatter(times[here], checks["value"][here].fillna(checks["expected"][here]), s=14,
                             color=_COLOURS[severity], label=severity, zorder=3)  # fmt: skip
        events = [event for event in found.events if event.series == name]
        axis.set_title(f"{name}   {_said(events)}", fontsize=9, loc="left")
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=7, loc="upper left", ncols=5, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _worst(found: Watched) -> list[str]:
    ranked = sorted(found.events, key=lambda event: (-SEVERITIES.index(event.severity), -event.score))
    names = list(dict.fromkeys(event.series for event in ranked if event.series in found.checks))[:_SHOWN]
    chosen = set(names or list(found.checks)[:_SHOWN])
    return [name for name in found.checks if name in chosen]


def _limit(axis: Any, checks: pd.DataFrame) -> None:
    """An axis that shows the values: a band that is still learning may be far wider than they are."""
    low, high = checks["value"].min(), checks["value"].max()
    room = 0.15 * (high - low) or 1.0
    axis.set_ylim(low - room, high + room)


def _said(events: Sequence[Event]) -> str:
    kinds = pd.Series([event.kind for event in events], dtype=object).value_counts()
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.items()) or "nothing unusual"
