"""What users thought of answers: rows in, pages out. A correction is a later row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

import sqlalchemy as sa

from store.database import migrate, session
from store.errors import InvalidValue
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import FeedbackRow

# thumb, stars and score are given outright; edit is the part of an answer that was kept; repeat: asked again at once;
# judge: what a model thought that was asked to.
SOURCES = ("thumb", "stars", "score", "edit", "repeat", "judge")
# What is given outright counts before what was done with an answer, that before what a model thought of it.
_OUTRIGHT = ("thumb", "stars", "score")
_RANK = {source: 0 if source in _OUTRIGHT else place for place, source in enumerate(SOURCES)}


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One judgement of an answer.

    Attributes
    ----------
    call_id : of the answer.
    user : for whom it was asked.
    score : 0 to 1.
    source : one of `SOURCES`.
    at : naive UTC.
    reported_by : name of the key that told it.
    """

    id: str
    call_id: str
    workspace: str
    user: str | None
    score: float
    source: str
    comment: str | None
    at: datetime
    reported_by: str | None


def add(
    settings: Settings,
    *,
    call_id: str,
    workspace: str,
    user: str | None,
    score: float,
    source: str,
    comment: str | None = None,
    reported_by: str | None = None,
) -> Judgement:
    """Keep a judgement.

    Raises
    ------
    InvalidValue : an unknown source, or a score outside 0 to 1.
    """
    if source not in SOURCES:
        _refuse("source", source, f"Use one of {', '.join(SOURCES)}.")
    if not 0.0 <= score <= 1.0:
        _refuse("score", score, "Use a number from 0 (bad) to 1 (good).")
    migrate(settings)
    row = FeedbackRow(
        id=new_id(),
        call_id=storable(call_id),
        workspace=workspace,
        user=user,
        score=score,
        source=source,
        comment=None if comment is None else storable(comment),
        at=utc_now(),
        reported_by=reported_by,
    )
    with session(settings) as opened:
        opened.add(row)
    return _judgement(row)


def judgements(
    settings: Settings,
    *,
    workspace: str | None = None,
    call_id: str | None = None,
    user: str | None = None,
    source: str | None = None,
    reported_by: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Judgement]:
    """Judgements, newest first.

    Parameters
    ----------
    workspace : the only one whose rows may be seen; None: all.
    since, until : given at or after the one and before the other, naive UTC.

    Raises
    ------
    InvalidValue : `limit` outside 1 to 1,000.
    """
    migrate(settings)
    # Ids sort by the time they were made.
    query = sa.select(FeedbackRow)
    wanted = {
        "workspace": workspace, "call_id": call_id, "user": user, "source": source, "reported_by": reported_by,
    }  # fmt: skip
    for name, value in wanted.items():
        if value is not None:
            query = query.where(getattr(FeedbackRow, name) == storable(value))
    if since is not None:
        query = query.where(FeedbackRow.at >= since)
    if until is not None:
        query = query.where(FeedbackRow.at < until)
    return newest(settings, query, FeedbackRow.id, _judgement, limit=limit, cursor=cursor)


def one_each(*where: sa.ColumnElement[bool]) -> sa.Subquery:
    """`call_id`, `score` and `source` of one judgement of each answer, of those that `where` lets through: the one that
    says most (outright, then an edit, a repeat, a model's), then the latest."""
    rank = sa.case(_RANK, value=FeedbackRow.source, else_=len(SOURCES))
    order = (rank, FeedbackRow.at.desc(), FeedbackRow.id.desc())
    place = sa.func.row_number().over(partition_by=FeedbackRow.call_id, order_by=order).label("place")
    ranked = sa.select(FeedbackRow.call_id, FeedbackRow.score, FeedbackRow.source, place).where(*where).subquery()
    return sa.select(ranked.c.call_id, ranked.c.score, ranked.c.source).where(ranked.c.place == 1).subquery()


def _judgement(row: FeedbackRow) -> Judgement:
    return Judgement(**{item.name: getattr(row, item.name) for item in fields(Judgement)})


def _refuse(name: str, value: object, remedy: str) -> None:
    raise InvalidValue(f"Feedback cannot have {name} = {value!r}.", remedy=remedy, field=name, value=value)
