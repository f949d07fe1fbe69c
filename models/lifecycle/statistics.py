"""Paired tests: is the difference between two models on the same rows more than chance?

Both tests look at the difference of losses, champion minus challenger: above zero, the challenger is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from store.errors import TrainingError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairedTest:
    """Outcome of a paired test on `loss(champion) − loss(challenger)`.

    Attributes
    ----------
    method : "paired bootstrap over groups" or "Diebold–Mariano over steps".
    difference : mean difference, in the unit of the loss; positive favours the challenger.
    low, high : two-sided interval at `confidence`.
    p_value : one-sided, of the null "the challenger is not better".
    units : number of independent units the test counts (groups, or steps in time).
    """

    method: str
    difference: float
    low: float
    high: float
    p_value: float
    confidence: float
    units: int
    rows: int


def pair(champion: pd.DataFrame, challenger: pd.DataFrame) -> pd.DataFrame:
    """Join the losses of two models row by row.

    Parameters
    ----------
    champion, challenger : `Evaluation.losses` of each.

    Returns
    -------
    The challenger's frame with `difference` = champion loss − challenger loss.

    Raises
    ------
    TrainingError : the two were not judged on exactly the same rows.
    """
    if not champion.index.is_unique or not challenger.index.is_unique:
        raise TrainingError("Two judged rows share one key.", remedy="Give each judged row a key of its own.")
    missing = challenger.index.symmetric_difference(champion.index)
    if len(missing):
        raise TrainingError(
            f"Champion and challenger were judged on different rows: {len(missing)} are not in both, "
            f"for example {missing[0]!r}.",
            remedy="Judge both on the same holdout.",
        )
    paired = challenger.copy()
    paired["difference"] = champion["loss"].reindex(challenger.index).to_numpy() - challenger["loss"].to_numpy()
    return paired


def paired_bootstrap(
    paired: pd.DataFrame, *, confidence: float = 0.95, replicates: int = 2000, seed: int = 0
) -> PairedTest:
    """Percentile bootstrap of the mean difference, resampling whole groups.

    Rows of one customer are not independent, so groups are drawn rather than rows (cluster bootstrap; Cameron,
    Gelbach & Miller 2008). The percentiles lie as far out as Student's t has it for so few groups (expanded percentile
    interval; Hesterberg 2015): with ten groups the plain ones cover 89 instead of 95 %. The p-value is the share of
    replicates at or below zero, counted so that it is never 0 (Davison & Hinkley 1997, §4.2).

    Parameters
    ----------
    paired : frame with `difference` and `group`, as `pair` returns it.
    """
    difference = paired["difference"].to_numpy(dtype=np.float64)
    _refuse_nan(difference)
    codes, groups = pd.factorize(paired["group"])
    sums = np.bincount(codes, weights=difference, minlength=len(groups)).astype(np.float64)
    counts = np.bincount(codes, minlength=len(groups)).astype(np.float64)
    means = bootstrap_means(sums, counts, replicates=replicates, seed=seed)
    tail = _tail(confidence, len(groups))
    low, high = np.quantile(means, [tail, 1 - tail])
    return PairedTest(
        method="paired bootstrap over groups",
        difference=float(difference.mean()),
        low=float(low),
        high=float(high),
        p_value=float((1 + np.sum(means <= 0)) / (replicates + 1)),
        confidence=confidence,
        units=len(groups),
        rows=len(difference),
    )


def _tail(confidence: float, units: int) -> float:
    """Share of bootstrap means beyond each end of an interval over so many units."""
    from scipy.special import ndtr, stdtrit

    if units < 2:
        return 0.0
    return float(ndtr(-np.sqrt(units / (units - 1)) * stdtrit(units - 1, (1 + confidence) / 2)))


def bootstrap_means(sums: Floats, counts: Floats, *, replicates: int, seed: int) -> Floats:
    """Bootstrap replicates of a ratio of sums over groups.

    Parameters
    ----------
    sums, counts : per group, shape (groups,).

    Returns
    -------
    Replicates of sum(sums) / sum(counts), shape (replicates,).
    """
    rng = np.random.default_rng(seed)
    size = len(sums)
    out = np.empty(replicates)
    # A block of replicates at a time keeps memory at about 80 MB whatever the number of groups.
    block = max(1, min(replicates, 10_000_000 // max(size, 1)))
    for start in range(0, replicates, block):
        stop = min(start + block, replicates)
        draw = rng.integers(0, size, size=(stop - start, size))
        out[start:stop] = sums[draw].sum(axis=1) / counts[draw].sum(axis=1)
    return out


def diebold_mariano(paired: pd.DataFrame, *, confidence: float = 0.95) -> PairedTest:
    """Diebold–Mariano test for a panel of forecasts.

    Differences are averaged over the series at each step, which keeps whatever dependence there is between series;
    what remains is one series in time, tested with a Bartlett long-run variance of bandwidth 1.3·√T and fixed-b
    critical values (Diebold & Mariano 1995; Lazarus, Lewis, Stock & Watson 2018). The fixed-b distribution is that of
    the statistic itself on Gaussian white noise of the same length, simulated once: with few steps a normal
    approximation would see evidence where there is none.

    Parameters
    ----------
    paired : frame with `difference` and `step`, as `pair` returns it.
    """
    _refuse_nan(paired["difference"].to_numpy(dtype=np.float64))
    series = paired.groupby("step", sort=True)["difference"].mean().to_numpy(dtype=np.float64)
    steps = len(series)
    mean = float(paired["difference"].mean())
    if steps < 4:
        raise TrainingError(
            f"A Diebold–Mariano test needs at least 4 steps, the holdout has {steps}.",
            remedy="Forecast a longer horizon, or judge over several origins.",
        )
    error = float(np.sqrt(long_run_variance(series[None, :])[0] / steps))
    null = _null_distribution(steps)
    if error == 0.0:
        # The same difference at every step: certain when it is not zero, no evidence at all when it is.
        low = high = mean
        p_value = 1 / (len(null) + 1) if mean > 0 else 1.0
    else:
        critical = float(np.quantile(np.abs(null), confidence))
        low, high = mean - critical * error, mean + critical * error
        p_value = float((1 + np.sum(null >= series.mean() / error)) / (len(null) + 1))
    return PairedTest(
        method="Diebold–Mariano over steps",
        difference=mean,
        low=low,
        high=high,
        p_value=p_value,
        confidence=confidence,
        units=steps,
        rows=len(paired),
    )


def long_run_variance(series: Floats) -> Floats:
    """Newey–West variance of each row with Bartlett weights and bandwidth 1.3·√T.

    Parameters
    ----------
    series : shape (n, T).

    Returns
    -------
    Variances, shape (n,), never negative.
    """
    steps = series.shape[1]
    bandwidth = min(steps - 1, int(np.ceil(1.3 * np.sqrt(steps))))
    centred = series - series.mean(axis=1, keepdims=True)
    variance = (centred**2).mean(axis=1)
    for lag in range(1, bandwidth):
        weight = 1 - lag / bandwidth
        variance = variance + 2 * weight * (centred[:, lag:] * centred[:, :-lag]).sum(axis=1) / steps
    return np.asarray(np.maximum(variance, 0.0), dtype=np.float64)


@lru_cache(maxsize=32)
def _null_distribution(steps: int, draws: int = 20_000) -> Floats:
    noise = np.random.default_rng(0).standard_normal((draws, steps))
    errors = np.sqrt(long_run_variance(noise) / steps)
    return np.asarray(noise.mean(axis=1) / np.where(errors > 0, errors, np.inf), dtype=np.float64)


def _refuse_nan(values: Floats) -> None:
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise TrainingError(
            f"{bad} of {len(values)} loss differences are not finite numbers.",
            remedy="A model predicted NaN or an impossible probability; look at its evaluation.",
        )
