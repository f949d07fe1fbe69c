from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.forecasting.backtest import MemberRun, actuals
from models.forecasting.combination import COMBINATION, combine

H = 4


def run(y: np.ndarray, offset: float, origins: tuple[int, ...], seed: int = 0) -> MemberRun:
    """A member that is off by about `offset` everywhere."""
    rng = np.random.default_rng(seed)
    truth = actuals(y, origins, H)
    noise = offset * (1 + 0.05 * rng.standard_normal(truth.shape))
    return MemberRun(np.full(H, 10.0 + offset), origins, truth + noise)


Y = 10 + np.random.default_rng(1).standard_normal(60)
ORIGINS = (36, 40, 44, 48, 52, 56)


def test_three_or_more_members_give_their_median() -> None:
    runs = {name: run(Y, offset, ORIGINS) for name, offset in (("a", -1.0), ("b", 1.1), ("c", 1.5))}
    combined = combine(runs, Y, H, power=0, override=False)
    assert np.allclose(combined.path, 11.1)
    assert combined.model == COMBINATION
    assert np.isclose(sum(combined.weights.values()), 1)


def test_a_hopeless_member_gets_no_weight_and_the_median_ignores_it() -> None:
    runs = {name: run(Y, offset, ORIGINS) for name, offset in (("a", 1.0), ("b", -1.2), ("c", 9.0))}
    combined = combine(runs, Y, H, power=1, override=False)
    assert set(combined.weights) == {"a", "b"}
    assert np.all((combined.path > 8.8) & (combined.path < 11.0))
    assert np.allclose(combine(runs, Y, H, power=0, override=False).path, 11.0)


def test_the_two_thetas_are_one_voice_in_the_median() -> None:
    offsets = (("AutoTheta", 1.0), ("DynamicOptimizedTheta", 1.2), ("AutoETS", -1.0), ("AutoCES", 0.5))
    runs = {name: run(Y, offset, ORIGINS) for name, offset in offsets}
    assert np.allclose(combine(runs, Y, H, power=0, override=False).path, 10.5)


def test_weights_favour_the_better_member_and_stay_between() -> None:
    runs = {"good": run(Y, 1.0, ORIGINS), "bad": run(Y, -2.0, ORIGINS)}
    combined = combine(runs, Y, H, power=2, override=False)
    assert 0.5 < combined.weights["good"] < 1
    assert np.all((combined.path > 8.0) & (combined.path < 11.0))


def test_a_single_member_takes_over_only_with_enough_origins() -> None:
    def members(origins: tuple[int, ...]) -> dict[str, MemberRun]:
        offsets = {"good": 0.5, "b": 1.2, "c": 1.3}
        return {name: run(Y, offset, origins) for name, offset in offsets.items()}

    assert combine(members(ORIGINS), Y, H, power=0).model == "good"
    assert np.allclose(combine(members(ORIGINS), Y, H, power=0).path, 10.5)
    assert combine(members(ORIGINS[-3:]), Y, H, power=0).model == COMBINATION


def test_a_lucky_member_does_not_take_over() -> None:
    runs = {name: run(Y, offset, ORIGINS) for name, offset in (("a", 1.0), ("b", 1.05), ("c", -1.0))}
    assert combine(runs, Y, H, power=0).model == COMBINATION


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.sampled_from([0.0, 1.0, 2.0]))
@settings(max_examples=60, deadline=None)
def test_the_combination_lies_within_its_members(offsets: list[float], power: float) -> None:
    runs = {f"m{k}": run(Y, offset, ORIGINS, seed=k) for k, offset in enumerate(offsets)}
    combined = combine(runs, Y, H, power=power)
    paths = np.array([one.path for one in runs.values()])
    assert np.all(combined.path >= paths.min(axis=0) - 1e-9)
    assert np.all(combined.path <= paths.max(axis=0) + 1e-9)
    assert sum(combined.weights.values()) == pytest.approx(1)
    assert combined.paths.shape == (len(ORIGINS), H)


def test_members_without_origins_count_the_same() -> None:
    runs = {"a": MemberRun(np.zeros(H), (), np.empty((0, H))), "b": MemberRun(np.ones(H), (), np.empty((0, H)))}
    combined = combine(runs, Y[:3], H, power=2)
    assert np.allclose(combined.path, 0.5)
