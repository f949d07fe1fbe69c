"""How long to wait before the same model is asked again: exponential, with full jitter, never before it said.

Full jitter draws from the whole of [0, ceiling]: callers that failed together do not come back together (M. Brooker,
"Exponential Backoff and Jitter", 2015).
"""

from __future__ import annotations

import random

BASE_S = 0.25
LONGEST_S = 8.0
# Of the time that is left, so that the attempt itself has some.
_LARGEST_SHARE = 0.5
# Added to a `Retry-After`, as a share of it: all who were told the same moment would else meet again.
_SPREAD = 0.1


def delay(attempt: int, retry_after: float | None, remaining: float, rng: random.Random) -> float | None:
    """Seconds to wait before asking the same model again.

    Parameters
    ----------
    attempt : how many have failed so far, from 1.
    retry_after : seconds that the provider asked for.
    remaining : seconds until nobody wants the answer any more.

    Returns
    -------
    None when waiting makes no sense: the time would be up. Another model may still be asked at once.
    """
    if remaining <= 0:
        return None
    if retry_after:
        if retry_after >= remaining:
            return None
        return min(retry_after + rng.uniform(0.0, min(_SPREAD * retry_after, 1.0)), remaining)
    ceiling = min(BASE_S * 2.0 ** min(attempt - 1, 16), LONGEST_S, _LARGEST_SHARE * remaining)
    return rng.uniform(0.0, ceiling)
