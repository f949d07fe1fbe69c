"""The single models: a prevalence, logistic regression, CatBoost, LightGBM and XGBoost, behind one small interface.

Predictions are made on one thread: a row takes microseconds, and many callers share the machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.churn.boosters import LogOdds, catboost_raw, xgboost_data, xgboost_raw
from models.churn.encoding import Encoder, Matrix
from models.churn.linear import LinearBasis, fit_ridge, log_odds
from models.churn.oblivious import ObliviousTrees

BOOSTERS = ("catboost", "lightgbm", "xgboost")
MEMBERS = ("logistic", *BOOSTERS)


class Member(Protocol):
    """A fitted single model over encoded rows."""

    @property
    def name(self) -> str:
        """Of the recipe."""

    def log_odds(self, matrix: Matrix) -> LogOdds:
        """Log-odds of every row, float64."""

    def log_odds_of_row(self, row: Sequence[float]) -> float:
        """Log-odds of one row; the same number as `log_odds`, faster."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the native model below `folder`; returns what the contract must keep besides."""


@dataclass(frozen=True)
class Prevalence:
    """The share of positives for everybody: what any model must beat."""

    value: float
    name: str = "prevalence"

    def log_odds(self, matrix: Matrix) -> LogOdds:
        return np.full(len(matrix), self.value)

    def log_odds_of_row(self, row: Sequence[float]) -> float:  # noqa: ARG002
        return self.value

    def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
        return {"value": self.value}


class Logistic:
    """Ridge logistic regression over a `LinearBasis`."""

    name = "logistic"

    def __init__(self, basis: LinearBasis, native: Any) -> None:
        self.basis = basis
        self.native = native
        self._coefficients = np.asarray(native.coef_[0], dtype=np.float64)
        self._intercept = float(native.intercept_[0])

    def log_odds(self, matrix: Matrix) -> LogOdds:
        return log_odds(self.basis.design(matrix), self._coefficients, self._intercept)

    def log_odds_of_row(self, row: Sequence[float]) -> float:
        return float(self.log_odds(np.asarray([row], dtype=np.float64))[0])

    def contributions(self, matrix: Matrix) -> tuple[Matrix, float]:
        """Coefficient × (value − mean in training), summed per encoded position; and the log-odds at the mean."""
        parts = (self.basis.design(matrix) - self.basis.mean) * self._coefficients
        out = np.zeros(matrix.shape)
        for column, position in enumerate(self.basis.positions):
            out[:, position] += parts[:, column]
        return out, float((self.basis.mean * self._coefficients).sum() + self._intercept)

    def save(self, folder: Path) -> dict[str, Any]:
        from store.registry import save_native

        save_native(self.native, "sklearn", folder)
        return {"basis": self.basis.to_dict()}


class CatBoost:
    """CatBoost; native codes travel as whole numbers."""

    name = "catboost"

    def __init__(self, native: Any, codes: Sequence[int]) -> None:
        self.native = native
        self.codes = tuple(codes)

    @cached_property
    def _trees(self) -> ObliviousTrees | None:
        return ObliviousTrees.of(self.native, self.codes)

    def log_odds(self, matrix: Matrix) -> LogOdds:
        if not len(matrix):
            return np.empty(0)
        return catboost_raw(self.native, matrix, self.codes, 0)

    def log_odds_of_row(self, row: Sequence[float]) -> float:
        if self._trees is not None:
            return self._trees(row)
        if self.codes:
            values: list[Any] = list(row)
            for at in self.codes:
                values[at] = int(values[at])
            row = values
        return float(self.native.predict(row, prediction_type="RawFormulaVal", thread_count=1))

    def save(self, folder: Path) -> dict[str, Any]:
        from store.registry import save_native

        save_native(self.native, "catboost", folder)
        return {}


class LightGbm:
    """LightGBM."""

    name = "lightgbm"

    def __init__(self, native: Any) -> None:
        self.native = native

    def log_odds(self, matrix: Matrix) -> LogOdds:
        if not len(matrix):
            return np.empty(0)
        return np.asarray(self.native.predict(matrix, raw_score=True, num_threads=1), dtype=np.float64)

    def log_odds_of_row(self, row: Sequence[float]) -> float:
        return float(self.native.predict(np.asarray([row], dtype=np.float64), raw_score=True, num_threads=1)[0])

    def save(self, folder: Path) -> dict[str, Any]:
        from store.registry import save_native

        save_native(self.native, "lightgbm", folder)
        return {}


class XgBoost:
    """XGBoost."""

    name = "xgboost"

    def __init__(self, native: Any, codes: Sequence[int]) -> None:
        self.native = native
        self.codes = tuple(codes)
        native.set_param({"nthread": 1})

    def log_odds(self, matrix: Matrix) -> LogOdds:
        if not len(matrix):
            return np.empty(0)
        return xgboost_raw(self.native, xgboost_data(matrix, self.codes), 0)

    def log_odds_of_row(self, row: Sequence[float]) -> float:
        # A DMatrix for one row costs more than its prediction.
        one = np.asarray([row], dtype=np.float32)
        return float(self.native.inplace_predict(one, predict_type="margin", validate_features=False)[0])

    def save(self, folder: Path) -> dict[str, Any]:
        from store.registry import save_native

        save_native(self.native, "xgboost", folder)
        return {}


def member(name: str, encoder: Encoder, native: Any) -> Member:
    """Wrap a native booster."""
    if name == "catboost":
        return CatBoost(native, encoder.native)
    return LightGbm(native) if name == "lightgbm" else XgBoost(native, encoder.native)


def fit_logistic(encoder: Encoder, matrix: Matrix, y: NDArray[np.int64], strength: float) -> Logistic:
    """Basis and coefficients from encoded training rows."""
    basis = LinearBasis.fit(matrix, encoder)
    return Logistic(basis, fit_ridge(basis.design(matrix), y, strength))


def load_member(name: str, folder: Path, kept: Mapping[str, Any], encoder: Encoder) -> Member:
    """Read back what `Member.save` wrote; `kept` is what it returned."""
    if name == "prevalence":
        return Prevalence(float(kept["value"]))
    from store.registry import load_native

    native = load_native(folder)
    if name == "logistic":
        return Logistic(LinearBasis.from_dict(kept["basis"]), native)
    return member(name, encoder, native)
