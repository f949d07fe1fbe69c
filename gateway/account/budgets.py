"""Nothing is spent past a budget: what a call may cost is reserved before it, what it did cost is settled after it.

    reservation = await budgets.reserve(call_id, tenant, {"openai": 1_200_000})     # or BudgetExceeded
    await budgets.replace(reservation, {"openai": 90_000, "groq": 400_000})         # another model takes over
    await budgets.settle(reservation, {"openai": 90_000, "groq": 310_000})          # or release(reservation)

A call fits when, for every budget that applies to it, what was spent, what calls in flight hold and what it asks for
are together no more than the amount; otherwise nothing is held anywhere. So spending can pass a budget only by what
calls in flight cost more than was reserved for them.

What becomes of a reservation:

- settled: what is held is let go, what was spent is counted, in the day and month in which the call was reserved.
  Settling again changes nothing.
- released: what is held is let go. Should the call have cost something after all, it can still be settled.
- expired, when it was neither settled nor touched for 15 minutes: as released. It is never charged for that; a late
  settlement is counted in full.
- of a gateway that died: `recover_unknown` charges what was reserved. Counters in this process start from the ledger,
  so that before `start` the line there is what counts; those in Redis are charged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from redis.asyncio import Redis

from gateway.account.budget_alerts import Alerts
from gateway.account.budget_counters import Counters, Spendings
from gateway.account.budget_index import BudgetIndex, period_start
from gateway.account.budget_ledger import spendings, written_since
from gateway.account.budget_local import LocalCounters
from gateway.account.budget_reconcile import Reconciliation
from gateway.account.budget_redis import RedisCounters
from gateway.account.budget_reservation import Reservation, Shortfall, exceeded
from gateway.account.budget_status import BudgetStatus, statuses
from gateway.prompt import Tenant
from store import budgets as stored
from store.budgets import MOST, Budget
from store.errors import InvalidValue, MeritError, ServiceUnavailable, StateConflict
from store.settings import Settings

__all__ = ["BudgetStatus", "Budgets", "Reservation"]

log = logging.getLogger("merit.gateway")
RECONCILE_SECONDS = 300.0
# Between looking at the ledger and at the counters when a gateway starts on counters that others left in Redis.
_START_PAUSE = 0.2
_MOST_RECOVERED = 100_000
_OLDEST = 1.6e9


class Budgets:
    """All budgets, as this process enforces them. Used from one event loop.

    Parameters
    ----------
    redis : shared by all gateways; None counts in this process alone (see `gateway.account.sole_gateway`).
    flush : blocks until the ledger has written what was given to it; False when it could not. Asked before sums of the
        ledger are taken.
    clock : seconds since 1970.
    ttl_s : for how long a reservation that nobody touches is held.
    poll_s : how often changed budgets are looked for.
    """

    def __init__(
        self,
        settings: Settings,
        redis: Redis | None = None,
        *,
        flush: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.time,
        ttl_s: float = 900.0,
        poll_s: float = 2.0,
        reconcile_s: float = RECONCILE_SECONDS,
    ) -> None:
        self._settings, self._clock, self._flush = settings, clock, flush
        self._poll_s, self._reconcile_s = poll_s, reconcile_s
        self._alerts = Alerts(settings)
        self._local = redis is None
        self._counters: Counters = (
            LocalCounters(clock, ttl_s, self._alerts.watch)
            if redis is None
            else RedisCounters(settings, redis, clock, ttl_s, self._alerts.watch)
        )
        self._reconciliation = Reconciliation(self._counters, self._history, self._keeps_up, clock)
        self._index = BudgetIndex()
        self._version: tuple[int, datetime | None] | None = None
        self._reloading = asyncio.Lock()
        self._started = False
        self._flushed = True
        self._look_soon = asyncio.Event()
        self._recovered: set[str] = set()
        self._early: list[tuple[str, Tenant, Mapping[str, int]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the budgets, count what was spent already, and look for changes from now on.

        Raises
        ------
        ServiceUnavailable : database or Redis do not answer.
        """
        await self._load()
        if not self._local:
            await self._reconciliation.run(self._index, pause_s=_START_PAUSE)
        self._started = True
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._reconcile())]

    async def close(self) -> None:
        """Stop; alerts that wait are given."""
        for task in self._tasks:
            # Until Python 3.12 `asyncio.wait_for`, which the client of Redis uses, can swallow one.
            while not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=0.1)
        self._tasks = []
        with suppress(MeritError):
            await self._counters.tick()
        await asyncio.to_thread(self._alerts.close)

    async def reload(self) -> None:
        """Read the budgets again, after one was changed. Returns when what was spent before counts against new ones."""
        await self._load()

    async def _load(self) -> None:
        async with self._reloading:
            version = await asyncio.to_thread(stored.version, self._settings)
            index = BudgetIndex(await asyncio.to_thread(stored.list_budgets, self._settings))
            before, self._index = self._index, index
            self._counters.use(index)
            while self._early:
                await self._charge_unknown(*self._early.pop())
            await self._counters.seed(self._history)
            self._version = version
            if index.by_id.keys() - before.by_id.keys():
                self._look_soon.set()
            for budget in index.counted:
                known = before.by_id.get(budget.id)
                if known is not None and known.amount != budget.amount:
                    # What was spent may have passed a threshold without growing.
                    start = period_start(budget.period, self._clock())
                    for subject, (spent, _) in (await self._counters.read(budget)).items():
                        self._alerts.watch(budget, subject, start, 0, spent)

    async def reserve(
        self, call_id: str, tenant: Tenant, amounts: Mapping[str, int], *, downgraded: bool = False
    ) -> Reservation:
        """Hold what a call may cost, in all budgets that apply or in none. Where nothing is asked for it always passes.

        Parameters
        ----------
        call_id : holds one reservation; another under the same id takes its place.
        amounts : provider → nanos; several for an ensemble.
        downgraded : a cheaper model was looked for already: budgets that downgrade refuse as well.

        Raises
        ------
        BudgetExceeded : `details["action"]` says whether to refuse the call or to look for a cheaper model;
            `retry_after` is when the period ends, or a second where only calls in flight are in the way.
        ServiceUnavailable : Redis does not answer, and a budget that applies could refuse.
        """
        total = _total(amounts)
        reservation = Reservation(call_id, tenant, amounts, total, self._clock())
        if not self._started:
            raise ServiceUnavailable("Budgets are not loaded yet.", remedy="Try again in a moment.")
        if total:
            await self._hold(reservation, amounts, total, downgraded)
        return reservation

    async def replace(
        self, reservation: Reservation, amounts: Mapping[str, int], *, downgraded: bool = False
    ) -> Reservation:
        """Hold other amounts instead, in one step: on failure what was held before is held still.

        Parameters
        ----------
        amounts : everything that the call may cost yet or has cost already, failed attempts included.

        Returns
        -------
        The same reservation.

        Raises
        ------
        BudgetExceeded, ServiceUnavailable : see `reserve`. A budget that is asked for no more than before has room.
        StateConflict : it was settled.
        """
        if reservation.state == "settled":
            raise StateConflict(f"The call {reservation.call_id} is settled.", remedy="Reserve again under another id.")
        total = _total(amounts)
        if total or reservation.state == "held":
            await self._hold(reservation, amounts, total, downgraded)
        else:
            reservation.amounts, reservation.total = amounts, total
        return reservation

    async def extend(
        self, reservation: Reservation, amounts: Mapping[str, int], *, downgraded: bool = False
    ) -> Reservation:
        """Hold these amounts besides what is held; see `replace`."""
        together = dict(reservation.amounts)
        for provider, amount in amounts.items():
            together[provider] = together.get(provider, 0) + amount
        return await self.replace(reservation, together, downgraded=downgraded)

    async def settle(self, reservation: Reservation, actual: Mapping[str, int]) -> None:
        """Count what was spent and let go of what is held. Once: settling again changes nothing.

        A caller that is cancelled meanwhile, or a Redis that does not answer, loses none of it.

        Parameters
        ----------
        actual : provider → nanos; also of providers that nothing was reserved for.
        """
        if reservation.state == "settled":
            return
        total = _total(actual)
        await self._counters.settle(reservation, actual, total)
        for budget in self._index.of_request(reservation.tenant.workspace) if total else ():
            if budget.action == "alert" and total > budget.amount:
                # Requests have no period: told of once a day.
                day = reservation.at - reservation.at % 86_400
                self._alerts.watch(budget, "", day, budget.amount - 1, total)

    async def release(self, reservation: Reservation) -> None:
        """Let go of what is held, of a call that cost nothing."""
        await self._counters.release(reservation)

    async def touch(self, reservation: Reservation) -> None:
        """Hold it for as long again: a stream that goes on."""
        await self._counters.touch(reservation)

    async def recover_unknown(self, call_id: str, tenant: Tenant, amounts: Mapping[str, int]) -> None:
        """Charge what was reserved for a call during which a gateway died; it belongs to the day that its id tells.

        Write its line in the ledger and recover it either both before `start` or both after it.
        """
        if call_id in self._recovered:
            return
        if len(self._recovered) >= _MOST_RECOVERED:
            self._recovered.clear()
        self._recovered.add(call_id)
        if self._started:
            await self._charge_unknown(call_id, tenant, amounts)
        elif not self._local:
            self._early.append((call_id, tenant, amounts))

    async def release_unknown(self, call_id: str, tenant: Tenant) -> None:
        """Let go of what a call still holds whose gateway died, where its parts are charged by themselves."""
        await self._counters.release(Reservation(call_id, tenant, {}, 0, self._clock(), "held"))

    async def _charge_unknown(self, call_id: str, tenant: Tenant, amounts: Mapping[str, int]) -> None:
        total = _total(amounts)
        reservation = Reservation(call_id, tenant, amounts, total, _asked(call_id, self._clock()))
        await self._counters.settle(reservation, amounts, total)

    async def status(
        self,
        *,
        workspace: str | None = None,
        budget_id: str | None = None,
        subjects: int = 20,
    ) -> list[BudgetStatus]:
        """How the budgets stand now.

        Parameters
        ----------
        workspace : only budgets of this one.
        budget_id : only this budget.
        subjects : of a budget of each one by itself, the so many that spent most.

        Raises
        ------
        ServiceUnavailable : Redis does not answer.
        """
        found: list[BudgetStatus] = []
        for budget in self._index.budgets:
            if workspace not in (None, budget.workspace) or budget_id not in (None, budget.id):
                continue
            counts = {} if budget.scope == "request" else await self._counters.read(budget)
            found += statuses(budget, counts, self._clock(), subjects=subjects)
        return found

    async def _hold(self, reservation: Reservation, amounts: Mapping[str, int], total: int, downgraded: bool) -> None:
        held = reservation.total if reservation.state == "held" else 0
        short: Sequence[Shortfall] = [
            Shortfall(budget, "", 0, 0, total)
            for budget in self._index.of_request(reservation.tenant.workspace)
            if budget.action != "alert" and total > max(budget.amount, held)
        ]
        if short := short or await self._counters.reserve(reservation, amounts, total):
            raise exceeded(short, self._clock(), downgraded)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                if await asyncio.to_thread(stored.version, self._settings) != self._version:
                    await self.reload()
                await self._counters.tick()
            except MeritError as error:
                log.warning("Budgets could not be looked at: %s", error)
            except Exception:
                log.exception("Budgets could not be looked at.")

    async def _reconcile(self) -> None:
        while True:
            # Sooner after budgets were made: what was spent while their past was added up may be missing.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._reconcile_s):
                    await self._look_soon.wait()
            self._look_soon.clear()
            try:
                await self._reconciliation.run(self._index)
            except MeritError as error:
                log.warning("Budgets could not be compared with the ledger: %s", error)
            except Exception:
                log.exception("Budgets could not be compared with the ledger.")

    async def _history(self, budgets: Sequence[Budget]) -> Spendings:
        if not budgets:
            return {}
        if self._flush is not None:
            self._flushed = await asyncio.to_thread(self._flush)
        return await asyncio.to_thread(spendings, self._settings, self._index, budgets, self._clock())

    async def _keeps_up(self, moment: float) -> bool:
        if self._local and self._flush is not None:
            return self._flushed
        return self._flushed and await asyncio.to_thread(written_since, self._settings, moment)


def _total(amounts: Mapping[str, int]) -> int:
    total = 0
    for amount in amounts.values():
        if not 0 <= amount <= MOST:
            raise InvalidValue(
                f"A call cannot cost {amount} nanos.", remedy="Give 0 or more nanos.", field="amounts", value=amount
            )
        total += amount
    return total


def _asked(call_id: str, now: float) -> float:
    """When a call was asked, as its id tells; now where it tells nothing that can be."""
    try:
        asked = int(call_id[:12], 16) / 1000
    except ValueError:
        return now
    # Ids are 32 digits, and no gateway of ours is older than this.
    return asked if len(call_id) == 32 and _OLDEST < asked <= now else now
