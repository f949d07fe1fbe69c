"""Ways to spend less, as they are kept, and what became of each.

    proposed → accepted → measured (as often as one likes) → reverted
    proposed → dismissed | expired

A step is taken by one statement that also checks where the row stands: of two people who decide at the same moment the
second is told what the first decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import StateConflict, UnknownEntity
from store.locks import transaction_lock
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.spend import SpendRecommendationRow

Kind = Literal["cheaper model", "provider switch", "prompt trimming", "cache", "batch"]
KINDS: tuple[Kind, ...] = get_args(Kind)
State = Literal["proposed", "accepted", "dismissed", "expired", "measured", "reverted"]
STATES: tuple[State, ...] = get_args(State)
IN_FORCE: tuple[State, ...] = ("accepted", "measured")
# What was turned down is not proposed again for so long.
QUIET = timedelta(days=90)
_LOCK = "spend_recommendations"


@dataclass(frozen=True, kw_only=True)
class SpendRecommendation:
    """One way to spend less.

    Attributes
    ----------
    id : sorts by the time it was made.
    fingerprint : of what it is about; two of the same are the same advice.
    workspace : the only one that it concerns; None: the platform.
    saving : nanos a month, as estimated.
    advice : what to do, the estimate with its interval, and what it rests on.
    accepted : `by`, `reason`, `at`, `since` (from when it held) and `done` (what was set); None while it is not.
    dismissed, reverted : `by`, `reason`, `at`.
    measured : what was saved beside what was estimated; None while nobody has looked.
    created_at, updated_at : naive UTC.
    """

    fingerprint: str
    workspace: str | None
    kind: Kind
    saving: int
    advice: Mapping[str, Any]
    id: str = field(default_factory=new_id)
    state: State = "proposed"
    accepted: Mapping[str, Any] | None = None
    dismissed: Mapping[str, Any] | None = None
    measured: Mapping[str, Any] | None = None
    reverted: Mapping[str, Any] | None = None
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)


_COLUMNS = tuple(item.name for item in fields(SpendRecommendation))


def propose(
    settings: Settings, found: Sequence[SpendRecommendation], *, workspace: str | None = None
) -> list[tuple[SpendRecommendation, bool]]:
    """Keep what a look at the ledger found; of each that stands, the row as it is now and whether it is new.

    One that is open already takes the new estimate. One that is in force, or was turned down within ninety days, is not
    proposed again. What is open and was not found this time has expired.

    Parameters
    ----------
    workspace : the only one that was looked at; None: all.
    """
    migrate(settings)
    now = utc_now()
    told = []
    with session(settings) as opened:
        # Two looks at once must not propose a thing twice.
        transaction_lock(opened, _LOCK)
        latest = _latest(opened)
        for one in found:
            row = latest.get(one.fingerprint)
            if row is not None and row.state == "proposed":
                row.kind, row.saving, row.advice, row.updated_at = one.kind, one.saving, dict(one.advice), now
                told.append((_recommendation(row), False))
            elif row is None or row.state == "expired" or (row.state not in IN_FORCE and now - row.updated_at > QUIET):
                row = SpendRecommendationRow(**{name: getattr(one, name) for name in _COLUMNS})
                opened.add(row)
                opened.flush()
                told.append((_recommendation(row), True))
        seen = {one.fingerprint for one in found}
        for fingerprint, row in latest.items():
            looked_at = workspace is None or row.workspace == workspace
            if row.state == "proposed" and fingerprint not in seen and looked_at:
                row.state, row.updated_at = "expired", now
    return told


def _latest(opened: Session) -> dict[str, SpendRecommendationRow]:
    rows = opened.scalars(sa.select(SpendRecommendationRow).order_by(SpendRecommendationRow.id))
    return {row.fingerprint: row for row in rows}


def page(
    settings: Settings,
    *,
    workspace: str | None = None,
    kind: str | None = None,
    states: Sequence[str] = (),
    limit: int = 100,
    cursor: str | None = None,
) -> Page[SpendRecommendation]:
    """Recommendations, newest first.

    Parameters
    ----------
    workspace : only what concerns this one alone.
    states : only these; none: all.

    Raises
    ------
    InvalidValue : `limit` outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(SpendRecommendationRow)
    if workspace is not None:
        query = query.where(SpendRecommendationRow.workspace == storable(workspace))
    if kind is not None:
        query = query.where(SpendRecommendationRow.kind == storable(kind))
    if states:
        query = query.where(SpendRecommendationRow.state.in_(list(states)))
    return newest(settings, query, SpendRecommendationRow.id, _recommendation, limit=limit, cursor=cursor)


