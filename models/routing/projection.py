"""From the words of prompts to a few numbers: buckets of words, what each weighs, and where it points to.

Words are weighed by (1 + log count) · log(rows / rows with it) and each prompt to length one, so that a long prompt
points no farther than a short one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from features.gist import BITS, STRUCTURE, Gists

Floats32 = NDArray[np.float32]

_FREQUENCY = (1.0 + np.log(np.maximum(np.arange(256), 1))).astype(np.float32)


@dataclass(frozen=True)
class Projection:
    """Maps words to vectors (rows, `dimensions`).

    Attributes
    ----------
    column : (2¹⁸), int32: bucket → row of `directions`, −1 where it is not looked at.
    idf : weight of each.
    directions : (buckets that are looked at, dimensions).
    """

    column: NDArray[np.int32]
    idf: Floats32
    directions: Floats32

    @property
    def dimensions(self) -> int:
        return int(self.directions.shape[1])

    def many(self, gists: Gists) -> Floats32:
        """(rows, dimensions); a prompt without words has zeros."""
        made: Floats32 = weighed(gists, self.column, self.idf) @ self.directions
        return made

    def one(self, gists: Gists) -> NDArray[np.floating[Any]] | float:
        """Of a single prompt: the same as `many`, without the sparse matrix; 0 where no word is looked at."""
        columns = self.column[gists.buckets]
        known = columns >= 0
        columns = columns[known]
        if not len(columns):
            return 0.0
        value = _FREQUENCY[gists.counts[known]] * self.idf[columns]
        value /= max(float(np.sqrt(value @ value)), 1e-12)
        made: NDArray[np.floating[Any]] = value @ self.directions[columns]
        return made

    def level(self, weights: sp.csr_matrix) -> Projection:
        """The same, as long as it takes for prompts to differ by their words as much as by their structure."""
        spread = float(np.sqrt(np.sum(np.var(weights @ self.directions, axis=0)))) if self.directions.size else 1.0
        longer = np.float32(np.sqrt(len(STRUCTURE)) / max(spread, 1e-6))
        return Projection(self.column, self.idf, self.directions * longer)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        chosen = np.flatnonzero(self.column >= 0)
        bucket = chosen[np.argsort(self.column[chosen])].astype(np.int32)
        return {"bucket": bucket, "idf": self.idf, "projection": self.directions}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Projection:
        numbers = (np.asarray(arrays[name], np.float32) for name in ("idf", "projection"))
        return cls(columns_of(np.asarray(arrays["bucket"], np.int64)), *numbers)


def columns_of(buckets: NDArray[np.int64]) -> NDArray[np.int32]:
    """(2¹⁸): bucket → its place in `buckets`, −1 where it is not among them."""
    column = np.full(1 << BITS, -1, np.int32)
    column[buckets] = np.arange(len(buckets), dtype=np.int32)
    return column


def upright(right: NDArray[np.floating[Any]]) -> Floats32:
    """(width, directions): singular vectors, one a row, as directions whose signs are the same on every machine."""
    signs = np.sign(right[np.arange(len(right)), np.argmax(np.abs(right), axis=1)])
    made: Floats32 = (right * np.where(signs == 0, 1.0, signs)[:, None]).T.astype(np.float32)
    return np.ascontiguousarray(made)


def rarity(met: NDArray[np.int64], rows: int) -> Floats32:
    """Weight of words that so many of the rows hold."""
    return np.log((1 + rows) / (1 + met)).astype(np.float32) + np.float32(0.05)


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
