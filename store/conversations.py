"""Conversations as they are stored: who they belong to, and what was said, as bytes that nobody here reads."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import load_only

from store.database import migrate, session
from store.errors import StateConflict, UnknownEntity
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import ConversationRow


@dataclass(frozen=True, kw_only=True)
class ConversationRecord:
    """One conversation without what was said.

    Attributes
    ----------
    id : sorts by the time it was made.
    key_name : of the API key that made it; `user` the person for whom.
    title : None where words are kept encrypted.
    model : that answered last.
    in_tool_loop : whether it waits for a tool's result.
    turns : so far, those no longer kept among them.
    key_id : of the key that what was said is encrypted with; None: plain.
    version : counts up with every change.
    created_at, updated_at : naive UTC.
    """

    workspace: str
    id: str = field(default_factory=new_id)
    key_name: str | None = None
    user: str | None = None
    title: str | None = None
    model: str | None = None
    in_tool_loop: bool = False
    turns: int = 0
    key_id: str | None = None
    version: int = 1
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)


_COLUMNS = tuple(item.name for item in fields(ConversationRecord))
_WITHOUT_WORDS = load_only(*(getattr(ConversationRow, name) for name in _COLUMNS))
_TEXTS = ("workspace", "key_name", "user", "title", "model")


def create(settings: Settings, record: ConversationRecord, messages: bytes) -> None:
    """Keep a new conversation."""
    migrate(settings)
    with session(settings) as opened:
        opened.add(ConversationRow(**_values(record), messages=messages))


def get(
    settings: Settings,
    conversation_id: str,
    workspace: str,
    *,
    key_name: str | None = None,
    user: str | None = None,
) -> tuple[ConversationRecord, bytes]:
    """A conversation and what was said in it.

    Parameters
    ----------
    key_name : it must have been made with this key; None: with any.
    user : it must be this person's, or nobody's; None: anybody's.

    Raises
    ------
    UnknownEntity : there is none of that id, or another's.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(ConversationRow, storable(conversation_id))
        if (
            row is None
            or row.workspace != workspace
            or (key_name is not None and row.key_name != key_name)
            or (user is not None and row.user not in (user, None))
        ):
            raise _unknown(conversation_id)
        return _record(row), row.messages


def page(
    settings: Settings,
    workspace: str,
    *,
    key_name: str | None = None,
    user: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[ConversationRecord]:
    """Conversations of a workspace, newest first; `user` shows that person's alone.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(ConversationRow).options(_WITHOUT_WORDS).where(ConversationRow.workspace == workspace)
    if key_name is not None:
        query = query.where(ConversationRow.key_name == storable(key_name))
    if user is not None:
        query = query.where(ConversationRow.user == storable(user))
    return newest(settings, query, ConversationRow.id, _record, limit=limit, cursor=cursor)


def replace(settings: Settings, record: ConversationRecord, messages: bytes) -> None:
    """Store the next version of a conversation: `record.version` is one more than what it was read with.

    Raises
    ------
    StateConflict : it was changed, or deleted, since it was read.
    """
    migrate(settings)
    values = _values(record)
    mine = ConversationRow.id == record.id, ConversationRow.version == record.version - 1
    for name in ("id", "workspace", "created_at"):
        del values[name]
    with session(settings) as opened:
        statement = sa.update(ConversationRow).where(*mine).values(**values, messages=messages)
        changed = opened.scalars(statement.returning(ConversationRow.id)).one_or_none()
    if changed is None:
        raise StateConflict(
            f"The conversation {record.id} was changed, or deleted, while this turn was under way.",
            remedy="Read it again, and say it once more if it still fits.",
            field="merit.conversation",
            value=record.id,
        )


def delete(
    settings: Settings,
    conversation_id: str,
    workspace: str,
    *,
    key_name: str | None = None,
    user: str | None = None,
) -> None:
    """Forget a conversation; raises as `get` does."""
    record, _ = get(settings, conversation_id, workspace, key_name=key_name, user=user)
    with session(settings) as opened:
        opened.execute(sa.delete(ConversationRow).where(ConversationRow.id == record.id))


def _values(record: ConversationRecord) -> dict[str, object]:
    values = {name: getattr(record, name) for name in _COLUMNS}
    values.update({name: storable(values[name]) for name in _TEXTS if values[name] is not None})
    return values


def _record(row: ConversationRow) -> ConversationRecord:
    return ConversationRecord(**{name: getattr(row, name) for name in _COLUMNS})


def _unknown(conversation_id: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no conversation {conversation_id[:64]!r}.",
        remedy="Use the id that it was created with; it may have been deleted or expired.",
        field="merit.conversation",
        value=conversation_id[:64],
    )
