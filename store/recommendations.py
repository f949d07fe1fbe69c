"""Recommended prices, or the reasons why none could be given, and what became of each.

A recommendation moves once along each step, in one statement that also checks where it stands: of two people who decide
at the same moment, the second is told what the first decided.

    proposed, cannot_advise → implemented → measured
    proposed, cannot_advise → dismissed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any, Literal, get_args

import sqlalchemy as sa

from store.database import migrate, session
from store.errors import StateConflict, UnknownEntity
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import id_at, new_id, utc_now
from store.tables.decisions import RecommendationRow

State = Literal["proposed", "cannot_advise", "implemented", "dismissed", "measured"]
STATES: tuple[State, ...] = get_args(State)
OPEN: tuple[State, ...] = ("proposed", "cannot_advise")
# An id and `created_at` are made one after the other.
_A_MOMENT = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """One recommendation.

    Attributes
    ----------
    id : sorts by the time it was made.
    digest : of the dataset the version learned from.
    segment : None for all segments together.
    state : one of `STATES`.
    request : the question as it was put to the model.
    advice : what it answered: price, expected gain with interval, or why it cannot advise.
    implemented : `price`, `at` (ISO date from which it held), `by`, `reported_at`; None while it is not.
    dismissed : `reason`, `by`, `reported_at`; None where it was not.
    measured : what came of it beside what was expected, with `by` and `reported_at`; None while it is not known.
    created_at, updated_at : naive UTC.
    caller : name of the API key that asked.
    """

    model: str
    version: int
    product: str
    state: State
    request: Mapping[str, Any]
    advice: Mapping[str, Any]
    id: str = field(default_factory=new_id)
    segment: str | None = None
    digest: str | None = None
    run_id: str | None = None
    git_commit: str | None = None
    implemented: Mapping[str, Any] | None = None
    dismissed: Mapping[str, Any] | None = None
    measured: Mapping[str, Any] | None = None
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)
    request_id: str | None = None
    caller: str | None = None


_COLUMNS = tuple(item.name for item in fields(Recommendation))
_TEXTS = ("product", "segment", "request_id", "caller")


def create(settings: Settings, made: Sequence[Recommendation]) -> None:
    """Keep new recommendations, all or none."""
    if not made:
        return
    migrate(settings)
    rows = [{name: getattr(one, name) for name in _COLUMNS} for one in made]
    for row in rows:
        row.update({name: storable(row[name]) for name in _TEXTS if row[name] is not None})
    with session(settings) as opened:
        opened.execute(sa.insert(RecommendationRow), rows)


def get(settings: Settings, recommendation_id: str) -> Recommendation:
    """One recommendation and what became of it.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(RecommendationRow, storable(recommendation_id))
        if row is None:
            raise _unknown(recommendation_id)
        return _recommendation(row)


