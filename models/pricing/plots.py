"""Pictures of a pricing model: elasticities, demand curves, and what was foreseen. SVG without dates, so that the same
model gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from models.pricing.advice import Elasticity
from models.pricing.members import Demand
from models.pricing.panel import Floats, Panel

MOST_CURVES = 6
MOST_LINES = 40
STEPS = 17


def plots(
    demand: Demand,
    known: Panel,
    held: Panel,
    mean: Floats,
    elasticities: Sequence[Elasticity],
    candidate: str,
) -> dict[str, bytes]:
    """`demand_curves.svg`, `foreseen.svg` and, where elasticities were estimated, `elasticities.svg`."""
    found = {
        "demand_curves.svg": _curves(demand, known, elasticities, candidate),
        "foreseen.svg": _foreseen(held, mean, candidate),
    }
    shown = [one for one in elasticities if np.isfinite(one.value)]
    if shown:
        found["elasticities.svg"] = _forest(shown)
    return found


def _figure(rows: int = 1, columns: int = 1, *, height: float = 3.6, width: float = 4.4) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _svg(figure: Any) -> bytes:
    import matplotlib

    out = io.BytesIO()
    # A fixed salt and no date: the same numbers give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "meritorder", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _forest(shown: Sequence[Elasticity]) -> bytes:
    own = [one for one in shown if one.of == "own"]
    rivals = [one for one in shown if one.of == "competitor" and one.segment is None]
    lines = (own + rivals)[:MOST_LINES]
    figure, axes = _figure(height=max(2.4, 0.8 + 0.24 * len(lines)), width=6.4)
    axis = axes[0, 0]
    for at, one in enumerate(lines):
        colour = ("C0" if one.of == "own" else "C1") if one.identified else "0.6"
        axis.plot([one.low, one.high], [-at, -at], color=colour, linewidth=1.4)
        axis.plot([one.value], [-at], "o", color=colour, markersize=4)
    axis.set_yticks([-at for at in range(len(lines))], [_label(one) for one in lines], fontsize=7)
    axis.axvline(0.0, color="0.4", linewidth=0.8)
    axis.axvline(-1.0, color="0.8", linewidth=0.8, linestyle="--")
    middle = np.asarray([value for one in lines for value in (one.low, one.high)])
    low, high = np.quantile(middle, [0.02, 0.98])
    axis.set_xlim(min(low, -1.2) - 0.3, max(high, 0.2) + 0.3)
    axis.set(
        xlabel=f"elasticity, {lines[0].level:.0%} interval (grey: not identified)",
        title="What a price does",
    )
    return _svg(figure)


def _label(one: Elasticity) -> str:
    name = _text(one.product) if one.product else "all products"
    where = f" / {_text(one.segment)}" if one.segment else ""
    return f"{name}{where}" + (", competitor's price" if one.of == "competitor" else "")


def _text(name: str) -> str:
    # A dollar sign would begin a formula.
    return (name if len(name) <= 30 else name[:29] + "…").replace("$", r"\$")


def _curves(demand: Demand, known: Panel, elasticities: Sequence[Elasticity], candidate: str) -> bytes:
    """Expected quantity a week against the price, with prices scaled together at all places of a product."""
    sold = pd.Series(known.quantity).groupby(known.product).sum().sort_values(ascending=False)
    names = [str(name) for name in sold.index[:MOST_CURVES]]
    columns = min(3, len(names))
    figure, axes = _figure((len(names) + columns - 1) // columns, columns)
    by_product = {one.product: one for one in elasticities if one.of == "own" and one.segment is None}
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names, strict=False):
        part = known.take(known.product == name)
        if known.day is not None and part.day is not None:
            recent = part.day >= np.quantile(part.day, 0.75)
            part = part.take(recent) if recent.sum() >= 5 else part
        if len(part) > 2000:
            part = part.take(np.linspace(0, len(part) - 1, 2000).astype(int))
        usual = float(np.average(part.price))
        seen = known.price[known.product == name]
        low, high = float(seen.min()), float(seen.max())
        factors = np.geomspace(low / usual, high / usual, STEPS) if high > low else np.asarray([1.0])
        weeks = 7 * len(part) / part.length.sum()
        curve = np.asarray([demand.mean(replace(part, price=part.price * f)).mean() for f in factors]) * weeks
        axis.plot(usual * factors, curve, label=candidate)
        one = by_product.get(name)
        if one is not None and np.isfinite(one.value):
            level = float(demand.mean(part).mean()) * weeks
            axis.plot(usual * factors, level * factors**one.value, color="C1", label="causal")
            ends = np.sort([level * factors**one.low, level * factors**one.high], axis=0)
            axis.fill_between(usual * factors, ends[0], ends[1], color="C1", alpha=0.2, linewidth=0)
            # An elasticity that is not known would draw a curve through the roof.
            top = max(float(curve.max()), level) * 2
            axis.set_ylim(0, min(top, max(top / 2, float(ends[1].max())) * 1.05))
        axis.axvline(usual, color="0.7", linewidth=0.8, linestyle="--")
        axis.set(title=_text(name), xlabel="price", ylabel="quantity a week and place")
    axes[0, 0].legend(fontsize=7)
    return _svg(figure)


def _foreseen(held: Panel, mean: Floats, candidate: str) -> bytes:
    """Sold and expected: over time, or by size of what was expected."""
    figure, axes = _figure()
    axis = axes[0, 0]
    if held.day is not None:
        width = max(7.0, float(np.median(held.length)))
        bins = np.floor((held.day - held.day.min()) / width).astype(int)
        xs, label = np.arange(bins.max() + 1), "weeks of the holdout" if width == 7 else "periods of the holdout"
    else:
        order = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
        bins = (order * 10 // max(1, len(mean))).astype(int)
        xs, label = np.arange(bins.max() + 1), "tenths of rows by what was expected"
    axis.plot(xs, np.bincount(bins, held.quantity, len(xs)), "o-", markersize=3, label="sold")
    axis.plot(xs, np.bincount(bins, mean, len(xs)), label=f"expected, {candidate}")
    axis.set(xlabel=label, ylabel="quantity", title="Foreseen")
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7)
    return _svg(figure)
