"""What is older than its workspace wants it is removed: words for good, calls into sums by day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from gateway.account.workspaces import Workspaces
from store import llm_scores
from store.database import migrate, session
from store.llm_usage import roll_up
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import (
    BatchLineRow,
    BatchRow,
    ConversationRow,
    FeedbackRow,
    LlmCallRow,
    LlmContentRow,
)

_PORTION = 1000
_CALLS = 5000


def enforce(settings: Settings, now: datetime | None = None) -> dict[str, int]:
    """Remove what is too old, in portions: nobody waits for all of it. May run in several processes at once.

    A workspace that keeps nothing any more loses what it kept as its days pass. Files expire by themselves.

    Parameters
    ----------
    now : naive UTC.

    Returns
    -------
    How many there were of contents, conversations, comments (of feedback), batch_answers, calls.
    """
    migrate(settings)
    now = utc_now() if now is None else now
    workspaces = Workspaces(settings)
    workspaces.refresh()
    counts = dict.fromkeys(("contents", "conversations", "comments", "batch_answers", "calls"), 0)
    for name in _names(settings):
        wanted = workspaces.get(name)
        if wanted.contents_days is not None:
            _words(settings, name, now - timedelta(days=wanted.contents_days), counts)
        if wanted.calls_days is not None:
            before = now - timedelta(days=wanted.calls_days)
            counts["calls"] += _portions(partial(roll_up, settings, name, before, batch=_CALLS))
            _portions(partial(llm_scores.remove, settings, name, before))
    return counts


def _names(settings: Settings) -> list[str]:
    """Workspaces that have left something, whether or not anybody made them."""
    tables: tuple[Any, ...] = (LlmCallRow, LlmContentRow, ConversationRow, FeedbackRow, BatchRow)
    query = sa.union(*(sa.select(table.workspace) for table in tables))
    with session(settings, readonly=True) as opened:
        return sorted(opened.scalars(query))


def _words(settings: Settings, workspace: str, before: datetime, counts: dict[str, int]) -> None:
    steps: dict[str, tuple[Any, Any, dict[str, None] | None]] = {
        "contents": (LlmContentRow, LlmContentRow.at < before, None),
        "conversations": (ConversationRow, ConversationRow.updated_at < before, None),
        "comments": (
            FeedbackRow,
            sa.and_(FeedbackRow.at < before, FeedbackRow.comment.is_not(None)),
            {"comment": None},
        ),
    }
    for name, (table, old, cleared) in steps.items():
        found = sa.select(table.id).where(table.workspace == workspace, old).limit(_PORTION)
        mine = table.id.in_(found)
        statement = sa.delete(table).where(mine) if cleared is None else sa.update(table).where(mine).values(cleared)
        counts[name] += _portions(partial(_changed, settings, statement))
    done = sa.select(BatchRow.id).where(BatchRow.workspace == workspace, BatchRow.finished_at < before)
    answered = BatchLineRow.batch_id.in_(done), BatchLineRow.answer.is_not(None)
    emptied = sa.update(BatchLineRow).where(*answered).values(answer=None, key_id=None)
    counts["batch_answers"] += _changed(settings, emptied)


def _changed(settings: Settings, statement: Any) -> int:
    with session(settings) as opened:
        result: Any = opened.execute(statement, execution_options={"synchronize_session": False})
        return int(result.rowcount)


def _portions(step: Callable[[], int]) -> int:
    total = 0
    while done := step():
        total += done
    return total
