"""Whoever has a gateway works on fine-tunes, and takes them up again where a process that died left them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from gateway.call.providers.http import Http
from gateway.call.providers.openai_tuning import OpenAITuning
from gateway.improve.finetuning.bill import Bill, refuse_dear
from gateway.improve.finetuning.job import Job, LostClaim, NotNow, Tools
from gateway.improve.finetuning.planning import tunable
from gateway.improve.scoring import Scorer
from gateway.money import dollars, nanos
from store import llm_finetunes
from store.errors import MeritError, StateConflict
from store.llm_finetunes import Finetune
from store.settings import Settings
from store.tables.base import new_id

if TYPE_CHECKING:
    from gateway.gateway import Gateway

log = logging.getLogger("merit.gateway")

_LOOK_S, _CLAIM_S, _AGAIN_S = 5.0, 120.0, 30.0
# Most of the time of each goes by while a provider trains.
_MOST_JOBS = 8


class Finetunes:
    """Works on fine-tunes. One in a process; used from its event loop.

    Parameters
    ----------
    reload : has the gateway take over changes of the catalogue now.
    alone : no other gateway works on this database: what is claimed was claimed by one that is gone.
    poll_s : seconds between two looks at a provider's job; default: as the settings say.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        reload: Callable[[], Awaitable[object]],
        scorer: Callable[[], Scorer],
        *,
        alone: bool,
        poll_s: float | None = None,
    ) -> None:
        self._settings = settings
        self._http = Http()
        self._tools = Tools(
            settings, gateway, OpenAITuning(self._http), reload, scorer, poll_s or settings.finetune_poll_seconds
        )
        self._alone = alone
        self._owner = f"{socket.gethostname()[:24]}-{os.getpid()}-{new_id()[-12:]}"
        self._working: asyncio.Task[None] | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """
        Raises
        ------
        ServiceUnavailable : the database does not answer.
        """
        if self._alone:
            await asyncio.to_thread(llm_finetunes.release, self._settings, None)
        self._working = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop; whoever comes next goes on."""
        if self._working is not None:
            tasks = [self._working, *self._jobs]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(MeritError, SQLAlchemyError):
            await asyncio.to_thread(llm_finetunes.release, self._settings, self._owner)
        await self._http.close()

    async def submit(
        self, finetune_id: str, *, max_cost: float | None = None, workspace: str | None = None
    ) -> Finetune:
        """Let a prepared one be submitted.

        Parameters
        ----------
        max_cost : dollars, training and evaluation together; None: as budgets allow.

        Raises
        ------
        UnknownEntity, StateConflict : there is none, or it was submitted before.
        BudgetExceeded : it is expected to cost more than `max_cost`, or than a budget has left.
        """
        found = await asyncio.to_thread(llm_finetunes.get, self._settings, finetune_id, workspace)
        if found.state != "prepared":
            raise StateConflict(
                f"The fine-tune {found.id} is {found.state}.",
                remedy="Prepare another one: what was kept meanwhile counts, too.",
                field="state",
                value=found.state,
            )
        limit = None if max_cost is None else nanos(max_cost)
        refuse_dear(found.expected, limit)
        parts = self._tools.gateway.parts
        bill = Bill(self._settings, parts, found)
        # Told now rather than by a failure later; what is held is held again by whoever takes it up.
        await bill.reserve(tunable(parts.configuration, found.base_model), found.expected)
        await bill.release()
        made = await asyncio.to_thread(
            llm_finetunes.submit, self._settings, finetune_id, max_cost=limit, workspace=workspace
        )
        log.info("The fine-tune %s is to be submitted, expected to cost $%.6g.", made.id, dollars(made.expected))
        self._wake.set()
        return made

    def wake(self) -> None:
        """Something was changed in this process: look at once."""
        self._wake.set()

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            found = None
            try:
                if len(self._jobs) < _MOST_JOBS:
                    found = await asyncio.to_thread(llm_finetunes.claim, self._settings, self._owner, _CLAIM_S)
            except (MeritError, SQLAlchemyError) as error:
                log.error("Fine-tunes cannot be looked for: %s", error)
            if found is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_S):
                        await self._wake.wait()
                continue
            task = asyncio.create_task(self._bring_to_its_end(found))
            self._jobs.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._jobs.discard(task)
        self._wake.set()

    async def _bring_to_its_end(self, found: Finetune) -> None:
        try:
            await Job(self._tools, found, self._owner).run()
            return
        except LostClaim:
            return
        except NotNow as later:
            log.warning("The fine-tune %s waits: %s", found.id, later)
        except Exception:  # one of them must not take the others along
            log.exception("The fine-tune %s cannot go on now.", found.id)
        with suppress(MeritError, SQLAlchemyError):
            await asyncio.to_thread(llm_finetunes.release, self._settings, self._owner, found.id, seconds=_AGAIN_S)
