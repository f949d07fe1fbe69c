"""Batches: made here, worked on by whichever gateway claims them, by priority and then by age.

So many batches are claimed as are needed to have enough to do, and one of a higher priority than all of those at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from gateway.account.files import Files
from gateway.call.batch_files import BatchFiles
from gateway.call.batch_job import Job, Voice
from gateway.call.batch_turns import Turns
from gateway.money import dollars
from gateway.prompt import Tenant
from store import events, llm_batches
from store.errors import MeritError
from store.llm_batches import Batch
from store.settings import Settings
from store.tables.base import new_id, utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.gateway import Gateway

log = logging.getLogger("merit.gateway")

HOURS = 24
# A claim is good for so long, and said anew three times in that while.
CLAIM_SECONDS = 30.0
_LOOK_SECONDS = 2.0
_MOST_JOBS = 16
# A batch that cannot go on is tried again after so long.
_AGAIN_SECONDS = 30.0
# Requests under way when the gateway ends have so long to be answered.
_GRACE_SECONDS = 3.0
_SWEEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants done.

    Attributes
    ----------
    endpoint : one of `gateway.call.batch_requests.ENDPOINTS`.
    priority : 0 to 9, the highest goes first; those below 5 yield to other calls.
    max_cost : nanos for the whole batch; None: no limit of its own.
    output_seconds : after which its files expire; None: as long as the workspace keeps words.
    """

    input_file: str
    endpoint: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: int = 5
    max_cost: int | None = None
    output_seconds: int | None = None


def submit(settings: Settings, tenant: Tenant, order: Order) -> Batch:
    """Keep a batch that is to be worked on.

    Raises
    ------
    UnknownEntity : its input file is gone.
    """
    now = utc_now()
    batch = Batch(
        id=f"batch_{new_id()}",
        workspace=tenant.workspace,
        key_name=tenant.key_name,
        tenant=asdict(tenant),
        status="validating",
        priority=order.priority,
        endpoint=order.endpoint,
        input_file=order.input_file,
        output_file=None,
        error_file=None,
        total=0,
        completed=0,
        failed=0,
        cost=0,
        details={
            "metadata": dict(order.metadata),
            "max_cost": order.max_cost,
            "output_seconds": order.output_seconds,
        },
        created_at=now,
        started_at=None,
        finished_at=None,
        expires_at=now + timedelta(hours=HOURS),
    )
    llm_batches.create(settings, batch)
    return batch


class Batches:
    """Works on batches. One in a process; used from its event loop.

    Parameters
    ----------
    alone : no other gateway works on this database: what is claimed was claimed by one that is gone.
    """

    def __init__(self, settings: Settings, gateway: Gateway, files: Files, voice: Voice, *, alone: bool) -> None:
        self._settings = settings
        self._gateway = gateway
        self._files = files
        self._batch_files = BatchFiles(settings, files, gateway.parts.contents.keyring)
        self._voice = voice
        self._alone = alone
        self._owner = f"{socket.gethostname()[:24]}-{os.getpid()}-{new_id()[-12:]}"
        self._turns = Turns(settings.batch_concurrency, self._others, settings.batch_yield_at)
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._looking: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._closing = False

    async def start(self) -> None:
        """
        Raises
        ------
        ServiceUnavailable : the database does not answer.
        """
        if self._alone:
            await asyncio.to_thread(llm_batches.release, self._settings, None)
        self._looking = [asyncio.create_task(one) for one in (self._look(), self._hold(), self._sweep())]

    async def close(self) -> None:
        """Begin nothing more, wait a little for what is under way, and leave the rest to the next gateway."""
        self._closing = True
        for task in self._looking:
            task.cancel()
        for job in self._jobs.values():
            job.leave()
        tasks = list(self._tasks.values())
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._looking, return_exceptions=True)
        with suppress(MeritError, SQLAlchemyError):
            await asyncio.to_thread(llm_batches.release, self._settings, self._owner)

    def wake(self, batch: Batch) -> None:
        """A batch was made or changed in this process: look at once."""
        if (job := self._jobs.get(batch.id)) is not None:
            job.now(batch)
        self._wake.set()

    def _others(self) -> int:
        """Calls under way that are not of batches."""
        flying = sum(one.in_flight for one in self._gateway.parts.health.windows().values())
        return flying - self._turns.taken

    async def _look(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                while await self._claim():
                    pass
            except (MeritError, SQLAlchemyError) as error:
                log.error("Batches cannot be looked for: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()

    async def _claim(self) -> bool:
        if len(self._jobs) >= _MOST_JOBS:
            return False
        jobs = self._jobs.values()
        # Of one that has just begun nobody knows yet whether it is enough; other gateways want some, too.
        busy = jobs and (not self._turns.free or any(job.starting for job in jobs))
        above = max(job.batch.priority for job in jobs) if busy else None
        batch = await asyncio.to_thread(llm_batches.claim, self._settings, self._owner, CLAIM_SECONDS, above)
        if batch is None or self._closing:
            return False
        job = Job(
            self._settings,
            self._gateway,
            self._batch_files,
            self._voice,
            self._turns,
            self._owner,
            batch,
            on_begun=self._wake.set,
        )
        self._jobs[batch.id] = job
        self._tasks[batch.id] = asyncio.create_task(self._work(job))
        return True

    async def _work(self, job: Job) -> None:
        batch_id = job.batch.id
        again = 0.0
        try:
            await job.run()
            if job.batch.status not in llm_batches.ACTIVE:
                await asyncio.to_thread(self._tell, job.batch)
        except MeritError as error:
            log.error("The batch %s cannot go on now: %s", batch_id, error)
            again = _AGAIN_SECONDS
        except Exception:  # one batch must not take the others along
            log.exception("The batch %s cannot go on now.", batch_id)
            again = _AGAIN_SECONDS
        finally:
            self._jobs.pop(batch_id, None)
            self._tasks.pop(batch_id, None)
            self._wake.set()
        if again:
            with suppress(MeritError, SQLAlchemyError):
                await asyncio.to_thread(llm_batches.release, self._settings, self._owner, batch_id, seconds=again)

    def _tell(self, batch: Batch) -> None:
        told = {
            "batch": batch.id,
            "workspace": batch.workspace,
            "key_id": batch.tenant.get("key_id"),
            "status": batch.status,
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
            "cost": dollars(batch.cost),
        }
        events.emit(self._settings, "batch", told)

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS / 6)
            if not (mine := list(self._jobs)):
                continue
            try:
                held = await asyncio.to_thread(llm_batches.hold, self._settings, self._owner, CLAIM_SECONDS)
            except (MeritError, SQLAlchemyError) as error:
                log.error("Batches cannot be held: %s", error)
                continue
            for batch_id in mine:
                job, task = self._jobs.get(batch_id), self._tasks.get(batch_id)
                if job is None or task is None:
                    continue
                if batch_id in held:
                    job.now(held[batch_id])
                else:
                    log.warning("The batch %s is worked on by another gateway now.", batch_id)
                    task.cancel()

    async def _sweep(self) -> None:
        while True:
            try:
                if removed := await asyncio.to_thread(self._files.sweep):
                    log.info("%d files were removed: they had expired, or belonged to nobody.", removed)
            except (MeritError, SQLAlchemyError, OSError) as error:
                log.error("Files cannot be looked through: %s", error)
            await asyncio.sleep(_SWEEP_SECONDS)


__all__ = ["HOURS", "Batches", "Order", "Voice", "submit"]
