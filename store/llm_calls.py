"""The ledger of calls as a table: lines in, by the batch and once each; lines out, in pages or in the order of writing.

Whoever writes lines holds one lock until they are committed, so that lines become visible in the order of `seq`: a
reader that remembers the last one it saw misses none, however many processes write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain, islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import InvalidValue, UnknownEntity
from store.llm_usage import usage
from store.locks import transaction_lock
from store.pages import Page, checked_limit, moment_and_id, page_of, storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import LlmCallRow, LlmContentRow

__all__ = [
    "COLUMNS", "FILTERS", "LOCK", "after", "calls", "fitted", "get", "insert", "insert_new", "last_seq", "unknown",
    "usage",
]  # fmt: skip

# In the order of a row that is written: numbers and names first, JSON texts last.
COLUMNS = (
    "id", "at", "organisation", "workspace", "project", "user", "key_id", "key_name", "kind", "asked", "strategy",
    "outcome", "model", "provider", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens", "estimated", "cost", "reserved", "latency_ms",
    "first_token_ms", "overhead_ms", "stream", "error", "finish_reason", "complexity", "domain", "confidence",
    "propensity", "explored", "policy", "cache", "parent", "conversation", "batch", "request_id", "quality",
    "tags", "attempts", "decision", "extra",
)  # fmt: skip
_CONTENT_COLUMNS = ("id", "at", "workspace", "user", "key_id", "prompt", "answer")

# Name in a request → column.
FILTERS: Mapping[str, str] = {
    "organisation": "organisation", "project": "project", "user": "user", "key": "key_id", "kind": "kind",
    "asked": "asked", "strategy": "strategy", "outcome": "outcome", "model": "model", "provider": "provider",
    "domain": "domain", "task": "domain", "complexity": "complexity", "cache": "cache", "error": "error",
    "parent": "parent", "conversation": "conversation", "batch": "batch", "request_id": "request_id",
}  # fmt: skip

# Name of the lock that orders the lines; roll-up and erasure hold it too.
LOCK = "llm_calls"
# Rows of a statement, largest first: few sizes, so that the driver knows each statement already.
_CHUNKS = (64, 8, 1)
_MOST_INT = 2**31 - 1
_MOST_BIGINT = 2**63 - 1


def insert(settings: Settings, rows: Iterable[Sequence[Any]], contents: Iterable[Sequence[Any]] = ()) -> None:
    """Write lines and what was said, all or none. A line or text whose id is there already is left as it is.

    Parameters
    ----------
    rows : values of `COLUMNS`; `at` as text, `YYYY-MM-DD HH:MM:SS.ffffff`, the last four as JSON texts.
    contents : id, at, workspace, user, id of the encryption key, prompt, answer.
    """
    with session(settings) as opened:
        transaction_lock(opened, LOCK)
        _insert(opened, LlmCallRow, COLUMNS, rows)
        _insert(opened, LlmContentRow, _CONTENT_COLUMNS, contents)


def insert_new(settings: Settings, rows: Sequence[Sequence[Any]], contents: Iterable[Sequence[Any]] = ()) -> set[str]:
    """As `insert`; returns the ids of the lines that were not there before."""
    ids = [row[0] for row in rows]
    with session(settings) as opened:
        transaction_lock(opened, LOCK)
        known: set[str] = set()
        for start in range(0, len(ids), 1000):
            found = sa.select(LlmCallRow.id).where(LlmCallRow.id.in_(ids[start : start + 1000]))
            known.update(opened.scalars(found))
        _insert(opened, LlmCallRow, COLUMNS, (row for row in rows if row[0] not in known))
        _insert(opened, LlmContentRow, _CONTENT_COLUMNS, contents)
    return set(ids) - known


def _insert(opened: Session, table: Any, names: tuple[str, ...], rows: Iterable[Sequence[Any]]) -> None:
    # Straight to the driver: the mapper and the compiler would cost more than the database does. Many rows by one
    # statement: for each statement a driver lets go of the interpreter and has to get it back from who serves calls.
    connection = opened.connection()
    place = "?" if connection.dialect.name == "sqlite" else "%s"
    left = iter(rows)
    while chunk := list(islice(left, _CHUNKS[0])):
        for size in _CHUNKS:
            while len(chunk) >= size:
                statement = _statement(table, names, place, size)
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(chunk[:size])))
                del chunk[:size]


@cache
def _statement(table: Any, names: tuple[str, ...], place: str, rows: int) -> str:
    columns = ", ".join(f'"{getattr(table, name).name}"' for name in names)
    values = ", ".join([f"({', '.join([place] * len(names))})"] * rows)
    return f"INSERT INTO {table.__tablename__} ({columns}) VALUES {values} ON CONFLICT (id) DO NOTHING"  # noqa: S608


def fitted(row: Sequence[Any]) -> tuple[Any, ...]:
    """A line that the database refused, made to fit: texts cut to their columns' lengths and freed of NUL, numbers
    within range. Money that was spent is kept even where its description cannot be."""
    return tuple(_fitted(getattr(LlmCallRow, name), value) for name, value in zip(COLUMNS, row, strict=True))


def _fitted(column: Any, value: Any) -> Any:
    kind = column.type
    if isinstance(kind, sa.JSON):
        return value
    if isinstance(kind, sa.DateTime):
        return value if isinstance(value, str) and "\x00" not in value else utc_now().isoformat(" ", "microseconds")
    if isinstance(kind, sa.String):
        if value is None:
            return None if column.nullable else ""
        return storable(str(value))[: kind.length]
    if isinstance(kind, sa.Boolean):
        return bool(value)
    if value is None or not math.isfinite(value):
        return None if column.nullable else 0
    if isinstance(kind, sa.Float):
        return float(value)
    most = _MOST_BIGINT if isinstance(kind, sa.BigInteger) else _MOST_INT
    return max(-most, min(most, int(value)))


def get(settings: Settings, call_id: str, workspace: str | None = None) -> dict[str, Any]:
    """One line, every column by name.

    Parameters
    ----------
    workspace : the only one whose lines may be seen; None: all.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    """
    migrate(settings)
    query = _lines().where(LlmCallRow.id == storable(call_id))
    if workspace is not None:
        query = query.where(LlmCallRow.workspace == storable(workspace))
    with session(settings, readonly=True) as opened:
        row = opened.execute(query).one_or_none()
    if row is None:
        raise unknown(call_id)
    return _line(row)


def unknown(call_id: str) -> UnknownEntity:
    """The error for a call that there is not, or that the caller may not see: nothing tells which."""
    return UnknownEntity(
        f"There is no call {call_id[:64]!r}.",
        remedy="Use the id from the field `merit` of an answer; `/v1/llm/runs` lists calls.",
        field="id",
        value=call_id[:64],
    )


def calls(
    settings: Settings,
    *,
    workspace: str | None = None,
    filters: Mapping[str, str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[dict[str, Any]]:
    """Lines, newest first.

    Parameters
    ----------
    filters : a name of `FILTERS` → the value that a line must have.
    since, until : asked at or after the one and before the other, naive UTC.

    Raises
    ------
    InvalidValue : a name that is no filter, a cursor that no page gave, `limit` outside 1 to 1,000.
    """
    migrate(settings)
    query = _lines().order_by(LlmCallRow.at.desc(), LlmCallRow.id.desc()).limit(checked_limit(limit) + 1)
    if workspace is not None:
        query = query.where(LlmCallRow.workspace == storable(workspace))
    for name, value in (filters or {}).items():
        if name not in FILTERS:
            raise InvalidValue(
                f"Calls are not filtered by {name[:50]!r}.",
                remedy=f"Use one of {', '.join(FILTERS)}.",
                field="filters",
                value=name[:50],
            )
        query = query.where(getattr(LlmCallRow, FILTERS[name]) == storable(value))
    if since is not None:
        query = query.where(LlmCallRow.at >= since)
    if until is not None:
        query = query.where(LlmCallRow.at < until)
    if cursor is not None:
        at, call_id = moment_and_id(cursor)
        query = query.where(LlmCallRow.at <= at, sa.or_(LlmCallRow.at < at, LlmCallRow.id < call_id))
    with session(settings, readonly=True) as opened:
        rows = opened.execute(query).all()
    return page_of(rows, limit, _line, lambda row: f"{row.at.isoformat()}_{row.id}")


def after(settings: Settings, seq: int, limit: int = 100, *, workspace: str | None = None) -> list[dict[str, Any]]:
    """The first `limit` lines written after line `seq`, in the order of writing; each with its own `seq`."""
    query = _lines().where(LlmCallRow.seq > seq).order_by(LlmCallRow.seq).limit(checked_limit(limit))
    if workspace is not None:
        query = query.where(LlmCallRow.workspace == storable(workspace))
    with session(settings, readonly=True) as opened:
        return [_line(row) for row in opened.execute(query)]


def last_seq(settings: Settings) -> int:
    """`seq` of the line written last; 0 when there is none."""
    with session(settings, readonly=True) as opened:
        return opened.scalar(sa.select(sa.func.max(LlmCallRow.seq))) or 0


def _lines() -> sa.Select[Any]:
    return sa.select(LlmCallRow.seq, *(getattr(LlmCallRow, name).label(name) for name in COLUMNS))


def _line(row: sa.Row[Any]) -> dict[str, Any]:
    return dict(row._mapping)
