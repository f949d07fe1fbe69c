"""What training costs, at the same place as every call: set aside before, paid once after, a line in the ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.account.record import CallRecord
from gateway.call.providers.openai_tuning import TuningJob
from gateway.choose.catalogue import Model
from gateway.money import dollars, nanos
from gateway.prompt import Tenant
from gateway.usage import Usage
from store import llm_calls
from store.errors import BudgetExceeded, UnknownEntity
from store.llm_finetunes import Finetune
from store.settings import Settings
from store.tables.base import utc_now

if TYPE_CHECKING:
    from gateway.account.budgets import Reservation
    from gateway.gateway import Parts

TAG = "finetune:"


class Bill:
    """Of one fine-tune. Its line in the ledger has the fine-tune's own id, so that there is one at most."""

    def __init__(self, settings: Settings, parts: Parts, finetune: Finetune) -> None:
        self._settings = settings
        self._parts = parts
        self._finetune = finetune
        self._tenant = Tenant(**finetune.tenant)
        self._held: Reservation | None = None

    async def reserve(self, model: Model, cost: int | None = None) -> None:
        """Set money aside, where none is yet.

        Parameters
        ----------
        cost : nanos; None: it is under way already, and as much as was expected is held as far as budgets have it.

        Raises
        ------
        BudgetExceeded : a budget does not have it, and nothing was submitted yet.
        """
        if self._held is not None:
            return
        amount = nanos(self._finetune.plan["cost"]["training"]) if cost is None else cost
        try:
            self._held = await self._parts.budgets.reserve(
                self._finetune.id, self._tenant, {model.provider: amount}, downgraded=True
            )
        except BudgetExceeded:
            if cost is not None:
                raise

    async def touch(self) -> None:
        """It goes on: hold the money for as long again."""
        if self._held is not None:
            await self._parts.budgets.touch(self._held)

    async def release(self) -> None:
        """Hold nothing more, of one that is not followed here any longer."""
        if self._held is not None:
            await self._parts.budgets.release(self._held)
            self._held = None

    async def pay(self, model: Model, job: TuningJob) -> int:
        """Write the line and settle, where that was not done before; nanos.

        A job that failed or was cancelled is charged for what it trained, as far as the provider says.
        """
        if (paid := await asyncio.to_thread(self._paid)) is not None:
            return paid
        assert model.tuning is not None
        tokens = job.trained_tokens or 0
        cost = round(tokens * model.tuning.training)
        finetune, now = self._finetune, utc_now()
        took = now - (finetune.submitted_at or finetune.created_at)
        record = CallRecord(
            id=finetune.id,
            at=now,
            tenant=self._tenant,
            kind="finetune",
            asked=finetune.base_model,
            strategy="finetune",
            outcome="ok",
            model=model.id,
            provider=model.provider,
            usage=Usage(input=tokens),
            cost=cost,
            reserved=self._held.total if self._held is not None else 0,
            latency_ms=1000.0 * took.total_seconds(),
            tags=(f"{TAG}{finetune.id}",),
            extra={"job": job.id, "status": job.status},
        )
        self._parts.ledger.close_call(record)
        await asyncio.to_thread(self._parts.ledger.flush)
        held = self._held or await self._parts.budgets.reserve(finetune.id, self._tenant, {})
        await self._parts.budgets.settle(held, {model.provider: cost})
        self._held = None
        return cost

    def _paid(self) -> int | None:
        try:
            return int(llm_calls.get(self._settings, self._finetune.id)["cost"])
        except UnknownEntity:
            return None


def refuse_dear(cost: int, max_cost: int | None) -> None:
    """
    Raises
    ------
    BudgetExceeded : it is expected to cost more than it may.
    """
    if max_cost is not None and cost > max_cost:
        raise BudgetExceeded(
            f"Fine-tuning is expected to cost ${dollars(cost):.6g}, and it may cost ${dollars(max_cost):.6g}.",
            remedy="Raise max_cost, or prepare one with fewer examples or epochs.",
            field="max_cost",
            value=dollars(max_cost),
            details={"limit": dollars(max_cost), "expected": dollars(cost)},
        )
