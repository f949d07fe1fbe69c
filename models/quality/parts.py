"""What a scorer is put together from: a curve over few columns, a line over all, trees; each from numbers to log-odds.

Judgements are soft: four stars of five are 0.75 of a good word. Everything is fitted to minimise their cross-entropy,
−(y ln p + (1 − y) ln(1 − p)), with y between 0 and 1. Where more of a number is better by what it means, its
coefficient is held to that side, and trees are grown monotone in it: no accident of the data makes padding pay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.quality.design import DIRECTIONS, WIDTH

Floats = NDArray[np.float64]

DEPTH, TREES = 4, 150
_RATE, _SHRINK = 0.06, 20.0
_LEVELS = DEPTH
_FARTHEST = 4.0
_AT_ONCE = 2_048


class Part(Protocol):
    """A fitted part.

    Attributes
    ----------
    kind : what `part_of` makes it again from.
    """

    @property
    def kind(self) -> str: ...

    def log_odds(self, rows: Floats) -> Floats:
        """(rows, `WIDTH`) → (rows)."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `part_of` reads it."""


@dataclass(frozen=True)
class Line:
    """Logistic regression over some columns.

    Attributes
    ----------
    columns : which ones; `mean`, `scale` : of each in training.
    """

    columns: NDArray[np.intp]
    mean: Floats
    scale: Floats
    intercept: float
    slopes: Floats
    kind: str = "line"

    def log_odds(self, rows: Floats) -> Floats:
        if not len(self.columns):
            return np.full(len(rows), self.intercept)
        standard = np.clip((rows[:, self.columns] - self.mean) / self.scale, -_FARTHEST, _FARTHEST)
        # Row sums rather than a matrix product: BLAS rounds one row differently from many.
        return np.asarray((standard * self.slopes).sum(axis=1) + self.intercept)

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {"kind": self.kind, "intercept": self.intercept}
        for name in ("columns", "mean", "scale", "slopes"):
            told[name] = getattr(self, name).tolist()
        return told


