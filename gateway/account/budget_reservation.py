"""What a call holds of its budgets while it is on its way, and why another call could not have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.account.budget_index import as_moment, period_end, period_start
from gateway.money import dollars
from gateway.prompt import Tenant
from store.budgets import Budget
from store.errors import BudgetExceeded

# held: counted as reserved. free: nothing is held, because nothing was asked for, because it was let go, or because it
# expired; what the call turns out to cost is charged all the same. settled: charged; nothing changes it any more.
State = Literal["held", "free", "settled"]
# Seconds after which room that only calls in flight take up is worth asking for again.
_IN_FLIGHT = 1.0


@dataclass(slots=True, eq=False)
class Reservation:
    """Money set aside for a call. Made and changed by `Budgets` alone.

    Attributes
    ----------
    amounts : nanos by provider.
    total : nanos of all of them.
    at : when it was made, seconds since 1970; its day and month are what it is charged to, however long it takes.
    counters, by_provider : what it is counted in where the counters are in this process.
    """

    call_id: str
    tenant: Tenant
    amounts: Mapping[str, int]
    total: int
    at: float
    state: State = "free"
    expires: float = 0.0
    counters: tuple[Any, ...] | None = field(default=None, repr=False)
    by_provider: tuple[tuple[Any, str, int], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A budget that has no room for what was asked; nanos."""

    budget: Budget
    subject: str
    spent: int
    reserved: int
    asked: int


def exceeded(shortfalls: Sequence[Shortfall], now: float, downgraded: bool) -> BudgetExceeded:
    """The error for a call that does not fit: of several budgets the one that says so for longest is named.

    A budget that refuses goes before one that asks for a cheaper model, as finding one would not help.
    """
    ends = [_end(short.budget, now) for short in shortfalls]
    index = max(
        range(len(shortfalls)),
        key=lambda number: (shortfalls[number].budget.action == "refuse", ends[number] or float("inf")),
    )
    short, end = shortfalls[index], ends[index]
    budget = short.budget
    in_flight = end is not None and short.spent + short.asked <= budget.amount
    action = "downgrade" if budget.action == "downgrade" and not downgraded else "refuse"
    if end is None:
        retry_after = None
        message = (
            f"This request may cost {_shown(short.asked)}, and a request may cost at most {_shown(budget.amount)}."
        )
        remedy = "Ask for a shorter answer (max_tokens) or a cheaper model."
    else:
        retry_after = _IN_FLIGHT if in_flight else max(0.0, end - now)
        message = (
            f"{_named(budget, short.subject)} is used up: {_shown(short.spent)} of {_shown(budget.amount)} spent, "
            f"{_shown(short.reserved)} held by calls in flight, and this call may cost {_shown(short.asked)}."
        )
        remedy = f"Wait until {as_moment(end):%Y-%m-%d %H:%M} UTC, raise the budget, or ask for a cheaper model."
        if in_flight:
            remedy = "Try again when calls in flight have ended, or ask for a shorter answer or a cheaper model."
    details = {
        "budget": budget.id,
        "scope": budget.scope,
        "subject": short.subject or budget.subject,
        "workspace": budget.workspace,
        "period": budget.period,
        "action": action,
        "limit": dollars(budget.amount),
        "spent": dollars(short.spent),
        "reserved": dollars(short.reserved),
        "asked": dollars(short.asked),
        "in_flight": in_flight,
        "resets_at": None if end is None else as_moment(end).isoformat() + "Z",
    }
    return BudgetExceeded(message, remedy=remedy, retry_after=retry_after, details=details)


def _end(budget: Budget, now: float) -> float | None:
    return None if budget.period == "request" else period_end(budget.period, period_start(budget.period, now))


def _named(budget: Budget, subject: str) -> str:
    name = subject or budget.subject
    whose = f"the {budget.scope} {name!r}" if name else f"calls without a {budget.scope}"
    return f"The budget of {whose} for this {budget.period}"


def _shown(amount: int) -> str:
    # Small amounts keep their digits, large ones do not need them.
    return f"${dollars(amount):,.2f}" if amount >= 10_000_000_000 else f"${dollars(amount):.9f}".rstrip("0").rstrip(".")
