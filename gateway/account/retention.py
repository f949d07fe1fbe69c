"""What is older than its workspace wants it is removed: words for good, calls into sums by day."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from gateway.account.record import wordless
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
    How many there were of contents, conversations, comments (of feedback), quotes (lines of the ledger with words of
    providers or of an ensemble's members), batch_answers, calls.
    """
    migrate(settings)
    now = utc_now() if now is None else now
    workspaces = Workspaces(settings)
    workspaces.refresh()
    counts = dict.fromkeys(("contents", "conversations", "comments", "quotes", "batch_answers", "calls"), 0)
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
    counts["quotes"] += _portions(partial(_quotes, settings, workspace, before))
    done = sa.select(BatchRow.id).where(BatchRow.workspace == workspace, BatchRow.finished_at < before)
    answered = BatchLineRow.batch_id.in_(done), BatchLineRow.answer.is_not(None)
    emptied = sa.update(BatchLineRow).where(*answered).values(answer=None, key_id=None)
    counts["batch_answers"] += _changed(settings, emptied)


def _quotes(settings: Settings, workspace: str, before: datetime) -> int:
    """Take out of the ledger what providers wrote about calls and what members of ensembles answered."""
    calls = LlmCallRow
    quoting = sa.or_(
        sa.cast(calls.attempts, sa.Text).like('%"message"%'),
        sa.cast(calls.extra, sa.Text).like('%"answer"%'),
        sa.cast(calls.extra, sa.Text).like("%did not judge: %"),
    )
    # Most calls were answered at once, and have nothing of the kind.
    unusual = sa.or_(calls.strategy == "ensemble", calls.outcome != "ok", sa.func.json_array_length(calls.attempts) > 1)
    query = (
        sa.select(calls.seq, calls.attempts, calls.extra)
        .where(calls.workspace == workspace, calls.at < before, unusual, quoting)
        .limit(_PORTION)
    )
    with session(settings, readonly=True) as opened:
        found = opened.execute(query).all()
    changes = [
        {"old": seq, "attempts": unquoted(attempts), "extra": None if extra is None else dict(wordless(extra))}
        for seq, attempts, extra in found
    ]
    if changes:
        with session(settings) as opened:
            # By the table: who was summed up meanwhile is not missed.
            table: Any = calls.__table__
            opened.connection().execute(sa.update(table).where(table.c.seq == sa.bindparam("old")), changes)
    return len(changes)


def unquoted(attempts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Attempts of a line without what providers wrote."""
    return [{name: value for name, value in one.items() if name != "message"} for one in attempts]


def _changed(settings: Settings, statement: Any) -> int:
    with session(settings) as opened:
        result: Any = opened.execute(statement, execution_options={"synchronize_session": False})
        return int(result.rowcount)


def _portions(step: Callable[[], int]) -> int:
    total = 0
    while done := step():
        total += done
    return total
