"""Training of CatBoost, LightGBM and XGBoost, on one thread each.

Folds run side by side instead. So the number of threads never changes a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.churn.encoding import Encoder, Matrix

LogOdds = NDArray[np.float64]

# Two characters of each booster: many shallow trees for effects that mostly add up, deeper ones for interactions.
SETTINGS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "catboost": (
        {"depth": 4, "learning_rate": 0.05, "l2_leaf_reg": 5.0},
        {"depth": 6, "learning_rate": 0.05, "l2_leaf_reg": 5.0, "rsm": 0.5},
    ),
    "lightgbm": (
        {"num_leaves": 6, "min_data_in_leaf": 40, "learning_rate": 0.04, "feature_fraction": 0.4, "lambda_l2": 5.0},
        {"num_leaves": 16, "min_data_in_leaf": 5, "learning_rate": 0.05, "feature_fraction": 0.8, "lambda_l2": 1.0},
    ),
    "xgboost": (
        {"max_depth": 3, "min_child_weight": 5.0, "eta": 0.04, "colsample_bytree": 0.5, "reg_lambda": 3.0},
        {"max_depth": 5, "min_child_weight": 3.0, "eta": 0.03, "colsample_bytree": 0.6, "reg_lambda": 2.0},
    ),
}
MOST_TREES = 800
# Native categories up to so many levels are split one level at a time: less to overfit than target statistics.
ONE_HOT = 64
PATIENCE = 60


# Of a wide table each tree (each level in CatBoost) looks at about so many columns.
COLUMNS_AT_ONCE = 150
_COLUMN_SHARE = {"catboost": "rsm", "lightgbm": "feature_fraction", "xgboost": "colsample_bytree"}


def settings_for(name: str, which: int, width: int) -> dict[str, Any]:
    """Settings `which` of a booster for `width` encoded columns: training time does not grow with very wide tables."""
    settings = dict(SETTINGS[name][which])
    share = _COLUMN_SHARE[name]
    if COLUMNS_AT_ONCE / width < settings.get(share, 1.0):
        settings[share] = round(COLUMNS_AT_ONCE / width, 4)
    return settings


@dataclass(frozen=True)
class Trained:
    """A booster that stopped early.

    Attributes
    ----------
    curve : log loss on the held-out rows after every tree.
    held_out : number of trees → log-odds of the held-out rows.
    """

    native: Any
    curve: NDArray[np.float64]
    name: str
    matrix: Matrix
    codes: tuple[int, ...]

    def held_out(self, trees: int) -> LogOdds:
        trees = min(trees, len(self.curve))
        if self.name == "catboost":
            return catboost_raw(self.native, self.matrix, self.codes, trees)
        if self.name == "lightgbm":
            raw = self.native.predict(self.matrix, raw_score=True, num_iteration=trees, num_threads=1)
            return np.asarray(raw, dtype=np.float64)
        return xgboost_raw(self.native, xgboost_data(self.matrix, self.codes), trees)


def train_booster(
    name: str,
    encoder: Encoder,
    train: tuple[Matrix, NDArray[np.int64]],
    trees: int,
    settings: Mapping[str, Any],
    seed: int,
    held_out: tuple[Matrix, NDArray[np.int64]] | None = None,
) -> Any:
    """Train on one thread. With `held_out` it stops once 60 trees brought nothing there, and a `Trained` is returned;
    without, the native model of exactly `trees` trees."""
    fit = {"catboost": _train_catboost, "lightgbm": _train_lightgbm, "xgboost": _train_xgboost}[name]
    native, curve = fit(encoder, train, trees, settings, seed, held_out)
    if held_out is None:
        return native
    return Trained(native, np.asarray(curve, dtype=np.float64), name, held_out[0], encoder.native)


def _train_catboost(
    encoder: Encoder,
    train: tuple[Matrix, NDArray[np.int64]],
    trees: int,
    settings: Mapping[str, Any],
    seed: int,
    held_out: tuple[Matrix, NDArray[np.int64]] | None,
) -> tuple[Any, Any]:
    import catboost

    model = catboost.CatBoost(
        {
            "loss_function": "Logloss",
            "iterations": trees,
            "boosting_type": "Plain",
            "bootstrap_type": "Bernoulli",
            "subsample": 0.8,
            "one_hot_max_size": ONE_HOT,
            "random_seed": seed,
            "thread_count": 1,
            "allow_writing_files": False,
            "verbose": False,
            **settings,
        }
    )
    pool = _catboost_pool(*train, codes=encoder.native)
    if held_out is None:
        model.fit(pool)
        # A random id and the time of day: without them the same training gives the same bytes.
        kept = model.get_metadata()
        kept["model_guid"] = kept["train_finish_time"] = ""
        return model, None
    model.fit(
        pool,
        eval_set=_catboost_pool(*held_out, codes=encoder.native),
        early_stopping_rounds=PATIENCE,
        use_best_model=False,
    )
    return model, model.get_evals_result()["validation"]["Logloss"]


def _catboost_pool(matrix: Matrix, y: NDArray[np.int64] | None, codes: Sequence[int]) -> Any:
    import catboost

    if not codes:
        return catboost.Pool(matrix, y, thread_count=1)
    numbers = [at for at in range(matrix.shape[1]) if at not in set(codes)]
    # Numbers stay one float block; only the codes are objects.
    features = catboost.FeaturesData(
        num_feature_data=np.ascontiguousarray(matrix[:, numbers], dtype=np.float32),
        cat_feature_data=matrix[:, list(codes)].astype(np.int64).astype(str).astype("S").astype(object),
    )
    return catboost.Pool(features, y, thread_count=1)


def catboost_raw(native: Any, matrix: Matrix, codes: Sequence[int], trees: int) -> LogOdds:
    raw = native.predict(
        _catboost_pool(matrix, None, codes), prediction_type="RawFormulaVal", ntree_end=trees, thread_count=1
    )
    return np.asarray(raw, dtype=np.float64)


def _train_lightgbm(
    encoder: Encoder,
    train: tuple[Matrix, NDArray[np.int64]],
    trees: int,
    settings: Mapping[str, Any],
    seed: int,
    held_out: tuple[Matrix, NDArray[np.int64]] | None,
) -> tuple[Any, Any]:
    import lightgbm

    params = {
        "objective": "binary",
        "metric": "binary_logloss",
        "num_threads": 1,
        "verbosity": -1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "cat_smooth": 20.0,
        "min_data_per_group": 50,
        "max_cat_to_onehot": ONE_HOT,
        **settings,
    }
    native_codes = list(encoder.native)
    data = lightgbm.Dataset(train[0], train[1], categorical_feature=native_codes, params=params)
    if held_out is None:
        return lightgbm.train(params, data, trees), None
    curves: dict[str, dict[str, list[float]]] = {}
    model = lightgbm.train(
        params,
        data,
        trees,
        valid_sets=[lightgbm.Dataset(held_out[0], held_out[1], reference=data, params=params)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False), lightgbm.record_evaluation(curves)],
    )
    return model, curves["valid_0"]["binary_logloss"]


def _train_xgboost(
    encoder: Encoder,
    train: tuple[Matrix, NDArray[np.int64]],
    trees: int,
    settings: Mapping[str, Any],
    seed: int,
    held_out: tuple[Matrix, NDArray[np.int64]] | None,
) -> tuple[Any, Any]:
    import xgboost

    params = {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "subsample": 0.8,
        "max_cat_to_onehot": ONE_HOT,
        **settings,
    }
    data = xgboost_data(train[0], encoder.native, train[1])
    if held_out is None:
        return xgboost.train(params, data, trees), None
    curves: dict[str, dict[str, list[float]]] = {}
    model = xgboost.train(
        params,
        data,
        trees,
        evals=[(xgboost_data(held_out[0], encoder.native, held_out[1]), "valid")],
        early_stopping_rounds=PATIENCE,
        evals_result=curves,
        verbose_eval=False,
    )
    return model, curves["valid"]["logloss"]


def xgboost_data(matrix: Matrix, codes: Sequence[int], y: NDArray[np.int64] | None = None) -> Any:
    import xgboost

    kinds = ["q"] * matrix.shape[1]
    for at in codes:
        kinds[at] = "c"
    return xgboost.DMatrix(matrix, y, feature_types=kinds, enable_categorical=bool(codes), nthread=1)


def xgboost_raw(native: Any, data: Any, trees: int) -> LogOdds:
    return np.asarray(native.predict(data, output_margin=True, iteration_range=(0, trees)), dtype=np.float64)


def catboost_shap(native: Any, matrix: Matrix, codes: Sequence[int]) -> LogOdds:
    """Exact TreeSHAP: float64, shape (rows, positions + 1), the expected log-odds last."""
    found = native.get_feature_importance(
        _catboost_pool(matrix, None, codes), type="ShapValues", thread_count=1, shap_mode="UsePreCalc"
    )
    return np.asarray(found, dtype=np.float64)


def lightgbm_shap(native: Any, matrix: Matrix) -> LogOdds:
    """As `catboost_shap`."""
    return np.asarray(native.predict(matrix, pred_contrib=True, num_threads=1), dtype=np.float64)


def xgboost_shap(native: Any, matrix: Matrix, codes: Sequence[int]) -> LogOdds:
    """As `catboost_shap`, to the seven digits of float32."""
    return np.asarray(native.predict(xgboost_data(matrix, codes), pred_contribs=True), dtype=np.float64)
