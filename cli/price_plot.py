"""Demand curves drawn into a file: what would be sold at other prices, with the interval of the elasticity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.pricing.advice import Advice

MOST_PANELS = 12
REACH = 0.3
"""Relative distance from today's price that is drawn, at least."""


def draw(advices: Sequence[Advice], path: Path) -> None:
    """One panel per product: quantity over the horizon against price, Q(p) = Q(p₀)·(p/p₀)^ε, today's price, and the
    recommended one. The first twelve products; those with advice before those without."""
    from matplotlib.figure import Figure

    shown = sorted((one for one in advices if one.now), key=lambda one: not one.advised)[:MOST_PANELS]
    columns = min(3, max(1, len(shown)))
    lines = max(1, math.ceil(len(shown) / columns))
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, advice in zip(panels, shown, strict=False):
        _panel(panel, advice)
    if shown:
        level = f"{shown[0].elasticity.level:.0%}"
        figure.suptitle(f"Quantity by price; bands: {level} interval of the elasticity", fontsize=9, color="0.4")
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    left_out = len(advices) - len(shown)
    if left_out:
        figure.supxlabel(f"{left_out:,} more products are not drawn", fontsize=8, color="0.4")
    partial = path.with_name(f".{path.name}.partial")
    try:
        figure.savefig(partial, format=path.suffix[1:].lower(), dpi=130)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _panel(panel: Any, advice: Advice) -> None:
    import numpy as np

    assert advice.now is not None
    today, quantity, own = advice.current_price, advice.now.quantity.value, advice.elasticity
    ends = [today * (1 - REACH), today * (1 + REACH), advice.price * 0.95, advice.price * 1.05]
    prices = np.linspace(min(ends), max(ends), 121)
    known = math.isfinite(own.value) and math.isfinite(own.low) and math.isfinite(own.high)
    colour = "tab:blue" if advice.advised else "0.55"
    if known:
        low, high = (quantity * (prices / today) ** exponent for exponent in (own.low, own.high))
        panel.fill_between(prices, np.minimum(low, high), np.maximum(low, high), color=colour, alpha=0.2, lw=0)
        panel.plot(prices, quantity * (prices / today) ** own.value, color=colour, lw=1.6)
        panel.set_title(f"{_short(advice.question.product)}: {own.value:.2f} [{own.low:.2f}, {own.high:.2f}]")
    else:
        panel.set_title(f"{_short(advice.question.product)}: not known")
    panel.plot([today], [quantity], "o", color="0.25", ms=5, label=f"now {today:,.4g}")
    if advice.advised and advice.then is not None:
        label = f"recommended {advice.price:,.4g}"
        panel.plot([advice.price], [advice.then.quantity.value], "D", color="tab:red", ms=5, label=label)
    elif not advice.advised:
        panel.plot([], [], " ", label="cannot advise")
    # Far from today's price an uncertain exponent explodes; what is read is near it.
    panel.set_xlim(prices[0], prices[-1])
    panel.set_ylim(0, 2.5 * quantity if quantity > 0 else 1)
    panel.set_xlabel("price", fontsize=8)
    panel.set_ylabel(f"quantity in {advice.question.horizon_days} days", fontsize=8)
    panel.tick_params(labelsize=7)
    panel.title.set_fontsize(9)
    panel.legend(fontsize=7, frameon=False, loc="upper right")


def _short(name: str) -> str:
    # A dollar sign would begin a formula.
    return (name if len(name) <= 24 else f"{name[:23]}…").replace("$", r"\$")
