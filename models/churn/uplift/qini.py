"""How much more is saved by treating the right customers first: the Qini curve and its coefficient.

With doubly robust scores ψ_i, each an unbiased if noisy estimate of what the offer saves at customer i, treating the
first share u of a ranking saves G(u) = (1/n) Σ_{first u·n} ψ_i per customer. The Qini coefficient is the area between G
and the straight line of a random order (Radcliffe 2007; with doubly robust scores Yadlowsky, Fleming, Shah, Brunskill &
Wager 2021, "Evaluating treatment prioritization rules via rank-weighted average treatment effects"). Intervals:
bootstrap over rows, with the ranking and the scores as they were found out of fold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate

Floats = NDArray[np.float64]

REPLICATES = 400
TOPS = (0.1, 0.2, 0.3, 0.5)
POINTS = 51


@dataclass(frozen=True)
class Ranking:
    """What one way of ranking customers is worth.

    Attributes
    ----------
    qini : area above the random order, in customers saved per customer.
    tops : share treated → mean effect among them.
    share, saved, low, high : the curve at 51 points, with its 95 % band.
    """

    qini: Estimate
    tops: Mapping[float, Estimate]
    share: Floats
    saved: Floats
    low: Floats
    high: Floats


def rankings(
    psi: Floats, scores: Mapping[str, Floats], seed: int = 0
) -> tuple[dict[str, Ranking], dict[str, Estimate], Estimate]:
    """Judge rankings on the same draws.

    Parameters
    ----------
    scores : name → score per row; the highest are treated first, equals together.

    Returns
    -------
    The rankings; the difference of the first one's coefficient to each other's; the average effect.
    """
    rng = np.random.default_rng(seed)
    n = len(psi)
    weights = rng.multinomial(n, np.full(n, 1.0 / n), size=REPLICATES).astype(np.float64)
    every = np.concatenate([np.ones((1, n)), weights])
    share = np.linspace(0.0, 1.0, POINTS)
    drawn: dict[str, Floats] = {}
    found: dict[str, Ranking] = {}
    for name, score in scores.items():
        curves = _curves(psi, score, every, share)
        areas = np.trapezoid(curves, share, axis=1) - curves[:, -1] / 2
        drawn[name] = areas
        tops = {}
        for top in TOPS:
            at = round(top * (POINTS - 1))
            tops[top] = _estimate(curves[:, at] / share[at])
        low, high = np.quantile(curves[1:], (0.025, 0.975), axis=0)
        found[name] = Ranking(_estimate(areas), tops, share, curves[0], low, high)
    first = next(iter(scores))
    against = {name: _estimate(drawn[first] - drawn[name]) for name in scores if name != first}
    average = _estimate(every @ psi / every.sum(axis=1))
    return found, against, average


def _curves(psi: Floats, score: Floats, weights: Floats, share: Floats) -> Floats:
    """G at every share, one row per set of weights; customers with one score are treated together, in random order."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    out = np.empty((len(weights), len(share)))
    for row, own in enumerate(weights):
        total = own.sum()
        treated = np.append(0.0, np.cumsum(own[order])[ends] / total)
        saved = np.append(0.0, np.cumsum((own * psi)[order])[ends] / total)
        out[row] = np.interp(share, treated, saved)
    return out


def _estimate(draws: Floats) -> Estimate:
    """The first is the point, the others its bootstrap draws."""
    low, high = np.quantile(draws[1:], (0.025, 0.975))
    return Estimate(float(draws[0]), float(min(low, draws[0])), float(max(high, draws[0])))
