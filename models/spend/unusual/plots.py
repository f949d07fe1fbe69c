"""Findings as a picture: what was spent by hour or day around each, and what it comes from."""

from __future__ import annotations

import io
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import pandas as pd

from features.views.spend import TOTAL
from models.anomaly.checks import SEVERITIES
from models.spend.unusual.finding import Finding
from models.spend.unusual.look import Frames
from models.spend.unusual.split import tokens_of

_SHOWN = 4
_AROUND = pd.Timedelta(days=14)
_COLOURS = {"low": "#e0a100", "medium": "#e06c00", "high": "#c8102e", "critical": "#7a0019"}
_MONEY = ("price", "volume", "runaway user", "model mix", "prompt length", "new model")


def findings_plot(frames: Frames, found: Sequence[Finding]) -> bytes:
    """PNG of the most severe findings, up to four: the series with the time marked, and its causes beside it."""
    from matplotlib.figure import Figure

    chosen = sorted(found, key=lambda one: (SEVERITIES.index(one.severity), one.score), reverse=True)[:_SHOWN]
    chosen = sorted(chosen, key=lambda one: one.start)
    count = max(len(chosen), 1)
    figure = Figure(figsize=(11, 2.4 * count), layout="constrained")
    axes = figure.subplots(count, 2, squeeze=False, width_ratios=(3, 1))
    for (left, right), one in zip(axes, chosen, strict=False):
        _series(left, frames, one)
        _causes(right, one)
    if not chosen:
        for axis in axes[0]:
            axis.set_axis_off()
        axes[0][0].set_title("Nothing unusual", fontsize=9, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _series(axis: Any, frames: Frames, one: Finding) -> None:
    from matplotlib.dates import DateFormatter

    begin, end = pd.Timestamp(one.start) - _AROUND, pd.Timestamp(one.end) + _AROUND
    hours = frames.hours[(frames.hours["hour"] >= begin) & (frames.hours["hour"] < end)]
    own = _own(hours, one.subject)
    if one.kind == "errors":
        failed = frames.failed[frames.failed["model"] == one.subject.partition("=")[2]]
        series = failed.set_index("hour")["failed"].resample("6h").sum()
        series = series[(series.index >= begin) & (series.index < end)]
        unit = "failed attempts in six hours"
    elif one.kind == "latency":
        sums = own.set_index("hour")[["latency_ms", "answered"]].resample("6h").sum()
        series = (sums["latency_ms"] / sums["answered"]).dropna()
        unit = "milliseconds an answer"
    elif one.kind == "price":
        # What tokens cost each: the price, as it shows.
        sums = own.assign(tokens=tokens_of(own)).set_index("hour")[["cost", "tokens"]].resample("12h").sum()
        series = (1e6 * sums["cost"] / sums["tokens"]).dropna()
        unit = "dollars a million tokens"
    else:
        series = own.set_index("hour")["cost"].resample("D").sum()
        unit = "dollars a day"
    axis.plot(series.index, series.to_numpy(), color="#333333", linewidth=0.9)
    axis.axvspan(pd.Timestamp(one.start), pd.Timestamp(one.end), color=_COLOURS[one.severity], alpha=0.25, linewidth=0)
    words = shorten(one.words, 110, placeholder=" …").replace("$", r"\$")  # between two of them would be a formula
    axis.set_title(f"{one.kind}, {one.severity}: {words}", fontsize=8, loc="left")
    axis.set_ylabel(unit, fontsize=7)
    axis.set_ylim(0)
    axis.tick_params(labelsize=7)
    axis.margins(x=0.01)
    formatter: Any = DateFormatter
    axis.xaxis.set_major_formatter(formatter("%m-%d"))


def _own(hours: pd.DataFrame, subject: str) -> pd.DataFrame:
    name, _, value = subject.partition("=")
    if name == "user":
        workspace, _, user = value.partition("/")
        return hours[(hours["workspace"] == workspace) & (hours["user"] == user)]
    return hours if subject == TOTAL or name not in hours else hours[hours[name] == value]


def _causes(axis: Any, one: Finding) -> None:
    bars = [(str(cause["value"]), float(cause.get("share", 0.0))) for cause in one.causes][:4]
    if one.split:
        whole = sum(abs(value) for value in one.split.values()) or 1.0
        bars += [(name, value / whole) for name, value in one.split.items() if value]
    names, shares = [name for name, _ in bars][::-1], [share for _, share in bars][::-1]
    axis.barh(names, shares, color="#1f77b4")
    axis.set_xlim(min(0.0, *shares, 0.0), max(1.0, *shares, 1.0))
    axis.set_title("what it comes from, share", fontsize=8, loc="left")
    axis.tick_params(labelsize=7)
