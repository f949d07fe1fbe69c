"""Absorbing effects changes no number: the same regressions with a column for every effect, by other means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from models.pricing.absorbed import Effects, fit
from store.errors import TrainingError


def _panel(seed: int = 0) -> tuple[np.ndarray, np.ndarray, Effects, np.ndarray]:
    rng = np.random.default_rng(seed)
    cell, period = np.repeat(np.arange(8), 20), np.tile(np.arange(20), 8)
    D = rng.normal(size=(160, 2)) + 0.3 * rng.normal(size=8)[cell][:, None]
    linear = 0.5 * rng.normal(size=8)[cell] + 0.3 * rng.normal(size=20)[period] + D @ [-1.2, 0.5]
    return D, linear, Effects(cell, period), np.column_stack([np.eye(8)[cell], np.eye(20)[period][:, 1:]])


def test_logarithms_are_least_squares_with_a_column_for_every_effect() -> None:
    D, linear, effects, dummies = _panel()
    y = linear + np.random.default_rng(1).normal(size=160)
    found = fit(y, D, effects, np.arange(160), "log")
    X = np.column_stack([D, dummies])
    beta, *_ = np.linalg.lstsq(X, y, rcond=None)
    assert found.beta == pytest.approx(beta[:2], abs=1e-8)
    # HC3 by its definition; ours takes each effect's leverage alone, so it comes near.
    bread = np.linalg.inv(X.T @ X)
    error = (y - X @ beta) / (1 - np.einsum("ij,jk,ik->i", X, bread, X))
    exact = (bread @ (X * error[:, None] ** 2).T @ X @ bread)[:2, :2]
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(np.sqrt(np.diag(exact)), rel=0.05)


def test_counts_are_poisson_likelihood_with_a_column_for_every_effect() -> None:
    D, linear, effects, dummies = _panel()
    y = np.random.default_rng(2).poisson(np.exp(linear)).astype(float)
    offset = np.linspace(0, 1, 160)
    found = fit(y, D, effects, np.arange(160), "count", offset=offset)
    X = np.column_stack([D, dummies])

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        mean = np.exp(X @ b + offset)
        return float(mean.sum() - y @ (X @ b)), X.T @ (mean - y)

    exact = minimize(loss, np.zeros(X.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    assert found.beta == pytest.approx(exact[:2], abs=1e-4)
    assert np.nansum(found.mean) == pytest.approx(y.sum(), rel=1e-6)


def test_instruments_are_two_stage_least_squares() -> None:
    _, _, effects, dummies = _panel()
    rng = np.random.default_rng(3)
    hidden, Z = rng.normal(size=160), rng.normal(size=160)
    D = (Z + hidden + rng.normal(size=160))[:, None]
    y = -2 * D[:, 0] + 3 * hidden
    plain = fit(y, D, effects, np.arange(160), "log")
    found = fit(y, D, effects, np.arange(160), "log", instruments=Z[:, None])
    left = lambda v: v - dummies @ np.linalg.lstsq(dummies, v, rcond=None)[0]  # noqa: E731
    exact = left(Z) @ left(y) / (left(Z) @ left(D[:, 0]))
    assert found.beta[0] == pytest.approx(exact, abs=1e-8)
    assert abs(found.beta[0] + 2) < 0.8 < plain.beta[0] + 2  # what is hidden pulls the plain one up


def test_what_effects_or_other_columns_explain_is_not_estimated() -> None:
    D, linear, effects, _ = _panel()
    of_period = np.random.default_rng(4).normal(size=20)[effects.period]
    columns = np.column_stack([D[:, 0], of_period, D[:, 0] * 2])
    found = fit(linear, columns, effects, np.arange(160), "log")
    assert np.isfinite(found.beta).tolist() == [True, False, False]
    assert found.left[1] < 1e-8
    assert found.left[2] == 0


def test_errors_grow_where_rows_of_a_cluster_go_together() -> None:
    D, linear, effects, _ = _panel()
    D = np.random.default_rng(5).normal(size=40)[effects.cell * 5 + effects.period // 4][:, None]
    shared = np.random.default_rng(6).normal(size=40)[effects.cell * 5 + effects.period // 4]
    clusters = effects.cell * 5 + effects.period // 4
    alone = fit(linear + shared, D, effects, np.arange(160), "log")
    together = fit(linear + shared, D, effects, clusters, "log")
    assert together.covariance[0, 0] > 2 * alone.covariance[0, 0]
    assert together.freedom[0] < 40


def test_cells_without_a_sale_are_left_out_and_nothing_at_all_is_refused() -> None:
    D, linear, effects, _ = _panel()
    y = np.random.default_rng(7).poisson(np.exp(linear)).astype(float)
    y[effects.cell == 3] = 0
    found = fit(y, D, effects, np.arange(160), "count")
    assert not found.used[effects.cell == 3].any()
    assert np.isfinite(found.beta).all()
    with pytest.raises(TrainingError, match="0 of 160 rows"):
        fit(np.zeros(160), D, effects, np.arange(160), "count")
