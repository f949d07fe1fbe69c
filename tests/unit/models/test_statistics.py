"""The paired tests say "better" as often as they should: rarely by chance, reliably when it is so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.lifecycle.statistics import bootstrap_means, diebold_mariano, pair, paired_bootstrap
from store.errors import TrainingError


def losses(values: np.ndarray, groups: np.ndarray | None = None, steps: np.ndarray | None = None) -> pd.DataFrame:
    rows = len(values)
    return pd.DataFrame(
        {
            "loss": values,
            "group": np.arange(rows) if groups is None else groups,
            "step": np.zeros(rows, dtype=int) if steps is None else steps,
        }
    )


def test_bootstrap_interval_covers_the_true_difference_at_its_level() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        difference = rng.normal(0.1, 1.0, size=300)
        test = paired_bootstrap(pair(losses(difference), losses(np.zeros(300))), seed=trial, replicates=500)
        covered += test.low <= 0.1 <= test.high
    assert 0.90 <= covered / 200 <= 0.99


def test_few_groups_have_the_wider_intervals_that_students_t_asks_for() -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(400):
        difference = rng.normal(0.0, 1.0, size=10)
        test = paired_bootstrap(pair(losses(difference), losses(np.zeros(10))), seed=trial, replicates=1000)
        covered += test.low <= 0.0 <= test.high
    assert covered / 400 >= 0.92  # 0.89 with plain percentiles


def test_rows_of_one_group_are_not_counted_as_independent() -> None:
    rng = np.random.default_rng(2)
    per_group = rng.normal(0, 1, size=40)
    groups = np.repeat(np.arange(40), 25)
    noise = per_group[groups] + rng.normal(0, 0.1, size=1000)
    clustered = paired_bootstrap(pair(losses(noise, groups), losses(np.zeros(1000), groups)))
    naive = paired_bootstrap(pair(losses(noise), losses(np.zeros(1000))))
    assert clustered.units == 40
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)


def test_diebold_mariano_keeps_its_size_under_autocorrelation() -> None:
    rng = np.random.default_rng(3)
    rejections = 0
    for _ in range(400):
        shocks = rng.normal(size=60)
        series = np.zeros(60)
        for step in range(1, 60):
            series[step] = 0.5 * series[step - 1] + shocks[step]
        frame = losses(series, steps=np.arange(60))
        rejections += diebold_mariano(pair(frame, losses(np.zeros(60), steps=np.arange(60)))).low > 0
    # One tail of a 95 % interval: 2.5 % by construction, somewhat more under autocorrelation of 0.5.
    assert rejections / 400 <= 0.07


def test_diebold_mariano_sees_a_real_difference() -> None:
    rng = np.random.default_rng(4)
    steps = np.tile(np.arange(48), 10)
    worse = losses(1.0 + rng.normal(0, 0.5, size=480), np.repeat(np.arange(10), 48), steps)
    better = losses(0.7 + rng.normal(0, 0.5, size=480), np.repeat(np.arange(10), 48), steps)
    test = diebold_mariano(pair(worse, better))
    assert test.low > 0
    assert test.p_value < 0.01
    assert test.units == 48
    assert diebold_mariano(pair(better, worse)).high < 0


def test_identical_models_are_no_evidence() -> None:
    same = losses(np.random.default_rng(5).random(50), steps=np.arange(50))
    for test in (diebold_mariano(pair(same, same)), paired_bootstrap(pair(same, same))):
        assert test.difference == 0
        assert test.low <= 0 <= test.high
        assert test.p_value > 0.5


def test_models_judged_on_different_rows_are_refused() -> None:
    with pytest.raises(TrainingError, match="different rows: 2"):
        pair(losses(np.zeros(5)), losses(np.zeros(7)))


def test_a_loss_that_is_not_a_number_is_refused() -> None:
    broken = losses(np.array([0.1, np.nan, 0.2, 0.3]))
    with pytest.raises(TrainingError, match="1 of 4"):
        paired_bootstrap(pair(losses(np.zeros(4)), broken))


def test_too_few_steps_for_a_test_in_time() -> None:
    short = losses(np.zeros(3), steps=np.arange(3))
    with pytest.raises(TrainingError, match="at least 4 steps"):
        diebold_mariano(pair(short, short))


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30), st.integers(0, 5))
def test_bootstrap_replicates_stay_within_the_groups(values: list[float], seed: int) -> None:
    sums = np.array(values)
    means = bootstrap_means(sums, np.ones(len(sums)), replicates=50, seed=seed)
    assert means.shape == (50,)
    assert means.min() >= sums.min() - 1e-9
    assert means.max() <= sums.max() + 1e-9


@given(st.permutations(list(range(12))))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    rng = np.random.default_rng(6)
    one, two = losses(rng.random(12), steps=np.arange(12)), losses(rng.random(12), steps=np.arange(12))
    expected = diebold_mariano(pair(one, two))
    shuffled = diebold_mariano(pair(one.iloc[order], two))
    assert shuffled.difference == pytest.approx(expected.difference)
    assert shuffled.p_value == pytest.approx(expected.p_value)
