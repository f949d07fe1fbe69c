"""Drops of quality are noticed soon, and seldom where there is none."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from gateway.improve.adaptation_drop import ALARM, DropDetector

Draw = Callable[[Random], float]


def right_or_wrong(chance: float) -> Draw:
    return lambda rng: float(rng.random() < chance)


def spread(mean: float) -> Draw:
    return lambda rng: min(1.0, max(0.0, rng.gauss(mean, 0.15)))


def first_alarm(seed: int, before: Draw, after: Draw, steady: int, most: int) -> int | None:
    """Scores after the change until the alarm; negative: before it."""
    rng, detector = Random(seed), DropDetector()
    for number in range(steady + most):
        if detector.take("code", (before if number < steady else after)(rng)):
            return number - steady
    return None


@pytest.mark.parametrize(
    ("before", "after", "typical"),
    [(spread(0.85), spread(0.6), 30), (spread(0.8), spread(0.65), 70), (right_or_wrong(0.9), right_or_wrong(0.6), 70)],
)
def test_a_drop_is_noticed_within_tens_of_scores(before: Draw, after: Draw, typical: int) -> None:
    delays = sorted(first_alarm(seed, before, after, 300, 3_000) or 0 for seed in range(40))
    assert sum(one >= 0 for one in delays) >= 37
    assert 0 < delays[20] <= typical


@pytest.mark.parametrize("steady", [spread(0.85), right_or_wrong(0.9), right_or_wrong(0.5), lambda _: 0.7])
def test_alarms_without_a_drop_are_as_rare_as_stated(steady: Draw) -> None:
    # An alarm in 3,000 scores or more on average: of 60 runs of 600, 12 at most are expected to see one.
    alarms = sum(first_alarm(seed, steady, steady, 600, 0) is not None for seed in range(60))
    assert alarms <= 12
    assert ALARM >= 3_000


def test_kinds_of_tasks_are_compared_with_themselves() -> None:
    rng, detector = Random(1), DropDetector()
    for _ in range(400):
        detector.take("easy", spread(0.95)(rng))
        if rng.random() < 0.3:
            detector.take("hard", spread(0.5)(rng))
    # Only hard ones come now: the mean falls, the answers are no worse.
    assert not any(detector.take("hard", spread(0.5)(rng)) for _ in range(400))
    assert detector.drop == 0.0
    assert detector.usual == pytest.approx(0.7, abs=0.2)


def test_an_alarm_tells_how_much_was_lost_and_ends_when_it_is_back() -> None:
    rng, detector = Random(2), DropDetector()
    for _ in range(300):
        detector.take("code", spread(0.85)(rng))
    while not detector.take("code", spread(0.55)(rng)):
        assert detector.scores < 600
    assert detector.drop == pytest.approx(0.3, abs=0.1)
    for _ in range(150):
        assert not detector.take("code", spread(0.55)(rng)), "it is no better"
    back = 0
    while not detector.take("code", spread(0.85)(rng)):
        back += 1
        assert back < 100
    assert (detector.drop, detector.evidence) == (0.0, 1.0)
    # What was usual before is still known.
    assert detector.usual == pytest.approx(0.85, abs=0.05)


def test_nothing_is_said_while_too_little_is_known() -> None:
    detector = DropDetector()
    assert not any(detector.take("code", score) for score in [1.0] * 7 + [0.0] * 7)
    assert detector.usual is None
    detector.forget()
    assert detector.usual is None
