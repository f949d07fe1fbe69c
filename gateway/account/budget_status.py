"""How a budget stands: spent, reserved, left, and where the present pace leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.account.budget_index import as_moment, period_end, period_start
from gateway.money import dollars
from store.budgets import Budget

# Of a period that must have passed before its pace says anything about the rest.
_TOO_EARLY = 0.02


@dataclass(frozen=True)
class BudgetStatus:
    """A budget, or of a budget of each one by itself the part of one of them.

    Attributes
    ----------
    subject : whose spending it is, for a budget of each one by itself; "" where nobody has spent anything.
    spent, reserved, remaining : nanos; what remains is never less than 0.
    period_start, period_end : naive UTC; None for a budget of a request.
    projected : nanos by the end of the period at the present pace; None before 2 % of it have passed.
    runs_out : when the budget will be used up at that pace; None when not within the period.
    """

    budget: Budget
    subject: str = ""
    spent: int = 0
    reserved: int = 0
    remaining: int = 0
    period_start: datetime | None = None
    period_end: datetime | None = None
    projected: int | None = None
    runs_out: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; money in dollars."""
        return {
            **self.budget.to_dict(),
            "counted": self.subject or self.budget.subject,
            "spent": dollars(self.spent),
            "reserved": dollars(self.reserved),
            "remaining": dollars(self.remaining),
            "used": round(self.spent / self.budget.amount, 4),
            "period_start": None if self.period_start is None else self.period_start.isoformat(),
            "period_end": None if self.period_end is None else self.period_end.isoformat(),
            "projected": None if self.projected is None else dollars(self.projected),
            "runs_out": None if self.runs_out is None else self.runs_out.isoformat(timespec="seconds"),
        }


def statuses(
    budget: Budget, counts: Mapping[str, tuple[int, int]], now: float, *, subjects: int = 20
) -> list[BudgetStatus]:
    """How a budget stands, the largest spending first.

    Parameters
    ----------
    counts : spent and reserved by subject.
    subjects : of a budget of each one by itself, at most so many of them.
    """
    if budget.period == "request":
        return [BudgetStatus(budget, remaining=budget.amount)]
    start = period_start(budget.period, now)
    end = period_end(budget.period, start)
    largest = sorted(counts.items(), key=lambda item: (-item[1][0], -item[1][1], item[0]))[:subjects]
    return [_status(budget, subject, *count, now, start, end) for subject, count in largest or [("", (0, 0))]]


def _status(
    budget: Budget, subject: str, spent: int, reserved: int, now: float, start: float, end: float
) -> BudgetStatus:
    passed = max(now - start, 0.0) / (end - start)
    projected = round(spent / passed) if passed >= _TOO_EARLY else None
    runs_out = None
    if spent >= budget.amount:
        runs_out = as_moment(now)
    elif projected is not None and projected >= budget.amount:
        runs_out = as_moment(start + (now - start) * budget.amount / spent)
    return BudgetStatus(
        budget,
        subject,
        spent,
        reserved,
        max(0, budget.amount - spent - reserved),
        as_moment(start),
        as_moment(end),
        projected,
        runs_out,
    )
