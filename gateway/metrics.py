"""Prometheus metrics of the gateway: counted while calls pass, put into words only when somebody scrapes.

Times of models come from `gateway.call.health`, which counts them for routing anyway; what a finished call adds is a
few integers. Labels are models, providers and outcomes of the configuration; never callers or what they wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.account.record import CallRecord
from gateway.call.breaker import Breakers
from gateway.call.concurrency import Slots
from gateway.call.health import Health
from gateway.call.health_window import Slice
from gateway.call.histogram import PER_DECADE, bucket, upper
from gateway.call.retry_budget import RetryBudget

_TOKENS = ("input", "cached", "cache_write", "output", "reasoning")
_NONE = "none"
_Counts = dict[tuple[str, ...], float]
# Bounds at quarters of a decade: of times from 10 ms to 180 s, of the gateway's own from 10 µs to 100 ms.
_QUARTER = PER_DECADE // 4
_TIMES = range(PER_DECADE - 1, 5 * PER_DECADE + 2 * _QUARTER, _QUARTER)
_OVERHEADS = range(-2 * PER_DECADE - 1, 2 * PER_DECADE, _QUARTER)


class Tally(Collector):
    """Counts since the start of the process. Counted by the event loop, read from any thread."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, ...], int] = {}
        self._used: dict[str, list[int]] = {}
        self._refused: dict[str, int] = {}
        self._cached: dict[str, int] = {}
        self._retries: dict[str, int] = {}
        self._failovers: dict[tuple[str, ...], int] = {}
        self._overhead: dict[int, float] = {}
        self._overhead_sum = 0.0
        self._health: Health | None = None
        self._breakers: Breakers | None = None
        self._slots: Slots | None = None
        self._budget: RetryBudget | None = None

    def watch(
        self,
        health: Health | None = None,
        breakers: Breakers | None = None,
        slots: Slots | None = None,
        retries: RetryBudget | None = None,
    ) -> None:
        """Name whose counts are told with its own; those of the last call count."""
        self._health, self._breakers, self._slots, self._budget = health, breakers, slots, retries

    def observe(self, record: CallRecord) -> None:
        """Count a finished call."""
        model, outcome, usage = record.model or _NONE, record.outcome, record.usage
        key = (model, outcome)
        self._calls[key] = self._calls.get(key, 0) + 1
        used = self._used.get(model)
        if used is None:
            used = self._used[model] = [0, 0, 0, 0, 0, 0]
        used[0] += usage.input
        used[1] += usage.cached
        used[2] += usage.cache_write
        used[3] += usage.output
        used[4] += usage.reasoning
        used[5] += record.cost
        if record.overhead_ms is not None:
            index = bucket(record.overhead_ms)
            self._overhead[index] = self._overhead.get(index, 0) + 1
            self._overhead_sum += record.overhead_ms
        if record.cache is not None:
            self._cached[record.cache] = self._cached.get(record.cache, 0) + 1
        if outcome == "refused":
            reason = record.error or _NONE
            self._refused[reason] = self._refused.get(reason, 0) + 1
        if len(record.attempts) > 1:
            self._observe_attempts(record)

    def _observe_attempts(self, record: CallRecord) -> None:
        for before, after in zip(record.attempts, record.attempts[1:], strict=False):
            if before.model == after.model:
                self._retries[after.model] = self._retries.get(after.model, 0) + 1
            else:
                key = (before.model, after.model)
                self._failovers[key] = self._failovers.get(key, 0) + 1

    def collect(self) -> Iterator[Metric]:
        """Every metric, for prometheus_client."""
        yield _counter("calls", "Finished calls", ("model", "outcome"), self._calls)
        every = list(self._used.items())
        tokens: _Counts = {(model, kind): used[place] for model, used in every for place, kind in enumerate(_TOKENS)}
        yield _counter("tokens", "Tokens; cached and reasoning are parts of others", ("model", "kind"), tokens)
        cost: _Counts = {(model,): used[5] / 1e9 for model, used in every}
        yield _counter("cost_dollars", "Cost of calls in dollars", ("model",), cost)
        yield _counter("refusals", "Calls refused before any was made", ("reason",), _single(self._refused))
        yield _counter("cache_hits", "Calls answered from the cache", ("cache",), _single(self._cached))
        yield _counter("retries", "Attempts with the same model again", ("model",), _single(self._retries))
        yield _counter("failovers", "Attempts with another model", ("model", "next"), self._failovers)
        overhead = HistogramMetricFamily("merit_llm_overhead_seconds", "Time that the gateway itself took", labels=())
        overhead.add_metric((), _cumulative(self._overhead, _OVERHEADS), self._overhead_sum / 1e3)
        yield overhead
        if self._health is not None:
            yield from _of_health(self._health)
        if self._breakers is not None:
            yield from _of_breakers(self._breakers)
        if self._slots is not None:
            yield from _of_slots(self._slots)
        if self._budget is not None:
            refused = _single(self._budget.refused())
            yield _counter("retries_refused", "Retries that the retry budget did not allow", ("provider",), refused)


