"""Figures of a benchmark: what a model costs and how good it is, with intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

_BEST, _OTHER = "#0b6e4f", "#8a8f98"


def plot(report: Mapping[str, Any], title: str) -> bytes:
    """PNG: on the left quality over cost, models that no other beats in both in green; on the right latency.

    Parameters
    ----------
    report : of `gateway.improve.benchmarks.report.report_of`, with one model or more.
    """
    from matplotlib.figure import Figure

    rows = list(report["models"])
    figure = Figure(figsize=(9.0, 0.6 + max(3.2, 0.42 * len(rows))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
    for place, row in enumerate(sorted(rows, key=lambda row: row["cost"]["value"])):
        cost, quality = row["cost"], row["quality"]
        beaten = any(
            other["cost"]["value"] <= cost["value"]
            and other["quality"]["value"] >= quality["value"]
            and (other["cost"]["value"] < cost["value"] or other["quality"]["value"] > quality["value"])
            for other in rows
        )
        colour = _OTHER if beaten else _BEST
        x, y = 1_000 * cost["value"], quality["value"]
        left.errorbar(
            x, y, xerr=_arms(cost, 1_000), yerr=_arms(quality), fmt="o", ms=5, color=colour, elinewidth=1.4, capsize=2
        )
        # Neighbours in cost are named on different sides of their dots.
        name = {"xytext": (6, 5) if place % 2 else (-6, -11), "ha": "left" if place % 2 else "right"}
        left.annotate(_short(row["model"]), (x, y), textcoords="offset points", fontsize=8, color=colour, **name)
    if all(row["cost"]["value"] > 0 for row in rows):
        left.set_xscale("log")
    left.set_xlabel("dollars a 1,000 calls")
    left.set_ylabel("quality, mean and 95 % interval")
    left.set_title(title, loc="left", fontsize=10)
    left.grid(alpha=0.25)
    left.margins(x=0.25, y=0.15)
    timed = [row for row in reversed(rows) if row["latency_ms"] is not None]
    places = range(len(timed))
    values = [row["latency_ms"] for row in timed]
    right.barh(places, [one["value"] for one in values], color="#48639c", alpha=0.75, height=0.6)
    arms = [_arms(one) for one in values]
    right.errorbar(
        [one["value"] for one in values], places, xerr=([one[0][0] for one in arms], [one[1][0] for one in arms]),
        fmt="none", ecolor="black", elinewidth=1.2, capsize=2,
    )  # fmt: skip
    right.set_yticks(places, [_short(row["model"]) for row in timed], fontsize=8)
    right.set_xlabel("latency, ms")
    right.grid(axis="x", alpha=0.25)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=130, metadata={"Software": None})
    return target.getvalue()


def _short(model: str) -> str:
    """A model's name without its provider, and of a tuned one what tells it from others."""
    name = model.partition("/")[2] or model
    if name.startswith("ft:"):
        base, _, suffix, number = name[3:].split(":", 3) if name.count(":") >= 4 else (name, "", "", "")
        return f"{base}, tuned {suffix} {number}".strip()
    return name


def _arms(estimate: Mapping[str, float], factor: float = 1.0) -> tuple[list[float], list[float]]:
    """Lengths of an interval's two arms, as `errorbar` takes them."""
    low, high = estimate["value"] - estimate["low"], estimate["high"] - estimate["value"]
    return [max(0.0, factor * low)], [max(0.0, factor * high)]
