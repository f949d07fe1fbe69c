"""The Qini curve as SVG or PNG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from models.churn.plots import new_figure, svg
from models.churn.uplift.qini import Ranking


def qini_plot(rankings: Mapping[str, Ranking], kind: Literal["svg", "png"] = "svg") -> bytes:
    """Customers saved per hundred against the share treated, with 95 % bands, beside a random order."""
    figure, axes = new_figure(width=5.6)
    for colour, (name, one) in zip(("#2563eb", "#b42318", "#067647"), rankings.items(), strict=False):
        qini = one.qini
        label = f"{name}: Qini {1000 * qini.value:.1f} [{1000 * qini.low:.1f}, {1000 * qini.high:.1f}] per 1,000"
        axes.plot(one.share, 100 * one.saved, color=colour, label=label)
        axes.fill_between(one.share, 100 * one.low, 100 * one.high, color=colour, alpha=0.12, linewidth=0)
    last = next(iter(rankings.values()))
    axes.plot([0, 1], [0, 100 * last.saved[-1]], color="0.5", linewidth=1, label="at random")
    axes.legend(fontsize=8, loc="upper left")
    axes.set(xlabel="share of customers made the offer", ylabel="saved per 100 customers", title="Qini curve")
    return svg(figure, kind)
