"""Losses and metrics of demand models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate
from models.lifecycle.statistics import bootstrap_means
from models.pricing.members import Noise
from models.pricing.panel import Floats

LEVEL = 0.9


def deviance_rows(y: Floats, mean: Floats) -> Floats:
    """Half the Poisson deviance of each row, y·log(y/m) − (y − m), in nats; proper for the mean, zeros included."""
    mean = np.maximum(mean, 1e-12)
    ratio = np.where(y > 0, y, 1.0) / mean
    return np.asarray(np.where(y > 0, y * np.log(ratio), 0.0) - (y - mean), dtype=np.float64)


def given_totals(y: Floats, mean: Floats, moment: NDArray[np.int64] | None) -> Floats:
    """Expected quantities, scaled so that those of one moment add up to what was sold then.

    What is left to be told is where sales went, among places that asked different prices: that is what a pricing model
    has to know, whereas how good a week is for everybody is chance or somebody else's forecast. The deviance of these
    is that of a multinomial distribution given its total.

    Parameters
    ----------
    moment : code of the period of each row; None leaves everything as it is.
    """
    if moment is None:
        return mean
    sold = np.bincount(moment, y)
    expected = np.maximum(np.bincount(moment, mean), 1e-300)
    return np.asarray(mean * (sold / expected)[moment], dtype=np.float64)


def percentiles(y: Floats, mean: Floats, noise: Noise, seed: int) -> Floats:
    """Where each outcome lies in its predicted distribution, 0 to 1; uniform where the distribution is right.

    The distribution has mean m and variance φm + σ²m²: Poisson or negative binomial for counts, where a count's own
    probability is filled at random (Czado, Gneiting and Held, 2009, *Biometrics* 65), gamma for other quantities.
    """
    from scipy import stats

    variance = noise.dispersion * mean + noise.level_spread**2 * mean**2
    if not noise.counts:
        shape = mean**2 / variance
        return np.asarray(stats.gamma.cdf(y, shape, scale=variance / mean), dtype=np.float64)
    filled = np.random.default_rng(seed).random(len(y))
    wide = variance > mean * (1 + 1e-6)
    size = np.where(wide, mean**2 / np.maximum(variance - mean, 1e-12), 1.0)
    share = np.where(wide, size / (size + mean), 0.5)
    at = np.where(wide, stats.nbinom.cdf(y, size, share), stats.poisson.cdf(y, mean))
    below = np.where(wide, stats.nbinom.cdf(y - 1, size, share), stats.poisson.cdf(y - 1, mean))
    return np.asarray(below + filled * (at - below), dtype=np.float64)


def estimates(
    y: Floats, mean: Floats, losses: Floats, groups: NDArray[Any], noise: Noise, *, replicates: int, seed: int
) -> dict[str, Estimate]:
    """Metrics with 95 % intervals by a bootstrap of groups.

    `deviance` (the loss, nats a row), `wape` (absolute error over what was sold), `bias` (expected over sold, less 1),
    `mae`, and `coverage_90` (share of outcomes within the central 90 % of what was expected).
    """
    codes, names = pd.factorize(groups)
    inside = np.abs(percentiles(y, mean, noise, seed) - 0.5) <= LEVEL / 2

    def ratio(top: Floats, bottom: Floats) -> Estimate:
        tops = np.bincount(codes, top, len(names)).astype(np.float64)
        bottoms = np.bincount(codes, bottom, len(names)).astype(np.float64)
        if bottoms.sum() <= 0:
            return Estimate(float("nan"), float("nan"), float("nan"))
        with np.errstate(divide="ignore", invalid="ignore"):  # a draw without any sale has no ratio
            drawn = bootstrap_means(tops, bottoms, replicates=replicates, seed=seed)
        low, high = np.quantile(drawn[np.isfinite(drawn)], [0.025, 0.975])
        return Estimate(float(tops.sum() / bottoms.sum()), float(low), float(high))

    ones = np.ones(len(y))
    bias = ratio(mean - y, y)
    return {
        "deviance": ratio(losses, ones),
        "wape": ratio(np.abs(y - mean), y),
        "bias": bias,
        "mae": ratio(np.abs(y - mean), ones),
        f"coverage_{LEVEL:.0%}".replace("%", ""): ratio(inside.astype(np.float64), ones),
    }