def get(settings: Settings, recommendation_id: str, workspace: str | None = None) -> SpendRecommendation:
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
        return _recommendation(_existing(opened, recommendation_id, workspace))


def accept(
    settings: Settings,
    recommendation_id: str,
    *,
    by: str | None,
    reason: str = "",
    since: datetime | None = None,
    done: Mapping[str, Any] | None = None,
    workspace: str | None = None,
) -> SpendRecommendation:
    """It is followed.

    Parameters
    ----------
    since : from when it held, naive UTC; default: now.
    done : what the platform set by itself.

    Raises
    ------
    UnknownEntity : as `get`.
    StateConflict : it is not open.
    """
    now = utc_now()
    said = {**_said(by, reason, now), "since": _iso(since or now), "done": dict(done or {})}
    return _move(settings, recommendation_id, ("proposed",), "accepted", {"accepted": said}, workspace)


def dismiss(
    settings: Settings, recommendation_id: str, *, by: str | None, reason: str = "", workspace: str | None = None
) -> SpendRecommendation:
    """It is not followed. Raises as `accept`."""
    said = {"dismissed": _said(by, reason, utc_now())}
    return _move(settings, recommendation_id, ("proposed",), "dismissed", said, workspace)


def measured(
    settings: Settings, recommendation_id: str, report: Mapping[str, Any], workspace: str | None = None
) -> SpendRecommendation:
    """What came of it; a later measurement replaces an earlier one.

    Raises
    ------
    UnknownEntity : as `get`.
    StateConflict : it is not in force.
    """
    said = {"measured": {**report, "at": _iso(utc_now())}}
    return _move(settings, recommendation_id, IN_FORCE, "measured", said, workspace)


def revert(
    settings: Settings, recommendation_id: str, *, by: str | None, reason: str = "", workspace: str | None = None
) -> SpendRecommendation:
    """It was followed and is no longer. Raises as `measured`."""
    said = {"reverted": _said(by, reason, utc_now())}
    return _move(settings, recommendation_id, IN_FORCE, "reverted", said, workspace)


def reopen(settings: Settings, recommendation_id: str, workspace: str | None = None) -> SpendRecommendation:
    """It was accepted and what that should have set could not be set: it is open again. Raises as `accept`."""
    return _move(settings, recommendation_id, ("accepted",), "proposed", {"accepted": sa.null()}, workspace)


def counts(settings: Settings, since: datetime | None = None) -> dict[str, int]:
    """State → how many there are, made at a moment or later."""
    migrate(settings)
    query = sa.select(SpendRecommendationRow.state, sa.func.count()).group_by(SpendRecommendationRow.state)
    if since is not None:
        query = query.where(SpendRecommendationRow.created_at >= since)
    with session(settings, readonly=True) as opened:
        found = {str(state): int(count) for state, count in opened.execute(query)}
    return {state: found.get(state, 0) for state in STATES}


def _move(
    settings: Settings,
    recommendation_id: str,
    before: Sequence[State],
    after: State,
    values: Mapping[str, Any],
    workspace: str | None,
) -> SpendRecommendation:
    migrate(settings)
    with session(settings) as opened:
        row = _existing(opened, recommendation_id, workspace)
        done: Any = opened.execute(
            sa.update(SpendRecommendationRow)
            .where(SpendRecommendationRow.id == row.id, SpendRecommendationRow.state.in_(list(before)))
            .values(state=after, updated_at=utc_now(), **values)
        )
        opened.refresh(row)
        if done.rowcount == 0:
            raise StateConflict(
                f"The recommendation {row.id} is {row.state}, not {' or '.join(before)}.",
                remedy=f"Only what is {' or '.join(before)} can become {after}.",
                field="state",
                value=row.state,
            )
        return _recommendation(row)


def _said(by: str | None, reason: str, now: datetime) -> dict[str, Any]:
    return {"by": by, "reason": storable(reason)[:1000], "at": _iso(now)}


def _iso(moment: datetime) -> str:
    return f"{moment.isoformat()}Z"


def _existing(opened: Session, recommendation_id: str, workspace: str | None) -> SpendRecommendationRow:
    row = opened.get(SpendRecommendationRow, storable(recommendation_id))
    if row is None or (workspace is not None and row.workspace != workspace):
        raise UnknownEntity(
            f"There is no recommendation {recommendation_id[:64]!r}.",
            remedy="`GET /v1/costs/recommendations` or `merit recommend list` shows them.",
            field="id",
            value=recommendation_id[:64],
        )
    return row


def _recommendation(row: SpendRecommendationRow) -> SpendRecommendation:
    return SpendRecommendation(**{name: getattr(row, name) for name in _COLUMNS})
