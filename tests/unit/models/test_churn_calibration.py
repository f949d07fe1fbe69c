"""Calibration and blending, both learned out of fold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.churn.blend import cross_fit, fit_weights, mix
from models.churn.calibration import Calibration, choose_calibration, fit_calibration
from models.churn.metrics import ece, log_loss_rows, sigmoid

ROWS = 6000


@pytest.fixture
def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True log-odds, outcomes and folds."""
    rng = np.random.default_rng(1)
    z = rng.normal(-1.0, 1.5, ROWS)
    return z, (rng.random(ROWS) < sigmoid(z)).astype(np.int64), rng.integers(0, 5, ROWS)


def test_what_is_calibrated_is_left_alone(truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    z, y, fold = truth
    chosen, crossed = choose_calibration(z, y, fold)
    assert chosen.method == "none"
    np.testing.assert_array_equal(crossed, sigmoid(z))


@pytest.mark.parametrize("spoil", [lambda z: 2.5 * z + 1.0, lambda z: np.sign(z) * z**2 - 1.0])
def test_what_is_spoiled_is_mended(truth: tuple[np.ndarray, np.ndarray, np.ndarray], spoil: object) -> None:
    z, y, fold = truth
    spoiled = spoil(z)  # type: ignore[operator]
    chosen, crossed = choose_calibration(spoiled, y, fold)
    assert chosen.method != "none"
    assert ece(y, crossed) < 0.02 < ece(y, sigmoid(spoiled))
    best = log_loss_rows(y, sigmoid(z)).mean()
    assert log_loss_rows(y, crossed).mean() < best + 0.01


@pytest.mark.parametrize("method", ["none", "platt", "beta", "isotonic"])
def test_maps_rise_stay_inside_and_survive_json(truth: tuple[np.ndarray, np.ndarray, np.ndarray], method: str) -> None:
    z, y, _ = truth
    fitted = fit_calibration(z, y, method)  # type: ignore[arg-type]
    again = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    grid = np.linspace(-12, 12, 500)
    p = again(grid)
    assert np.all(np.diff(p) >= 0)
    assert 0 < p.min() < p.max() < 1
    np.testing.assert_array_equal(p, fitted(grid))
    assert [float(fitted(np.array([value]))[0]) for value in grid[:20]] == p[:20].tolist()


def test_weights_leave_noise_out(truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    z, y, fold = truth
    rng = np.random.default_rng(2)
    members = np.column_stack([z + rng.normal(0, 0.7, ROWS), z + rng.normal(0, 0.7, ROWS), rng.normal(0, 2, ROWS)])
    weights = fit_weights(members, y)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0
    assert weights[2] < 0.1
    assert abs(weights[0] - weights[1]) < 0.1
    single = min(float(log_loss_rows(y, sigmoid(members[:, k])).mean()) for k in range(3))
    assert float(log_loss_rows(y, sigmoid(cross_fit(members, y, fold))).mean()) < single


def test_weights_shrink_to_equal_when_there_is_little_to_learn_from() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(0, 1, 20_000)
    y = (rng.random(20_000) < sigmoid(z)).astype(np.int64)
    members = np.column_stack([z, z + rng.normal(0, 1.0, 20_000)])
    few, many = fit_weights(members[:40], y[:40]), fit_weights(members, y)
    assert many[0] > 0.85
    assert abs(few[0] - 0.5) < abs(many[0] - 0.5)


def test_one_row_is_mixed_as_many_are() -> None:
    members = np.random.default_rng(0).normal(size=(100, 4))
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    assert mix(members, weights).tolist() == [float(mix(row[None, :], weights)[0]) for row in members]
