"""How each model does right now, told by the calls themselves: answers, failures, time to the first token, speed.

Numbers fade with age, calls or no calls: what was bad some minutes ago is forgotten, and a model gets its chance again.
Probes beside the traffic are counted apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from gateway.call.breaker import Breakers
from gateway.call.health_snapshot import HealthSnapshot, ProbeResult, snapshot_of
from gateway.call.health_window import Window
from gateway.call.providers.wire import FailureKind
from store.tables.base import utc_now

# An estimate for routing is worked out anew after so long, or after a failure.
_FRESH_S = 1.0
# After a circuit has closed its model gets this share of traffic first, and all of it so many seconds later.
RECOVERING_SHARE, RECOVERING_S = 0.1, 60.0
# A model of no configuration is not called; this bounds memory whatever happens.
_MOST_MODELS = 10_000


@dataclass(slots=True)
class _Estimate:
    """What routing is told, until `until`."""

    until: float
    latency_ms: float | None
    tokens_per_second: float | None
    success_rate: float | None


class Health:
    """Health of all models; `gateway.choose.live.Live` for routing. Used from one event loop, never waits.

    Parameters
    ----------
    breakers : say which models may be called.
    clock : seconds that never go back.
    adaptation : what online adaptation leaves of a model's traffic, 0 to 1.
    """

    def __init__(
        self,
        breakers: Breakers | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        adaptation: Callable[[str], float] | None = None,
    ) -> None:
        self.breakers = breakers
        self.adaptation = adaptation
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._estimates: dict[str, _Estimate] = {}
        self._probes: dict[str, ProbeResult] = {}

    def started(self, model_id: str) -> None:
        """A call is made; exactly one of `succeeded`, `failed` and `cancelled` follows."""
        window = self._windows.get(model_id) or self._window(model_id)
        window.in_flight += 1

    def succeeded(self, model_id: str, first_token_ms: float | None, total_ms: float, output_tokens: int) -> None:
        """A call was answered.

        Parameters
        ----------
        first_token_ms : None, or `total_ms` again, for an answer that came in one piece.
        """
        window = self._windows.get(model_id) or self._window(model_id)
        window.ended()
        window.succeeded(self._clock(), first_token_ms, total_ms, output_tokens)

    def failed(self, model_id: str, kind: FailureKind, ms: float) -> None:
        """A call failed after `ms` milliseconds."""
        window = self._windows.get(model_id) or self._window(model_id)
        window.ended()
        window.failed(self._clock(), kind, ms)
        self._estimates.pop(model_id, None)

    def cancelled(self, model_id: str) -> None:
        """The caller went away, which says nothing about the model."""
        window = self._windows.get(model_id) or self._window(model_id)
        window.ended()
        window.current(self._clock()).cancelled += 1

    def probed(self, provider: str, ms: float, kind: FailureKind | None, message: str | None = None) -> ProbeResult:
        """A probe of a provider ended; returns it with its history.

        Parameters
        ----------
        kind : of its failure; None: it answered.
        """
        before = self._probes.get(provider)
        failures = 0 if kind is None else (before.failures if before is not None else 0) + 1
        made = ProbeResult(provider, utc_now(), kind is None, ms, kind, message, failures)
        self._probes[provider] = made
        return made

    def latency_ms(self, model_id: str) -> float | None:
        """Median milliseconds to the first token; None: too few calls."""
        found = self._estimates.get(model_id)
        if found is None or found.until < self._clock():
            found = self._estimate(model_id)
        return found.latency_ms

    def tokens_per_second(self, model_id: str) -> float | None:
        """Median speed after the first token; None: too few calls."""
        found = self._estimates.get(model_id)
        if found is None or found.until < self._clock():
            found = self._estimate(model_id)
        return found.tokens_per_second

    def success_rate(self, model_id: str) -> float | None:
        """Share of calls that were answered, of those that were not the caller's fault; None: too few."""
        found = self._estimates.get(model_id)
        if found is None or found.until < self._clock():
            found = self._estimate(model_id)
        return found.success_rate

    def lately(self, model_id: str) -> tuple[int, int]:
        """Answers, and failures that were not the caller's fault, of the last minute or so."""
        window = self._windows.get(model_id)
        return (0, 0) if window is None else window.lately(self._clock())

    def in_flight(self, model_id: str) -> int:
        """Calls under way."""
        window = self._windows.get(model_id)
        return 0 if window is None else window.in_flight

    def unavailable(self, model_id: str) -> str | None:
        """Why it gets no traffic now, in words."""
        return None if self.breakers is None else self.breakers.why_closed_to(model_id)

    def share(self, model_id: str) -> float:
        """What is left of the traffic that would be its own: little at first for a model that has just recovered."""
        share = 1.0 if self.adaptation is None else self.adaptation(model_id)
        if self.breakers is not None:
            circuit = self.breakers.circuit(model_id)
            if circuit.since is not None and circuit.state == "closed":
                closed_for = (self._clock() - circuit.since) / RECOVERING_S
                if closed_for < 1.0:
                    share *= RECOVERING_SHARE + (1.0 - RECOVERING_SHARE) * max(0.0, closed_for)
        return share

    def snapshot(self, model_id: str) -> HealthSnapshot:
        """All that is known of a model, or of a provider with all its models where `model_id` has no slash."""
        if "/" in model_id:
            chosen = [one for key, one in self._windows.items() if key == model_id]
        else:
            chosen = [one for key, one in self._windows.items() if key.partition("/")[0] == model_id]
        now = self._clock()
        return snapshot_of(model_id, chosen, now, utc_now() - timedelta(seconds=now), self.unavailable(model_id))

    def probe(self, provider: str) -> ProbeResult | None:
        """The last probe of a provider."""
        return self._probes.get(provider)

    def idle_s(self, provider: str) -> float | None:
        """Seconds since a call to any model of a provider last ended; None: none ever did."""
        moments = [
            moment
            for key, one in self._windows.items()
            if key.partition("/")[0] == provider
            for moment in (one.last_success, one.last_failure)
            if moment is not None
        ]
        return self._clock() - max(moments) if moments else None

    def models(self) -> list[str]:
        """Ids of the models that were ever called, sorted."""
        return sorted(self._windows)

    def windows(self) -> dict[str, Window]:
        """Counts since the start, for metrics; not to be changed."""
        return self._windows

    def retain(self, models: frozenset[str]) -> None:
        """Forget the models that a new configuration no longer has; calls under way may still end."""
        for key in [key for key, one in self._windows.items() if key not in models and not one.in_flight]:
            del self._windows[key]
            self._estimates.pop(key, None)

    def _window(self, model_id: str) -> Window:
        if len(self._windows) >= _MOST_MODELS:
            idle = next((key for key, one in self._windows.items() if not one.in_flight), None)
            if idle is not None:
                del self._windows[idle]
                self._estimates.pop(idle, None)
        made = self._windows[model_id] = Window(self._clock())
        return made

    def _estimate(self, model_id: str) -> _Estimate:
        now = self._clock()
        window = self._windows.get(model_id)
        found = (None, None, None) if window is None else window.estimate(now)
        made = self._estimates[model_id] = _Estimate(now + _FRESH_S, *found)
        if len(self._estimates) > _MOST_MODELS:
            del self._estimates[next(iter(self._estimates))]
        return made