def _of_health(health: Health) -> Iterator[Metric]:
    windows = sorted(health.windows().items())
    counts: list[tuple[str, Slice]] = [(model, window.ever()) for model, window in windows]
    attempts: _Counts = {}
    for model, one in counts:
        attempts[model, "ok"] = one.answered
        attempts[model, "cancelled"] = one.cancelled
        attempts.update({(model, kind): count for kind, count in one.errors.items()})
    yield _counter("attempts", "Calls of providers by their result", ("model", "result"), attempts)
    lost: _Counts = {(model,): one.lost_sum / 1e3 for model, one in counts}
    yield _counter("failed_seconds", "Time spent on calls that failed", ("model",), lost)
    for name, help_ in (("latency", "Time to the whole answer"), ("first_token", "Time to the first token, streamed")):
        family = HistogramMetricFamily(f"merit_llm_{name}_seconds", help_, labels=("model",))
        for model, one in counts:
            histogram, total = (one.total, one.total_sum) if name == "latency" else (one.first, one.first_sum)
            family.add_metric((model,), _cumulative(histogram, _TIMES), total / 1e3)
        yield family
    flights = GaugeMetricFamily("merit_llm_in_flight", "Calls of providers under way", labels=("model",))
    for model, window in windows:
        flights.add_metric((model,), window.in_flight)
    yield flights


def _of_breakers(breakers: Breakers) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "merit_llm_breaker_state", "1 for the state that a circuit is in", labels=("circuit", "state")
    )
    opened: _Counts = {}
    drained = GaugeMetricFamily("merit_llm_drained", "Whether an operator took it out", labels=("circuit",))
    for one in breakers.states():
        for name in ("closed", "half_open", "open"):
            state.add_metric((one.key, name), float(one.state == name))
        drained.add_metric((one.key,), float(one.drained))
        opened[one.key,] = one.opens
    yield state
    yield drained
    yield _counter("breaker_opened", "Times that a circuit opened", ("circuit",), opened)


def _of_slots(slots: Slots) -> Iterator[Metric]:
    for name, help_, count in (
        ("slots_in_use", "Concurrency slots in use", slots.in_use),
        ("slots_waiting", "Calls waiting for a concurrency slot", slots.waiting),
    ):
        family = GaugeMetricFamily(f"merit_llm_{name}", help_, labels=("provider",))
        for provider in slots.providers():
            family.add_metric((provider,), count(provider))
        yield family


def _counter(
    name: str, help_: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"merit_llm_{name}", help_, labels=labels)
    for key, count in sorted(counts.items()):
        family.add_metric(key, count)
    return family


def _single(counts: Mapping[str, int]) -> _Counts:
    return {(key,): count for key, count in list(counts.items())}


def _cumulative(counts: Mapping[int, float], bounds: Iterable[int]) -> list[tuple[str, float]]:
    """Prometheus' buckets, in seconds, of counts in milliseconds: bounds are bounds here too, so nothing is guessed."""
    ordered = sorted(counts.items())
    found, below, place = [], 0.0, 0
    for bound in bounds:
        while place < len(ordered) and ordered[place][0] <= bound:
            below += ordered[place][1]
            place += 1
        found.append((f"{upper(bound) / 1e3:.4g}", below))
    return [*found, ("+Inf", sum(counts.values()))]


TALLY = Tally()
METRICS = CollectorRegistry()
METRICS.register(TALLY)
observe = TALLY.observe
watch = TALLY.watch


def render() -> bytes:
    """The metrics as text, for `/metrics`."""
    return generate_latest(METRICS)
