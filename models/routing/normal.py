"""Ridge regression in two parts, what the models have in common and what each has beside, under many penalties."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.routing.material import Material
from models.routing.members import Linear

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]

# A penalty under which nothing is left.
NONE = 1e6


def levels(target: Floats, rows: Rows) -> Floats:
    """Mean of each model; of all where it was never seen, and nearly so where it was seldom seen."""
    part = target[rows]
    seen = ~np.isnan(part)
    count = seen.sum(axis=0)
    total = np.nansum(part, axis=0)
    overall = total.sum() / max(count.sum(), 1)
    made: Floats = (total + 4.0 * overall) / (count + 4.0)
    return made


class Normal:
    """Normal equations of the two parts, to be solved under many penalties."""

    def __init__(self, given: Material, target: Floats, rows: Rows, columns: Sequence[int] | None = None) -> None:
        self._columns = columns
        self._width = given.vectors.shape[1]
        vectors = given.vectors[rows].astype(np.float64)
        if columns is not None:
            vectors = vectors[:, list(columns)]
        self._mean = vectors.mean(axis=0)
        vectors -= self._mean
        self._level = levels(target, rows)
        rest = target[rows] - self._level
        seen = ~np.isnan(rest)
        count = seen.sum(axis=1)
        shared = np.where(count > 0, np.nansum(rest, axis=1) / np.maximum(count, 1), 0.0)
        weight = count / max(count.max(), 1)
        self._unit = max(float(np.mean(np.einsum("ij,ij->j", vectors, vectors)) / len(vectors)), 1e-12)
        self._shared = gram(vectors, weight), vectors.T @ (shared * weight), max(float(weight.sum()), 1.0)
        filled = np.where(seen, rest, 0.0)
        self._right = vectors.T @ filled
        self._counts = np.maximum(seen.sum(axis=0), 1).astype(np.float64)
        self._centred, self._seen = vectors, seen

    @cached_property
    def _own(self) -> list[Floats]:
        """Of each model; one for all where every row shows every model."""
        if self._seen.all():
            return [self._shared[0]]
        return [gram(self._centred, self._seen[:, one]) for one in range(self._seen.shape[1])]

    def solved(self, common: float, own: float) -> Linear:
        """Slopes under penalties for what is common and for what is a model's own."""
        shared, right, size = self._shared
        together = np.linalg.solve(padded(shared, common * self._unit * size), right)
        if own >= NONE:
            beside: Any = np.zeros_like(self._right)
        elif len(self._own) == 1:
            left = padded(self._own[0], own * self._unit * float(self._counts[0]))
            beside = np.linalg.solve(left, self._right - (self._own[0] @ together)[:, None])
        else:
            beside = np.column_stack(
                [
                    np.linalg.solve(
                        padded(part, own * self._unit * self._counts[one]), self._right[:, one] - part @ together
                    )
                    for one, part in enumerate(self._own)
                ]
            )
        slope: Floats = np.asarray(together[:, None] + beside, np.float64)
        mean: Floats = np.asarray(self._mean, np.float64)
        if self._columns is not None:
            wide, middle = np.zeros((self._width, slope.shape[1])), np.zeros(self._width)
            wide[list(self._columns)] = slope
            middle[list(self._columns)] = mean
            slope, mean = wide, middle
        return Linear(self._level - mean @ slope, slope.astype(np.float32))


def gram(vectors: Floats, weight: NDArray[Any]) -> Floats:
    """Weighted products of the columns with each other, (width, width)."""
    # Of rows that do not count there is nothing to multiply.
    rows = weight > 0
    part = vectors if rows.all() else vectors[rows]
    own = np.asarray(weight, np.float64)[rows]
    # A matrix with its own transpose is half the work, and needs no copy.
    alike = len(own) > 0 and bool((own == own[0]).all())
    made: Floats = own[0] * (part.T @ part) if alike else (part * own[:, None]).T @ part
    return made


def padded(gram: Floats, penalty: float) -> Floats:
    """With the penalty on the diagonal, and a little more, so that it can be solved in any case."""
    made = gram.copy()
    made[np.diag_indices_from(made)] += penalty + 1e-9
    return made
