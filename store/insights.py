"""Questions about the platform's own numbers, as they are kept: what it took, and where words are kept, what was said.

Words and rows lie beside those of calls, under the insight's id: their retention, their encryption and a new key are
those of every other word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import UnknownEntity
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.gateway import LlmContentRow
from store.tables.insights import InsightRow


@dataclass(frozen=True, kw_only=True)
class Insight:
    """One question without its words.

    Attributes
    ----------
    at : naive UTC.
    workspace : the only one whose rows were looked at; None: the whole platform.
    asked_in : the workspace that paid.
    status : "answered", "untold" (the rows do not tell) or "refused" (no model's answer held).
    kept, removed : sentences.
    rows_shown : rows that models were shown.
    agreement : mean share of the models that state a sentence's numbers.
    cost : nanos.
    members : of each model its name, the id of its call, what became of its answer; no words.
    people : (workspace, user) of everybody whom a row names.
    """

    id: str
    at: datetime
    workspace: str | None
    asked_in: str
    status: str
    kept: int
    removed: int
    rows_shown: int
    agreement: float
    cost: int
    members: Sequence[Mapping[str, Any]]
    people: Sequence[tuple[str, str]] = ()
    caller: str


@dataclass(frozen=True)
class Words:
    """What was asked and answered, JSON or sealed, as `gateway.account.contents` seals it."""

    key_id: str | None
    asked: bytes
    answered: bytes


_COLUMNS = tuple(item.name for item in fields(Insight) if item.name != "people")


def create(settings: Settings, insight: Insight, words: Words | None) -> None:
    """Keep an insight, its words where there are any to be kept."""
    migrate(settings)
    values = {name: getattr(insight, name) for name in _COLUMNS}
    people = [list(one) for one in insight.people] if words is not None else []
    with session(settings) as opened:
        opened.add(InsightRow(**values, people=people))
        if words is not None:
            opened.add(
                LlmContentRow(
                    id=insight.id, at=insight.at, workspace=insight.asked_in, user=None, key_id=words.key_id,
                    prompt=words.asked, answer=words.answered,
                )
            )  # fmt: skip


def get(settings: Settings, insight_id: str, workspace: str | None = None) -> Insight:
    """One of them.

    Parameters
    ----------
    workspace : the only one whose may be seen; None: all.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(InsightRow, storable(insight_id))
        if row is None or (workspace is not None and row.workspace != workspace):
            raise UnknownEntity(
                f"There is no insight {insight_id[:64]!r}.",
                remedy="`GET /v1/insights` lists them.",
                field="id",
                value=insight_id[:64],
            )
        return _insight(row)


def page(
    settings: Settings,
    *,
    workspace: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Insight]:
    """Newest first.

    Parameters
    ----------
    workspace : only those that looked at the rows of this one alone.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(InsightRow)
    if workspace is not None:
        query = query.where(InsightRow.workspace == storable(workspace))
    return newest(settings, query, InsightRow.id, _insight, limit=limit, cursor=cursor)


def forget_person(opened: Session, workspace: str, user: str) -> int:
    """Remove the words of insights whose rows name a person, and of the calls that were made for them; returns how many
    insights those were. What they cost stays."""
    query = sa.select(InsightRow).where(sa.cast(InsightRow.people, sa.Text) != "[]")
    found = [row for row in opened.scalars(query) if [workspace, user] in row.people]
    for row in found:
        ids = [row.id, *(one["call"] for one in row.members if one.get("call"))]
        opened.execute(sa.delete(LlmContentRow).where(LlmContentRow.id.in_(ids)))
        row.people = []
    return len(found)


def _insight(row: InsightRow) -> Insight:
    people = tuple((one[0], one[1]) for one in row.people)
    return Insight(**{name: getattr(row, name) for name in _COLUMNS}, people=people)
