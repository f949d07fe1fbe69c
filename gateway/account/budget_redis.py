"""Counters of budgets in Redis, which any number of gateways share.

When Redis does not answer, a call that a budget could refuse is refused: nobody knows what was spent. Where budgets
only alert it passes. What was spent meanwhile is owed to Redis and counted as soon as it answers; what a gateway owes
when it ends is found in the ledger by the next reconciliation.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import LockError, RedisError

from gateway.account import budget_scripts as scripts
from gateway.account.budget_counters import History, Watcher
from gateway.account.budget_index import BudgetIndex, as_date, period_end, period_start
from gateway.account.budget_reservation import Reservation, Shortfall
from gateway.account.shared_state import PREFIX, unanswered
from store.budgets import Budget
from store.errors import ServiceUnavailable
from store.settings import Settings

log = logging.getLogger("merit.gateway")

_ROOT = f"{PREFIX}budget:"
_SEEDED, _EXPIRING = f"{_ROOT}seeded", f"{_ROOT}expiring"
_HELD, _DONE = f"{_ROOT}held:", f"{_ROOT}done:"
# Counters stay so long after the end of their period, for calls that were asked in it and those who look back.
_KEPT_S = 3 * 86_400
# Within it, settling a call again changes nothing; a repeated command comes within seconds.
_REMEMBERED_MS = 120_000
_MOST_OWED = 10_000
_SEEDING_S, _SEEDING_WAIT_S = 120.0, 30.0
# Pairs in one command.
_CHUNK = 5_000


class _Part(NamedTuple):
    """A counter and a call's part of an amount."""

    budget: Budget
    subject: str
    start: float
    amount: int

    @property
    def key(self) -> str:
        return _key(self.budget, self.start)

    @property
    def forget_at(self) -> int:
        return _forget_at(self.budget, self.start)