def page(
    settings: Settings,
    *,
    model: str | None = None,
    version: int | None = None,
    product: str | None = None,
    segment: str | None = None,
    state: State | None = None,
    caller: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Recommendation]:
    """Recommendations, newest first.

    Parameters
    ----------
    since, until : made at or after the one and before the other, naive UTC.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    wanted = {"model": model, "version": version, "product": product, "segment": segment, "state": state}
    query = filtered(sa.select(RecommendationRow), {**wanted, "caller": caller}, since, until)
    return newest(settings, query, RecommendationRow.id, _recommendation, limit=limit, cursor=cursor)


def filtered(
    query: sa.Select[Any], wanted: Mapping[str, Any], since: datetime | None, until: datetime | None
) -> sa.Select[Any]:
    """The query over the rows whose columns hold what is wanted (None: anything), made within a time."""
    for name, value in wanted.items():
        if value is not None:
            column = getattr(RecommendationRow, name)
            query = query.where(column == (storable(value) if isinstance(value, str) else value))
    if since is not None:
        query = query.where(RecommendationRow.id >= id_at(since - _A_MOMENT), RecommendationRow.created_at >= since)
    if until is not None:
        query = query.where(RecommendationRow.id < id_at(until + _A_MOMENT), RecommendationRow.created_at < until)
    return query


def implement(
    settings: Settings, recommendation_id: str, *, price: float, at: date, by: str | None = None
) -> Recommendation:
    """A price was set because of a recommendation, not necessarily the recommended one.

    Parameters
    ----------
    at : first day on which it held.

    Raises
    ------
    UnknownEntity : there is none of that id.
    StateConflict : it was implemented or dismissed before; the message says which.
    """
    done = {"price": price, "at": at.isoformat(), "by": by}
    return _move(settings, recommendation_id, OPEN, "implemented", done)


def dismiss(settings: Settings, recommendation_id: str, *, reason: str = "", by: str | None = None) -> Recommendation:
    """A recommendation will not be followed.

    Raises
    ------
    UnknownEntity, StateConflict : as in `implement`.
    """
    return _move(settings, recommendation_id, OPEN, "dismissed", {"reason": storable(reason), "by": by})


def measure(
    settings: Settings, recommendation_id: str, outcome: Mapping[str, Any], *, by: str | None = None
) -> Recommendation:
    """What came of an implemented price.

    Parameters
    ----------
    outcome : JSON-ready; kept as `measured`.

    Raises
    ------
    UnknownEntity : there is none of that id.
    StateConflict : it was not implemented, or was measured before.
    """
    return _move(settings, recommendation_id, ("implemented",), "measured", {**outcome, "by": by})


def require(found: Recommendation, states: Sequence[State], move: str) -> None:
    """Refuse a move that a recommendation cannot make from where it stands.

    Raises
    ------
    StateConflict : says where it stands since when, and what can be done from there.
    """
    if found.state not in states:
        raise _conflict(found, move)


def _move(
    settings: Settings, recommendation_id: str, allowed: Sequence[State], state: State, said: Mapping[str, Any]
) -> Recommendation:
    """Compare and set in one statement: the move happens only from one of the states `allowed`."""
    migrate(settings)
    now = utc_now()
    key = storable(recommendation_id)
    change = (
        sa.update(RecommendationRow)
        .where(RecommendationRow.id == key, RecommendationRow.state.in_(allowed))
        .values(**{"state": state, "updated_at": now, state: {**said, "reported_at": f"{now.isoformat()}Z"}})
    )
    with session(settings) as opened:
        moved = opened.execute(change).rowcount == 1  # type: ignore[attr-defined]  # an UPDATE has one
        row = opened.get(RecommendationRow, key)
        if row is None:
            raise _unknown(recommendation_id)
        found = _recommendation(row)
    if not moved:
        raise _conflict(found, state)
    return found


_NEXT: Mapping[State, str] = {
    "proposed": "It can be marked as implemented or dismissed.",
    "cannot_advise": "It can be marked as implemented or dismissed.",
    "implemented": "Its outcome can be reported.",
    "dismissed": "Ask for a new recommendation.",
    "measured": "Ask for a new recommendation.",
}


def _conflict(found: Recommendation, move: str) -> StateConflict:
    how = f" at {found.implemented['price']:g} from {found.implemented['at']}" if found.implemented else ""
    return StateConflict(
        f"The recommendation {found.id} is {found.state}{how} since {found.updated_at:%Y-%m-%d %H:%M} UTC; "
        f"it cannot become {move}.",
        remedy=_NEXT[found.state],
        field="state",
        value=found.state,
    )


def _recommendation(row: RecommendationRow) -> Recommendation:
    return Recommendation(**{name: getattr(row, name) for name in _COLUMNS})


def _unknown(recommendation_id: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no recommendation {recommendation_id[:64]!r}.",
        remedy="Use the id that the recommendation was made with.",
        field="id",
        value=recommendation_id[:64],
    )
