"""Waiting before a retry, and how many retries there are."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.call.backoff import BASE_S, LONGEST_S, delay
from gateway.call.retry_budget import RetryBudget

RNG = random.Random(0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(1, 100), st.floats(0.001, 1e6), st.integers(0, 2**32))
def test_a_delay_stays_between_nothing_and_its_ceiling(attempt: int, remaining: float, seed: int) -> None:
    waited = delay(attempt, None, remaining, random.Random(seed))
    assert waited is not None
    assert 0.0 <= waited <= min(LONGEST_S, BASE_S * 2.0 ** (attempt - 1), remaining / 2)


def test_jitter_is_full_and_the_ceiling_doubles() -> None:
    for attempt, ceiling in ((1, 0.25), (2, 0.5), (3, 1.0), (6, 8.0), (9, 8.0)):
        drawn = sorted(delay(attempt, None, 1e6, RNG) or 0.0 for _ in range(4000))
        assert drawn[40] < 0.05 * ceiling
        assert drawn[-40] > 0.95 * ceiling
        assert abs(sum(drawn) / len(drawn) - ceiling / 2) < 0.03 * ceiling


@given(st.floats(0.001, 1e5), st.floats(0.0, 1e5), st.integers(1, 5), st.integers(0, 2**32))
def test_never_before_the_time_asked_for_and_never_past_the_deadline(
    asked: float, remaining: float, attempt: int, seed: int
) -> None:
    waited = delay(attempt, asked, remaining, random.Random(seed))
    if asked >= remaining:
        assert waited is None
    else:
        assert waited is not None
        assert asked <= waited <= remaining


def test_callers_who_were_told_the_same_moment_do_not_come_back_at_once() -> None:
    drawn = [delay(1, 10.0, 100.0, random.Random(seed)) or 0.0 for seed in range(50)]
    assert max(drawn) - min(drawn) > 0.5
    assert max(drawn) <= 11.0


def test_no_time_no_retry() -> None:
    assert delay(1, None, 0.0, RNG) is None
    assert delay(1, None, -1.0, RNG) is None
    assert delay(1, 0.0, 5.0, RNG) is not None


def test_a_storm_of_failures_is_retried_for_a_tenth_of_it() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    retried = 0
    for _ in range(10_000):  # A thousand a second, all of which fail and want two more attempts.
        clock.now += 0.001
        budget.requested("acme")
        retried += budget.allow("acme") + budget.allow("acme")
    assert 950 <= retried <= 1000 + 5 + 5
    assert budget.refused() == {"acme": 20_000 - retried}


def test_few_requests_have_the_floor() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    budget.requested("acme")
    assert [budget.allow("acme") for _ in range(6)] == [True] * 5 + [False]
    clock.now += 4.0
    assert [budget.allow("acme") for _ in range(3)] == [True, True, False]


def test_a_quiet_hour_saves_nothing_up() -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    for _ in range(3600 * 10):
        clock.now += 0.1
        budget.requested("acme")
    assert budget.left("acme") < 10 * 0.1 * 10 + 5 + 1
    clock.now += 120.0
    assert budget.left("acme") < 5.01


def test_another_model_costs_half_and_another_provider_has_its_own() -> None:
    budget = RetryBudget(Clock(), floor=2.0)
    assert [budget.allow("acme", same_model=False) for _ in range(5)] == [True] * 4 + [False]
    assert not budget.allow("acme")
    assert budget.allow("umbrella")


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(0, 200), st.integers(0, 200)), max_size=40))
def test_retries_never_exceed_their_share_and_the_floor(steps: list[tuple[float, int, int]]) -> None:
    clock = Clock()
    budget = RetryBudget(clock)
    requests = retried = 0
    for passed, firsts, wanted in steps:
        clock.now += passed
        for _ in range(firsts):
            budget.requested("acme")
        requests += firsts
        retried += sum(budget.allow("acme") for _ in range(wanted))
        assert retried <= 0.1 * requests + 5.0 + 0.5 * clock.now + 1e-6
