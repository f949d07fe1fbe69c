"""Unusual things in the ledger, as they are kept: found again they are the same row, and people say what they were.

A row is found again by its kind and subject, where its time overlaps or borders on what was kept: one that goes on
grows at its end and never becomes two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import InvalidValue, UnknownEntity
from store.locks import transaction_lock
from store.pages import Page, checked_limit, moment_and_id, page_of, storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.spend import SpendAnomalyRow

State = Literal["open", "confirmed", "dismissed"]
STATES: tuple[State, ...] = get_args(State)
SEVERITIES = ("low", "medium", "high", "critical")
_APART = timedelta(hours=30)
_LOCK = "spend_anomalies"


@dataclass(frozen=True, kw_only=True)
class SpendAnomaly:
    """One unusual thing.

    Attributes
    ----------
    workspace : the only one that it concerns; None: the platform.
    excess : nanos above what was expected.
    report : what it was seen in, why, and in words.
    state : what a person said of it.
    decided : `by`, `reason`, `at`; None while it is open.
    started_at, ended_at, found_at, updated_at : naive UTC.
    """

    id: str
    workspace: str | None
    kind: str
    subject: str
    severity: str
    score: float
    started_at: datetime
    ended_at: datetime
    ongoing: bool
    excess: int
    report: Mapping[str, Any]
    state: State = "open"
    decided: Mapping[str, Any] | None = None
    found_at: datetime
    updated_at: datetime


_COLUMNS = tuple(item.name for item in fields(SpendAnomaly))
_GROWS = ("severity", "score", "ended_at", "ongoing", "excess", "report", "updated_at")


def keep(settings: Settings, found: Sequence[SpendAnomaly]) -> list[tuple[SpendAnomaly, bool]]:
    """Keep what was found; of each, the row as it is now, and whether it is news: new, or more severe than before.

    What a person dismissed stays dismissed, and is no news however severe it becomes.
    """
    if not found:
        return []
    migrate(settings)
    told = []
    with session(settings) as opened:
        # Two looks at the same moment must not keep a thing twice.
        transaction_lock(opened, _LOCK)
        for one in found:
            row = _same(opened, one)
            if row is None:
                row = SpendAnomalyRow(**{name: getattr(one, name) for name in _COLUMNS})
                row.subject = storable(one.subject)[:600]
                opened.add(row)
                opened.flush()
                told.append((_anomaly(row), True))
                continue
            worse = SEVERITIES.index(one.severity) > SEVERITIES.index(row.severity)
            if one.ended_at >= row.ended_at:
                for name in _GROWS:
                    setattr(row, name, getattr(one, name))
                row.started_at = min(row.started_at, one.started_at)
            told.append((_anomaly(row), worse and row.state != "dismissed"))
    return told


def _same(opened: Session, one: SpendAnomaly) -> SpendAnomalyRow | None:
    query = (
        sa.select(SpendAnomalyRow)
        .where(
            SpendAnomalyRow.kind == one.kind,
            SpendAnomalyRow.subject == storable(one.subject)[:600],
            SpendAnomalyRow.started_at <= one.ended_at + _APART,
            SpendAnomalyRow.ended_at >= one.started_at - _APART,
        )
        .order_by(SpendAnomalyRow.ended_at.desc())
    )
    return opened.get(SpendAnomalyRow, one.id) or opened.scalars(query).first()


def page(
    settings: Settings,
    *,
    workspace: str | None = None,
    kind: str | None = None,
    least: str | None = None,
    state: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[SpendAnomaly]:
    """What was kept, begun last first.

    Parameters
    ----------
    workspace : only what concerns this one alone.
    least : only so severe or more.
    since, until : seen at or after the one, begun before the other; naive UTC.

    Raises
    ------
    InvalidValue : `limit` outside 1 to 1,000, or a cursor that no page gave.
    """
    migrate(settings)
    query = sa.select(SpendAnomalyRow).order_by(SpendAnomalyRow.started_at.desc(), SpendAnomalyRow.id.desc())
    for name, value in (("workspace", workspace), ("kind", kind), ("state", state)):
        if value is not None:
            query = query.where(getattr(SpendAnomalyRow, name) == storable(value))
    if least is not None:
        query = query.where(SpendAnomalyRow.severity.in_(SEVERITIES[SEVERITIES.index(least) :]))
    if since is not None:
        query = query.where(SpendAnomalyRow.ended_at >= since)
    if until is not None:
        query = query.where(SpendAnomalyRow.started_at < until)
    if cursor is not None:
        at, number = moment_and_id(cursor)
        started = SpendAnomalyRow.started_at
        query = query.where(started <= at, sa.or_(started < at, SpendAnomalyRow.id < number))
    with session(settings, readonly=True) as opened:
        rows = opened.scalars(query.limit(checked_limit(limit) + 1)).all()
    return page_of(rows, limit, _anomaly, lambda row: f"{row.started_at.isoformat()}_{row.id}")


def get(settings: Settings, anomaly_id: str, workspace: str | None = None) -> SpendAnomaly:
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
        return _anomaly(_existing(opened, anomaly_id, workspace))


def decide(
    settings: Settings,
    anomaly_id: str,
    state: State,
    *,
    by: str | None,
    reason: str = "",
    workspace: str | None = None,
) -> SpendAnomaly:
    """What a person says it was: something that matters, or nothing. A later word replaces an earlier one.

    Raises
    ------
    UnknownEntity : as `get`.
    InvalidValue : there is no such state.
    """
    if state not in STATES:
        raise InvalidValue(
            f"state={str(state)[:40]!r} is unknown.", remedy=f"Use one of {', '.join(STATES)}.", field="state",
            value=str(state)[:40],
        )  # fmt: skip
    migrate(settings)
    now = utc_now()
    with session(settings) as opened:
        row = _existing(opened, anomaly_id, workspace)
        row.state = state
        said = {"by": by, "reason": storable(reason)[:1000], "at": f"{now.isoformat()}Z"}
        row.decided = None if state == "open" else said
        row.updated_at = now
    return _anomaly(row)


def verdicts(settings: Settings, since: datetime, until: datetime) -> dict[str, dict[str, int]]:
    """Kind → state → how many there are that began at or after the one moment and before the other."""
    migrate(settings)
    row = SpendAnomalyRow
    query = (
        sa.select(row.kind, row.state, sa.func.count())
        .where(row.started_at >= since, row.started_at < until)
        .group_by(row.kind, row.state)
    )
    found: dict[str, dict[str, int]] = {}
    with session(settings, readonly=True) as opened:
        for kind, state, count in opened.execute(query):
            found.setdefault(kind, dict.fromkeys(STATES, 0))[state] = int(count)
    return found


def _existing(opened: Session, anomaly_id: str, workspace: str | None) -> SpendAnomalyRow:
    row = opened.get(SpendAnomalyRow, storable(anomaly_id))
    if row is None or (workspace is not None and row.workspace != workspace):
        raise UnknownEntity(
            f"There is no anomaly {anomaly_id[:64]!r}.",
            remedy="`GET /v1/costs/anomalies` lists them.",
            field="id",
            value=anomaly_id[:64],
        )
    return row


def _anomaly(row: SpendAnomalyRow) -> SpendAnomaly:
    return SpendAnomaly(**{name: getattr(row, name) for name in _COLUMNS})
