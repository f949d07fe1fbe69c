"""What a decision asks of live traffic: how fast a model is now, how often it fails, and whether it may be called.

Kept by `gateway.call.health`; `Unmeasured` stands in where nothing has been called yet.
"""

from __future__ import annotations

from typing import Protocol


class Live(Protocol):
    """What is known of a model from its latest calls. None: too few of them, the catalogue's prior counts."""

    def latency_ms(self, model_id: str) -> float | None:
        """Median milliseconds to the first token."""

    def tokens_per_second(self, model_id: str) -> float | None:
        """Median speed after the first token."""

    def success_rate(self, model_id: str) -> float | None:
        """Share of calls that were answered, 0 to 1."""

    def in_flight(self, model_id: str) -> int:
        """Calls that wait for it at the moment."""

    def unavailable(self, model_id: str) -> str | None:
        """Why it gets no traffic now, in words: breaker open, drained. None: it may be called."""

    def share(self, model_id: str) -> float:
        """What online adaptation leaves of the traffic that would be its own, 0 to 1; 1 unless there is a reason."""


class Unmeasured:
    """Live knowledge before the first call: none, and everything may be called."""

    def latency_ms(self, model_id: str) -> float | None:  # noqa: ARG002
        return None

    def tokens_per_second(self, model_id: str) -> float | None:  # noqa: ARG002
        return None

    def success_rate(self, model_id: str) -> float | None:  # noqa: ARG002
        return None

    def in_flight(self, model_id: str) -> int:  # noqa: ARG002
        return 0

    def unavailable(self, model_id: str) -> str | None:  # noqa: ARG002
        return None

    def share(self, model_id: str) -> float:  # noqa: ARG002
        return 1.0
