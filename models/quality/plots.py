"""Plots of a scorer on its holdout: reliability, and how judgements lie along the score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.churn.plots import new_figure, svg
from models.quality.metrics import bins_of

Floats = NDArray[np.float64]


def plots(y: Floats, p: Floats, words: Floats, candidate: str) -> dict[str, bytes]:
    """`reliability.svg`: mean judgement over mean score in ten bins of equal size, of the candidate and of the score
    from words as it is; beside it, where the scores of good and of bad answers lie."""
    figure, (left, right) = new_figure(2, height=4.0)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    for score, label, colour in ((words, "words alone", "0.55"), (p, candidate, "#1f77b4")):
        bins = bins_of(score)
        count = np.bincount(bins)
        used = count > 0
        mean = np.bincount(bins, weights=score)[used] / count[used]
        share = np.bincount(bins, weights=y)[used] / count[used]
        spread = np.sqrt(np.maximum(np.bincount(bins, weights=y**2)[used] / count[used] - share**2, 0.0) / count[used])
        left.errorbar(
            mean, share, yerr=1.96 * spread, fmt="o-", markersize=4, capsize=2, color=colour, label=label, linewidth=1.2
        )
    left.set(
        xlabel="score", ylabel="mean judgement, 95 % interval", title="Reliability", xlim=(0, 1.02), ylim=(0, 1.02)
    )
    left.legend(loc="upper left")
    edges = np.linspace(0, 1, 21)
    good = y >= 0.5
    right.hist(
        [p[good], p[~good]],
        bins=list(edges),
        stacked=True,
        color=["#c7d7fe", "#f4b8b0"],
        label=["judged good", "judged bad"],
    )
    right.set(xlabel=f"score of {candidate}", ylabel="answers", title="Where judgements lie")
    right.legend(loc="upper left")
    return {"reliability.svg": svg(figure)}
