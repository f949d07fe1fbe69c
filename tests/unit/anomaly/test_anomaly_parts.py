"""Rules, tails, the forest, combinations of metrics: what the detector is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.anomaly.forest import Forest
from models.anomaly.rules import parse_rule, parse_rules
from models.anomaly.scale import scale_of
from models.anomaly.scorers import WEIGHTS
from models.anomaly.tails import Tail, combined
from models.anomaly.together import Together, groups_of
from store.errors import InvalidValue


@pytest.mark.parametrize(
    ("text", "value", "before", "said"),
    [
        ("below 0", -1.0, 5.0, "-1 is below 0"),
        ("below 0", 0.0, 5.0, ""),
        ("above 5e2", 501.0, 1.0, "501 is above 500"),
        ("change 50%", 151.0, 100.0, "changed 51%, more than 50%"),
        ("change 0.5", 149.0, 100.0, ""),
        ("change 50%", 1.0, 0.0, "changed from 0, more than 50%"),
        ("change 50%", 1.0, math.nan, ""),
    ],
)
def test_limits(text: str, value: float, before: float, said: str) -> None:
    rule = parse_rule(text)
    assert rule.broken(value, before, 0, 1) == said
    assert parse_rule(str(rule)) == rule


def test_steps_without_a_value_and_equal_values() -> None:
    missing, flat = parse_rules("missing 2; flat 3")
    assert missing.broken(math.nan, 1.0, 1, 0) == ""
    assert missing.broken(math.nan, 1.0, 2, 0) == "2 steps without a value"
    assert flat.broken(4.0, 4.0, 0, 3) == "3 equal values in a row"
    assert parse_rules(" ") == ()


@pytest.mark.parametrize(
    "text", ["", "below", "below x", "above 5%", "change 0", "missing 0", "missing 1.5", "flat 1", "above 1e999", "x 3"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="Rule"):
        parse_rule(text)


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential"])
def test_chances_are_those_with_which_scores_come(draw: str) -> None:
    rng = np.random.default_rng(0)
    chances = []
    for _ in range(40):
        tail = Tail(np.abs(getattr(rng, draw)(300)).tolist())
        chances += [tail.chance(score) for score in np.abs(getattr(rng, draw)(200))]
    for level in (0.3, 0.1, 0.03, 0.01):
        assert 0.6 * level < np.mean(np.array(chances) <= level) < 1.4 * level, level


def test_a_tail_turns_scores_into_chances_and_back() -> None:
    tail = Tail(np.abs(np.random.default_rng(1).standard_normal(200)).tolist())
    for chance in (0.05, 0.001, 1e-6):
        assert tail.chance(tail.score_at(chance)) == pytest.approx(chance, rel=1e-6)
    assert Tail().chance(1e9) == 1.0
    assert math.isinf(Tail([1.0]).score_at(0.001))
    again = Tail(tail.state())
    assert again.chance(3.3) == tail.chance(3.3)
    flat = Tail([0.0] * 50)
    assert flat.chance(0.0) == 1.0
    assert flat.chance(1.0) < 1e-3


def test_combining_holds_its_level_however_alike_the_detectors_are() -> None:
    rng = np.random.default_rng(2)
    same = rng.random(20_000)
    names = ("zscore", "iqr", "seasonal")
    for chances in (np.column_stack([same] * 3), rng.random((20_000, 3))):
        found = np.array([combined(dict(zip(names, row, strict=True)), WEIGHTS) for row in chances.tolist()])
        assert 0.007 < np.mean(found <= 0.01) < 0.013
    assert combined({"zscore": 1e-9, "seasonal": 0.5}, WEIGHTS) < 1e-7
    assert combined({}, WEIGHTS) == 1.0
    assert 0 < combined({"zscore": 0.0, "seasonal": 1.0}, WEIGHTS) < 1e-10


def test_the_forest_ranks_as_scikit_learns_does() -> None:
    from sklearn.ensemble import IsolationForest

    rng = np.random.default_rng(3)
    points = rng.standard_normal((300, 3))
    asked = np.concatenate((rng.standard_normal((60, 3)), rng.normal(0, 4, (20, 3))))
    ours = Forest.grow(points, 0)
    theirs = IsolationForest(n_estimators=64, max_samples=128, random_state=0).fit(points)
    scores = np.array([ours.score(point) for point in asked])
    assert np.corrcoef(np.argsort(np.argsort(scores)), np.argsort(np.argsort(-theirs.score_samples(asked))))[0, 1] > 0.9
    assert ours.score(np.array([9.0, -9.0, 9.0])) > 0.7 > 0.5 > ours.score(np.zeros(3))
    assert Forest.grow(points, 0).score(asked[0]) == scores[0], "the same points and seed grow the same forest"
    assert Forest.grow(np.ones((5, 2)), 0).score(np.ones(2)) <= 1.0


def test_a_combination_that_was_never_seen_is_found_where_each_value_is_usual() -> None:
    rng = np.random.default_rng(4)
    common = rng.standard_normal(300)
    points = np.column_stack([common, common, common]) + 0.1 * rng.standard_normal((300, 3))
    group = Together(3, false_alarms=0.005)
    chances = [group.take(point) for point in points]
    assert sum(chance <= 0.005 for chance in chances) <= 3
    assert group.take([1.0, 1.0, 1.0]) > 0.01
    assert group.take([1.5, -1.5, 1.5]) <= 0.005
    assert group.take([math.nan] * 3) == 1.0


def test_groups_are_the_metrics_of_one_part() -> None:
    names = ["calls/total", "calls/region=a", "energy/region=a", "energy/total", "calls/kind=b"]
    assert groups_of(names) == {
        "total": ["calls/total", "energy/total"],
        "region=a": ["calls/region=a", "energy/region=a"],
    }
    assert groups_of(["x", "y"]) == {"all series": ["x", "y"]}
    assert groups_of([f"s{k}" for k in range(60)]) == {}


def test_scales() -> None:
    assert scale_of(np.array([1.0, -1.0])).kind == "none"
    assert scale_of(np.array([0.0, 0.0, 0.0, 1.0])).kind == "none"
    assert scale_of(np.array([np.nan])).kind == "none"
    for values in ([1.0, 2.0, 3.0], [0.0, 2.0, 3.0], [1e-9, 1e9, 1.0]):
        scale = scale_of(np.array(values))
        assert scale.kind == "log"
        assert [scale.back(scale.to(value)) for value in values] == pytest.approx(values, rel=1e-9, abs=1e-12)
        assert math.isfinite(scale.to(-5.0))
