"""What a batch may cost as a whole: each request is granted what it may cost at most before it is made.

Budgets count beside it, at the same place as for every other call.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.choose.virtual import Strategy
from gateway.money import NANOS_PER_DOLLAR, dollars
from gateway.prompt import Prompt
from store.errors import BudgetExceeded

if TYPE_CHECKING:
    from gateway.gateway import Gateway

# A request whose first choice fails may be answered by one of so many in all.
_CHOICES = 3


@dataclass(slots=True)
class Grant:
    """What one request may cost at most, in nanos; None: nobody limits it."""

    nanos: int | None
    prompt: Prompt


class Allowance:
    """Of one batch. Used from one event loop.

    Parameters
    ----------
    limit : nanos; None: no limit.
    spent : nanos that were spent already.
    """

    def __init__(self, limit: int | None, spent: int = 0) -> None:
        self.limit = limit
        self.spent = spent
        self._granted = 0
        self._freed = asyncio.Event()

    async def grant(self, gateway: Gateway, prompt: Prompt) -> Grant:
        """Wait until what a request may cost fits beside those under way; `settle` it.

        Raises
        ------
        BudgetExceeded : it does not fit any more, whatever those under way will have cost.
        GatewayError : it would not be answered whatever it cost.
        """
        if self.limit is None:
            return Grant(None, prompt)
        decision = gateway.decide(prompt)
        reserves = [one.reserve for one in decision.ranked]
        most = sum(reserves) if decision.strategy == Strategy.ENSEMBLE else max(reserves[:_CHOICES])
        while most > self.limit - self.spent - self._granted:
            if not self._granted:
                if decision.strategy != Strategy.ENSEMBLE and reserves[0] <= self.limit - self.spent:
                    most = self.limit - self.spent  # Its fallbacks may be too dear: the limit leaves them out.
                    break
                raise self._exceeded(most)
            self._freed.clear()
            await self._freed.wait()
        self._granted += most
        own = prompt.limits.max_cost
        granted = (most + 0.5) / NANOS_PER_DOLLAR  # rounding must not make it less than what is reserved
        limits = replace(prompt.limits, max_cost=granted if own is None else min(own, granted))
        return Grant(most, replace(prompt, limits=limits))

    def settle(self, grant: Grant, cost: int) -> None:
        """A request has ended and cost so many nanos."""
        self.spent += cost
        if grant.nanos is not None:
            self._granted -= grant.nanos
            self._freed.set()

    def _exceeded(self, most: int) -> BudgetExceeded:
        limit, spent = dollars(self.limit or 0), dollars(self.spent)
        return BudgetExceeded(
            f"The batch may cost ${limit:g}; ${spent:g} of it is spent, and this request may cost ${dollars(most):g}.",
            remedy="Make a batch of what was not answered, with a higher `merit.max_cost`.",
            field="merit.max_cost",
            value=limit,
            details={"limit": limit, "spent": spent},
        )
