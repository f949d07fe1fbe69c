"""How much each column moved a customer's log-odds away from what is usual.

Trees: exact path-dependent TreeSHAP (Lundberg et al. 2020, "From local explanations to global understanding with
explainable AI for trees"), computed by the native libraries. Logistic regression: coefficient × (value − mean over
training rows) of every column of its design. A blend is a weighted sum of log-odds, and so are its contributions.

They add up to the log-odds *before* calibration. Calibration is one rising function of them, so that signs and order of
contributions hold for the probability too; their sizes are told on the uncalibrated scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.boosters import catboost_shap, lightgbm_shap, xgboost_shap
from models.churn.encoding import Encoder, Matrix
from models.churn.members import CatBoost, LightGbm, Logistic, Member, XgBoost
from models.churn.model import ChurnModel

Floats = NDArray[np.float64]

# Rows at a time: the design of the regression and the encoded columns of many rows are large.
CHUNK = 5_000


@dataclass(frozen=True)
class Contributions:
    """Additive shares of the log-odds, before calibration.

    Attributes
    ----------
    columns : of the model.
    values : float64, shape (rows, columns).
    base : log-odds of the usual customer; `base + values.sum(axis=1)` is what the members said.
    """

    columns: tuple[str, ...]
    values: Floats
    base: float


def contributions(model: ChurnModel, frame: pd.DataFrame) -> Contributions:
    """Contributions of every column to the log-odds of every row.

    Raises
    ------
    MissingColumn, WrongType : as `ChurnModel.predict`.
    """
    matrix = model.encoder.matrix(frame)
    base = 0.0
    parts = []
    for start in range(0, max(1, len(matrix)), CHUNK):
        part = matrix[start : start + CHUNK]
        total = np.zeros((len(part), matrix.shape[1]))
        base = 0.0
        for member, weight in zip(model.members, model.weights, strict=True):
            values, expected = _member(member, part)
            total += weight * values
            base += weight * expected
        parts.append(_by_column(model.encoder, part, total, _usual(model)))
    return Contributions(model.columns, np.concatenate(parts), base)


def _member(member: Member, matrix: Matrix) -> tuple[Floats, float]:
    """Contributions per encoded position, and the expected log-odds."""
    if not len(matrix):
        return np.zeros(matrix.shape), 0.0
    if isinstance(member, Logistic):
        return member.contributions(matrix)
    if isinstance(member, CatBoost):
        found = catboost_shap(member.native, matrix, member.codes)
    elif isinstance(member, LightGbm):
        found = lightgbm_shap(member.native, matrix)
    elif isinstance(member, XgBoost):
        found = xgboost_shap(member.native, matrix, member.codes)
    else:
        return np.zeros(matrix.shape), float(member.log_odds(matrix[:1])[0])
    return found[:, :-1], float(found[0, -1])


def _usual(model: ChurnModel) -> Floats:
    """Median of every number in training, 0 where none is recorded."""
    seen = model.facts.get("seen", {})
    return np.asarray([float(seen.get(column.name, {}).get("median") or 0.0) for column in model.encoder.columns])


def _by_column(encoder: Encoder, matrix: Matrix, encoded: Floats, usual: Floats) -> Floats:
    """Sum encoded positions over the columns they came from.

    The share of a sum of like-named numbers is dealt out to its parts by how far each is from its median, evenly where
    none is.
    """
    places = encoder.sources
    at = {column.name: i for i, column in enumerate(encoder.columns)}
    out = np.zeros((len(matrix), len(encoder.columns)))
    for position, names in enumerate(places):
        columns = [at[name] for name in names]
        if len(columns) == 1:
            out[:, columns[0]] += encoded[:, position]
            continue
        own = [places.index((name,)) for name in names]
        distance = np.nan_to_num(np.abs(matrix[:, own] - usual[columns]))
        total = distance.sum(axis=1, keepdims=True)
        share = np.where(total > 0, distance / np.where(total > 0, total, 1.0), 1.0 / len(columns))
        for k, column in enumerate(columns):
            out[:, column] += share[:, k] * encoded[:, position]
    return out
