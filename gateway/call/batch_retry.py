"""Which failures of a request in a batch pass by themselves, and how long to wait before it is asked again.

Nobody waits for a batch but its 24 hours: what only needs time is asked until it is answered or the time is over. What
may or may not be better the next time is asked three times.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from store.errors import (
    DeadlineExceeded,
    GatewayError,
    MeritError,
    NoCandidate,
    RateLimited,
    ServiceUnavailable,
    UpstreamFailed,
)

# Where nobody says how long: the first wait, doubled each time, and spread by chance.
FIRST_S, LONGEST_S = 1.0, 60.0
MOST_ASKED = 3


@dataclass(frozen=True, slots=True)
class Passing:
    """A failure that passes.

    Attributes
    ----------
    everybody : whether the next requests of the batch would fail in the same way now.
    counts : whether it is one of the three times.
    retry_after : seconds, where somebody said so.
    """

    everybody: bool
    counts: bool
    retry_after: float | None = None

    def wait(self, tries: int, rng: random.Random) -> float:
        """Seconds until the next try, after so many.

        What was said is waited for, and a little longer by chance: who was told the same moment would meet again.
        """
        if self.retry_after is not None:
            return min(self.retry_after + rng.uniform(0.0, min(0.1 * self.retry_after, 1.0)), 10 * LONGEST_S)
        return rng.uniform(0.5, 1.0) * float(min(LONGEST_S, FIRST_S * 2.0 ** min(tries - 1, 16)))


def passing(error: MeritError) -> Passing | None:
    """How a failure passes; None: it does not."""
    retry_after = error.retry_after if isinstance(error, GatewayError) else None
    if isinstance(error, RateLimited):
        return Passing(everybody=True, counts=False, retry_after=retry_after)
    if isinstance(error, UpstreamFailed):
        if error.details.get("overloaded"):
            return Passing(everybody=True, counts=False, retry_after=retry_after)
        # Breakers are closed to this model; other requests may be for others.
        return Passing(everybody=False, counts=not error.details.get("unavailable"), retry_after=retry_after)
    if isinstance(error, NoCandidate) and error.details.get("unavailable"):
        return Passing(everybody=False, counts=False)
    if isinstance(error, DeadlineExceeded):
        return Passing(everybody=False, counts=True)
    if isinstance(error, ServiceUnavailable):
        return Passing(everybody=True, counts=False)
    return None
