"""Boosted oblivious trees with a value for every model in each leaf (CatBoost's MultiRMSE), read out into arrays."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.routing.fitting import Found
from models.routing.material import Fit, Material
from models.routing.members import DEEPEST, Member, Trees
from models.routing.normal import levels

Floats = NDArray[np.float64]

DEPTH = 5
# More rows than this cost minutes and change nothing that could be measured.
MOST_ROWS = 12_000
_FOLDS = 3


def find_trees(given: Material, target: Floats, trees: int, threads: int, seed: int) -> Found:
    """Trees on everything that the vectors hold."""
    fit = trees_of(trees, threads, seed)
    everything = np.ones(len(given), bool)
    apart = None if given.group_fold is None else _out_of_fold(fit, given, target, given.group_fold)
    return Found(
        fit(given, target, everything),
        _out_of_fold(fit, given, target, given.fold),
        apart,
        {"trees": trees, "depth": DEPTH},
    )


def _out_of_fold(fit: Fit, given: Material, target: Floats, fold: NDArray[np.int64]) -> Floats:
    """In fewer folds than the others: trees take longest."""
    made = np.empty(target.shape)
    for one in range(_FOLDS):
        held = fold % _FOLDS == one
        if held.any():
            made[held] = fit(given, target, ~held).predict(given.vectors[held])
    return made


def trees_of(trees: int, threads: int, seed: int) -> Fit:
    """Trees on the differences from each model's mean."""

    def fit(given: Material, target: Floats, rows: NDArray[np.bool_]) -> Member:
        from catboost import CatBoostRegressor

        draw = np.random.default_rng(seed)
        level = levels(target, rows)
        chosen = np.flatnonzero(rows & (~np.isnan(target)).any(axis=1))
        if len(chosen) > MOST_ROWS:
            chosen = np.sort(draw.choice(chosen, MOST_ROWS, replace=False))
        rest = target[chosen] - level
        holes = bool(np.isnan(rest).any())
        native = CatBoostRegressor(
            loss_function="MultiRMSEWithMissingValues" if holes else "MultiRMSE",
            iterations=trees,
            depth=DEPTH,
            learning_rate=0.08,
            l2_leaf_reg=15.0,
            border_count=32,
            bootstrap_type="Bernoulli",
            subsample=0.7,
            rsm=0.5,
            random_seed=seed,
            thread_count=threads,
            allow_writing_files=False,
            verbose=False,
        )
        native.fit(given.vectors[chosen], rest)
        return _read(native, level)

    return fit


def _read(native: Any, level: Floats) -> Trees:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        native.save_model(str(path), format="json")
        exported = json.loads(path.read_text(encoding="utf-8"))
    known = exported["features_info"]["float_features"]
    place = {one["feature_index"]: one["flat_feature_index"] for one in known}
    trees = exported["oblivious_trees"]
    models = len(level)
    position = np.zeros((len(trees), DEEPEST), np.int64)
    border = np.full((len(trees), DEEPEST), np.inf, np.float32)
    leaves, first, begins = [], [], 0
    for number, tree in enumerate(trees):
        for depth, split in enumerate(tree["splits"] or ()):
            position[number, depth] = place[split["float_feature_index"]]
            border[number, depth] = split["border"]
        values = np.asarray(tree["leaf_values"], np.float64).reshape(-1, models)
        leaves.append(values)
        first.append(begins)
        begins += len(values)
    scale, bias = exported["scale_and_bias"]
    return Trees(
        position.ravel(),
        border.ravel(),
        np.array(first, np.int64),
        (float(scale) * np.concatenate(leaves)).astype(np.float32),
        level + np.asarray(bias, np.float64),
    )
