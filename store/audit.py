"""Who changed what: keys, budgets, workspaces, providers, erasures. Lines are added and read, never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session
from store.pages import Page, checked_limit, foreign_cursor, page_of, storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import AuditRow

HIDDEN = "[redacted]"
# Last word of a name whose value is never kept: api_key, clientSecret. A key_id or tokens_per_minute is none.
_SECRET_WORDS = frozenset(
    {"key", "keys", "secret", "secrets", "token", "password", "passwd", "authorization", "cookie"}
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")
_MOST_DEPTH = 12


@dataclass(frozen=True)
class Entry:
    """A line of the audit log.

    Attributes
    ----------
    at : naive UTC.
    actor, role : name and role of the key that did it.
    workspace : the one that it concerns; None: the platform.
    action : such as "key.create", "workspace.change", "person.erase".
    subject : what was changed, by name or id.
    before, after : what it was and what it is, without secrets.
    """

    id: int
    at: datetime
    actor: str
    role: str
    workspace: str | None
    action: str
    subject: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    request_id: str | None


def write(
    settings: Settings,
    actor: str,
    role: str,
    workspace: str | None,
    action: str,
    subject: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> Entry:
    """Add a line. Values under names such as `api_key` or `password` are replaced, however deep they lie."""
    migrate(settings)
    row = AuditRow(
        at=utc_now(),
        actor=_cut(actor, 256),
        role=_cut(role, 16),
        workspace=_cut(workspace, 256),
        action=_cut(action, 64),
        subject=_cut(subject, 256),
        before=_shown(before) if before is not None else None,
        after=_shown(after) if after is not None else None,
        request_id=_cut(request_id, 64),
    )
    with session(settings) as opened:
        opened.add(row)
    return _entry(row)


def entries(
    settings: Settings,
    *,
    workspace: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Entry]:
    """Lines, newest first.

    Parameters
    ----------
    workspace : the only one whose lines may be seen; None: all.
    action : "key.create" alone, or all that begin with "key.".
    since, until : at or after the one and before the other, naive UTC.

    Raises
    ------
    InvalidValue : a cursor that no page gave, `limit` outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(AuditRow).order_by(AuditRow.id.desc()).limit(checked_limit(limit) + 1)
    for name, value in (("workspace", workspace), ("actor", actor), ("subject", subject)):
        if value is not None:
            query = query.where(getattr(AuditRow, name) == storable(value))
    if action is not None:
        wanted = storable(action)
        whole = AuditRow.action == wanted
        query = query.where(AuditRow.action.startswith(wanted, autoescape=True) if wanted.endswith(".") else whole)
    if since is not None:
        query = query.where(AuditRow.at >= since)
    if until is not None:
        query = query.where(AuditRow.at < until)
    if cursor is not None:
        query = query.where(AuditRow.id < _number(cursor))
    with session(settings, readonly=True) as opened:
        rows = opened.scalars(query).all()
    return page_of(rows, limit, _entry, lambda row: str(row.id))


def _number(cursor: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", cursor, re.ASCII):
        raise foreign_cursor(cursor)
    return int(cursor)


def _shown(value: Any, name: str = "", depth: int = 0) -> Any:
    if depth > _MOST_DEPTH:
        return "…"
    words = _WORD.findall(name)
    if words and words[-1].lower() in _SECRET_WORDS and value not in (None, "") and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, Mapping):
        return {storable(str(key)): _shown(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(item, "", depth + 1) for item in value]
    return storable(value) if isinstance(value, str) else value


def _cut(text: str | None, most: int) -> str | None:
    return None if text is None else storable(text)[:most]


def _entry(row: AuditRow) -> Entry:
    return Entry(
        row.id,
        row.at,
        row.actor,
        row.role,
        row.workspace,
        row.action,
        row.subject,
        row.before,
        row.after,
        row.request_id,
    )
