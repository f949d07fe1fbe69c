"""What the ledger says was spent in the present day or month, by budget and by whose spending it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.account.budget_counters import Spendings
from gateway.account.budget_index import BudgetIndex, as_moment, period_start
from gateway.money import nanos
from gateway.prompt import Tenant
from store.budgets import Budget
from store.database import migrate, session
from store.settings import Settings
from store.tables.gateway import LlmCallRow, LlmUsageDayRow

# Column → the scope that has to be among the budgets for its names to matter.
_COLUMNS = {
    "organisation": None, "workspace": None, "project": "project", "user": "user", "key_id": "key",
    "provider": "provider",
}  # fmt: skip


def spendings(settings: Settings, index: BudgetIndex, budgets: Sequence[Budget], now: float) -> Spendings:
    """Nanos by budget and subject since the period of each began, from the lines of the ledger and the sums that
    retention made of older ones.

    Parameters
    ----------
    index : where the budgets stand.
    now : seconds since 1970, within the periods that are meant.
    """
    migrate(settings)
    found: dict[str, dict[str, int]] = {budget.id: defaultdict(int) for budget in budgets}
    with session(settings, readonly=True) as opened:
        for period in sorted({budget.period for budget in budgets}):
            wanted = {budget.id for budget in budgets if budget.period == period}
            scopes: set[str] = {budget.scope for budget in budgets if budget.period == period}
            since = as_moment(period_start(period, now))
            for tenant, provider, amount in _sums(opened, since, scopes):
                lines = index.of_tenant(tenant)
                if provider is not None:
                    lines += index.of_provider(tenant.workspace, provider)
                for budget, subject in lines:
                    if budget.id in wanted:
                        found[budget.id][subject] += amount
            for workspace, provider, amount in _elsewhere(opened, since) if "provider" in scopes else ():
                for budget, subject in index.of_provider(workspace, provider):
                    if budget.id in wanted:
                        found[budget.id][subject] += amount
    return found


def written_since(settings: Settings, moment: float) -> bool:
    """Whether the last line of the ledger is of a call that was asked after a moment: whoever writes it keeps up."""
    migrate(settings)
    query = sa.select(LlmCallRow.at).order_by(LlmCallRow.seq.desc()).limit(1)
    with session(settings, readonly=True) as opened:
        last = opened.scalar(query)
    return last is not None and last >= as_moment(moment)


def _sums(opened: Session, since: datetime, scopes: set[str]) -> Iterator[tuple[Tenant, str | None, int]]:
    names = [name for name, scope in _COLUMNS.items() if scope is None or scope in scopes]
    # One statement over both tables: retention moves lines from one to the other while this reads.
    both = sa.union_all(
        *(
            sa.select(*(getattr(table, name).label(name) for name in names), table.cost.label("cost")).where(
                table.at >= since, table.cost > 0
            )
            for table in (LlmCallRow, LlmUsageDayRow)
        )
    ).subquery()
    columns = [both.c[name] for name in names]
    query = sa.select(*columns, sa.cast(sa.func.sum(both.c.cost), sa.BigInteger)).group_by(*columns)
    for row in opened.execute(query, execution_options={"yield_per": 1000}):
        who: dict[str, Any] = dict(zip(names, row[:-1], strict=True))
        provider = who.pop("provider", None)
        yield Tenant(**who), provider, int(row[-1])


def _elsewhere(opened: Session, since: datetime) -> Iterator[tuple[str, str, int]]:
    """What attempts cost that failed at another provider than the one whose name the line bears: on to the one and off
    the other.
    """
    query = sa.select(LlmCallRow.workspace, LlmCallRow.provider, LlmCallRow.attempts).where(
        LlmCallRow.at >= since, LlmCallRow.cost > 0, sa.func.json_array_length(LlmCallRow.attempts) > 1
    )
    for workspace, provider, attempts in opened.execute(query, execution_options={"yield_per": 1000}):
        for attempt in attempts:
            other = str(attempt.get("model", "")).partition("/")[0]
            amount = nanos(attempt.get("cost") or 0)
            if amount and provider is not None and other != provider:
                yield workspace, other, amount
                yield workspace, provider, -amount
