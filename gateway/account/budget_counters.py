"""What it takes to count spending, wherever it is counted: in this process or in Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.account.budget_index import BudgetIndex
from gateway.account.budget_reservation import Reservation, Shortfall
from store.budgets import Budget

# What the ledger says was spent in the present period: by budget, by subject.
Spendings = Mapping[str, Mapping[str, int]]
History = Callable[[Sequence[Budget]], Awaitable[Spendings]]
# Told of spending that grew: budget, subject, start of the period, nanos before and after.
Watcher = Callable[[Budget, str, float, int, int], None]

# What a counter that many share is called; see `gateway.account.budget_local`.
REST = "(all others)"


class Counters(Protocol):
    """Where spending is counted: in this process or in Redis. One step per method, all budgets of a call or none."""

    def use(self, index: BudgetIndex) -> None:
        """Count for these budgets from now on."""

    async def seed(self, history: History) -> None:
        """Count what was spent before a budget was first counted."""

    async def reserve(self, reservation: Reservation, amounts: Mapping[str, int], total: int) -> list[Shortfall]:
        """Hold these amounts in place of what the reservation holds; on a shortfall nothing changes."""

    async def settle(self, reservation: Reservation, actual: Mapping[str, int], total: int) -> None:
        """Let go of what is held and count what was spent."""

    async def release(self, reservation: Reservation) -> None:
        """Let go of what is held."""

    async def touch(self, reservation: Reservation) -> None:
        """Hold for as long again."""

    async def read(self, budget: Budget) -> dict[str, tuple[int, int]]:
        """Spent and reserved by subject in the present period."""

    async def correct(self, budget: Budget, start: float, changes: Mapping[str, int]) -> None:
        """Add to what was spent in the period that began at `start`; never below nothing."""

    def alone(self, seconds: float) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else compares the same counters with the ledger, for at most so long."""

    async def tick(self) -> None:
        """What is done every other second: reservations expire."""
