"""What monitoring found, one row per look at a champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session
from store.errors import UnknownEntity
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.decisions import MonitorReportRow


@dataclass(frozen=True, kw_only=True)
class MonitorRecord:
    """One look.

    Attributes
    ----------
    as_of : the data were looked at as known at this moment, naive UTC.
    verdict : "ok", "no_news", "drift", "worse" or "rolled_back".
    report : everything that was found, JSON-ready.
    """

    model: str
    version: int
    as_of: datetime
    verdict: str
    report: Mapping[str, Any]
    flow_run: str | None = None
    id: str = field(default_factory=new_id)
    created_at: datetime = field(default_factory=utc_now)


def write(settings: Settings, record: MonitorRecord) -> None:
    """Keep a report."""
    migrate(settings)
    row = MonitorReportRow(**{name: getattr(record, name) for name in MonitorRecord.__dataclass_fields__})
    row.report = dict(record.report)
    with session(settings) as opened:
        opened.add(row)


def get(settings: Settings, report_id: str, *, model: str | None = None) -> MonitorRecord:
    """One report.

    Parameters
    ----------
    model : only one about this model.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(MonitorReportRow, storable(report_id))
        if row is None or model not in (None, row.model):
            raise UnknownEntity(
                f"There is no monitor report {report_id[:64]!r}.",
                remedy="List them with `GET /v1/registry/models/{name}/monitoring`.",
                field="id",
                value=report_id[:64],
            )
        return _record(row)


def page(
    settings: Settings,
    model: str | None = None,
    *,
    version: int | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[MonitorRecord]:
    """Reports, newest first.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(MonitorReportRow)
    if model is not None:
        query = query.where(MonitorReportRow.model == storable(model))
    if version is not None:
        query = query.where(MonitorReportRow.version == version)
    return newest(settings, query, MonitorReportRow.id, _record, limit=limit, cursor=cursor)


def _record(row: MonitorReportRow) -> MonitorRecord:
    return MonitorRecord(**{name: getattr(row, name) for name in MonitorRecord.__dataclass_fields__})
