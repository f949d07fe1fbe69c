"""A person's words and name are taken out; what was spent for them stays.

The ledger keeps each call's money under a name that was drawn for this erasure and is written down nowhere beside the
person's: a hash of it could be found again by trying names.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.account.batch_persons import erase_requests
from gateway.account.personal import batches_of, export_person
from gateway.account.retention import unquoted
from store import audit, insights, llm_batches
from store.database import migrate, session
from store.llm_calls import LOCK
from store.locks import transaction_lock
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import (
    AuditRow,
    BatchLineRow,
    ConversationRow,
    FeedbackRow,
    FileRow,
    LlmCallRow,
    LlmContentRow,
    LlmUsageDayRow,
    PreferenceRow,
)

__all__ = ["erase_person", "export_person"]

log = logging.getLogger("merit.gateway")
_PORTION = 1000


def erase_person(
    settings: Settings,
    workspace: str,
    user: str,
    *,
    actor: str = "local",
    role: str = "admin",
    request_id: str | None = None,
    forget: Callable[[str, str], int] | None = None,
) -> dict[str, Any]:
    """Erase a person from a workspace: what they said and were answered, their name, what was learned of them.

    Flush the ledger first, so that no call of theirs is still on its way. What is done is done in portions; after an
    interruption, erasing once more does the rest. Asking for a person whom nobody knows erases nothing, and is told.

    Parameters
    ----------
    user : the person as applications name them in the field `user`.
    forget : forgets what a cache holds of (workspace, user); returns how many answers that were.

    Returns
    -------
    pseudonym : the name under which the ledger keeps their calls, and how many of each were erased or renamed: calls,
    usage_days, contents, conversations, preferences, feedback, batches, files, batch_requests (theirs among those of
    others), insights (answers about numbers that name them), cached, audit.
    """
    migrate(settings)
    user = storable(user)
    pseudonym = f"erased-{secrets.token_hex(8)}"
    counts = {"cached": forget(workspace, user) if forget is not None else 0}
    files: list[str] = []
    with session(settings) as opened:
        counts["contents"] = _delete(opened, LlmContentRow, workspace, user)
        counts["insights"] = insights.forget_person(opened, workspace, user)
        counts["conversations"] = _delete(opened, ConversationRow, workspace, user)
        counts["preferences"] = _delete(opened, PreferenceRow, workspace, user)
        counts["feedback"] = _feedback(opened, workspace, user, pseudonym)
        counts["batches"] = _batches(opened, workspace, user, pseudonym, files)
        files += opened.scalars(
            sa.delete(FileRow).where(FileRow.workspace == workspace, FileRow.user == user).returning(FileRow.id)
        )
        counts["usage_days"] = _rename(opened, LlmUsageDayRow, workspace, user, pseudonym)
    counts["files"] = _remove(settings, files)
    counts["batch_requests"] = erase_requests(settings, workspace, user, pseudonym)
    counts["calls"] = _calls(settings, workspace, user, pseudonym)
    with session(settings) as opened:
        subject = sa.update(AuditRow).where(AuditRow.workspace == workspace, AuditRow.subject == user)
        counts["audit"] = _count(opened, subject.values(subject=pseudonym))
    audit.write(settings, actor, role, workspace, "person.erase", pseudonym, after=counts, request_id=request_id)
    log.info("A person was erased from the workspace %r: %s", workspace, counts)
    return {"pseudonym": pseudonym, **counts}


def _feedback(opened: Session, workspace: str, user: str, pseudonym: str) -> int:
    # What others wrote about answers to this person may be about them, too.
    theirs = sa.select(LlmCallRow.id).where(LlmCallRow.workspace == workspace, LlmCallRow.user == user)
    about = sa.update(FeedbackRow).where(FeedbackRow.workspace == workspace, FeedbackRow.call_id.in_(theirs))
    opened.execute(about.values(comment=None))
    own = sa.update(FeedbackRow).where(FeedbackRow.workspace == workspace, FeedbackRow.user == user)
    return _count(opened, own.values(comment=None, user=pseudonym))


def _batches(opened: Session, workspace: str, user: str, pseudonym: str, files: list[str]) -> int:
    found = batches_of(opened, workspace, user)
    for batch in found:
        lines = sa.update(BatchLineRow).where(BatchLineRow.batch_id == batch.id)
        opened.execute(lines.values(answer=None, key_id=None, custom_id="", user=None))
        named = [one for one in (batch.input_file, batch.output_file, batch.error_file) if one is not None]
        mine = FileRow.workspace == workspace, FileRow.id.in_(named)
        files += opened.scalars(sa.delete(FileRow).where(*mine).returning(FileRow.id))
        if batch.status in llm_batches.ACTIVE:
            batch.status = "cancelling"  # its file is gone: nothing more is asked
        batch.tenant = {**batch.tenant, "user": pseudonym}
        batch.details = {}
    return len(found)


def _calls(settings: Settings, workspace: str, user: str, pseudonym: str) -> int:
    """Rename their calls, and take out what providers wrote about them; models, tokens and money stay."""
    count, last = 0, 0
    while True:
        with session(settings) as opened:
            # Retention must not sum calls up under the old name meanwhile.
            transaction_lock(opened, LOCK)
            query = (
                sa.select(LlmCallRow.seq, LlmCallRow.attempts)
                .where(LlmCallRow.workspace == workspace, LlmCallRow.user == user, LlmCallRow.seq > last)
                .order_by(LlmCallRow.seq)
                .limit(_PORTION)
            )
            rows = opened.execute(query).all()
            if not rows:
                # Those that were summed up between the first step and the last.
                _rename(opened, LlmUsageDayRow, workspace, user, pseudonym)
                return count
            changes = [
                {"seq": seq, "user": pseudonym, "attempts": unquoted(attempts), "conversation": None, "extra": None}
                for seq, attempts in rows
            ]
            opened.execute(sa.update(LlmCallRow), changes)
        count += len(rows)
        last = rows[-1].seq


def _delete(opened: Session, table: Any, workspace: str, user: str) -> int:
    return _count(opened, sa.delete(table).where(table.workspace == workspace, table.user == user))


def _rename(opened: Session, table: Any, workspace: str, user: str, pseudonym: str) -> int:
    theirs = sa.update(table).where(table.workspace == workspace, table.user == user)
    return _count(opened, theirs.values(user=pseudonym))


def _count(opened: Session, statement: Any) -> int:
    result: Any = opened.execute(statement)
    return int(result.rowcount)


def _remove(settings: Settings, files: Sequence[str]) -> int:
    for one in files:
        (settings.root / "files" / one).unlink(missing_ok=True)
    return len(files)
