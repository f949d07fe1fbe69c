"""The one place where money is set aside, spent and given back: every route, attempt and ensemble member passes it.

Reserve what the longest answer would cost, write the opening line of the ledger, call, settle what was used. A call
that dies in between is found by the ledger's recovery and charged what was reserved.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gateway.account.budgets import Budgets, Reservation
from gateway.account.ledger import Ledger
from gateway.account.record import CallRecord, Outcome
from gateway.call.run import Run
from gateway.choose.decision import Ranked
from gateway.choose.virtual import Strategy
from store.errors import BudgetExceeded

if TYPE_CHECKING:
    from gateway.account.contents import Content

# Twice the longest time that configuration and callers can give a call.
_LONGEST_S = 7200.0


class Payment:
    """Budgets and ledger, always in step."""

    def __init__(self, budgets: Budgets, ledger: Ledger) -> None:
        self._budgets = budgets
        self._ledger = ledger
        # Call → its money, from the reservation to the settlement.
        self._under_way: dict[str, Reservation] = {}

    async def reserve(self, run: Run, choices: Sequence[Ranked]) -> Ranked:
        """Set aside what the first choice may cost; where a budget says downgrade, what the cheapest that fits may.

        Returns
        -------
        The choice that was reserved for.

        Raises
        ------
        BudgetExceeded : no choice fits.
        """
        first = choices[0]
        try:
            await self._reserve(run, {first.model.provider: first.reserve}, downgraded=False)
        except BudgetExceeded as refused:
            if refused.details.get("action") != "downgrade":
                raise
            return await self._downgrade(run, choices, refused)
        return first

    async def _downgrade(self, run: Run, choices: Sequence[Ranked], refused: BudgetExceeded) -> Ranked:
        for choice in sorted(choices, key=lambda one: (one.reserve, -one.quality)):
            try:
                await self._reserve(run, {choice.model.provider: choice.reserve}, downgraded=True)
            except BudgetExceeded:
                continue
            run.extra["downgraded"] = f"{refused.message} {choice.model.id} answers instead of {choices[0].model.id}."
            return choice
        if run.decision is not None and run.decision.strategy == Strategy.EXPLICIT and not run.prompt.options.fallbacks:
            refused.remedy = f"Let a cheaper model answer with merit.fallbacks = true. {refused.remedy}"
        raise refused

    async def reserve_together(self, run: Run, amounts: Mapping[str, int]) -> None:
        """One reservation for all members of an ensemble: provider → nanos.

        Raises
        ------
        BudgetExceeded : they do not fit together.
        """
        await self._reserve(run, amounts, downgraded=True)

    async def _reserve(self, run: Run, amounts: Mapping[str, int], *, downgraded: bool) -> None:
        held = await self._budgets.reserve(run.prompt.id, run.prompt.tenant, amounts, downgraded=downgraded)
        run.reservation = self._under_way[run.prompt.id] = held
        run.reserved = sum(amounts.values())

    async def move(self, run: Run, choice: Ranked) -> None:
        """Reserve for another model, beside what failed attempts have cost already.

        Raises
        ------
        BudgetExceeded : the other one does not fit; what was reserved before stays.
        """
        assert run.reservation is not None
        amounts = dict(run.spent)
        provider = choice.model.provider
        amounts[provider] = amounts.get(provider, 0) + choice.reserve
        run.reservation = await self._budgets.replace(run.reservation, amounts, downgraded=True)
        run.reserved = sum(amounts.values())

    def announce(self, run: Run, choice: Ranked) -> None:
        """Write into the ledger that this call is about to be made: what follows may cost money."""
        prompt = run.prompt
        self._ledger.open(
            prompt.id,
            run.at,
            prompt.tenant,
            kind=prompt.kind,
            asked=prompt.model,
            strategy=run.decision.strategy if run.decision is not None else "none",
            model=choice.model.id,
            provider=choice.model.provider,
            reserved=run.reserved,
            parent=run.parent,
        )

    async def touch(self) -> None:
        """Hold the money of calls under way for as long again: a stream may last longer than a reservation does."""
        now = time.time()
        for call, held in list(self._under_way.items()):
            if now - held.at < _LONGEST_S:
                await self._budgets.touch(held)
            else:
                # Older than any call may become: nobody will settle it, and it is to expire.
                self._under_way.pop(call, None)

    async def finish(
        self, run: Run, outcome: Outcome, error: str | None = None, content: Content | None = None
    ) -> CallRecord:
        """Write the call's line and settle what it cost. Once for each run."""
        run.closed = True
        self._under_way.pop(run.prompt.id, None)
        record = run.record(outcome, error)
        # The line first: a process that dies in between has the call, and budgets are counted from the ledger.
        self._ledger.close_call(record, content)
        if run.reservation is not None:
            await self._budgets.settle(run.reservation, run.spent)
        return record
