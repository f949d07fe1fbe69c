"""Counters of budgets in this process, for a gateway that runs alone.

Nothing here waits between looking at a counter and changing it, so that under asyncio every change is one step and no
two calls can take the same room. Methods are coroutines only because those of the counters in Redis are.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from gateway.account.budget_counters import REST, History, Watcher
from gateway.account.budget_index import BudgetIndex, Line, period_end, period_start
from gateway.account.budget_reservation import Reservation, Shortfall
from store.budgets import Budget

log = logging.getLogger("merit.gateway")

# Users, projects and the like that one budget of "each one by itself" tells apart; all others share one counter, which
# bounds what names made up by a caller can take of the memory, and is the strict side.
MOST_SUBJECTS = 100_000
_MOST_TENANTS = 10_000
# A counter, the provider whose part of a call it counts (None: it counts the whole call), and nanos.
_Part = tuple["Counter", str | None, int]


class Counter:
    """What was spent and is reserved of one budget, by one subject, in one period."""

    __slots__ = ("budget", "hard", "limit", "reserved", "spent", "start", "subject", "watch_from")

    def __init__(self, budget: Budget, subject: str, start: float) -> None:
        self.subject, self.start, self.spent, self.reserved = subject, start, 0, 0
        self.follow(budget)

    def follow(self, budget: Budget) -> None:
        self.budget, self.limit, self.hard = budget, budget.amount, budget.action != "alert"
        # Nobody wants to hear of less than half.
        self.watch_from = (budget.amount + 1) // 2


class LocalCounters:
    """Counters in dictionaries.

    Parameters
    ----------
    clock : seconds since 1970.
    ttl_s : a reservation that was neither settled nor touched for so long is let go.
    watcher : told when spending that is at least half of a budget grows.
    """

    def __init__(self, clock: Callable[[], float], ttl_s: float, watcher: Watcher) -> None:
        self._clock, self._ttl_s, self._watcher = clock, ttl_s, watcher
        self._index = BudgetIndex()
        self._starts: dict[str, float] = {}
        self._rolls_at = 0.0
        self._of: dict[str, dict[str, Counter]] = {}
        # Of the period that ended last, with its start: a call that was asked in it may still change its model.
        self._before: dict[str, tuple[float, dict[str, Counter]]] = {}
        self._own: dict[tuple[str | None, ...], tuple[Counter, ...]] = {}
        # In the order of expiry, as all are held for equally long.
        self._held: dict[str, Reservation] = {}
        self._unseeded: dict[str, Budget] = {}

    def use(self, index: BudgetIndex) -> None:
        self._roll(self._clock())
        self._index = index
        self._own.clear()
        known, self._of = self._of, {}
        self._before = {name: before for name, before in self._before.items() if name in index.by_id}
        for budget in index.counted:
            self._of[budget.id] = known.get(budget.id, {})
            _, before = self._before.get(budget.id, (0.0, {}))
            for counter in (*self._of[budget.id].values(), *before.values()):
                counter.follow(budget)
            if budget.id not in known:
                self._unseeded[budget.id] = budget
        # Calls on their way count against a budget that was made meanwhile.
        for reservation in self._held.values():
            self._let_go(reservation)
            self._take(reservation, self._parts(reservation, reservation.amounts, reservation.total))

    async def seed(self, history: History) -> None:
        if not self._unseeded:
            return
        budgets = tuple(self._unseeded.values())
        starts = dict(self._starts)
        spendings = await history(budgets)
        for budget in budgets:
            self._unseeded.pop(budget.id, None)
            await self.correct(budget, starts[budget.period], spendings.get(budget.id, {}))

    async def reserve(self, reservation: Reservation, amounts: Mapping[str, int], total: int) -> list[Shortfall]:
        now = self._clock()
        if now >= self._rolls_at:
            self._roll(now)
        other = self._held.get(reservation.call_id)
        if other is not None and other is not reservation:
            await self.release(other)
        tenant = reservation.tenant
        name = (tenant.organisation, tenant.workspace, tenant.project, tenant.user, tenant.key_id)
        own = self._own.get(name)
        if own is None:
            own = self._find(reservation, name)
        if reservation.counters is None:
            by_provider = self._find_providers(tenant.workspace, amounts) if "provider" in self._index.scopes else ()
            # Plain loops: every call of the gateway passes here.
            for counter in own:
                if counter.hard and counter.spent + counter.reserved + total > counter.limit:
                    return _short(own, by_provider, total)
            for counter, _, amount in by_provider:
                if counter.hard and amount and counter.spent + counter.reserved + amount > counter.limit:
                    return _short(own, by_provider, total)
            for counter in own:
                counter.reserved += total
            for counter, _, amount in by_provider:
                counter.reserved += amount
            reservation.counters, reservation.by_provider = own, by_provider
            reservation.amounts, reservation.total = amounts, total
            # A clock that was put back must not lead out of every period.
            reservation.at = max(now, self._starts["day"])
        else:
            parts = self._parts(reservation, amounts, total)
            wanted: dict[Counter, int] = {}
            for counter, _, amount in parts:
                wanted[counter] = wanted.get(counter, 0) + amount
            if short := _shortfalls(wanted, self._holding(reservation)):
                return short
            if reservation.state == "held":
                self._let_go(reservation)
            reservation.amounts, reservation.total = amounts, total
            self._take(reservation, parts)
        reservation.state = "held"
        reservation.expires = now + self._ttl_s
        # Last in the order of expiry, also where it was held before.
        self._held.pop(reservation.call_id, None)
        self._held[reservation.call_id] = reservation
        return []

    async def settle(self, reservation: Reservation, actual: Mapping[str, int], total: int) -> None:
        held = reservation.state == "held"
        if held:
            self._let_go(reservation)
            self._forget(reservation)
        reservation.state = "settled"
        if not total:
            return
        own = reservation.counters
        if own is None or not held:
            self._roll(self._clock())
            for counter, _, amount in self._parts(reservation, actual, total):
                self._charge(counter, amount)
            return
        for counter in own:
            self._charge(counter, total)
        for counter, provider, _ in reservation.by_provider:
            self._charge(counter, actual.get(provider, 0))
        if "provider" in self._index.scopes and not actual.keys() <= reservation.amounts.keys():
            # A provider that was not reserved for is charged as well.
            others = {name: amount for name, amount in actual.items() if name not in reservation.amounts}
            for counter, other, amount in self._parts(reservation, others, 0):
                if other in others:
                    self._charge(counter, amount)

    def _charge(self, counter: Counter, amount: int) -> None:
        before = counter.spent
        counter.spent = after = before + amount
        if after >= counter.watch_from and amount > 0:
            self._watcher(counter.budget, counter.subject, counter.start, before, after)

    async def release(self, reservation: Reservation) -> None:
        if reservation.state == "held":
            self._let_go(reservation)
            self._forget(reservation)
            reservation.state = "free"

    async def touch(self, reservation: Reservation) -> None:
        if reservation.state == "held":
            reservation.expires = self._clock() + self._ttl_s
            self._forget(reservation)
            self._held[reservation.call_id] = reservation

    async def read(self, budget: Budget) -> dict[str, tuple[int, int]]:
        self._roll(self._clock())
        return {subject: (one.spent, one.reserved) for subject, one in self._of.get(budget.id, {}).items()}

    async def correct(self, budget: Budget, start: float, changes: Mapping[str, int]) -> None:
        self._roll(self._clock())
        if budget.id not in self._of or self._starts[budget.period] != start:
            return
        for subject, change in changes.items():
            counter = self._counter(self._index.by_id[budget.id], subject)
            self._charge(counter, max(change, -counter.spent))

    def alone(self, seconds: float) -> AbstractAsyncContextManager[bool]:  # noqa: ARG002  what another may have to wait
        return nullcontext(True)

    async def tick(self) -> None:
        now = self._clock()
        while self._held:
            first = next(iter(self._held.values()))
            if first.expires > now:
                break
            log.warning("A reservation of call %s was neither settled nor let go in time.", first.call_id)
            self._let_go(first)
            self._forget(first)
            first.state = "free"

    def _roll(self, now: float) -> None:
        """Begin the periods that have begun."""
        if now < self._rolls_at:
            return
        starts = {period: period_start(period, now) for period in ("day", "month")}
        for budget in self._index.counted:
            start = self._starts.get(budget.period)
            if start is not None and start != starts[budget.period]:
                self._before[budget.id] = start, self._of[budget.id]
                self._of[budget.id] = {}
        self._starts = starts
        self._rolls_at = period_end("day", starts["day"])
        self._own.clear()

    def _find(self, reservation: Reservation, name: tuple[str | None, ...]) -> tuple[Counter, ...]:
        if len(self._own) >= _MOST_TENANTS:
            self._own.clear()
        lines = self._index.of_tenant(reservation.tenant)
        found = self._own[name] = tuple(self._counter(line.budget, line.subject) for line in lines)
        return found

    def _find_providers(self, workspace: str, amounts: Mapping[str, int]) -> tuple[tuple[Counter, str, int], ...]:
        found: list[tuple[Counter, str, int]] = []
        for provider, amount in amounts.items():
            counters = self._own.get(("provider", workspace, provider))
            if counters is None:
                lines = self._index.of_provider(workspace, provider)
                counters = tuple(self._counter(line.budget, line.subject) for line in lines)
                self._own["provider", workspace, provider] = counters
            for counter in counters:
                found.append((counter, provider, amount))
        return tuple(found)

    def _counter(self, budget: Budget, subject: str) -> Counter:
        return _named(self._of[budget.id], budget, subject, self._starts[budget.period])

    def _counter_at(self, line: Line, moment: float) -> Counter | None:
        """The counter of the period that a moment lies in; None where that is neither this one nor the one before, or
        was over when the budget was made."""
        budget, subject = line
        if self._starts[budget.period] <= moment:
            return self._counter(budget, subject)
        start, counters = self._before.get(budget.id, (math.inf, {}))
        return _named(counters, budget, subject, start) if start <= moment else None

    def _parts(self, reservation: Reservation, amounts: Mapping[str, int], total: int) -> list[_Part]:
        """Every counter that a call counts in, with its part of these amounts: those of the periods it was asked in."""
        index, tenant = self._index, reservation.tenant
        lines: list[tuple[Line, str | None, int]] = [(line, None, total) for line in index.of_tenant(tenant)]
        for provider, amount in amounts.items():
            lines += ((line, provider, amount) for line in index.of_provider(tenant.workspace, provider))
        found = ((self._counter_at(line, reservation.at), provider, amount) for line, provider, amount in lines)
        return [(counter, provider, amount) for counter, provider, amount in found if counter is not None]

    def _take(self, reservation: Reservation, parts: Sequence[_Part]) -> None:
        reservation.counters = tuple(counter for counter, provider, _ in parts if provider is None)
        reservation.by_provider = tuple((one, provider, held) for one, provider, held in parts if provider is not None)
        for counter, _, amount in parts:
            counter.reserved += amount

    def _let_go(self, reservation: Reservation) -> None:
        for counter in reservation.counters or ():
            counter.reserved -= reservation.total
        for counter, _, amount in reservation.by_provider:
            counter.reserved -= amount

    def _forget(self, reservation: Reservation) -> None:
        if self._held.get(reservation.call_id) is reservation:
            del self._held[reservation.call_id]

    def _holding(self, reservation: Reservation) -> dict[Counter, int]:
        if reservation.state != "held":
            return {}
        held = dict.fromkeys(reservation.counters or (), reservation.total)
        for counter, _, amount in reservation.by_provider:
            held[counter] = held.get(counter, 0) + amount
        return held


def _named(counters: dict[str, Counter], budget: Budget, subject: str, start: float) -> Counter:
    found = counters.get(subject)
    if found is None:
        if len(counters) >= MOST_SUBJECTS and REST not in counters:
            log.warning("The budget %s tells %d apart; all others share one.", budget.id, MOST_SUBJECTS)
        if len(counters) >= MOST_SUBJECTS:
            subject = REST
        found = counters.setdefault(subject, Counter(budget, subject, start))
    return found


def _shortfalls(wanted: Mapping[Counter, int], held: Mapping[Counter, int]) -> list[Shortfall]:
    """Budgets without room; one that is asked for no more than the call holds already has it."""
    found = []
    for counter, amount in wanted.items():
        mine = held.get(counter, 0)
        others = counter.reserved - mine
        if counter.hard and amount > mine and counter.spent + others + amount > counter.limit:
            found.append(Shortfall(counter.budget, counter.subject, counter.spent, others, amount))
    return found


def _short(own: Sequence[Counter], by_provider: Sequence[tuple[Counter, str, int]], total: int) -> list[Shortfall]:
    wanted = dict.fromkeys(own, total)
    wanted.update({counter: amount for counter, _, amount in by_provider})
    return _shortfalls(wanted, {})
