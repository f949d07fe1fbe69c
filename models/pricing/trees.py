"""Forest and boosting of what is sold relative to what is usual at the place; both may only fall where the own price
rises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.pricing.cells import LEAST, CellMean
from models.pricing.encoding import Encoder
from models.pricing.panel import Floats, Panel


@dataclass(frozen=True)
class Forest:
    """scikit-learn's random forest, monotone in every function of the own price."""

    encoder: Encoder
    native: Any
    usual: CellMean
    penalty: float
    name = "forest"

    def mean(self, panel: Panel) -> Floats:
        """Expected quantity of each row."""
        matrix, _ = self.encoder.tree_matrix(panel)
        ratio = np.asarray(self.native.predict(matrix.astype(np.float32)), dtype=np.float64)
        return np.asarray(np.maximum(ratio, LEAST) * self.usual.mean(panel), dtype=np.float64)

    def save(self, folder: Path) -> None:
        from store.registry import save_native

        save_native(self.native, "sklearn", folder)


@dataclass(frozen=True)
class Boosting:
    """LightGBM with Poisson loss, monotone in every function of the own price."""

    encoder: Encoder
    native: Any
    usual: CellMean
    penalty: float
    name = "boosting"

    def mean(self, panel: Panel) -> Floats:
        """Expected quantity of each row."""
        matrix, _ = self.encoder.tree_matrix(panel)
        raw = np.asarray(self.native.predict(matrix, raw_score=True, num_threads=1), dtype=np.float64)
        return np.asarray(np.exp(np.clip(raw, -40.0, 40.0)) * self.usual.mean(panel), dtype=np.float64)

    def save(self, folder: Path) -> None:
        from store.registry import save_native

        save_native(self.native, "lightgbm", folder)


def fit_forest(encoder: Encoder, panel: Panel, trees: int, share: float, seed: int, threads: int) -> Forest:
    """Grow the forest; leaves hold at least `share` of the rows, and 5."""
    from sklearn.ensemble import RandomForestRegressor

    matrix, signs = encoder.tree_matrix(panel)
    forest = RandomForestRegressor(
        n_estimators=trees,
        min_samples_leaf=max(5, round(share * len(panel))),
        max_features=0.5,
        monotonic_cst=signs,
        random_state=seed,
        n_jobs=threads,
    )
    # Float32 as the trees keep it: a threshold then divides the same rows when it is read back.
    usual = CellMean.fit(encoder, panel)
    mean = usual.mean(panel)
    forest.fit(matrix.astype(np.float32), panel.quantity / mean, sample_weight=mean / mean.mean())
    forest.n_jobs = None
    return Forest(encoder, forest, usual, share)


def fit_boosting(encoder: Encoder, panel: Panel, trees: int, share: float, seed: int, threads: int) -> Boosting:
    """Boost `share` of the trees, with a slow rate and large leaves."""
    import lightgbm

    matrix, signs = encoder.tree_matrix(panel)
    usual = CellMean.fit(encoder, panel)
    data = lightgbm.Dataset(matrix, label=panel.quantity, init_score=np.log(usual.mean(panel)))
    settings = {
        "objective": "poisson",
        "num_leaves": 15,
        "learning_rate": 0.05,
        "min_data_in_leaf": int(max(10, min(200, len(panel) // 50))),
        "min_sum_hessian_in_leaf": 10.0,
        "lambda_l2": 1.0,
        "feature_fraction": 0.8,
        "monotone_constraints": signs,
        "monotone_constraints_method": "basic",
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": threads,
        "seed": seed,
        "verbosity": -1,
    }
    native = lightgbm.train(settings, data, num_boost_round=max(1, round(share * trees)))
    return Boosting(encoder, native, usual, share)
