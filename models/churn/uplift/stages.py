"""The small regressions an uplift model is put together from, each strongly held back: effects drown in noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.churn.encoding import Encoder, Matrix
from models.churn.linear import LinearBasis, fit_ridge, log_odds
from models.churn.metrics import sigmoid

Floats = NDArray[np.float64]

TREES = 60
STRENGTH = 0.03
RIDGE_ROWS = 0.1
_TREES: dict[str, Any] = {
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_leaves": 5,
    "learning_rate": 0.05,
    "feature_fraction": 0.6,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_cat_to_onehot": 64,
}


def plain_basis(matrix: Matrix, encoder: Encoder) -> LinearBasis:
    """`LinearBasis` without hinges: straight lines only."""
    fitted = LinearBasis.fit(matrix, encoder)
    none = np.empty(0)
    straight = replace(fitted, hinge_at=none.astype(np.intp), hinge_knot=none, hinge_scale=none, mean=none)
    return replace(straight, mean=straight.design(matrix).mean(axis=0))


def outcome_probability(learn: Matrix, y: NDArray[np.int64], encoder: Encoder, asked: Matrix, seed: int) -> Floats:
    """Probability of the outcome of rows that were not learned from: mean of a ridge regression and few small trees."""
    if len(np.unique(y)) < 2:
        return np.full(len(asked), float(y.mean()))
    basis = plain_basis(learn, encoder)
    native = fit_ridge(basis.design(learn), y, STRENGTH)
    linear = sigmoid(log_odds(basis.design(asked), native.coef_[0], float(native.intercept_[0])))
    trees = _train(learn, y, encoder, "binary", seed)
    return np.asarray(0.5 * linear + 0.5 * np.asarray(trees.predict(asked, num_threads=1), dtype=np.float64))


@dataclass(frozen=True)
class EffectRegression:
    """A regression on pseudo-outcomes: mean of a ridge regression and a few small trees.

    Attributes
    ----------
    coefficients, intercept : on the columns of `basis`.
    trees : a LightGBM booster.
    """

    basis: LinearBasis
    coefficients: Floats
    intercept: float
    trees: Any

    @classmethod
    def fit(cls, matrix: Matrix, target: Floats, encoder: Encoder, seed: int) -> EffectRegression:
        """Least squares with a penalty of a tenth of the rows, and trees."""
        basis = plain_basis(matrix, encoder)
        centred = basis.design(matrix) - basis.mean
        gram = centred.T @ centred + RIDGE_ROWS * len(matrix) * np.eye(centred.shape[1])
        coefficients = np.linalg.solve(gram, centred.T @ (target - target.mean()))
        # Rounded, so that the last bits of a solver do not decide a digest.
        coefficients = np.asarray(np.round(coefficients, 10), dtype=np.float64)
        intercept = float(target.mean() - (basis.mean * coefficients).sum())
        return cls(basis, coefficients, intercept, _train(matrix, target, encoder, "regression", seed))

    def __call__(self, matrix: Matrix) -> Floats:
        if not len(matrix):
            return np.empty(0)
        linear = log_odds(self.basis.design(matrix), self.coefficients, self.intercept)
        return 0.5 * linear + 0.5 * np.asarray(self.trees.predict(matrix, num_threads=1), dtype=np.float64)


def _train(matrix: Matrix, target: NDArray[Any], encoder: Encoder, objective: str, seed: int) -> Any:
    import lightgbm

    leaf = max(10, min(200, len(matrix) // 20))
    params = {**_TREES, "objective": objective, "seed": seed, "min_data_in_leaf": leaf, "min_data_per_group": leaf}
    data = lightgbm.Dataset(matrix, target, categorical_feature=list(encoder.native), params=params)
    return lightgbm.train(params, data, TREES)
