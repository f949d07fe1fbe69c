"""One row through CatBoost's trees in a few numpy operations: the same bits, without preparing a data set for it.

CatBoost grows oblivious trees: all nodes of a level ask the same question, so that the answers to a tree's questions,
read as a binary number, are the index of its leaf. Called for one row, CatBoost spends most of its time on checking
and wrapping its input; here the borders of all trees are compared at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.churn.boosters import catboost_raw

# The answers to a tree's questions fill one byte.
DEEPEST = 8
# Missing values go the way of small ones, as in every comparison with NaN.
LIKE_A_COMPARISON = ("AsIs", "AsFalse")
PROBES = 64
TOLERANCE = 1e-12


class ObliviousTrees:
    """The trees of a CatBoost model that splits at borders of numbers alone.

    Attributes
    ----------
    questions : position in the row and border, eight of each a tree; unused ones are never true.
    leaves : values of all leaves, tree after tree; `first` is where each tree's begin.
    """

    def __init__(self, exported: Mapping[str, Any]) -> None:
        trees = exported["oblivious_trees"]
        position = {
            feature["feature_index"]: feature["flat_feature_index"]
            for feature in exported["features_info"]["float_features"]
        }
        positions = np.zeros((len(trees), DEEPEST), dtype=np.intp)
        borders = np.full((len(trees), DEEPEST), np.inf, dtype=np.float32)
        for number, tree in enumerate(trees):
            for level, split in enumerate(_splits(tree)):
                positions[number, level] = position[split["float_feature_index"]]
                borders[number, level] = split["border"]
        counts = [len(tree["leaf_values"]) for tree in trees]
        self.questions = (positions.ravel(), borders.ravel())
        self.first = np.cumsum([0, *counts[:-1]], dtype=np.intp)
        self.leaves = np.concatenate([np.asarray(tree["leaf_values"], dtype=np.float64) for tree in trees])
        self.scale = float(exported["scale_and_bias"][0])
        self.bias = float(exported["scale_and_bias"][1][0])

    @classmethod
    def of(cls, native: Any, codes: Sequence[int] = ()) -> ObliviousTrees | None:
        """The trees of a CatBoost model, or None where its own prediction has to be asked.

        That is so where a split looks at a category, where missing values count as large ones, where trees are not
        oblivious or deeper than eight levels, and where the answers to rows around the borders differ from CatBoost's.

        Parameters
        ----------
        codes : positions of native categories.
        """
        exported = _export(native)
        if not _plain(exported):
            return None
        made = cls(exported)
        rows = made._probes(len(native.feature_names_), codes)
        found = np.asarray([made(row) for row in rows.tolist()])
        same = np.allclose(found, catboost_raw(native, rows, codes, 0), rtol=0.0, atol=TOLERANCE)
        return made if same else None

    # A number beyond float32 becomes infinite, as it does in CatBoost.
    @np.errstate(over="ignore")
    def __call__(self, row: Sequence[float]) -> float:
        """Log-odds of one encoded row."""
        positions, borders = self.questions
        leaf = np.packbits(np.array(row, dtype=np.float32).take(positions) > borders, bitorder="little")
        # Added one after the other, as CatBoost does: a sum in another order differs in its last bits.
        total = np.add.accumulate(self.leaves.take(leaf + self.first))[-1]
        return float(self.scale * total + self.bias)

    def _probes(self, width: int, codes: Sequence[int]) -> NDArray[np.float64]:
        """Rows at the borders, next to them, and with missing values."""
        rng = np.random.default_rng(0)
        rows = np.zeros((PROBES, width))
        positions, borders = self.questions
        for position in np.unique(positions):
            own = borders[(positions == position) & np.isfinite(borders)]
            if len(own):
                near = np.concatenate([own, np.nextafter(own, np.float32(np.inf)), [np.float32(np.nan)]])
                rows[:, position] = rng.choice(near, PROBES)
        rows[:, list(codes)] = 0.0
        return rows


def _export(native: Any) -> Mapping[str, Any]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        native.save_model(str(path), format="json")
        exported: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return exported


def _plain(exported: Mapping[str, Any]) -> bool:
    trees = exported.get("oblivious_trees")
    if not trees or len(exported["scale_and_bias"][1]) != 1:
        return False
    used = {split.get("float_feature_index") for tree in trees for split in _splits(tree)}
    treatments = {
        feature["nan_value_treatment"]
        for feature in exported["features_info"]["float_features"]
        if feature["feature_index"] in used
    }
    return treatments <= set(LIKE_A_COMPARISON) and all(
        len(_splits(tree)) <= DEEPEST
        and len(tree["leaf_values"]) == 2 ** len(_splits(tree))
        and all(split["split_type"] == "FloatFeature" for split in _splits(tree))
        for tree in trees
    )


def _splits(tree: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Of a tree; null where it is a single leaf."""
    return tree["splits"] or ()
