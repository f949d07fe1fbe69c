"""Rate limits: requests and tokens within a minute of a key and of a workspace, calls at the same time of a workspace.

    ticket = await rates.take(tenant, workspace, tokens)    # or RateLimited, which says when to try again
    ticket.headers                                          # x-ratelimit-…
    await rates.settle(ticket, used)                        # once the tokens are known, whatever became of the call

Tokens are taken when the call is asked, so that calls at the same time cannot all pass on what none of them has used
yet, and corrected when it has ended. A request counts whether it is answered or not.

When Redis does not answer, each gateway limits what passes through it alone until it does: unlike budgets, limits keep
the load down, and refusing everything would be the larger harm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.account.rate_limits import RateSettings, Reached, Standing, rate_limited
from gateway.account.rate_local import LocalRates, Plan
from gateway.account.rate_redis import RedisRates
from gateway.account.shared_state import unanswered
from gateway.prompt import Tenant
from store.settings import Settings

__all__ = ["Rates", "Ticket"]

log = logging.getLogger("merit.gateway")
# Seconds for which Redis is left alone after it did not answer.
_PAUSE_S = 2.0


class Ticket(Protocol):
    """What a call has taken of its limits; made by `Rates.take`, given back to `Rates.settle`."""

    settled: bool

    @property
    def headers(self) -> dict[str, str]:
        """`x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests`, and the same for tokens."""

    async def settle(self, tokens: int) -> None:
        """See `Rates.settle`, which also bears with a Redis that does not answer."""


class Rates:
    """All rate limits, as this process enforces them.

    Parameters
    ----------
    redis : shared by all gateways; None limits what passes through this process.
    clock : seconds that go forward; those of Redis are its own.
    """

    def __init__(
        self, settings: Settings, redis: Redis | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._clock = settings, clock
        self._local = LocalRates(clock)
        self._shared = None if redis is None else RedisRates(redis)
        self._away_until = 0.0

    async def take(self, tenant: Tenant, limits: RateSettings, tokens: int) -> Ticket | None:
        """Take one request and so many tokens of every limit that a call falls under, or of none.

        Parameters
        ----------
        limits : of the workspace; those of the key are the tenant's.
        tokens : of the prompt, and expected of the answer.

        Returns
        -------
        None where there are no limits.

        Raises
        ------
        RateLimited : `retry_after` is when so much will fit, if nobody else asks; None where it never will.
            `details["headers"]` holds the headers.
        """
        plan = self._local.plan(tenant, limits)
        if not plan.limits:
            return None
        taken: Ticket | list[Reached]
        if self._shared is None:
            taken = self._local.take(plan, tokens)
        else:
            taken = await self._take_shared(self._shared, plan, tokens)
        if isinstance(taken, list):
            standings = self._local.standings(plan) if self._shared is None else _full(taken)
            raise rate_limited(taken, tenant, standings)
        return taken

    async def settle(self, ticket: Ticket | None, tokens: int) -> None:
        """Correct the tokens to what was used, and free the slot. Settling again changes nothing."""
        if ticket is None:
            return
        try:
            await ticket.settle(tokens)
        except (RedisError, OSError) as error:
            # Within a minute nobody will know; a slot is free after its lease.
            self._away(error)

    async def _take_shared(self, shared: RedisRates, plan: Plan, tokens: int) -> Ticket | list[Reached]:
        if self._clock() >= self._away_until:
            try:
                return await shared.take(plan.limits, tokens)
            except (RedisError, OSError) as error:
                self._away(error)
        return self._local.take(plan, tokens)

    def _away(self, error: Exception) -> None:
        self._away_until = self._clock() + _PAUSE_S
        log.warning("%s Rates are limited by each gateway alone.", unanswered(self._settings, error).message)


def _full(reached: list[Reached]) -> list[Standing]:
    """How the limits stand that are reached, as far as Redis told."""
    return [Standing(one.limit.kind, one.limit.most, one.limit.most - one.used, one.wait_ms or 0) for one in reached]
