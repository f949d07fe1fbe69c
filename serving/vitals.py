"""How a champion does while it answers: failures, answers that are none, time. What the serving guard watches."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

REMEMBERED = 500
FEWEST_ANSWERS = 50
FEWEST_FAILURES = 5
MOST_FAILURES = 0.05
SLOWEST_SHARE = 0.05


@dataclass
class Vitals:
    """Counts since a champion was loaded. Written by the event loop alone; a reader may see them a moment old.

    Attributes
    ----------
    answered : requests that got an answer.
    failed : requests that the model, not the caller, made fail.
    invalid : those of them whose answer was no probability.
    took : seconds of the last predictions of single rows.
    told : whether a broken guard was acted upon already.
    """

    answered: int = 0
    failed: int = 0
    invalid: int = 0
    took: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    told: bool = False

    def answer(self, seconds: float, rows: int) -> None:
        """Note one request that was answered."""
        self.answered += 1
        if rows == 1:
            self.took.append(seconds)

    def fail(self, *, invalid: bool = False) -> None:
        """Note one request that failed by the model's fault."""
        self.failed += 1
        self.invalid += invalid

    def p95_ms(self) -> float | None:
        """95th percentile of single predictions in milliseconds; None with few of them."""
        took = sorted(self.took)
        return 1000 * took[int((1 - SLOWEST_SHARE) * len(took))] if len(took) >= FEWEST_ANSWERS else None

    def broken(self, latency_ms: float) -> str:
        """Why the champion should not go on answering; "" when it may.

        Parameters
        ----------
        latency_ms : limit of the 95th percentile of single predictions.
        """
        asked = self.answered + self.failed
        if self.failed >= FEWEST_FAILURES and self.failed > MOST_FAILURES * asked:
            kind = f", {self.invalid} of them with an answer that is no probability" if self.invalid else ""
            return f"{self.failed} of {asked} requests failed{kind}"
        slow = self.p95_ms()
        if slow is not None and slow > latency_ms:
            return f"a prediction takes {slow:.0f} ms at the 95th percentile, the limit is {latency_ms:.0f} ms"
        return ""
