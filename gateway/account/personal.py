"""Everything that is stored of one person in a workspace, in words, for whoever has a right to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.account.batch_persons import answers_of, requests_of
from gateway.account.contents import Contents, answer_row, line_row
from store import audit
from store.database import migrate, session
from store.errors import MeritError
from store.llm_calls import COLUMNS
from store.pages import storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import (
    BatchLineRow,
    BatchRow,
    ConversationRow,
    FeedbackRow,
    FileRow,
    LlmCallRow,
    LlmContentRow,
    LlmUsageDayRow,
    PreferenceRow,
)

_PORTION = 1000


def export_person(
    settings: Settings,
    workspace: str,
    user: str,
    *,
    actor: str = "local",
    role: str = "admin",
    request_id: str | None = None,
) -> dict[str, Any]:
    """What is stored of a person, decrypted, as JSON. The audit log says that it was asked for.

    Parameters
    ----------
    user : the person as applications name them in the field `user`.

    Returns
    -------
    workspace, user, exported_at, and lists: calls (with what was said, where it is kept), usage_days (of calls that are
    summed up), conversations, feedback, preferences, batches (with their answers), batch_requests (those that name the
    person among others, with their answers), files. What cannot be decrypted is told under `unreadable`.
    """
    migrate(settings)
    user = storable(user)
    contents = Contents(settings)
    with session(settings, readonly=True) as opened:
        found: dict[str, Any] = {
            "workspace": workspace,
            "user": user,
            "exported_at": utc_now().isoformat(),
            "calls": list(_calls(opened, contents, workspace, user)),
            "usage_days": _rows(opened, LlmUsageDayRow, workspace, user),
            "conversations": [
                _without(row, "messages", "key_id")
                | _said(contents, workspace, row["id"], row["key_id"], messages=row["messages"])
                for row in _rows(opened, ConversationRow, workspace, user)
            ],
            "feedback": _rows(opened, FeedbackRow, workspace, user),
            "preferences": [
                _without(row, "workspace", "user") for row in _rows(opened, PreferenceRow, workspace, user)
            ],
            "batches": list(_batches(opened, contents, workspace, user)),
            "batch_requests": list(_requests(settings, opened, contents, workspace, user)),
            "files": _rows(opened, FileRow, workspace, user),
        }
    counts = {name: len(value) for name, value in found.items() if isinstance(value, list)}
    audit.write(settings, actor, role, workspace, "person.export", user, after=counts, request_id=request_id)
    plain: dict[str, Any] = orjson.loads(orjson.dumps(found))
    return plain


def batches_of(opened: Session, workspace: str, user: str) -> list[BatchRow]:
    """Batches that were asked for in a person's name."""
    rows = opened.scalars(sa.select(BatchRow).where(BatchRow.workspace == workspace).order_by(BatchRow.id))
    return [row for row in rows if row.tenant.get("user") == user]


def _calls(opened: Session, contents: Contents, workspace: str, user: str) -> Iterator[dict[str, Any]]:
    columns = [getattr(LlmCallRow, name).label(name) for name in COLUMNS]
    said = [LlmContentRow.key_id.label("data_key"), LlmContentRow.prompt, LlmContentRow.answer]
    query = (
        sa.select(*columns, LlmContentRow.id.label("kept"), *said)
        .outerjoin(LlmContentRow, LlmContentRow.id == LlmCallRow.id)
        .where(LlmCallRow.workspace == workspace, LlmCallRow.user == user)
        .order_by(LlmCallRow.seq)
    )
    for row in opened.execute(query, execution_options={"yield_per": _PORTION}):
        shown = {name: getattr(row, name) for name in COLUMNS}
        if row.kept is not None:
            shown |= _said(contents, workspace, row.id, row.data_key, prompt=row.prompt)
            if row.answer is not None:
                shown |= _said(contents, workspace, answer_row(row.id), row.data_key, answer=row.answer)
        yield shown


def _batches(opened: Session, contents: Contents, workspace: str, user: str) -> Iterator[dict[str, Any]]:
    for batch in batches_of(opened, workspace, user):
        shown = _shown(batch)
        lines = opened.scalars(sa.select(BatchLineRow).where(BatchLineRow.batch_id == batch.id))
        shown["lines"] = [
            {"line": one.line, "custom_id": one.custom_id, "status": one.status}
            | _said(contents, workspace, line_row(batch.id, one.line), one.key_id, answer=one.answer)
            for one in lines
            if one.answer is not None
        ]
        yield shown


def _requests(
    settings: Settings, opened: Session, contents: Contents, workspace: str, user: str
) -> Iterator[dict[str, Any]]:
    answers = {(one["file"], one["custom_id"]): one for one in answers_of(opened, contents, workspace, user)}
    for one in requests_of(settings, workspace, user):
        shown = {"file": one.file, "line": one.line, "custom_id": one.custom_id, "request": one.body}
        yield answers.pop((one.file, one.custom_id), {}) | shown
    yield from answers.values()


def _said(contents: Contents, workspace: str, row: str, key_id: str | None, **stored: bytes) -> dict[str, Any]:
    ((name, words),) = stored.items()
    try:
        return {name: orjson.loads(contents.read(workspace, row, key_id, words))}
    except (MeritError, orjson.JSONDecodeError) as error:
        return {"unreadable": f"{name}: {error}"}


def _rows(opened: Session, table: Any, workspace: str, user: str) -> list[dict[str, Any]]:
    query = sa.select(table).where(table.workspace == workspace, table.user == user)
    return [_shown(row) for row in opened.scalars(query)]


def _shown(row: Any) -> dict[str, Any]:
    return {attribute.key: getattr(row, attribute.key) for attribute in sa.inspect(row).mapper.column_attrs}


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
