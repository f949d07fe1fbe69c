"""What was spent lately, as the ledger grows: for those who watch it while calls are made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import session
from store.settings import Settings
from store.tables.gateway import LlmCallRow


@dataclass(frozen=True, slots=True)
class Spent:
    """What one user spent on one model within one hour; `cost` in nanos, `hour` naive UTC."""

    hour: datetime
    workspace: str
    user: str | None
    model: str | None
    calls: int
    cost: int


def spent_after(settings: Settings, seq: int, since: datetime) -> tuple[int, list[Spent]]:
    """What was spent by the calls written after line `seq` and asked at `since` or later.

    Lines become visible in the order of `seq` (`store.llm_calls`): whoever comes back with the line that is returned
    sees each call once, whichever process wrote it.

    Returns
    -------
    The last line there is, and the sums up to it; calls that cost nothing are left out.
    """
    with session(settings, readonly=True) as opened:
        last = opened.scalar(sa.select(sa.func.max(LlmCallRow.seq))) or 0
        if last <= seq:
            return seq, []
        hour = _hour(opened)
        keys = (hour, LlmCallRow.workspace, LlmCallRow.user, LlmCallRow.model)
        query = (
            sa.select(*keys, sa.func.count(), sa.func.sum(LlmCallRow.cost))
            .where(LlmCallRow.seq > seq, LlmCallRow.seq <= last, LlmCallRow.at >= since, LlmCallRow.cost > 0)
            .group_by(*keys)
        )
        rows = [
            Spent(datetime.fromisoformat(f"{at}:00"), workspace, user, model, int(calls), int(cost))
            for at, workspace, user, model, calls, cost in opened.execute(query)
        ]
    return last, rows


def spent_since(settings: Settings, workspace: str, since: datetime) -> int:
    """Nanos that calls of a workspace cost which were asked at a moment or later, as far as the ledger was written."""
    query = sa.select(sa.func.sum(LlmCallRow.cost)).where(LlmCallRow.workspace == workspace, LlmCallRow.at >= since)
    with session(settings, readonly=True) as opened:
        return int(opened.scalar(query) or 0)


def _hour(opened: Session) -> Any:
    if opened.get_bind().dialect.name == "sqlite":  # moments are texts there: 2026-11-30 13:05:00.000000
        return sa.func.substr(LlmCallRow.at, 1, 13)
    return sa.func.to_char(LlmCallRow.at, sa.text("'YYYY-MM-DD HH24'"))