@dataclass(frozen=True)
class Table:
    """Mean judgement of each kind of task, shrunk towards the mean of all.

    Attributes
    ----------
    first, second : columns of the two groupings; the row's level in each is the column that is set.
    cells : (levels of first + 1, levels of second + 1), log-odds; the last ones for rows of no known level.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    cells: Floats
    kind: str = "table"

    def log_odds(self, rows: Floats) -> Floats:
        return np.asarray(self.cells[level_of(rows, self.first), level_of(rows, self.second)])

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "first": self.first.tolist(),
            "second": self.second.tolist(),
            "cells": self.cells.tolist(),
        }


@dataclass(frozen=True)
class Trees:
    """Oblivious trees: all nodes of a level ask the same question.

    Attributes
    ----------
    position, border : (trees, 4): is the column above the border? Unused questions have an infinite border.
    leaves : (trees, 2⁴).
    """

    position: NDArray[np.intp]
    border: Floats
    leaves: Floats
    bias: float
    kind: str = "trees"

    def log_odds(self, rows: Floats) -> Floats:
        trees = np.arange(len(self.position))
        powers = 1 << np.arange(self.position.shape[1])
        border = self.border.astype(np.float32)
        made = np.empty(len(rows))
        for begin in range(0, len(rows), _AT_ONCE):
            part = rows[begin : begin + _AT_ONCE].astype(np.float32)
            leaf = (part[:, self.position] > border) @ powers
            made[begin : begin + _AT_ONCE] = self.leaves[trees, leaf].sum(axis=1) + self.bias
        return made

    def to_dict(self) -> dict[str, Any]:
        # JSON has no infinity.
        border = [[None if np.isinf(one) else float(one) for one in tree] for tree in self.border]
        return {
            "kind": self.kind,
            "position": self.position.tolist(),
            "border": border,
            "leaves": self.leaves.tolist(),
            "bias": self.bias,
        }


def part_of(told: Mapping[str, Any]) -> Part:
    """A part from what `to_dict` told.

    Raises
    ------
    KeyError, ValueError : it is none.
    """
    values = {name: value for name, value in told.items() if name != "kind"}
    if told["kind"] == "line":
        mean, scale, slopes = (np.array(values[name], float) for name in ("mean", "scale", "slopes"))
        return Line(np.array(values["columns"], dtype=np.intp), mean, scale, float(values["intercept"]), slopes)
    if told["kind"] == "table":
        first, second = (np.array(values[name], dtype=np.intp) for name in ("first", "second"))
        return Table(first, second, np.array(values["cells"], float))
    if told["kind"] == "trees":
        border = np.array([[np.inf if one is None else one for one in tree] for tree in values["border"]], float)
        position = np.array(values["position"], dtype=np.intp)
        return Trees(position, border, np.array(values["leaves"], float), float(values["bias"]))
    raise ValueError(f"There is no part {told['kind']!r}.")


def fit_line(rows: Floats, y: Floats, columns: Sequence[int], penalty: float) -> Line:
    """Ridge logistic regression, each slope on the side that `DIRECTIONS` names.

    Parameters
    ----------
    penalty : of the squared slopes of standardised columns, in units of rows.
    """
    from scipy.optimize import minimize

    chosen = np.asarray(columns, dtype=np.intp)
    base = min(max(float(y.mean()), 1e-4), 1 - 1e-4)
    start = np.concatenate([[np.log(base / (1 - base))], np.zeros(len(chosen))])
    if not len(chosen):
        return Line(chosen, np.zeros(0), np.ones(0), float(start[0]), np.zeros(0))
    mean, scale = rows[:, chosen].mean(axis=0), rows[:, chosen].std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    standard = np.clip((rows[:, chosen] - mean) / scale, -_FARTHEST, _FARTHEST)

    def loss(beta: Floats) -> tuple[float, Floats]:
        z = standard @ beta[1:] + beta[0]
        gap = 1.0 / (1.0 + np.exp(-z)) - y
        value = float(np.sum(np.logaddexp(0.0, z) - y * z) + 0.5 * penalty * np.sum(beta[1:] ** 2))
        return value, np.concatenate([[gap.sum()], standard.T @ gap + penalty * beta[1:]])

    sides = {1: (0.0, None), -1: (None, 0.0), 0: (None, None)}
    bounds = [(None, None), *(sides[DIRECTIONS[one]] for one in chosen)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 300, "ftol": 1e-8}).x
    return Line(chosen, mean, scale, float(found[0]), np.asarray(found[1:], dtype=np.float64))


def fit_table(rows: Floats, y: Floats, first: Sequence[int], second: Sequence[int], prior: float = 8.0) -> Table:
    """Mean of each cell, towards that of all with the weight of `prior` judgements."""
    one, two = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    shape = (len(one) + 1, len(two) + 1)
    at = np.ravel_multi_index((level_of(rows, one), level_of(rows, two)), shape)
    count = np.bincount(at, minlength=shape[0] * shape[1])
    total = np.bincount(at, weights=y, minlength=shape[0] * shape[1])
    share = np.clip((total + prior * y.mean()) / (count + prior), 1e-3, 1 - 1e-3).reshape(shape)
    return Table(one, two, np.log(share / (1 - share)))


def fit_trees(rows: Floats, y: Floats, *, trees: int, threads: int, seed: int) -> Trees:
    """Boosted oblivious trees (CatBoost), monotone where `DIRECTIONS` says so."""
    from catboost import CatBoost, Pool

    native = CatBoost(
        {
            "loss_function": "CrossEntropy",
            "iterations": trees,
            "depth": DEPTH,
            "learning_rate": _RATE,
            "l2_leaf_reg": _SHRINK,
            "rsm": 0.5,
            "bootstrap_type": "Bernoulli",
            "subsample": 0.7,
            "monotone_constraints": list(DIRECTIONS),
            "random_seed": seed,
            "thread_count": threads,
            "allow_writing_files": False,
            "verbose": False,
        }
    )
    native.fit(Pool(rows, y))
    return _read(native)


def level_of(rows: Floats, columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which of the columns is set in each row; their number where none is."""
    part = rows[:, columns] > 0
    return np.where(part.any(axis=1), part.argmax(axis=1), len(columns)).astype(np.intp)


def _read(native: Any) -> Trees:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        native.save_model(str(path), format="json")
        exported = json.loads(path.read_text(encoding="utf-8"))
    place = {one["feature_index"]: one["flat_feature_index"] for one in exported["features_info"]["float_features"]}
    grown = exported["oblivious_trees"]
    position = np.zeros((len(grown), _LEVELS), dtype=np.intp)
    border = np.full((len(grown), _LEVELS), np.inf)
    leaves = np.zeros((len(grown), 1 << DEPTH))
    for number, tree in enumerate(grown):
        for level, split in enumerate(tree["splits"] or ()):
            position[number, level] = place[split["float_feature_index"]]
            border[number, level] = split["border"]
        leaves[number, : len(tree["leaf_values"])] = tree["leaf_values"]
    scale, bias = exported["scale_and_bias"]
    assert position.max(initial=0) < WIDTH
    return Trees(position, border, float(scale) * leaves, float(bias[0]))