class RedisCounters:
    """Counters in Redis; every change is one script.

    Parameters
    ----------
    clock : seconds since 1970, for the day and month that a call belongs to. All else goes by the clock of Redis.
    ttl_s : a reservation that was neither settled nor touched for so long is let go.
    watcher : told when spending grows.
    """

    def __init__(
        self, settings: Settings, redis: Redis, clock: Callable[[], float], ttl_s: float, watcher: Watcher
    ) -> None:
        self._settings, self._redis, self._clock, self._watcher = settings, redis, clock, watcher
        self._ttl_ms = round(ttl_s * 1000)
        self._index = BudgetIndex()
        self._seeded: set[str] = set()
        self._history: History | None = None
        self._seeding = asyncio.Lock()
        # Settlements and releases that Redis did not take.
        self._owed: deque[Callable[[], Awaitable[None]]] = deque(maxlen=_MOST_OWED)
        self._running: set[asyncio.Task[None]] = set()
        self._hold, self._settle, self._release, self._touch, self._sweep, self._raise, self._correct = (
            redis.register_script(text)
            for text in (
                scripts.HOLD, scripts.SETTLE, scripts.RELEASE, scripts.TOUCH, scripts.SWEEP, scripts.RAISE,
                scripts.CORRECT,
            )
        )  # fmt: skip

    def use(self, index: BudgetIndex) -> None:
        self._index = index
        self._seeded &= index.by_id.keys()

    async def seed(self, history: History) -> None:
        self._history = history
        async with self._seeding:
            try:
                if await self._unseeded():
                    lock = self._redis.lock(
                        f"{_ROOT}seeding", timeout=_SEEDING_S, blocking_timeout=_SEEDING_WAIT_S, sleep=0.05
                    )
                    # It only saves work: adding up twice gives the same.
                    with suppress(LockError):
                        async with lock:
                            await self._seed_all(await self._unseeded(), history)
                    if await self._unseeded():
                        raise ServiceUnavailable(
                            "Another gateway is still adding up what was spent.", remedy="Try again in a moment."
                        )
            except (RedisError, OSError) as error:
                raise unanswered(self._settings, error) from None

    async def _unseeded(self) -> list[Budget]:
        unsure = [budget for budget in self._index.counted if budget.id not in self._seeded]
        if not unsure:
            return []
        flags = await self._redis.hmget(_SEEDED, [budget.id for budget in unsure])
        self._seeded.update(budget.id for budget, flag in zip(unsure, flags, strict=True) if flag)
        return [budget for budget in unsure if budget.id not in self._seeded]

    async def _seed_all(self, budgets: Sequence[Budget], history: History) -> None:
        now = self._clock()
        spendings = await history(budgets)
        for budget in budgets:
            start = period_start(budget.period, now)
            key, forget_at = _key(budget, start), _forget_at(budget, start)
            spent = list(spendings.get(budget.id, {}).items())
            for begin in range(0, len(spent), _CHUNK):
                await self._raise(keys=[key], args=[forget_at, *_flat(spent[begin : begin + _CHUNK])])
            # Last: a gateway that dies before has done no harm, as another adds the same up again.
            await self._redis.hset(_SEEDED, budget.id, "1")
            for subject, amount in spent:
                self._watcher(budget, subject, start, 0, amount)

    async def reserve(self, reservation: Reservation, amounts: Mapping[str, int], total: int) -> list[Shortfall]:
        parts = self._parts(reservation, amounts, total)
        if not parts and reservation.state == "free":
            return []
        fresh = reservation.state == "free"
        try:
            for _ in range(3):
                answer = await self._hold_once(reservation, parts)
                if answer[0] != b"unseeded":
                    break
                # Redis is new or has lost what it held.
                self._seeded.clear()
                assert self._history is not None
                await self.seed(self._history)
            else:
                raise ServiceUnavailable("Redis forgets what was spent.", remedy="See `merit doctor`.")
        except (RedisError, OSError) as error:
            if fresh:
                self._owe(lambda: self._release_now(reservation.call_id))
            if any(part.budget.action != "alert" for part in parts):
                raise unanswered(self._settings, error) from None
            log.warning("A call passed whose budgets only alert: %s", unanswered(self._settings, error).message)
            reservation.amounts, reservation.total = amounts, total
            return []
        except asyncio.CancelledError:
            if fresh:
                self._owe(lambda: self._release_now(reservation.call_id))
            raise
        if answer[0] == b"short":
            found = zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
            return [_shortfall(parts[int(number) - 1], spent, others) for number, spent, others in found]
        reservation.amounts, reservation.total, reservation.state = amounts, total, "held"
        return []

    async def _hold_once(self, reservation: Reservation, parts: Sequence[_Part]) -> list[Any]:
        keys = [_SEEDED, _EXPIRING, _HELD + reservation.call_id]
        args: list[Any] = [reservation.call_id, self._ttl_ms, _HELD]
        for part in parts:
            limit = "" if part.budget.action == "alert" else part.budget.amount
            keys.append(part.key)
            args += (part.budget.id, part.subject, part.amount, limit, part.forget_at)
        found: list[Any] = await self._hold(keys=keys, args=args)
        return found

    async def settle(self, reservation: Reservation, actual: Mapping[str, int], total: int) -> None:
        held = reservation.state == "held"
        reservation.state = "settled"
        parts = [part for part in self._parts(reservation, actual, total) if part.amount]
        if held or parts:
            await self._surely(lambda: self._settle_now(reservation.call_id, parts))

    async def _settle_now(self, call_id: str, parts: Sequence[_Part]) -> None:
        keys = [_EXPIRING, _HELD + call_id, _DONE + call_id, *(part.key for part in parts)]
        args: list[Any] = [call_id, _REMEMBERED_MS]
        for part in parts:
            args += (part.subject, part.amount, part.forget_at)
        spent = await self._settle(keys=keys, args=args)
        for part, after in zip(parts, spent, strict=False):
            self._watcher(part.budget, part.subject, part.start, after - part.amount, after)

    async def release(self, reservation: Reservation) -> None:
        if reservation.state == "held":
            reservation.state = "free"
            await self._surely(lambda: self._release_now(reservation.call_id))

    async def _release_now(self, call_id: str) -> None:
        await self._release(keys=[_EXPIRING, _HELD + call_id], args=[call_id])

    async def touch(self, reservation: Reservation) -> None:
        if reservation.state == "held":
            with suppress(RedisError, OSError):
                await self._touch(keys=[_EXPIRING], args=[reservation.call_id, self._ttl_ms])

    async def read(self, budget: Budget) -> dict[str, tuple[int, int]]:
        try:
            start = period_start(budget.period, self._clock())
            fields: dict[Any, Any] = await self._redis.hgetall(_key(budget, start))
        except (RedisError, OSError) as error:
            raise unanswered(self._settings, error) from None
        found: dict[str, list[int]] = {}
        for name, amount in fields.items():
            text = name.decode("utf-8", "surrogatepass")
            found.setdefault(text[1:], [0, 0])[text[0] == "r"] = int(amount)
        return {subject: (spent, reserved) for subject, (spent, reserved) in found.items()}

    async def correct(self, budget: Budget, start: float, changes: Mapping[str, int]) -> None:
        items = list(changes.items())
        try:
            for begin in range(0, len(items), _CHUNK):
                chunk = items[begin : begin + _CHUNK]
                args = [_forget_at(budget, start), *_flat(chunk)]
                spent = await self._correct(keys=[_key(budget, start)], args=args)
                for (subject, change), after in zip(chunk, spent, strict=True):
                    self._watcher(budget, subject, start, after - change, after)
        except (RedisError, OSError) as error:
            raise unanswered(self._settings, error) from None

    @asynccontextmanager
    async def alone(self, seconds: float) -> AsyncIterator[bool]:
        lock = self._redis.lock(f"{_ROOT}comparing", timeout=seconds)
        try:
            mine = await lock.acquire(blocking=False)
        except (RedisError, OSError) as error:
            raise unanswered(self._settings, error) from None
        try:
            yield mine
        finally:
            if mine:
                # Nobody waits for it: it is gone with its time where it cannot be given back.
                with suppress(RedisError, OSError):
                    await lock.release()

    async def tick(self) -> None:
        try:
            while self._owed:
                await self._owed[0]()
                self._owed.popleft()
            if swept := await self._sweep(keys=[_EXPIRING], args=[_HELD]):
                log.warning("%d reservations were neither settled nor let go in time.", swept)
        except (RedisError, OSError) as error:
            log.warning("%s %d calls are owed to it.", unanswered(self._settings, error).message, len(self._owed))

    async def _surely(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do it even where the caller is cancelled, and later where Redis does not answer."""

        async def run() -> None:
            try:
                await step()
            except (RedisError, OSError):
                self._owe(step)

        task = asyncio.ensure_future(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        await asyncio.shield(task)

    def _owe(self, step: Callable[[], Awaitable[None]]) -> None:
        if len(self._owed) == _MOST_OWED:
            log.error("More is owed to Redis than is kept; the reconciliation with the ledger will count it.")
        self._owed.append(step)

    def _parts(self, reservation: Reservation, amounts: Mapping[str, int], total: int) -> list[_Part]:
        tenant, at = reservation.tenant, reservation.at
        lines = [(line, total) for line in self._index.of_tenant(tenant)]
        for provider, amount in amounts.items():
            lines += ((line, amount) for line in self._index.of_provider(tenant.workspace, provider))
        return [_Part(budget, subject, period_start(budget.period, at), amount) for (budget, subject), amount in lines]


def _key(budget: Budget, start: float) -> str:
    return f"{_ROOT}{budget.id}:{as_date(start)}"


def _forget_at(budget: Budget, start: float) -> int:
    return round((period_end(budget.period, start) + _KEPT_S) * 1000)


def _flat(pairs: Iterable[tuple[str, int]]) -> list[str | int]:
    return [value for pair in pairs for value in pair]


def _shortfall(part: _Part, spent: bytes, others: bytes) -> Shortfall:
    return Shortfall(part.budget, part.subject, int(spent), int(others), part.amount)
