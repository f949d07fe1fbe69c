"""Health from live traffic: what is measured, how it fades, and what routing is told."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.breaker import Breakers, Policy
from gateway.call.health import RECOVERING_S, Health
from gateway.call.health_window import SLICE_S, SLICES
from gateway.call.histogram import LARGEST, SMALLEST, bucket, merged, percentiles, upper
from gateway.choose.live import Live

MODEL = "acme/large"
WINDOW_S = SLICES * SLICE_S


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock=clock)


def answer(
    health: Health, times: int = 1, first: float | None = 200.0, total: float = 1200.0, tokens: int = 101
) -> None:
    for _ in range(times):
        health.started(MODEL)
        health.succeeded(MODEL, first, total, tokens)


def fail(health: Health, times: int = 1, kind: str = "server") -> None:
    for _ in range(times):
        health.started(MODEL)
        health.failed(MODEL, kind, 50.0)  # type: ignore[arg-type]


@given(st.floats(SMALLEST, LARGEST * 0.99))
def test_a_value_lies_within_its_bucket(value: float) -> None:
    index = bucket(value)
    assert upper(index - 1) <= value * (1 + 1e-9)
    assert value <= upper(index) * (1 + 1e-9)


@pytest.mark.parametrize("value", [0.0, -5.0, float("nan"), float("inf"), float("-inf"), 1e300])
def test_wild_values_have_a_bucket(value: float) -> None:
    assert -40 <= bucket(value) <= 140


@given(st.lists(st.floats(0.1, 1e6), min_size=20, max_size=300))
def test_percentiles_are_within_a_bucket_of_the_true_ones(values: list[float]) -> None:
    counts: dict[int, float] = {}
    for value in values:
        counts[bucket(value)] = counts.get(bucket(value), 0) + 1
    found = percentiles(counts, (0.5, 0.95, 0.99))
    assert found is not None
    for told, share in zip(found, (0.5, 0.95, 0.99), strict=True):
        true = float(np.quantile(values, share, method="inverted_cdf"))
        assert true / 1.13 <= told <= true * 1.13


def test_percentiles_of_nothing_are_nothing() -> None:
    assert percentiles({}, (0.5,)) is None
    assert merged([({1: 2.0}, 0.5), ({1: 1.0, 2: 3.0}, 1.0)]) == {1: 2.0, 2: 3.0}


def test_a_snapshot_tells_what_happened(health: Health, clock: Clock) -> None:
    rng = random.Random(3)
    latencies = [rng.lognormvariate(7, 0.5) for _ in range(2000)]
    for total in latencies:
        answer(health, first=total / 4, total=total, tokens=round(total * 0.75 / 10) + 1)  # A token each 10 ms.
    fail(health, 30, "server")
    fail(health, 10, "timeout")
    fail(health, 100, "refused")
    health.started(MODEL)
    health.started(MODEL)
    health.cancelled(MODEL)
    found = health.snapshot(MODEL)
    assert (found.samples, found.in_flight, found.cancelled) == (2040, 1, 1)
    assert found.errors == {"server": 30, "timeout": 10, "refused": 100}
    assert found.success_rate == pytest.approx(2000 / 2040)
    assert found.latency_ms is not None
    assert found.first_token_ms is not None
    assert found.tokens_per_second == pytest.approx(100, rel=0.07)
    for told, share in ((found.latency_ms.p50, 0.5), (found.latency_ms.p95, 0.95), (found.latency_ms.p99, 0.99)):
        assert told == pytest.approx(np.quantile(latencies, share), rel=0.07)
    assert found.first_token_ms.p50 == pytest.approx(np.quantile(latencies, 0.5) / 4, rel=0.07)
    shown = found.explain()
    assert shown["latency_ms"]["p50"] == round(found.latency_ms.p50, 1)
    assert shown["last_success_at"].endswith("Z")


def test_a_provider_is_all_its_models(health: Health, clock: Clock) -> None:
    answer(health, 3)
    health.started("acme/small")
    health.succeeded("acme/small", None, 10.0, 1)
    health.started("acmes/other")
    health.failed("acmes/other", "server", 10.0)
    found = health.snapshot("acme")
    assert (found.samples, found.success_rate) == (4, 1.0)
    clock.now += 7.0
    assert health.idle_s("acme") == pytest.approx(7.0)
    assert health.idle_s("umbrella") is None
    assert health.models() == [MODEL, "acme/small", "acmes/other"]


def test_before_the_first_call_nothing_is_known(health: Health) -> None:
    live: Live = health
    assert (live.latency_ms(MODEL), live.tokens_per_second(MODEL), live.success_rate(MODEL)) == (None, None, None)
    assert (live.in_flight(MODEL), live.unavailable(MODEL), live.share(MODEL)) == (0, None, 1.0)
    found = health.snapshot(MODEL)
    assert (found.samples, found.success_rate, found.latency_ms, found.last_success_at) == (0, None, None, None)


def test_few_calls_say_nothing_to_routing(health: Health, clock: Clock) -> None:
    answer(health, 3)
    assert (health.latency_ms(MODEL), health.success_rate(MODEL)) == (None, None)
    clock.now += 2.0
    answer(health, 3)
    assert health.latency_ms(MODEL) == pytest.approx(200, rel=0.06)
    assert health.tokens_per_second(MODEL) == pytest.approx(100, rel=0.06)
    assert health.success_rate(MODEL) == 1.0


def test_failures_are_felt_at_once_and_forgotten_without_traffic(health: Health, clock: Clock) -> None:
    answer(health, 10)
    assert health.success_rate(MODEL) == 1.0
    fail(health, 10)
    assert health.success_rate(MODEL) == pytest.approx(0.5)
    clock.now += WINDOW_S / 2
    assert health.snapshot(MODEL).success_rate == 0.5
    clock.now += WINDOW_S / 2 + SLICE_S
    assert health.success_rate(MODEL) is None
    assert health.snapshot(MODEL).samples == 0
    assert health.snapshot(MODEL).last_failure_at is not None


def test_a_model_that_recovers_regains_its_name_within_minutes(health: Health, clock: Clock) -> None:
    fail(health, 100)
    rates = []
    for _ in range(30):
        clock.now += 10.0
        answer(health, 20)
        rates.append(health.success_rate(MODEL) or 0.0)
    assert rates == sorted(rates)
    assert rates[0] < 0.25
    assert rates[11] > 0.8
    assert rates[20] > 0.9
    assert rates[-1] == 1.0


def test_a_model_that_has_become_slow_is_known_as_slow_soon(health: Health, clock: Clock) -> None:
    for _ in range(100):
        clock.now += 1.0
        answer(health, 2, first=100.0)
    for _ in range(90):
        clock.now += 1.0
        answer(health, 2, first=900.0)
    assert health.latency_ms(MODEL) == pytest.approx(900, rel=0.07)


def test_answers_in_one_piece_tell_where_they_began_by_their_lengths(health: Health) -> None:
    for tokens in (10, 50, 100, 300, 700):
        answer(health, 2, first=None, total=250.0 + 20.0 * tokens, tokens=tokens)
    assert health.latency_ms(MODEL) == pytest.approx(250, rel=0.01)
    assert health.tokens_per_second(MODEL) == pytest.approx(50, rel=0.01)
    assert health.snapshot(MODEL).first_token_ms is None


def test_answers_as_long_as_each_other_tell_only_their_pace(health: Health) -> None:
    answer(health, 10, first=1000.0, total=1000.0, tokens=100)
    assert health.latency_ms(MODEL) is None
    assert health.tokens_per_second(MODEL) == pytest.approx(100)


def test_a_recovered_model_gets_its_share_back_step_by_step(clock: Clock) -> None:
    breakers = Breakers(clock, Policy(consecutive=1))
    health = Health(breakers, clock, adaptation=lambda model: 0.8 if model == MODEL else 1.0)
    assert health.share(MODEL) == 0.8
    permit = breakers.admit(MODEL)
    assert permit is not None
    breakers.failed(permit, "server")
    assert health.unavailable(MODEL) == breakers.why_closed_to(MODEL) is not None
    clock.now += 10.0
    probe = breakers.admit(MODEL)
    assert probe is not None
    breakers.succeeded(probe)
    shares = []
    for _ in range(5):
        shares.append(health.share(MODEL))
        clock.now += RECOVERING_S / 4
    assert shares == pytest.approx([0.08, 0.26, 0.44, 0.62, 0.8])
    assert health.share("acme/small") == 1.0


def test_in_flight_never_falls_below_none(health: Health) -> None:
    health.cancelled(MODEL)
    health.failed(MODEL, "connect", 1.0)
    assert health.in_flight(MODEL) == 0
    health.started(MODEL)
    assert health.in_flight(MODEL) == 1


def test_memory_does_not_grow_with_calls(health: Health, clock: Clock) -> None:
    rng = random.Random(5)
    for _ in range(20_000):
        clock.now += 0.1
        answer(health, first=rng.lognormvariate(5, 3), total=rng.lognormvariate(9, 3), tokens=rng.randrange(5000))
    window = health.windows()[MODEL]
    held = sum(len(one.first) + len(one.total) + len(one.speed) for one in (*window._slices, window._before))
    assert len(window._slices) == SLICES
    assert held < 3 * 180 * (SLICES + 1)
    assert window.ever().answered == 20_000


def test_probes_are_counted_apart(health: Health) -> None:
    for kind, failures in (("connect", 1), ("timeout", 2), (None, 0), ("connect", 1)):
        found = health.probed("acme", 12.0, kind)  # type: ignore[arg-type]
        assert (found.ok, found.failures) == (kind is None, failures)
    assert health.probe("acme") == found
    assert health.probe("umbrella") is None
    assert health.snapshot("acme").samples == 0
    assert found.explain()["kind"] == "connect"


def test_models_that_a_new_configuration_lacks_are_forgotten_once_idle(health: Health) -> None:
    answer(health, 5)
    health.started("acme/small")
    health.retain(frozenset())
    assert health.models() == ["acme/small"]
