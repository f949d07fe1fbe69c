"""Answered predictions, traceable to version, run, data and code, and what really happened afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import InvalidValue, UnknownEntity
from store.pages import Page, checked_limit, page_of, storable
from store.settings import Settings
from store.tables.base import id_at, new_id, utc_now
from store.tables.platform import PredictionActualRow, PredictionRow

_BATCH = 500
# An id and `created_at` are made one after the other.
_A_MOMENT = timedelta(seconds=1)


@dataclass(frozen=True)
class Actual:
    """What really happened, as last reported; `reported_at` is naive UTC."""

    value: Any
    reported_at: datetime
    reported_by: str | None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One answer.

    Attributes
    ----------
    id : sorts by the time of the answer.
    digest : of the dataset the version learned from.
    entity_id : None for features that were sent without an id.
    features : exactly what the model was given.
    output : exactly what was answered: probability, band, …
    created_at : naive UTC.
    caller : name of the API key that asked.
    actual : set on what is read; ignored by `write`.
    """

    model: str
    version: int
    features: Mapping[str, Any]
    output: Mapping[str, Any]
    id: str = field(default_factory=new_id)
    entity_id: str | None = None
    digest: str | None = None
    run_id: str | None = None
    git_commit: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    request_id: str | None = None
    caller: str | None = None
    actual: Actual | None = None


@dataclass(frozen=True)
class Outcome:
    """One churn prediction and what came of it, as far as is known.

    Attributes
    ----------
    actual : True or False as last reported; None where nothing was.
    feature : the one that was asked for.
    """

    created_at: datetime
    entity_id: str | None
    band: str
    probability: float
    actual: Any
    feature: float | None


_COLUMNS = tuple(item.name for item in fields(Prediction) if item.name != "actual")


def write(settings: Settings, predictions: Sequence[Prediction]) -> None:
    """Keep predictions, all or none. Writing the same ones again changes nothing, so a failed call may be repeated."""
    if not predictions:
        return
    migrate(settings)
    rows = [{name: getattr(one, name) for name in _COLUMNS} for one in predictions]
    for row in rows:
        for name in ("entity_id", "request_id", "caller"):
            if row[name] is not None:
                row[name] = storable(row[name])
    with session(settings) as opened:
        insert = sqlite.insert if opened.get_bind().dialect.name == "sqlite" else postgresql.insert
        opened.execute(insert(PredictionRow).on_conflict_do_nothing(), rows)


def get(settings: Settings, prediction_id: str) -> Prediction:
    """One prediction with what was last reported of it.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(PredictionRow, storable(prediction_id))
        if row is None:
            raise _unknown(prediction_id)
        return _prediction(row, _actuals(opened, [row.id]).get(row.id))


def page(
    settings: Settings,
    *,
    model: str | None = None,
    version: int | None = None,
    entity_id: str | None = None,
    request_id: str | None = None,
    caller: str | None = None,
    band: str | None = None,
    min_probability: float | None = None,
    max_probability: float | None = None,
    has_actual: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Prediction]:
    """Predictions, newest first.

    Parameters
    ----------
    band : of a churn prediction.
    min_probability, max_probability : of a churn prediction, both included.
    has_actual : whether it has been reported what really happened.
    since, until : made at or after the one and before the other, naive UTC.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(PredictionRow).order_by(PredictionRow.id.desc()).limit(checked_limit(limit) + 1)
    wanted = {"model": model, "version": version, "entity_id": entity_id, "request_id": request_id, "caller": caller}
    for name, value in wanted.items():
        if value is not None:
            query = query.where(getattr(PredictionRow, name) == (storable(value) if isinstance(value, str) else value))
    if band is not None:
        query = query.where(PredictionRow.output["band"].as_string() == storable(band))
    if min_probability is not None:
        query = query.where(PredictionRow.output["probability"].as_float() >= min_probability)
    if max_probability is not None:
        query = query.where(PredictionRow.output["probability"].as_float() <= max_probability)
    if has_actual is not None:
        reported = sa.exists().where(PredictionActualRow.prediction_id == PredictionRow.id)
        query = query.where(reported if has_actual else ~reported)
    if since is not None:
        query = query.where(PredictionRow.id >= id_at(since - _A_MOMENT), PredictionRow.created_at >= since)
    if until is not None:
        query = query.where(PredictionRow.id < id_at(until + _A_MOMENT), PredictionRow.created_at < until)
    if cursor is not None:
        query = query.where(PredictionRow.id < storable(cursor))
    with session(settings, readonly=True) as opened:
        rows = opened.scalars(query).all()
        known = _actuals(opened, [row.id for row in rows])
    return page_of(rows, limit, lambda row: _prediction(row, known.get(row.id)), lambda row: row.id)


