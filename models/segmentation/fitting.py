"""Fitting one partition with a given number of segments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.lifecycle.threads import one_blas_thread, one_thread_of
from models.segmentation.behaviour import Behaviour
from models.segmentation.partition import Centroids, Mixture, Partition, Scores, assign
from models.segmentation.scaling import Scaler

Floats = NDArray[np.float64]
Method = Literal["kmeans", "gaussian_mixture"]

STARTS = 4
# Added to the variances of a mixture: a segment in which a trait does not vary would otherwise have no density.
_RIDGE = 1e-2
_TIERS = 5


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra and K-Means on one thread: sums in the same order on every machine."""
    with one_blas_thread(), one_thread_of("openmp"):
        yield


def fit_partition(method: Method, z: Floats, count: int, seed: int, *, starts: int = STARTS) -> Partition:
    """Divide rows into `count` segments; fewer where there are fewer different rows.

    Parameters
    ----------
    z : rows on the scale, shape (rows, axes).
    """
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    different = len(np.unique(z, axis=0))
    count = max(1, min(count, different, len(z)))
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what did not settle shows in its stability
        if method == "kmeans" or len(z) < 2 * count:
            found = KMeans(count, n_init=starts, random_state=seed).fit(z)
            return Centroids(np.asarray(found.cluster_centers_, dtype=np.float64))
        mixture = GaussianMixture(
            count, covariance_type="full", reg_covar=_RIDGE, n_init=max(1, starts // 4), max_iter=200, random_state=seed
        ).fit(z)
    return Mixture(mixture.weights_, mixture.means_, mixture.precisions_cholesky_)


def fit_whole(z: Floats) -> Centroids:
    """Everybody in one segment."""
    return Centroids(z.mean(axis=0, keepdims=True))


def fit_scores(z: Floats, scaler: Scaler, behaviour: Behaviour) -> Scores:
    """Quintiles of recency, frequency and money on the scale; traits that were left out as flat are passed over."""
    place = {name: column for column, name in enumerate(scaler.columns)}
    used = [(place[name], sign) for name, sign in behaviour.rfm if name in place]
    edges = [tuple(np.quantile(sign * z[:, column], (0.2, 0.4, 0.6, 0.8)).tolist()) for column, sign in used]
    columns, signs = tuple(column for column, _ in used), tuple(sign for _, sign in used)
    bare = Scores(columns, signs, tuple(edges), ())
    sums = bare.sums(z)
    quantiles = np.quantile(sums, np.arange(1, _TIERS) / _TIERS, method="higher")
    cuts = sorted({int(cut) for cut in quantiles if sums.min() < cut <= sums.max()})
    return Scores(columns, signs, tuple(edges), tuple(cuts))


def bic(partition: Partition, z: Floats) -> float:
    """Bayesian information criterion, lower is better.

    Of a mixture by its likelihood. Of centroids by the likelihood of spherical Gaussians of one variance to which rows
    belong for certain (Pelleg & Moore, 2000, "X-means").
    """
    rows, axes = z.shape
    if isinstance(partition, Mixture):
        close = partition.closeness(z)
        best = close.max(axis=1)
        likelihood = best + np.log(np.exp(close - best[:, None]).sum(axis=1)) - 0.5 * axes * math.log(2 * math.pi)
        free = partition.count * (1 + axes + axes * (axes + 1) / 2) - 1
        return float(free * math.log(rows) - 2 * likelihood.sum())
    codes = assign(partition, z)
    assert isinstance(partition, Centroids)
    within = float(((z - partition.centres[codes]) ** 2).sum())
    variance = max(within / (axes * max(rows - partition.count, 1)), 1e-12)
    sizes = np.bincount(codes, minlength=partition.count)
    sizes = sizes[sizes > 0]
    total = (
        float((sizes * np.log(sizes / rows)).sum())
        - 0.5 * rows * axes * math.log(2 * math.pi * variance)
        - 0.5 * within / variance
    )
    free = (partition.count - 1) + partition.count * axes + 1
    return float(free * math.log(rows) - 2 * total)
