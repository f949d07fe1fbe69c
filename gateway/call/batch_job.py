"""One batch while this gateway works on it: its requests are checked, made side by side, and what came of each is kept.

What is kept is never asked again. A request that was under way when the gateway died is: the ledger charges the first
one what was reserved for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.call.batch_allowance import Allowance, Grant
from gateway.call.batch_files import BatchFiles, Written, response, result
from gateway.call.batch_requests import ENDPOINTS, LineError, Request, check
from gateway.call.batch_retry import MOST_ASKED, Passing, passing
from gateway.call.batch_turns import Turn, Turns
from gateway.money import nanos
from gateway.prompt import Kind, Prompt, Tenant
from store import llm_batches
from store.errors import GatewayError, MeritError, UnknownEntity
from store.llm_batches import Batch, Line
from store.pages import storable
from store.settings import Settings
from store.tables.base import utc_now

if TYPE_CHECKING:
    from gateway.gateway import Gateway

log = logging.getLogger("merit.gateway")

# Requests that are read from the file at once, and those that wait to be asked again.
_PORTION, _PORTION_BYTES, _MOST_ALIVE = 64, 1 << 20, 64
# Answers that the database did not take are offered again after so long.
_STORE_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Voice:
    """How a request's body is read, and how an error is told: as the API itself does it.

    Attributes
    ----------
    read : makes a prompt of a body, in a tenant's name; raises `MeritError` for one that does not fit.
    tell : status and body of the answer that an error gives.
    """

    read: Callable[[dict[str, Any], Tenant, Kind], Prompt]
    tell: Callable[[Exception], tuple[int, dict[str, Any]]]


class LostClaim(Exception):
    """Another gateway works on the batch now."""


class Job:
    """Brings one claimed batch to its end, or as far as it gets before it is stopped.

    Parameters
    ----------
    owner : in whose name it was claimed.
    on_begun : called when it no longer takes turns that others could have.

    Attributes
    ----------
    batch : as it was stored when it was last looked at.
    starting : nobody knows yet how many turns it will take.
    """

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        files: BatchFiles,
        voice: Voice,
        turns: Turns,
        owner: str,
        batch: Batch,
        *,
        on_begun: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._files = files
        self._voice = voice
        self._turns = turns
        self._owner = owner
        self.batch = batch
        self.starting = True
        self._on_begun = on_begun
        self._tenant = Tenant(**batch.tenant)
        self._kind = ENDPOINTS[batch.endpoint]
        self._allowance = Allowance(batch.details.get("max_cost"), batch.cost)
        self._alive = asyncio.Semaphore(_MOST_ALIVE)
        self._stopping = asyncio.Event()
        self._leaving = False
        self._until = 0.0
        self._waiting: list[tuple[Line, asyncio.Future[None]]] = []
        self._storing: asyncio.Task[None] | None = None
        self._random = random.Random()  # noqa: S311  spreads retries; nothing secret

    def now(self, batch: Batch) -> None:
        """The batch as it is stored now: somebody may have cancelled it, or its time may be over."""
        self.batch = batch
        if batch.status == "cancelling" or self._expired():
            self._stop()

    def leave(self) -> None:
        """Begin nothing more: the gateway ends, and the next one goes on."""
        self._leaving = True
        self._stop()

    async def run(self) -> None:
        """Work until the batch has ended, or is another gateway's.

        Raises
        ------
        MeritError, SQLAlchemyError : it cannot go on now.
        """
        with suppress(LostClaim):
            try:
                if self.batch.status == "validating" and not self._expired():
                    await self._check()
                if self.batch.status == "in_progress" and not self._expired():
                    await self._ask_all()
                if self.batch.status != "failed" and not self._leaving:
                    await self._finish()
            except UnknownEntity:
                # Whoever it concerned was erased, and with them its files.
                await self._fail(LineError("input_file_gone", f"The file {self.batch.input_file} is not there."))
            finally:
                if self._storing is not None and not self._storing.done():
                    await asyncio.wait({self._storing}, timeout=_STORE_AGAIN_S)
                    self._storing.cancel()

    def _stop(self) -> None:
        self._stopping.set()
        self._turns.leave(self.batch.id)

    def _expired(self) -> bool:
        return self.batch.expires_at is not None and self.batch.expires_at <= utc_now()

    async def _check(self) -> None:
        def work() -> tuple[int, tuple[LineError, ...]]:
            found = check(self._files.lines(self.batch), self.batch.endpoint, self._settings.max_batch_lines)
            return found.total, found.errors

        total, errors = await asyncio.to_thread(work)
        if errors:
            await self._fail(*errors)
        else:
            await self._change(status="in_progress", total=total, started_at=utc_now())

    async def _ask_all(self) -> None:
        self._files.can_keep(self.batch)
        known = await asyncio.to_thread(llm_batches.kept, self._settings, self.batch.id)
        try:
            async with asyncio.TaskGroup() as group:
                async for one in self._requests():
                    if one.line in known:
                        continue
                    await self._alive.acquire()
                    if not self._turns.free:
                        self._begun()
                    if (turn := await self._turn()) is None:
                        return
                    task = group.create_task(self._answer(one, turn))
                    # One that is cancelled before it began gives nothing back by itself.
                    task.add_done_callback(lambda _, held=turn: held.give())  # type: ignore[misc]
                self._begun()
        except BaseExceptionGroup as failed:
            # One stands for all: what they have in common is that the batch cannot go on.
            raise failed.exceptions[0] from None

    def _begun(self) -> None:
        if self.starting:
            self.starting = False
            self._on_begun()

    async def _requests(self) -> AsyncIterator[Request]:
        reading = self._files.requests(self.batch)

        def portion() -> list[Request]:
            found: list[Request] = []
            size = 0
            for one in islice(reading, _PORTION):
                found.append(one)
                size += one.bytes
                if size > _PORTION_BYTES:
                    break
            return found

        while found := await asyncio.to_thread(portion):
            for one in found:
                yield one

    async def _turn(self) -> Turn | None:
        """Wait for a turn, and for the end of a pause before it; None when there will be none."""
        loop = asyncio.get_running_loop()
        if self._expired():
            self._stop()
        while not self._stopping.is_set():
            if (left := self._until - loop.time()) > 0:
                self._begun()
                await self._pause(left)
            elif (turn := await self._turns.take(self.batch.priority, self.batch.id)) is not None:
                if self._until <= loop.time() and not self._stopping.is_set():
                    return turn
                turn.give()
        return None

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _answer(self, request: Request, turn: Turn) -> None:
        """Ask until there is an answer or a reason why there is none, and keep it."""
        try:
            asked = tries = 0
            while True:
                try:
                    line, failure = await self._ask(request)
                    tries += 1
                    asked += failure is not None and failure.counts
                    if failure is None or asked >= MOST_ASKED:
                        await self._keep(line)
                        return
                finally:
                    turn.give()
                wait = failure.wait(tries, self._random)
                if failure.everybody:
                    self._until = max(self._until, asyncio.get_running_loop().time() + wait)
                await self._pause(wait)
                if (again := await self._turn()) is None:
                    return  # It is told as not answered, or the next gateway asks it.
                turn = again
        finally:
            self._alive.release()

    async def _ask(self, request: Request) -> tuple[Line, Passing | None]:
        """Once: what came of it, and whether that will pass."""
        prompt: Prompt | None = None
        grant: Grant | None = None
        cost = 0
        try:
            prompt = self._voice.read(dict(request.body), self._tenant, self._kind)
            grant = await self._allowance.grant(self._gateway, prompt)
            answered = await self._gateway.answer(grant.prompt, batch=self.batch.id)
            cost = answered.run.cost
            body = {**answered.body, "merit": answered.run.merit()}
            return self._line(request, prompt, 200, body, cost), None
        except MeritError as error:
            cost = _cost(error)
            return self._line(request, prompt, *self._voice.tell(error), cost), passing(error)
        except Exception as error:  # one request must not take the others along
            log.exception("A request of the batch %s failed, line %d.", self.batch.id, request.line)
            return self._line(request, prompt, *self._voice.tell(error), cost), None
        finally:
            if grant is not None:
                self._allowance.settle(grant, cost)

    def _line(self, request: Request, prompt: Prompt | None, status: int, body: dict[str, Any], cost: int) -> Line:
        call_id = None if prompt is None else prompt.id
        text = result(request.custom_id, call_id, response(status, call_id, body))
        key_id, answer = self._files.seal(self.batch, request.line, text)
        user = None if prompt is None or prompt.tenant.user is None else storable(prompt.tenant.user)
        return Line(request.line, request.custom_id, user, status == 200, call_id, key_id, answer, cost)

    async def _keep(self, line: Line) -> None:
        """Return when it is in the database: with it, the turn to ask another is given back."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, done))
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store())
        await done

    async def _store(self) -> None:
        """What ended meanwhile shares a transaction."""
        while self._waiting:
            portion, self._waiting = self._waiting, []
            lines = [line for line, _ in portion]
            try:
                status = await asyncio.to_thread(llm_batches.keep, self._settings, self.batch.id, self._owner, lines)
            except (MeritError, SQLAlchemyError) as error:
                log.error("Answers of the batch %s are not stored yet: %s", self.batch.id, error)
                self._waiting[:0] = portion
                await asyncio.sleep(_STORE_AGAIN_S)
                continue
            for _, done in portion:
                if done.done():
                    continue
                if status is None:
                    done.set_exception(LostClaim())
                else:
                    done.set_result(None)
            if status == "cancelling":
                self._stop()

    async def _finish(self) -> None:
        await self._change(status="finalizing", details={"finalizing_at": utc_now().isoformat()})
        batch = self.batch
        left = batch.total - batch.completed - batch.failed
        status = "cancelled" if batch.status == "cancelling" else "completed"
        if status == "completed" and (left or batch.started_at is None):
            status = "expired"
        unanswered = f"batch_{status}" if left else None
        written = Written()
        if batch.started_at is not None:
            written = await asyncio.to_thread(self._files.write, batch, unanswered)
        keeps = self._gateway.parts.workspaces.get(batch.workspace).keep != "nothing"
        try:
            await self._end(
                status,
                output=written.output,
                errors=written.errors,
                failed=written.failed,
                details={"usage": written.usage},
                forget=not keeps,
            )
        except BaseException:
            await asyncio.to_thread(self._files.discard, written.output, written.errors)
            raise

    async def _fail(self, *errors: LineError) -> None:
        await self._end("failed", details={"errors": [one.explain() for one in errors]}, forget=True)

    async def _change(self, **values: Any) -> None:
        changed = await asyncio.to_thread(llm_batches.change, self._settings, self.batch.id, self._owner, **values)
        if changed is None:
            raise LostClaim
        self.now(changed)

    async def _end(self, status: str, **values: Any) -> None:
        ended = await asyncio.to_thread(
            llm_batches.finish, self._settings, self.batch.id, self._owner, status, **values
        )
        if ended is None:
            raise LostClaim
        self.batch = ended


def _cost(error: MeritError) -> int:
    """Nanos that failed attempts cost, as far as the error tells."""
    if not isinstance(error, GatewayError):
        return 0
    return sum(nanos(one.get("cost", 0)) for one in error.details.get("attempts", ()))
