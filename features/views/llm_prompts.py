"""Requests whose words are kept, beside what they cost: read in pages, looked at, and not kept anywhere else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session
from store.errors import MeritError
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import LlmCallRow, LlmContentRow

log = logging.getLogger("merit.features")

# (workspace, id of the row, id of the key or None, stored bytes) → the words as they were.
Read = Callable[[str, str, str | None, bytes], bytes]
_PAGE = 500


@dataclass(frozen=True, slots=True)
class KeptPrompt:
    """An answered chat whose request is kept.

    Attributes
    ----------
    asked : the field `model` of the request.
    body : the request in OpenAI's shape.
    cost : dollars.
    """

    id: str
    at: datetime
    workspace: str
    asked: str
    model: str
    domain: str
    complexity: str
    body: dict[str, Any]
    input_tokens: int
    cached_tokens: int
    cost: float


def kept_prompts(
    settings: Settings,
    since: datetime,
    until: datetime,
    *,
    workspace: str | None = None,
    read: Read | None = None,
    most: int = 100_000,
) -> Iterator[KeptPrompt]:
    """Answered chats from one moment to another whose words are kept, the latest first, at most so many.

    Answers from the cache are left out: they have been paid for.

    Parameters
    ----------
    read : opens words that are kept encrypted; None: those count as not kept.
    """
    migrate(settings)
    call, content = LlmCallRow, LlmContentRow
    query = (
        sa.select(
            call.seq, call.id, call.at, call.workspace, call.asked, call.model, call.domain, call.complexity,
            call.input_tokens, call.cached_tokens, call.cost, content.key_id, content.prompt,
        )
        .join(content, content.id == call.id)
        .where(call.at >= since, call.at < until, call.kind == "chat", call.outcome == "ok", call.parent.is_(None))
        .where(call.model.is_not(None))
        .order_by(call.seq.desc())
        .limit(_PAGE)
    )  # fmt: skip
    if workspace is not None:
        query = query.where(call.workspace == storable(workspace))
    seen, before = 0, None
    while seen < most:
        page = query if before is None else query.where(call.seq < before)
        # Each page in a session of its own: whoever looks at the words may take their time.
        with session(settings, readonly=True) as opened:
            rows = opened.execute(page).all()
        if not rows:
            return
        before = rows[-1].seq
        for row in rows:
            body = _body(row, read)
            if body is not None and seen < most:
                seen += 1
                yield KeptPrompt(
                    row.id, row.at, row.workspace, row.asked, row.model, row.domain or "", row.complexity or "", body,
                    row.input_tokens, row.cached_tokens, row.cost / 1e9,
                )  # fmt: skip


def _body(row: sa.Row[Any], read: Read | None) -> dict[str, Any] | None:
    if row.key_id is not None and read is None:
        return None
    try:
        plain = (
            row.prompt if row.key_id is None or read is None else read(row.workspace, row.id, row.key_id, row.prompt)
        )
        body = json.loads(plain)
    except MeritError as error:
        log.warning("The words of the call %s cannot be read: %s", row.id, error.message)
        return None
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
