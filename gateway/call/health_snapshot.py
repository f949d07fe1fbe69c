"""What is known of a model or a provider at one moment, as it is told to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.call.health_window import Slice, Window
from gateway.call.histogram import percentiles
from gateway.call.providers.wire import FailureKind

_SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of the last minutes."""

    p50: float
    p95: float
    p99: float

    def explain(self) -> dict[str, float]:
        """JSON of it."""
        return {"p50": round(self.p50, 1), "p95": round(self.p95, 1), "p99": round(self.p99, 1)}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """A probe of a provider beside the traffic.

    Attributes
    ----------
    at : naive UTC.
    failures : in a row, this one among them.
    """

    provider: str
    at: datetime
    ok: bool
    took_ms: float
    kind: FailureKind | None = None
    message: str | None = None
    failures: int = 0

    def explain(self) -> dict[str, Any]:
        """JSON of it."""
        return {
            "provider": self.provider,
            "at": self.at.isoformat(timespec="milliseconds") + "Z",
            "ok": self.ok,
            "took_ms": round(self.took_ms, 1),
            "kind": self.kind,
            "message": self.message,
            "failures": self.failures,
        }


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    """The last five minutes of a model, or of a provider with all its models.

    Attributes
    ----------
    samples : calls that ended with an answer or a failure that was not the caller's fault.
    success_rate : share of them that were answered; None without any.
    errors : failures by kind, the caller's own ("refused", "too_long") among them.
    latency_ms : of whole answers; `first_token_ms` of streamed ones.
    last_success_at, last_failure_at : naive UTC.
    unavailable : why it gets no traffic now.
    """

    key: str
    samples: int
    success_rate: float | None
    errors: Mapping[FailureKind, int]
    cancelled: int
    in_flight: int
    latency_ms: Percentiles | None
    first_token_ms: Percentiles | None
    tokens_per_second: float | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    unavailable: str | None

    def explain(self) -> dict[str, Any]:
        """JSON of it."""
        return {
            "key": self.key,
            "samples": self.samples,
            "success_rate": None if self.success_rate is None else round(self.success_rate, 4),
            "errors": dict(self.errors),
            "cancelled": self.cancelled,
            "in_flight": self.in_flight,
            "latency_ms": self.latency_ms and self.latency_ms.explain(),
            "first_token_ms": self.first_token_ms and self.first_token_ms.explain(),
            "tokens_per_second": self.tokens_per_second and round(self.tokens_per_second, 1),
            "last_success_at": self.last_success_at and self.last_success_at.isoformat(timespec="milliseconds") + "Z",
            "last_failure_at": self.last_failure_at and self.last_failure_at.isoformat(timespec="milliseconds") + "Z",
            "unavailable": self.unavailable,
        }


def snapshot_of(
    key: str, windows: Iterable[Window], now: float, started: datetime, unavailable: str | None
) -> HealthSnapshot:
    """The snapshot of one window, or of several together.

    Parameters
    ----------
    now : moment of the windows' clock; `started` is that clock's zero.
    """
    windows = list(windows)
    recent = Slice()
    for window in windows:
        recent.add(window.recent(now))
    failures = recent.failures()
    samples = recent.answered + failures
    speed = percentiles(recent.speed, (0.5,))
    successes = [one.last_success for one in windows if one.last_success is not None]
    failed = [one.last_failure for one in windows if one.last_failure is not None]
    return HealthSnapshot(
        key=key,
        samples=samples,
        success_rate=recent.answered / samples if samples else None,
        errors=recent.errors,
        cancelled=recent.cancelled,
        in_flight=sum(one.in_flight for one in windows),
        latency_ms=_percentiles(recent.total),
        first_token_ms=_percentiles(recent.first),
        tokens_per_second=None if speed is None else speed[0],
        last_success_at=started + timedelta(seconds=max(successes)) if successes else None,
        last_failure_at=started + timedelta(seconds=max(failed)) if failed else None,
        unavailable=unavailable,
    )


def _percentiles(counts: Mapping[int, float]) -> Percentiles | None:
    found = percentiles(counts, _SHARES)
    return None if found is None else Percentiles(*found)
