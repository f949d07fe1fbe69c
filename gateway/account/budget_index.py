"""Which budgets a call counts against, found by name and not by walking over all of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from gateway.prompt import Tenant
from store.budgets import Budget

# What a budget of each one by itself calls the one it counted; the table of alerts keeps 256 characters.
_LONGEST = 200
_OWN = ("organisation", "workspace", "project", "user", "key")


class Line(NamedTuple):
    """A budget that applies, and whose spending it counts: "" where the budget names it."""

    budget: Budget
    subject: str


class BudgetIndex:
    """The budgets there are, by scope and subject."""

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        self.budgets = tuple(budgets)
        self.by_id = {budget.id: budget for budget in self.budgets}
        # With a period: those that have something to count.
        self.counted = tuple(budget for budget in self.budgets if budget.scope != "request")
        self.scopes = frozenset(budget.scope for budget in self.budgets)
        self._named: dict[tuple[str, str], list[Budget]] = defaultdict(list)
        for budget in self.counted:
            self._named[budget.scope, budget.subject].append(budget)
        self._requests = tuple(budget for budget in self.budgets if budget.scope == "request")

    def of_tenant(self, tenant: Tenant) -> list[Line]:
        """Budgets of the organisation, workspace, project, user and key that a call counts against."""
        names = (tenant.organisation, tenant.workspace, tenant.project, tenant.user, tenant.key_id)
        return [
            line
            for scope, name in zip(_OWN, names, strict=True)
            if scope in self.scopes
            for line in self._lines(scope, name or "", tenant.workspace)
        ]

    def of_provider(self, workspace: str, provider: str) -> list[Line]:
        """Budgets of a provider that a workspace's call to it counts against."""
        return self._lines("provider", provider, workspace) if "provider" in self.scopes else []

    def of_request(self, workspace: str) -> tuple[Budget, ...]:
        """Budgets that bound each request of a workspace."""
        if not self._requests:
            return ()
        return tuple(budget for budget in self._requests if budget.workspace in ("", workspace))

    def _lines(self, scope: str, name: str, workspace: str) -> list[Line]:
        found = []
        for budget in self._named.get((scope, name), ()) if name else ():
            if budget.workspace in ("", workspace):
                found.append(Line(budget, ""))
        for budget in self._named.get((scope, ""), ()):
            if budget.workspace in ("", workspace):
                # Users and projects are names that a workspace gives: one workspace cannot use up what another's has.
                qualified = not budget.workspace and scope in ("user", "project")
                found.append(Line(budget, _short(f"{workspace}/{name}" if qualified else name)))
        return found


def _short(subject: str) -> str:
    if len(subject) <= _LONGEST:
        return subject
    return subject[: _LONGEST - 17] + "#" + hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def period_start(period: str, moment: float) -> float:
    """When the day or month of a moment began; both are seconds since 1970, periods are those of UTC."""
    at = datetime.fromtimestamp(moment, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return (at.replace(day=1) if period == "month" else at).timestamp()


def period_end(period: str, start: float) -> float:
    """When the day or month that began at `start` ends, which is when the next one begins."""
    at = datetime.fromtimestamp(start, UTC)
    if period == "day":
        return start + 86_400
    return (at + timedelta(days=32)).replace(day=1).timestamp()


def as_date(moment: float) -> str:
    """2026-11-01, of seconds since 1970."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def as_moment(moment: float) -> datetime:
    """Naive UTC, of seconds since 1970."""
    return datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)