def outcomes(
    settings: Settings,
    *,
    model: str,
    since: datetime,
    until: datetime,
    version: int | None = None,
    caller: str | None = None,
    feature: str | None = None,
    limit: int = 500_000,
) -> list[Outcome]:
    """What was predicted in a span of time and what came of it, oldest first.

    Parameters
    ----------
    since, until : made at or after the one and before the other, naive UTC.
    feature : one number among the features to bring along.

    Raises
    ------
    InvalidValue : there are more than `limit`.
    """
    migrate(settings)
    latest = (
        sa.select(PredictionActualRow.prediction_id, sa.func.max(PredictionActualRow.id).label("id"))
        .group_by(PredictionActualRow.prediction_id)
        .subquery()
    )
    query = (
        sa.select(
            PredictionRow.created_at,
            PredictionRow.entity_id,
            PredictionRow.output["band"].as_string(),
            PredictionRow.output["probability"].as_float(),
            PredictionActualRow.value,
            PredictionRow.features[feature].as_float() if feature else sa.null(),
        )
        .outerjoin(latest, latest.c.prediction_id == PredictionRow.id)
        .outerjoin(PredictionActualRow, PredictionActualRow.id == latest.c.id)
        .where(PredictionRow.model == storable(model))
        .where(PredictionRow.id >= id_at(since - _A_MOMENT), PredictionRow.created_at >= since)
        .where(PredictionRow.id < id_at(until + _A_MOMENT), PredictionRow.created_at < until)
        .order_by(PredictionRow.id)
        .limit(limit + 1)
    )
    if version is not None:
        query = query.where(PredictionRow.version == version)
    if caller is not None:
        query = query.where(PredictionRow.caller == storable(caller))
    with session(settings, readonly=True) as opened:
        found = [Outcome(*row) for row in opened.execute(query)]
    if len(found) > limit:
        raise InvalidValue(
            f"More than {limit:,} predictions were made between {since:%Y-%m-%d} and {until:%Y-%m-%d}.",
            remedy="Ask for a shorter time.",
            field="since",
            value=since.isoformat(),
        )
    return found


def report(settings: Settings, prediction_id: str, value: Any, *, reported_by: str | None = None) -> Actual:
    """Keep what really happened. Earlier reports stay; the latest counts.

    Raises
    ------
    UnknownEntity : there is no prediction of that id.
    """
    migrate(settings)
    row = PredictionActualRow(prediction_id=prediction_id, value=value, reported_at=utc_now(), reported_by=reported_by)
    with session(settings) as opened:
        if opened.get(PredictionRow, storable(prediction_id)) is None:
            raise _unknown(prediction_id)
        opened.add(row)
    return Actual(row.value, row.reported_at, row.reported_by)


def reports(settings: Settings, prediction_id: str) -> list[Actual]:
    """Everything ever reported of a prediction, oldest first."""
    migrate(settings)
    query = sa.select(PredictionActualRow).where(PredictionActualRow.prediction_id == prediction_id)
    with session(settings, readonly=True) as opened:
        found = opened.scalars(query.order_by(PredictionActualRow.id))
        return [Actual(row.value, row.reported_at, row.reported_by) for row in found]


def _actuals(opened: Session, ids: Sequence[str]) -> dict[str, Actual]:
    found: dict[str, Actual] = {}
    for start in range(0, len(ids), _BATCH):
        mine = PredictionActualRow.prediction_id.in_(ids[start : start + _BATCH])
        # In the order they were reported: the latest overwrites.
        for row in opened.scalars(sa.select(PredictionActualRow).where(mine).order_by(PredictionActualRow.id)):
            found[row.prediction_id] = Actual(row.value, row.reported_at, row.reported_by)
    return found


def _prediction(row: PredictionRow, actual: Actual | None) -> Prediction:
    return Prediction(**{name: getattr(row, name) for name in _COLUMNS}, actual=actual)


def _unknown(prediction_id: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no prediction {prediction_id[:64]!r}.",
        remedy="Use the id that the prediction was answered with.",
        field="id",
        value=prediction_id[:64],
    )
