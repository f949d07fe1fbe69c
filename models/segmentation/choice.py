"""How many segments: stability under resampling, silhouette and BIC together, by a rule that is stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.segmentation.fitting import Method, bic, fit_partition, one_thread
from models.segmentation.partition import assign

Floats = NDArray[np.float64]

STABLE = 0.75
NEAR_BEST = 0.75
SMALLEST_SHARE = 0.02
MOST_ROWS = 2_000
MOST_PAIRED = 1_000

RULE = (
    f"Of the numbers whose segments come back under resampling (mean adjusted Rand index of at least {STABLE}, or the "
    f"best one where none does), each with at least {SMALLEST_SHARE:.0%} of the customers, and whose silhouette is at "
    f"least {NEAR_BEST:.0%} of the best among them, the one with the lowest BIC."
)


@dataclass(frozen=True)
class Tried:
    """What was found with one number of segments.

    Attributes
    ----------
    stability : mean adjusted Rand index between the segments and those fitted to bootstrap samples of the customers;
        low, high : 2.5 % and 97.5 % quantiles of it.
    silhouette : mean over the customers, −1 to 1.
    bic : lower is better; comparable within one method.
    smallest : share of the smallest segment.
    agreements : the index of each bootstrap sample.
    """

    k: int
    stability: float
    low: float
    high: float
    silhouette: float
    bic: float
    smallest: float
    agreements: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def try_numbers(method: Method, z: Floats, numbers: Sequence[int], seed: int, bootstraps: int) -> list[Tried]:
    """Fit every number of segments and measure it.

    Parameters
    ----------
    z : one row per customer; of more than 2,000 a random part is used.
    """
    if len(z) > MOST_ROWS:
        z = z[np.random.default_rng(seed).choice(len(z), MOST_ROWS, replace=False)]
    different = len(np.unique(z, axis=0))
    return [_try(method, z, k, seed, bootstraps) for k in numbers if k == min(numbers) or k <= different // 2]


def choose(tried: Sequence[Tried]) -> int:
    """The number of segments by `RULE`."""
    large = [one for one in tried if one.smallest >= SMALLEST_SHARE] or list(tried)
    stable = [one for one in large if one.stability >= STABLE] or [max(large, key=lambda one: one.stability)]
    best = max(one.silhouette for one in stable)
    clear = [one for one in stable if one.silhouette >= NEAR_BEST * best] if best > 0 else stable
    return min(clear, key=lambda one: (one.bic, one.k)).k


def silhouettes(z: Floats, codes: NDArray[np.intp], seed: int) -> Floats:
    """Silhouette of each row of a random part of at most 1,000 (Rousseeuw, 1987); empty with a single segment."""
    from sklearn.metrics import silhouette_samples

    if len(z) > MOST_PAIRED:
        part = np.random.default_rng(seed).choice(len(z), MOST_PAIRED, replace=False)
        z, codes = z[part], codes[part]
    groups = len(np.unique(codes))
    if not 2 <= groups <= len(z) - 1:
        return np.empty(0)
    with one_thread():
        return np.asarray(silhouette_samples(z, codes), dtype=np.float64)


def _try(method: Method, z: Floats, k: int, seed: int, bootstraps: int) -> Tried:
    partition = fit_partition(method, z, k, seed)
    codes = assign(partition, z)
    agreements = stability(method, z, codes, k, seed, bootstraps)
    found = silhouettes(z, codes, seed)
    low, high = np.quantile(agreements, (0.025, 0.975))
    return Tried(
        k=k,
        stability=float(agreements.mean()),
        low=float(low),
        high=float(high),
        silhouette=float(found.mean()) if len(found) else -1.0,
        bic=bic(partition, z),
        smallest=float(np.bincount(codes, minlength=k).min() / len(z)),
        agreements=tuple(agreements.tolist()),
    )


def stability(method: Method, z: Floats, codes: NDArray[np.intp], k: int, seed: int, bootstraps: int) -> Floats:
    """Adjusted Rand index (Hubert & Arabie, 1985) between segments and those of each bootstrap sample, on all rows.

    Fang & Wang (2012), "Selection of the number of clusters via the bootstrap method".
    """
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(seed)
    out = np.empty(bootstraps)
    for place in range(bootstraps):
        drawn = z[rng.integers(0, len(z), len(z))]
        again = fit_partition(method, drawn, k, seed + 1 + place, starts=2)
        out[place] = adjusted_rand_score(codes, assign(again, z))
    return out
