"""What `/metrics` tells beside the gateway's own counts: predictions, champions, the ledger, this process.

Read from what the parts count anyway, when somebody scrapes. Labels are names of models of ours, never callers.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.dependencies import GatewayServices, Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Serving(Collector):
    """The parts of this process."""

    def __init__(self, services: GatewayServices) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Every metric, for prometheus_client."""
        if isinstance(self._services, Services):
            yield from self._predictions(self._services)
            yield from self._champions(self._services)
        running = self._services.llm.runs
        yield GaugeMetricFamily("merit_llm_gateway_up", "Whether the gateway runs in this process", value=running)
        if running:
            yield from self._ledger()
            yield from self._cache()

    def _predictions(self, services: Services) -> Iterator[Metric]:
        state = services.predictions.state()
        yield CounterMetricFamily("merit_predictions_written", "Predictions in the database", value=state.written)
        yield CounterMetricFamily("merit_predictions_unwritable", "That could not be stored", value=state.unwritable)
        yield CounterMetricFamily("merit_predictions_refused", "Requests without room in the log", value=state.refused)
        yield GaugeMetricFamily("merit_predictions_pending", "Predictions on their way there", value=state.pending)

    def _champions(self, services: Services) -> Iterator[Metric]:
        ready = GaugeMetricFamily("merit_champion_ready", "Whether some version is served", labels=("model",))
        version = GaugeMetricFamily("merit_champion_version", "The version that is served", labels=("model",))
        # Since that version was loaded: with the next one they begin anew, as counters may.
        answered = CounterMetricFamily("merit_champion_answers", "Requests answered", labels=("model",))
        failed = CounterMetricFamily("merit_champion_failures", "Requests that the model made fail", labels=("model",))
        for one in services.champions.standings():
            ready.add_metric((one.name,), float(one.ready))
            if one.champion is not None:
                version.add_metric((one.name,), float(one.champion.version))
                answered.add_metric((one.name,), one.champion.vitals.answered)
                failed.add_metric((one.name,), one.champion.vitals.failed)
        yield from (ready, version, answered, failed)

    def _ledger(self) -> Iterator[Metric]:
        state = self._services.gateway.parts.ledger.state()
        yield GaugeMetricFamily("merit_llm_ledger_open", "Calls under way", value=state.open)
        yield GaugeMetricFamily(
            "merit_llm_ledger_behind_bytes", "Of journal that the database has not taken", value=state.behind_bytes
        )
        yield GaugeMetricFamily(
            "merit_llm_ledger_failing", "Whether the last write failed", value=state.failing is not None
        )
        yield CounterMetricFamily("merit_llm_ledger_written", "Lines in the database", value=state.written)
        yield CounterMetricFamily("merit_llm_ledger_unwritable", "Lines it can never hold", value=state.unwritable)
        yield CounterMetricFamily("merit_llm_ledger_recovered", "Calls of processes that died", value=state.recovered)

    def _cache(self) -> Iterator[Metric]:
        state = self._services.gateway.parts.recall.exact.statistics()
        yield GaugeMetricFamily("merit_llm_cache_entries", "Answers kept to be given again", value=state.entries)
        yield GaugeMetricFamily("merit_llm_cache_bytes", "Their size", value=state.bytes)
        yield CounterMetricFamily("merit_llm_cache_lookups_hit", "Answers found", value=state.hits)
        yield CounterMetricFamily("merit_llm_cache_lookups_missed", "Answers not found", value=state.misses)
        yield CounterMetricFamily("merit_llm_cache_evicted", "Answers that had to go for others", value=state.evicted)


def render(services: GatewayServices) -> bytes:
    """All metrics of this process as text."""
    registry = CollectorRegistry()
    registry.register(Serving(services))
    ProcessCollector(registry=registry)
    text: bytes = generate_latest(registry)
    if services.llm.runs:
        from gateway import metrics

        text += metrics.render()
    return text
