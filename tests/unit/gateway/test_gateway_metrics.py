"""Metrics as Prometheus reads them: every number is one that was counted."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.account.record import Attempt, CallRecord
from gateway.call.breaker import Breakers, Policy
from gateway.call.concurrency import Slots
from gateway.call.health import Health
from gateway.call.providers.wire import Provider
from gateway.call.retry_budget import RetryBudget
from gateway.metrics import METRICS, Tally, render
from gateway.prompt import Tenant
from gateway.usage import Usage
from store.tables.base import utc_now


def record(**changes: Any) -> CallRecord:
    known: dict[str, Any] = {
        "id": "1", "at": utc_now(), "tenant": Tenant(user="ann"), "kind": "chat", "asked": "auto", "strategy": "auto",
        "outcome": "ok", "model": "acme/large", "provider": "acme",
        "usage": Usage(input=10, cached=4, output=5, reasoning=2), "cost": 1_500_000, "overhead_ms": 0.4,
    }  # fmt: skip
    return CallRecord(**(known | changes))


def scraped(tally: Tally) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(tally)
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found[(sample.name, *(value for _, value in sorted(sample.labels.items())))] = sample.value
    return found


def test_finished_calls() -> None:
    tally = Tally()
    tally.observe(record())
    tally.observe(record(cache="exact", outcome="cached", cost=0, overhead_ms=None))
    tally.observe(record(outcome="refused", error="BudgetExceeded", model=None, provider=None, usage=Usage(), cost=0))
    attempts = tuple(Attempt(f"acme/{name}", 0.0, 1.0) for name in ("a", "a", "b"))
    tally.observe(record(attempts=attempts, overhead_ms=3.0))
    found = scraped(tally)
    assert found["merit_llm_calls_total", "acme/large", "ok"] == 2
    assert found["merit_llm_calls_total", "acme/large", "cached"] == 1
    assert found["merit_llm_calls_total", "none", "refused"] == 1
    assert found["merit_llm_tokens_total", "input", "acme/large"] == 30
    assert found["merit_llm_tokens_total", "reasoning", "acme/large"] == 6
    assert found["merit_llm_cost_dollars_total", "acme/large"] == 0.003
    assert found["merit_llm_refusals_total", "BudgetExceeded"] == 1
    assert found["merit_llm_cache_hits_total", "exact"] == 1
    assert found["merit_llm_retries_total", "acme/a"] == 1
    assert found["merit_llm_failovers_total", "acme/a", "acme/b"] == 1
    assert found["merit_llm_overhead_seconds_count",] == 3
    assert found["merit_llm_overhead_seconds_bucket", "0.001"] == 2
    assert found["merit_llm_overhead_seconds_bucket", "0.01"] == 3
    assert abs(found["merit_llm_overhead_seconds_sum",] - 0.0038) < 1e-9


def test_what_health_and_breakers_know() -> None:
    tally, breakers = Tally(), Breakers(policy=Policy(consecutive=2))
    health, slots, retries = Health(breakers), Slots(), RetryBudget(floor=0.0)
    tally.watch(health, breakers, slots, retries)
    for total in (20.0, 400.0, 90_000.0):
        health.started("acme/large")
        health.succeeded("acme/large", 15.0, total, 10)
    health.started("acme/large")
    for _ in range(2):
        permit = breakers.admit("acme/small")
        assert permit is not None
        health.started("acme/small")
        health.failed("acme/small", "server", 250.0)
        breakers.failed(permit, "server")
    breakers.drain("umbrella")
    retries.allow("acme")
    found = scraped(tally)
    assert found["merit_llm_attempts_total", "acme/large", "ok"] == 3
    assert found["merit_llm_attempts_total", "acme/small", "server"] == 2
    assert found["merit_llm_failed_seconds_total", "acme/small"] == 0.5
    assert found["merit_llm_latency_seconds_bucket", "0.01", "acme/large"] == 0
    assert found["merit_llm_latency_seconds_bucket", "0.1", "acme/large"] == 1
    assert found["merit_llm_latency_seconds_bucket", "1", "acme/large"] == 2
    assert found["merit_llm_latency_seconds_bucket", "+Inf", "acme/large"] == 3
    assert found["merit_llm_latency_seconds_sum", "acme/large"] == 90.42
    assert found["merit_llm_first_token_seconds_count", "acme/large"] == 3
    assert found["merit_llm_in_flight", "acme/large"] == 1
    assert found["merit_llm_breaker_state", "acme/small", "open"] == 1
    assert found["merit_llm_breaker_state", "acme/small", "closed"] == 0
    assert found["merit_llm_breaker_opened_total", "acme/small"] == 1
    assert found["merit_llm_drained", "umbrella"] == 1
    assert found["merit_llm_retries_refused_total", "acme"] == 1


async def _held(slots: Slots, tally: Tally) -> dict[tuple[str, ...], float]:
    async with slots.hold(Provider("acme", "openai", "http://127.0.0.1:1"), 1.0):
        return scraped(tally)


def test_slots() -> None:
    import asyncio

    tally, slots = Tally(), Slots()
    tally.watch(slots=slots)
    found = asyncio.run(_held(slots, tally))
    assert (found["merit_llm_slots_in_use", "acme"], found["merit_llm_slots_waiting", "acme"]) == (1, 0)


def test_counters_do_not_fall_when_slices_of_time_pass() -> None:
    now = [0.0]
    tally, health = Tally(), Health(clock=lambda: now[0])
    tally.watch(health)
    for minute in range(20):
        now[0] = 60.0 * minute
        health.started("acme/large")
        health.succeeded("acme/large", 10.0, 100.0, 5)
        found = scraped(tally)
        assert found["merit_llm_attempts_total", "acme/large", "ok"] == minute + 1
        assert found["merit_llm_latency_seconds_count", "acme/large"] == minute + 1


def test_nothing_about_callers_is_told() -> None:
    tally = Tally()
    tally.observe(
        record(tenant=Tenant(workspace="secret-space", user="secret-ann", key_name="secret-key"), tags=("secret",))
    )
    registry = CollectorRegistry()
    registry.register(tally)
    assert b"secret" not in generate_latest(registry)


def test_rendering() -> None:
    assert b"# TYPE merit_llm_calls_total counter" in render()
    assert len(list(METRICS.collect())) > 5
