"""What predictions are put together from: small tables of numbers over the vector of a prompt, quick to ask.

Each maps vectors (rows, width) to (rows, models) and is kept as plain arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]

DEEPEST = 8
_TREE_ROWS = 256


class Member(Protocol):
    """A fitted part of a prediction."""

    @property
    def kind(self) -> str:
        """A key of `KINDS`."""

    def predict(self, vectors: Vectors) -> Floats:
        """(rows, models)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that it knows; `KINDS[kind](**arrays)` makes it again."""


@dataclass(frozen=True)
class Constant:
    """The same for every prompt.

    Attributes
    ----------
    level : (models).
    """

    level: Floats
    kind: str = "constant"

    def predict(self, vectors: Vectors) -> Floats:
        return np.broadcast_to(self.level, (len(vectors), len(self.level))).copy()

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"level": self.level}


@dataclass(frozen=True)
class Linear:
    """Level and slopes.

    Attributes
    ----------
    level : (models).
    slope : (width, models), float32.
    """

    level: Floats
    slope: NDArray[np.float32]
    kind: str = "linear"

    def predict(self, vectors: Vectors) -> Floats:
        made: Floats = vectors @ self.slope + self.level
        return made

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"level": self.level, "slope": self.slope}


@dataclass(frozen=True)
class Curved:
    """One number tells how hard a prompt is, and each model has its own curve over it: Birnbaum's two-parameter
    logistic model (1968), with the prompt's difficulty predicted.

    Attributes
    ----------
    hardness : (width) and its `offset`: difficulty of a prompt.
    ability, discrimination : (models): quality = floor + (1 − floor) · σ(ability − discrimination · difficulty).
    floor : (models), what guessing reaches.
    """

    hardness: NDArray[np.float32]
    offset: Floats
    ability: Floats
    discrimination: Floats
    floor: Floats
    kind: str = "curved"

    def predict(self, vectors: Vectors) -> Floats:
        return self.at(np.asarray(vectors @ self.hardness, np.float64) + self.offset)

    def at(self, difficulty: Floats) -> Floats:
        log_odds = self.ability - self.discrimination * np.asarray(difficulty)[:, None]
        made: Floats = self.floor + (1.0 - self.floor) / (1.0 + np.exp(-log_odds))
        return made

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "hardness": self.hardness,
            "offset": np.asarray(self.offset),
            "ability": self.ability,
            "discrimination": self.discrimination,
            "floor": self.floor,
        }


@dataclass(frozen=True)
class Nearest:
    """Means of neighbourhoods, coarse and fine: what the nearest centre of each level says is added up.

    Attributes
    ----------
    level : (models).
    coarse, fine : centres (centres, width); `coarse_half` and `fine_half` are ½ |centre|².
    coarse_table, fine_table : (centres, models).
    """

    level: Floats
    coarse: NDArray[np.float32]
    coarse_table: Floats
    fine: NDArray[np.float32]
    fine_table: Floats
    kind: str = "nearest"

    def __post_init__(self) -> None:
        object.__setattr__(self, "_halves", (_half(self.coarse), _half(self.fine)))

    def predict(self, vectors: Vectors) -> Floats:
        coarse, fine = self.places(vectors)
        made: Floats = self.level + self.coarse_table[coarse] + self.fine_table[fine]
        return made

    def places(self, vectors: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers of the nearest centres."""
        halves: tuple[Vectors, Vectors] = self._halves  # type: ignore[attr-defined]
        return (
            np.argmax(vectors @ self.coarse.T - halves[0], axis=1),
            np.argmax(vectors @ self.fine.T - halves[1], axis=1),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "level": self.level,
            "coarse": self.coarse,
            "coarse_table": self.coarse_table,
            "fine": self.fine,
            "fine_table": self.fine_table,
        }


@dataclass(frozen=True)
class Tasks:
    """Which task a prompt is probably one of, and the means of that task.

    Attributes
    ----------
    slope, offset : (width, tasks), (tasks): the probability of task g is softmax(vector · slope + offset).
    table : (tasks, models).
    """

    slope: NDArray[np.float32]
    offset: Floats
    table: Floats
    kind: str = "tasks"

    def predict(self, vectors: Vectors) -> Floats:
        return self.probability(vectors) @ self.table

    def probability(self, vectors: Vectors) -> Floats:
        score = np.asarray(vectors @ self.slope, np.float64) + self.offset
        score -= score.max(axis=1, keepdims=True)
        odds = np.exp(score)
        made: Floats = odds / odds.sum(axis=1, keepdims=True)
        return made

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"slope": self.slope, "offset": self.offset, "table": self.table}


@dataclass(frozen=True)
class Refined:
    """The mean of the task that a prompt is probably one of, and slopes for what is left of it.

    Attributes
    ----------
    slope, offset, table : as of `Tasks`.
    rest_level, rest_slope : as of `Linear`.
    """

    slope: NDArray[np.float32]
    offset: Floats
    table: Floats
    rest_level: Floats
    rest_slope: NDArray[np.float32]
    kind: str = "refined"

    def predict(self, vectors: Vectors) -> Floats:
        task = Tasks(self.slope, self.offset, self.table).predict(vectors)
        return task + Linear(self.rest_level, self.rest_slope).predict(vectors)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "slope": self.slope,
            "offset": self.offset,
            "table": self.table,
            "rest_level": self.rest_level,
            "rest_slope": self.rest_slope,
        }


@dataclass(frozen=True)
class Trees:
    """Oblivious trees with a value for every model in each leaf.

    Attributes
    ----------
    position, border : (trees · `DEEPEST`): is vector[position] > border? Unused questions have an infinite border.
    first : (trees): where the leaves of each begin.
    leaves : (leaves, models).
    level : (models), added to their sum.
    """

    position: NDArray[np.int64]
    border: NDArray[np.float32]
    first: NDArray[np.int64]
    leaves: NDArray[np.float32]
    level: Floats
    kind: str = "trees"

    def predict(self, vectors: Vectors) -> Floats:
        made = np.empty((len(vectors), len(self.level)))
        for start in range(0, len(vectors), _TREE_ROWS):
            part = vectors[start : start + _TREE_ROWS]
            said = np.packbits(part[:, self.position] > self.border, axis=1, bitorder="little")
            place = said.astype(np.int64) + self.first
            made[start : start + _TREE_ROWS] = self.leaves[place].sum(axis=1, dtype=np.float64) + self.level
        return made

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "position": self.position,
            "border": self.border,
            "first": self.first,
            "leaves": self.leaves,
            "level": self.level,
        }


KINDS: Mapping[str, Any] = {
    "constant": Constant,
    "linear": Linear,
    "curved": Curved,
    "nearest": Nearest,
    "tasks": Tasks,
    "refined": Refined,
    "trees": Trees,
}


def member_of(kind: str, arrays: Arrays) -> Member:
    """A member from its arrays."""
    made: Member = KINDS[kind](**arrays)
    return made


def _half(centres: Vectors) -> Vectors:
    made: Vectors = 0.5 * np.einsum("ij,ij->i", centres, centres)
    return made
