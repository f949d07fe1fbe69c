"""What happened, in one line of two: events, and finished calls of the ledger. A cursor says how far each was read.

Whoever writes either holds a lock until it is committed, so that numbers become visible in their order: who reads on
from a cursor misses nothing and gets nothing twice, however many processes write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from store.database import migrate, session, to_json
from store.errors import InvalidValue
from store.settings import Settings
from store.tables.gateway import LlmCallRow
from store.tables.platform import EventRow

CALL = "call"
# What others publish is named so, and is never taken for what happened here.
CUSTOM = "custom."
_CURSOR = re.compile(r"e(\d{1,18})-c(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far was read: the last event and the last call that were."""

    event: int = 0
    call: int = 0

    def __str__(self) -> str:
        return f"e{self.event}-c{self.call}"

    def reaches(self, other: Cursor) -> bool:
        """Whether all that `other` has read was read."""
        return self.event >= other.event and self.call >= other.call

    def before(self, entry: Entry) -> bool:
        """Whether an entry has not been read."""
        return entry.number > (self.call if entry.is_call else self.event)

    def after(self, entry: Entry) -> Cursor:
        """With an entry read, too."""
        if entry.is_call:
            return Cursor(self.event, max(self.call, entry.number))
        return Cursor(max(self.event, entry.number), self.call)


def parse_cursor(text: str) -> Cursor:
    """A cursor as it was told.

    Raises
    ------
    InvalidValue : nobody told it.
    """
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise InvalidValue(
            f"{text[:50]!r} is not the id of an event.",
            remedy="Use the id of the last event that you have, as it came; leave it out for what happens from now on.",
            field="after",
            value=text[:50],
        )
    return Cursor(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened.

    Attributes
    ----------
    number : of the event or of the call.
    workspace : that it concerns; None: the platform.
    key_id : of the key whose call or batch it is.
    model : that it concerns.
    json : kind, at, workspace and payload as members of a JSON object, without its braces.
    """

    is_call: bool
    number: int
    kind: str
    at: datetime
    workspace: str | None
    key_id: str | None
    model: str | None
    json: bytes


def now(settings: Settings) -> Cursor:
    """Everything so far was read."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        event = opened.scalar(sa.select(sa.func.max(EventRow.id)))
        call = opened.scalar(sa.select(sa.func.max(LlmCallRow.seq)))
    return Cursor(event or 0, call or 0)


def entries(settings: Settings, cursor: Cursor, limit: int) -> list[Entry]:
    """What was not read yet, as it happened: the first `limit` events and the first `limit` calls."""
    events = sa.select(EventRow).where(EventRow.id > cursor.event).order_by(EventRow.id).limit(limit)
    calls = sa.select(*_CALL_COLUMNS).where(LlmCallRow.seq > cursor.call).order_by(LlmCallRow.seq).limit(limit)
    with session(settings, readonly=True) as opened:
        found = [_event(row) for row in opened.scalars(events)]
        made = [_call(row) for row in opened.execute(calls)]
    return list(_merged(found, made))


def _merged(events: list[Entry], calls: list[Entry]) -> Iterator[Entry]:
    """By time, each of the two in its own order whatever the clocks said."""
    left, right = iter(events), iter(calls)
    event, call = next(left, None), next(right, None)
    while event is not None or call is not None:
        if call is None or (event is not None and event.at <= call.at):
            assert event is not None
            yield event
            event = next(left, None)
        else:
            yield call
            call = next(right, None)


# Of a call, in what is told of it; no words, and nobody's name but the key's.
_TOLD = (
    "id", "project", "key", "kind", "asked", "model", "provider", "strategy", "outcome", "error", "cost", "latency_ms",
    "first_token_ms", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "estimated", "stream",
    "cache", "complexity", "domain", "explored", "parent", "batch",
)  # fmt: skip
_CALL_COLUMNS = [
    getattr(LlmCallRow, "key_name" if name == "key" else name) for name in ("seq", "at", "workspace", "key_id", *_TOLD)
]


def _call(row: sa.Row[Any]) -> Entry:
    # Thousands in a second: a row is taken apart once, its attributes would be looked up one by one.
    seq, at, workspace, key_id, *told = row
    payload = dict(zip(_TOLD, told, strict=True))
    ended = at + timedelta(milliseconds=payload["latency_ms"])
    payload["cost"] /= 1e9
    payload["latency_ms"] = round(payload["latency_ms"], 2)
    if payload["first_token_ms"] is not None:
        payload["first_token_ms"] = round(payload["first_token_ms"], 2)
    json = _members(CALL, ended, workspace, orjson.dumps(payload))
    return Entry(True, seq, CALL, ended, workspace, key_id, payload["model"], json)


def _event(row: EventRow) -> Entry:
    payload: Mapping[str, Any] = row.payload if isinstance(row.payload, dict) else {"value": row.payload}
    workspace = payload.get("workspace")
    workspace = workspace if isinstance(workspace, str) and workspace else None
    model, key_id = payload.get("model"), payload.get("key_id")
    return Entry(
        False,
        row.id,
        row.kind,
        row.created_at,
        workspace,
        # What somebody publishes says nothing about whose it is.
        key_id if isinstance(key_id, str) and not row.kind.startswith(CUSTOM) else None,
        model if isinstance(model, str) else None,
        _members(row.kind, row.created_at, workspace, to_json(payload).encode()),
    )


def _members(kind: str, at: datetime, workspace: str | None, payload: bytes) -> bytes:
    head = {"kind": kind, "at": at.isoformat(timespec="milliseconds") + "Z", "workspace": workspace}
    return orjson.dumps(head)[1:-1] + b',"payload":' + payload
