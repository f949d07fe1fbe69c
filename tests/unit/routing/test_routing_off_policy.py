"""Off-policy estimates: right on average when the probabilities are, and doubly robust with less noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.gist import gists
from models.routing.judging import Drawn
from models.routing.off_policy import off_policy
from models.routing.outcomes import Outcomes
from models.routing.regret import Reward, regret_rows, worth
from models.routing.tradeoff import Tradeoff

ROWS = 4_000


def logged(seed: int, reward: float) -> tuple[Outcomes, Reward, float]:
    """Calls of two models of which the second is right with 0.8; it was called with a probability that varies."""
    draw = np.random.default_rng(seed)
    chance = np.column_stack([np.full(ROWS, 0.4), np.full(ROWS, 0.8)])
    score = (draw.random((ROWS, 2)) < chance).astype(float)
    second = draw.uniform(0.1, 0.9, ROWS)
    called = (draw.random(ROWS) < second).astype(int)
    rows = np.arange(ROWS)
    seen = np.full((ROWS, 2), float("nan"))
    seen[rows, called] = score[rows, called]
    shown = np.zeros((ROWS, 2))
    shown[rows, called] = np.where(called == 1, second, 1 - second)
    cost = np.where(np.isnan(seen), float("nan"), 1.0)
    empty = np.full((ROWS, 2), float("nan"))
    outcomes = Outcomes(
        ("a", "b"), gists([""] * ROWS), np.zeros((ROWS, 0), np.float32), seen, cost, empty, empty, shown, rows,
        pd.RangeIndex(ROWS),
    )  # fmt: skip
    return outcomes, Reward(np.full((ROWS, 2), reward), np.ones((ROWS, 2))), float(score[:, 1].mean())


@pytest.mark.parametrize("reward", [0.0, 0.8])
def test_all_three_estimates_find_the_value_of_a_choice(reward: float) -> None:
    judged, said, truth = logged(1, reward)
    real = worth(judged, said)
    always_second = np.broadcast_to(np.array([0.0, 1.0]), (ROWS, 2))
    knots = Tradeoff(tuple(np.geomspace(0.01, 1, 9)))
    told = off_policy(always_second, np.ones((ROWS, 2)), knots, judged, real, Drawn.of(np.arange(ROWS), 100, 0))[0]
    for name in ("inverse_propensity", "self_normalised", "doubly_robust"):
        assert told[name]["value"] == pytest.approx(truth, abs=0.06)
        assert told[name]["low"] <= truth <= told[name]["high"]
    assert told["matching_calls"] == int(judged.seen[:, 1].sum())
    assert told["effective_sample_size"] < told["matching_calls"]


def test_a_good_reward_model_takes_noise_away() -> None:
    def width(reward: float) -> float:
        judged, said, _ = logged(2, reward)
        values = worth(judged, said).quality[:, 1]
        return float(values.std())

    assert width(0.8) < 0.7 * width(0.0)


def test_the_better_policy_has_less_regret_though_no_row_shows_both() -> None:
    judged, said, _ = logged(3, 0.5)
    real = worth(judged, said)
    cost, weights = np.ones((ROWS, 2)), np.zeros(1)
    second = regret_rows(np.broadcast_to([0.0, 1.0], (ROWS, 2)), cost, real, weights)
    first = regret_rows(np.broadcast_to([1.0, 0.0], (ROWS, 2)), cost, real, weights)
    assert first.mean() - second.mean() == pytest.approx(0.4, abs=0.08)
