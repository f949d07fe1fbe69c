"""The space in which prompts are compared: their structure, what was told of their task, and their words projected.

Words are weighed by (1 + log count) · log(rows / rows with it), each prompt to length one, and projected on the
directions in which the training prompts differ most (latent semantic analysis: Deerwester et al., 1990, with the
randomised decomposition of Halko, Martinsson and Tropp, 2011). No outcome takes part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from features.gist import BITS, STRUCTURE, Gists

Floats32 = NDArray[np.float32]

# Beyond so many standard deviations, farther away says no more.
_FARTHEST = 4.0
_LEAST_ROWS = 3


@dataclass(frozen=True)
class Basis:
    """Maps gists to vectors (rows, `width`): structure, task, words.

    Attributes
    ----------
    column : (2¹⁸), int32: bucket → column of `projection`, −1 where it is not looked at.
    idf : weight of each column.
    projection : (columns, dimensions).
    mean, scale : of the structure.
    task_width : numbers that tell of the task, put between.
    """

    column: NDArray[np.int32]
    idf: Floats32
    projection: Floats32
    mean: Floats32
    scale: Floats32
    task_width: int

    @property
    def dimensions(self) -> int:
        return int(self.projection.shape[1])

    @property
    def width(self) -> int:
        return len(STRUCTURE) + self.task_width + self.dimensions

    def vectors(self, gists: Gists, task: Floats32) -> Floats32:
        """Vectors of many prompts; a prompt without words has zeros in place of them."""
        made = np.empty((len(gists), self.width), np.float32)
        first = len(STRUCTURE)
        made[:, :first] = self._structure(gists.structure)
        made[:, first : first + self.task_width] = task[:, : self.task_width] if task.shape[1] else 0.0
        weights = weighed(gists, self.column, self.idf)
        made[:, first + self.task_width :] = weights @ self.projection
        return made

    def vector(self, gists: Gists, task: Floats32 | None = None) -> Floats32:
        """The vector of one prompt: the same as `vectors`, without the sparse matrix."""
        made = np.empty(self.width, np.float32)
        first = len(STRUCTURE)
        made[:first] = self._structure(gists.structure[0])
        made[first : first + self.task_width] = 0.0 if task is None else task
        columns = self.column[gists.buckets]
        known = columns >= 0
        columns = columns[known]
        if len(columns):
            value = _FREQUENCY[gists.counts[known]] * self.idf[columns]
            value /= max(float(np.sqrt(value @ value)), 1e-12)
            made[first + self.task_width :] = value @ self.projection[columns]
        else:
            made[first + self.task_width :] = 0.0
        return made

    def _structure(self, structure: Floats32) -> Floats32:
        made: Floats32 = np.clip((structure - self.mean) / self.scale, -_FARTHEST, _FARTHEST)
        # Where the words are not known, the structure is not known either: as usual.
        made[structure[..., 0] == 0.0] = 0.0
        return made

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        chosen = np.flatnonzero(self.column >= 0)
        return {
            "bucket": chosen[np.argsort(self.column[chosen])].astype(np.int32),
            "idf": self.idf,
            "projection": self.projection,
            "mean": self.mean,
            "scale": self.scale,
            "task_width": np.array(self.task_width),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Basis:
        column = np.full(1 << BITS, -1, np.int32)
        column[arrays["bucket"]] = np.arange(len(arrays["bucket"]), dtype=np.int32)
        numbers = {name: np.asarray(arrays[name], np.float32) for name in ("idf", "projection", "mean", "scale")}
        return cls(column, **numbers, task_width=int(np.asarray(arrays["task_width"], np.int64)))


def fit_basis(gists: Gists, task: Floats32, *, dimensions: int, vocabulary: int, seed: int) -> Basis:
    """Find the space from training prompts."""
    rows = len(gists)
    structure = gists.structure
    # Of rows without words the structure says nothing either.
    spoken = np.diff(gists.starts) > 0
    told = structure[spoken] if spoken.any() else structure
    mean, scale = told.mean(axis=0), np.maximum(told.std(axis=0), 1e-6)
    met = np.bincount(gists.buckets, minlength=1 << BITS)
    enough = np.flatnonzero((met >= min(_LEAST_ROWS, max(1, rows // 20))) & (met < rows))
    chosen = np.sort(enough[np.argsort(-met[enough], kind="stable")[:vocabulary]])
    column = np.full(1 << BITS, -1, np.int32)
    column[chosen] = np.arange(len(chosen), dtype=np.int32)
    idf = np.log((1 + rows) / (1 + met[chosen])).astype(np.float32) + 0.05
    weights = weighed(gists, column, idf)
    projection = _directions(weights, dimensions, seed)
    # Words and structure together differ as much as each other.
    spread = float(np.sqrt(np.sum(np.var(weights @ projection, axis=0)))) if projection.size else 1.0
    projection *= np.sqrt(len(STRUCTURE)) / max(spread, 1e-6)
    return Basis(column, idf, projection, mean.astype(np.float32), scale.astype(np.float32), int(task.shape[1]))


def weighed(gists: Gists, column: NDArray[np.int32], idf: Floats32) -> sp.csr_matrix:
    """(rows, columns): weights of the words of each prompt, each row of length one."""
    columns = column[gists.buckets]
    known = columns >= 0
    owner = np.repeat(np.arange(len(gists)), np.diff(gists.starts))[known]
    columns = columns[known]
    value = _FREQUENCY[gists.counts[known]] * idf[columns]
    length = np.sqrt(np.bincount(owner, weights=value * value, minlength=len(gists)))
    value = (value / np.maximum(length, 1e-12)[owner]).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(gists)))])
    return sp.csr_matrix((value, columns, starts), shape=(len(gists), len(idf)))


def _directions(weights: sp.csr_matrix, dimensions: int, seed: int) -> Floats32:
    """Right singular vectors of the largest singular values, signs fixed."""
    most = min(dimensions, weights.shape[0] - 1, weights.shape[1])
    if most < 1:
        return np.zeros((weights.shape[1], 0), np.float32)
    draw = np.random.default_rng(seed)
    wide = min(most + 16, weights.shape[1], weights.shape[0])
    basis = weights @ draw.standard_normal((weights.shape[1], wide)).astype(np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(basis)
        basis, _ = np.linalg.qr(weights.T @ basis)
        basis = weights @ basis
    basis, _ = np.linalg.qr(basis)
    _, _, right = np.linalg.svd(np.asarray((weights.T @ basis).T), full_matrices=False)
    right = right[:most]
    signs = np.sign(right[np.arange(len(right)), np.argmax(np.abs(right), axis=1)])
    made: Floats32 = (right * np.where(signs == 0, 1.0, signs)[:, None]).T.astype(np.float32)
    return np.ascontiguousarray(made)


_FREQUENCY = (1.0 + np.log(np.maximum(np.arange(256), 1))).astype(np.float32)
