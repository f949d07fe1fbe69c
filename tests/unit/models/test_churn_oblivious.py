"""The fast way through CatBoost's trees says what CatBoost says, bit by bit, or steps aside."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.churn.boosters import catboost_raw, train_booster
from models.churn.encoding import Encoder
from models.churn.members import CatBoost
from models.churn.oblivious import ObliviousTrees

ROWS = 3_000


def matrix(rows: int, seed: int, levels: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Four numbers (one with missing values), two indicators of a category, and with `levels` a column of codes."""
    rng = np.random.default_rng(seed)
    data = np.column_stack(
        [rng.gamma(2.0, 20.0, (rows, 3)), rng.integers(0, 9, rows), rng.integers(0, 2, (rows, 2))]
        + ([rng.integers(0, levels, rows)] if levels else [])
    ).astype(np.float64)
    data[rng.random(rows) < 0.3, 0] = np.nan
    return data


def trained(data: np.ndarray[Any, Any], codes: tuple[int, ...] = (), **settings: Any) -> Any:
    rng = np.random.default_rng(5)
    logit = np.nan_to_num(data[:, 0]) / 40 - data[:, 1] / 40 + data[:, 4] - np.isnan(data[:, 0])
    if codes:
        logit = logit + 2.0 * (data[:, codes[0]] % 3 == 0)
    y = (rng.random(len(data)) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    encoder = Encoder([], {}, {})
    encoder.native = codes
    return train_booster("catboost", encoder, (data, y), 120, {"depth": 5, "learning_rate": 0.1, **settings}, 1)


def test_it_says_what_catboost_says() -> None:
    native = trained(matrix(2_000, 1))
    trees = ObliviousTrees.of(native)
    assert trees is not None
    rows = matrix(ROWS, 2)
    rng = np.random.default_rng(3)
    rows[rng.random(rows.shape) < 0.1] = np.nan  # also where training rows had none
    rows[rng.random(rows.shape) < 0.01] = 1e300
    rows[rng.random(rows.shape) < 0.01] = -1e300
    rows[0] = np.nan
    positions, borders = trees.questions
    at_border = rng.integers(0, len(borders), ROWS // 2)
    at_border = at_border[np.isfinite(borders[at_border])]
    rows[np.arange(len(at_border)), positions[at_border]] = borders[at_border]
    found = np.asarray([trees(row) for row in rows.tolist()])
    assert np.array_equal(found, catboost_raw(native, rows, (), 0))
    one = [float(native.predict(row, prediction_type="RawFormulaVal", thread_count=1)) for row in rows[:50].tolist()]
    assert np.array_equal(found[:50], one)
    assert len(np.unique(found)) > ROWS // 4


def test_codes_that_no_split_looks_at_are_no_hindrance_others_are_catboosts_own() -> None:
    data = matrix(2_000, 1, levels=20)
    native = trained(data, codes=(6,))
    assert ObliviousTrees.of(native, (6,)) is None
    member = CatBoost(native, (6,))
    rows = matrix(200, 4, levels=25)  # five levels were never seen
    found = np.asarray([member.log_odds_of_row(row) for row in rows.tolist()])
    assert np.allclose(found, member.log_odds(rows), rtol=0, atol=1e-12)

    same_code = data.copy()
    same_code[:, 6] = 1.0
    native = trained(same_code, codes=(6,))
    trees = ObliviousTrees.of(native, (6,))
    assert trees is not None
    assert np.array_equal([trees(row) for row in rows.tolist()], catboost_raw(native, rows, (6,), 0))


@pytest.mark.parametrize(
    "settings",
    [{"grow_policy": "Lossguide"}, {"nan_mode": "Max"}, {"depth": 9}],
    ids=["other trees", "missing values count as large", "too deep"],
)
def test_it_steps_aside_for_what_it_does_not_read(settings: dict[str, Any]) -> None:
    native = trained(matrix(1_000, 1), **settings)
    assert ObliviousTrees.of(native) is None
    member = CatBoost(native, ())
    rows = matrix(50, 2)
    found = np.asarray([member.log_odds_of_row(row) for row in rows.tolist()])
    assert np.allclose(found, member.log_odds(rows), rtol=0, atol=1e-12)


def test_it_steps_aside_when_answers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    native = trained(matrix(1_000, 1))
    own = catboost_raw
    monkeypatch.setattr("models.churn.oblivious.catboost_raw", lambda *given: own(*given) + 1e-9)
    assert ObliviousTrees.of(native) is None


def test_a_scale_and_a_bias_are_kept() -> None:
    data = matrix(1_000, 1)
    native = trained(data)
    native.set_scale_and_bias(0.5, 0.25)
    trees = ObliviousTrees.of(native)
    assert trees is not None
    assert np.allclose([trees(row) for row in data.tolist()], catboost_raw(native, data, (), 0), rtol=0, atol=1e-12)


def test_trees_of_a_single_leaf() -> None:
    data = np.ones((500, 3))
    data[:, 1] = np.nan
    y = (np.arange(500) % 4 == 0).astype(np.int64)
    native = train_booster("catboost", Encoder([], {}, {}), (data, y), 20, {"depth": 4, "boost_from_average": True}, 1)
    trees = ObliviousTrees.of(native)
    assert trees is not None
    rows = matrix(20, 3)[:, :3]
    assert np.array_equal([trees(row) for row in rows.tolist()], catboost_raw(native, rows, (), 0))
