"""The space in which prompts are compared: their structure, what was told of their task, their words projected, and
what their words mean where embeddings were given.

Words are projected on the directions in which the training prompts differ most (latent semantic analysis: Deerwester et
al., 1990, with the randomised decomposition of Halko, Martinsson and Tropp, 2011). No outcome takes part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from features.gist import BITS, STRUCTURE, Gists
from models.routing.projection import Projection, columns_of, rarity, upright, weighed
from models.routing.word_vectors import fit_meaning, word_vectors

Floats32 = NDArray[np.float32]

# Beyond so many standard deviations, farther away says no more.
_FARTHEST = 4.0
_LEAST_ROWS = 3


@dataclass(frozen=True)
class Basis:
    """Maps gists to vectors (rows, `width`): structure, task, words, meaning.

    Attributes
    ----------
    words : buckets of words, pairs and beginnings, and where they point to.
    meaning : the same of the words of an embedding table; None without one.
    mean, scale : of the structure.
    task_width : numbers that tell of the task, put between.
    """

    words: Projection
    mean: Floats32
    scale: Floats32
    task_width: int
    meaning: Projection | None = None

    @property
    def width(self) -> int:
        beside = 0 if self.meaning is None else self.meaning.dimensions
        return len(STRUCTURE) + self.task_width + self.words.dimensions + beside

    def vectors(self, gists: Gists, task: Floats32) -> Floats32:
        """Vectors of many prompts; a prompt without words has zeros in place of them."""
        made = np.empty((len(gists), self.width), np.float32)
        first, second, third = self._places()
        made[:, :first] = self._structure(gists.structure)
        made[:, first:second] = task[:, : self.task_width] if task.shape[1] else 0.0
        made[:, second:third] = self.words.many(gists)
        if self.meaning is not None:
            made[:, third:] = self.meaning.many(gists)
        return made

    def vector(self, gists: Gists, task: Floats32 | None = None) -> Floats32:
        """The vector of one prompt: the same as `vectors`, quicker."""
        made = np.empty(self.width, np.float32)
        first, second, third = self._places()
        made[:first] = self._structure(gists.structure[0])
        made[first:second] = 0.0 if task is None else task
        made[second:third] = self.words.one(gists)
        if self.meaning is not None:
            made[third:] = self.meaning.one(gists)
        return made

    def _places(self) -> tuple[int, int, int]:
        first = len(STRUCTURE)
        second = first + self.task_width
        return first, second, second + self.words.dimensions

    def _structure(self, structure: Floats32) -> Floats32:
        made: Floats32 = np.clip((structure - self.mean) / self.scale, -_FARTHEST, _FARTHEST)
        # Where the words are not known, the structure is not known either: as usual.
        made[structure[..., 0] == 0.0] = 0.0
        return made

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        own = {"mean": self.mean, "scale": self.scale, "task_width": np.array(self.task_width)}
        beside = {} if self.meaning is None else self.meaning.arrays()
        return {**self.words.arrays(), **own, **{f"meaning.{name}": one for name, one in beside.items()}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Basis:
        mark = "meaning."
        beside = {name.removeprefix(mark): one for name, one in arrays.items() if name.startswith(mark)}
        return cls(
            Projection.from_arrays(arrays),
            np.asarray(arrays["mean"], np.float32),
            np.asarray(arrays["scale"], np.float32),
            int(np.asarray(arrays["task_width"], np.int64)),
            Projection.from_arrays(beside) if beside else None,
        )


def fit_basis(
    gists: Gists, task: Floats32, *, dimensions: int, vocabulary: int, seed: int, embeddings: str = ""
) -> Basis:
    """Find the space from training prompts.

    Parameters
    ----------
    embeddings : see `models.routing.word_vectors.word_vectors`; "" for none.

    Raises
    ------
    InvalidValue : the embeddings cannot be read.
    """
    rows = len(gists)
    structure = gists.structure
    # Of rows without words the structure says nothing either.
    spoken = np.diff(gists.starts) > 0
    told = structure[spoken] if spoken.any() else structure
    mean, scale = told.mean(axis=0), np.maximum(told.std(axis=0), 1e-6)
    met = np.bincount(gists.buckets, minlength=1 << BITS)
    enough = np.flatnonzero((met >= min(_LEAST_ROWS, max(1, rows // 20))) & (met < rows))
    chosen = np.sort(enough[np.argsort(-met[enough], kind="stable")[:vocabulary]])
    column, idf = columns_of(chosen), rarity(met[chosen], rows)
    weights = weighed(gists, column, idf)
    words = Projection(column, idf, _directions(weights, dimensions, seed)).level(weights)
    meaning = fit_meaning(gists, *word_vectors(embeddings), dimensions=max(dimensions // 2, 1)) if embeddings else None
    return Basis(words, mean.astype(np.float32), scale.astype(np.float32), int(task.shape[1]), meaning)


def _directions(weights: sp.csr_matrix, dimensions: int, seed: int) -> Floats32:
    """Right singular vectors of the largest singular values, upright."""
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
    return upright(right[:most])
