"""How many retries a provider gets: a tenth of what is asked of it first, and a little, so that storms of them die.

Without it, a provider that fails under load gets three times the load. First attempts are never held back. Asking the
same model again counts whole, asking another model of the same provider half: it is the same provider's load, but
perhaps not the same trouble. A failover to another provider counts for nobody: it does not add to the load of the one
that failed, a request makes only a few attempts anyway, and once the breaker opens it is a first attempt.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

SHARE = 0.1
WINDOW_S = 10.0
# So many a second are allowed to a provider that is asked rarely, and so many at once.
FLOOR_PER_S = 0.5
FLOOR = 5.0


class RetryBudget:
    """A bucket of tokens for each provider. Used from one event loop.

    Every first attempt puts `share` of a token in; what has lain there fades with `window_s` as its time constant, so
    that a quiet hour saves nothing up for a bad minute. Beside it, a small bucket fills by itself.

    Parameters
    ----------
    clock : seconds that never go back.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        share: float = SHARE,
        window_s: float = WINDOW_S,
        floor: float = FLOOR,
        floor_per_s: float = FLOOR_PER_S,
    ) -> None:
        self._clock = clock
        self._share = share
        self._window_s = window_s
        self._floor = floor
        self._floor_per_s = floor_per_s
        # provider → [tokens from first attempts, tokens of the floor, moment of both, refused so far]
        self._buckets: dict[str, list[float]] = {}

    def configure(self, share: float, floor: float) -> None:
        """Allow another share and floor from now on."""
        self._share, self._floor = share, floor

    def requested(self, provider: str) -> None:
        """A first attempt is made."""
        self._bucket(provider)[0] += self._share

    def allow(self, provider: str, *, same_model: bool = True) -> bool:
        """Whether a provider that failed may be asked once more; where it may, that is taken off its budget.

        Parameters
        ----------
        same_model : false for another model of the same provider.
        """
        bucket = self._bucket(provider)
        price = 1.0 if same_model else 0.5
        for place in (0, 1):
            # Sums of tenths fall short of a whole by a rounding error.
            if bucket[place] >= price - 1e-9:
                bucket[place] -= price
                return True
        bucket[3] += 1
        return False

    def left(self, provider: str) -> float:
        """Retries that a provider may still get now."""
        bucket = self._bucket(provider)
        return bucket[0] + bucket[1]

    def refused(self) -> dict[str, int]:
        """Retries that were not allowed so far, by provider."""
        return {provider: int(bucket[3]) for provider, bucket in self._buckets.items()}

    def _bucket(self, provider: str) -> list[float]:
        now = self._clock()
        bucket = self._buckets.get(provider)
        if bucket is None:
            bucket = self._buckets[provider] = [0.0, self._floor, now, 0]
        elif (passed := now - bucket[2]) > 0:
            bucket[0] *= math.exp(-passed / self._window_s)
            bucket[1] = min(self._floor, bucket[1] + passed * self._floor_per_s)
            bucket[2] = now
        return bucket
