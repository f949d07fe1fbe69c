"""Retention plans: what was asked, the version that judged the customers, and who is to be offered what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import load_only

from store.database import migrate, session
from store.errors import UnknownEntity
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.decisions import RetentionPlanRow


@dataclass(frozen=True, kw_only=True)
class RetentionPlanRecord:
    """One plan without its assignments; `result` has these.

    Attributes
    ----------
    id : sorts by the time it was made.
    digest : of the dataset the version learned from.
    request : what was asked: offers, budget, customers, horizon.
    summary : what to expect of it; see `models.churn.retention.plan`.
    created_at : naive UTC.
    caller : name of the API key that asked.
    """

    model: str
    version: int
    request: Mapping[str, Any]
    summary: Mapping[str, Any]
    id: str = field(default_factory=new_id)
    digest: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    request_id: str | None = None
    caller: str | None = None


_COLUMNS = tuple(item.name for item in fields(RetentionPlanRecord))
_WITHOUT_RESULT = load_only(*(getattr(RetentionPlanRow, name) for name in _COLUMNS))


def create(settings: Settings, plan: RetentionPlanRecord, result: bytes) -> None:
    """Keep a plan with its assignments, a Parquet file."""
    migrate(settings)
    values = {name: getattr(plan, name) for name in _COLUMNS}
    for name in ("request_id", "caller"):
        if values[name] is not None:
            values[name] = storable(values[name])
    with session(settings) as opened:
        opened.add(RetentionPlanRow(**values, result=result))


def get(settings: Settings, plan_id: str) -> RetentionPlanRecord:
    """One plan.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(RetentionPlanRow, storable(plan_id), options=[_WITHOUT_RESULT])
        if row is None:
            raise _unknown(plan_id)
        return _plan(row)


def result(settings: Settings, plan_id: str) -> bytes:
    """The assignments of a plan, a Parquet file.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        found = opened.execute(
            sa.select(RetentionPlanRow.result).where(RetentionPlanRow.id == storable(plan_id))
        ).one_or_none()
    if found is None:
        raise _unknown(plan_id)
    content: bytes = found[0]
    return content


def page(
    settings: Settings,
    *,
    model: str | None = None,
    version: int | None = None,
    caller: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[RetentionPlanRecord]:
    """Plans, newest first.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(RetentionPlanRow).options(_WITHOUT_RESULT)
    if model is not None:
        query = query.where(RetentionPlanRow.model == storable(model))
    if version is not None:
        query = query.where(RetentionPlanRow.version == version)
    if caller is not None:
        query = query.where(RetentionPlanRow.caller == storable(caller))
    return newest(settings, query, RetentionPlanRow.id, _plan, limit=limit, cursor=cursor)


def _plan(row: RetentionPlanRow) -> RetentionPlanRecord:
    return RetentionPlanRecord(**{name: getattr(row, name) for name in _COLUMNS})


def _unknown(plan_id: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no retention plan {plan_id[:64]!r}.",
        remedy="Use the id that the plan was created with.",
        field="id",
        value=plan_id[:64],
    )
