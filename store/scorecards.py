"""How well the platform did, day by day and measure by measure; a day that is worked out again is the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session
from store.locks import transaction_lock
from store.pages import storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.spend import ScorecardRow

_LOCK = "scorecards"
_MOST = 5_000


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measure up to the end of a day.

    Attributes
    ----------
    day : 2026-11-30.
    value : None where there was nothing to measure; `detail` says why.
    low, high : 95 %, or as `detail` says; None where there is no interval.
    count : of calls, days or decisions that it rests on.
    updated_at : naive UTC.
    """

    day: str
    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)
    updated_at: datetime = field(default_factory=utc_now)


_COLUMNS = tuple(item.name for item in fields(Score))


def put(settings: Settings, scores: Sequence[Score]) -> None:
    """Keep measures; what was there of the same day and measure is replaced."""
    migrate(settings)
    with session(settings) as opened:
        transaction_lock(opened, _LOCK)
        for one in scores:
            opened.merge(ScorecardRow(**{name: getattr(one, name) for name in _COLUMNS}))


def get(settings: Settings, day: str, measure: str) -> Score | None:
    """One of them; None where it was not measured."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(ScorecardRow, (storable(day), storable(measure)))
        return None if row is None else _score(row)


def history(
    settings: Settings, *, since: str | None = None, until: str | None = None, measures: Sequence[str] = ()
) -> list[Score]:
    """Measures in the order of days, of at most the last 5,000 rows.

    Parameters
    ----------
    since, until : first and last day, both included.
    measures : only these; none: all.
    """
    migrate(settings)
    query = sa.select(ScorecardRow).order_by(ScorecardRow.day.desc(), ScorecardRow.measure).limit(_MOST)
    if since is not None:
        query = query.where(ScorecardRow.day >= since)
    if until is not None:
        query = query.where(ScorecardRow.day <= until)
    if measures:
        query = query.where(ScorecardRow.measure.in_(list(measures)))
    with session(settings, readonly=True) as opened:
        found = [_score(row) for row in opened.scalars(query)]
    return sorted(found, key=lambda one: (one.day, one.measure))


def _score(row: ScorecardRow) -> Score:
    return Score(**{name: getattr(row, name) for name in _COLUMNS})
