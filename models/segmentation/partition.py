"""Ways of dividing rows on the scale into segments: centroids, a Gaussian mixture, scores of three traits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

_ROWS_AT_ONCE = 50_000


class Partition(Protocol):
    """A division of the space of behaviour."""

    @property
    def count(self) -> int:
        """Number of segments."""

    def closeness(self, z: Floats) -> Floats:
        """How well each row fits each segment, shape (rows, segments); the highest wins."""

    def confidence(self, z: Floats) -> Floats:
        """How clearly each row belongs to its segment: 0 on a border, 1 far from every other, shape (rows,)."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `partition_from` reverses it."""


def assign(partition: Partition, z: Floats) -> Codes:
    """Code of each row's segment, 0 … count − 1; equally good ones go to the first."""
    parts = [
        np.argmax(partition.closeness(z[start : start + _ROWS_AT_ONCE]), axis=1)
        for start in range(0, len(z), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.intp)


@dataclass(frozen=True)
class Centroids:
    """The nearest centre wins (K-Means; with one centre, everybody)."""

    centres: Floats

    @property
    def count(self) -> int:
        return len(self.centres)

    def closeness(self, z: Floats) -> Floats:
        return -np.sqrt(self._squares(z))

    def confidence(self, z: Floats) -> Floats:
        if self.count == 1:
            return np.ones(len(z))
        nearest = np.sqrt(np.sort(self._squares(z), axis=1)[:, :2])
        # The simplified silhouette: (second − nearest) / second.
        return 1.0 - nearest[:, 0] / np.maximum(nearest[:, 1], 1e-12)

    def _squares(self, z: Floats) -> Floats:
        # Differences rather than expanded products: the same numbers for a row alone and among others.
        return np.stack([((z - centre) ** 2).sum(axis=1) for centre in self.centres], axis=1)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "centroids", "centres": self.centres.tolist()}


@dataclass(frozen=True)
class Mixture:
    """The most probable component of a Gaussian mixture wins.

    Attributes
    ----------
    weights : (k,) shares; means : (k, d).
    roots : (k, d, d) upper triangular: the Cholesky factors of the precisions.
    """

    weights: Floats
    means: Floats
    roots: Floats

    @property
    def count(self) -> int:
        return len(self.weights)

    def closeness(self, z: Floats) -> Floats:
        """Log of weight times density, less a constant."""
        out = np.empty((len(z), self.count))
        for place, (mean, root) in enumerate(zip(self.means, self.roots, strict=True)):
            squares = (((z - mean) @ root) ** 2).sum(axis=1)
            out[:, place] = np.log(self.weights[place]) + np.log(np.diag(root)).sum() - 0.5 * squares
        return out

    def confidence(self, z: Floats) -> Floats:
        close = self.closeness(z)
        best = close.max(axis=1)
        return np.asarray(1.0 / np.exp(close - best[:, None]).sum(axis=1))

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "mixture",
            "weights": self.weights.tolist(),
            "means": self.means.tolist(),
            "roots": self.roots.tolist(),
        }


@dataclass(frozen=True)
class Scores:
    """Recency, frequency and money, each scored 1 to 5 by quintiles, added up and cut into tiers (Hughes, 1994).

    Attributes
    ----------
    columns : of the scale; signs : −1 where less is better.
    edges : the four quintiles of each.
    cuts : sums from which the next tier begins.
    """

    columns: tuple[int, ...]
    signs: tuple[float, ...]
    edges: tuple[tuple[float, ...], ...]
    cuts: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.cuts) + 1

    def sums(self, z: Floats) -> NDArray[np.int64]:
        total = np.zeros(len(z), dtype=np.int64)
        for column, sign, edges in zip(self.columns, self.signs, self.edges, strict=True):
            total += 1 + np.searchsorted(np.asarray(edges), sign * z[:, column], side="right")
        return total

    def closeness(self, z: Floats) -> Floats:
        tier = np.searchsorted(np.asarray(self.cuts), self.sums(z), side="right")
        return np.asarray(-np.abs(np.arange(self.count) - tier[:, None]), dtype=np.float64)

    def confidence(self, z: Floats) -> Floats:
        return np.ones(len(z))

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "scores",
            "columns": list(self.columns),
            "signs": list(self.signs),
            "edges": [list(edge) for edge in self.edges],
            "cuts": list(self.cuts),
        }


def partition_from(data: Mapping[str, Any]) -> Partition:
    """What `to_dict` wrote."""
    if data["kind"] == "centroids":
        return Centroids(np.asarray(data["centres"], dtype=np.float64))
    if data["kind"] == "mixture":
        weights, means, roots = (np.asarray(data[name], dtype=np.float64) for name in ("weights", "means", "roots"))
        return Mixture(weights, means, roots)
    edges = tuple(tuple(edge) for edge in data["edges"])
    return Scores(tuple(data["columns"]), tuple(data["signs"]), edges, tuple(data["cuts"]))


def centres_of(z: Floats, codes: Codes, count: int) -> Floats:
    """Mean of each segment's rows on the scale, shape (count, axes); of everybody where a segment is empty."""
    rows = np.bincount(codes, minlength=count)
    sums = np.stack([np.bincount(codes, weights=column, minlength=count) for column in z.T], axis=1)
    return np.where(rows[:, None] > 0, sums / np.maximum(rows, 1)[:, None], z.mean(axis=0))
