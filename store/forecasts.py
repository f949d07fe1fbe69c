"""Forecasts that were asked for: the request, the version that answered, and the result as a Parquet file."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, load_only

from store.database import migrate, session
from store.errors import UnknownEntity
from store.pages import Page, checked_limit, page_of, storable
from store.settings import Settings
from store.tables.base import id_at, new_id, utc_now
from store.tables.platform import ForecastRow

READY, FAILED = "ready", "failed"
_BATCH = 100
_A_MOMENT = timedelta(seconds=1)  # an id is made a moment before its row's time of creation


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """One forecast without its numbers; `result` has these.

    Attributes
    ----------
    id : sorts by the time it was made.
    digest : of the dataset the version learned from.
    request : what was asked: series, horizon, levels.
    rows : number of rows of the result.
    status : "ready" or "failed"; `error` says why.
    created_at : naive UTC.
    caller : name of the API key that asked.
    """

    model: str
    version: int
    request: Mapping[str, Any]
    id: str = field(default_factory=new_id)
    digest: str | None = None
    run_id: str | None = None
    git_commit: str | None = None
    rows: int | None = None
    status: str = READY
    error: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    request_id: str | None = None
    caller: str | None = None


_COLUMNS = tuple(item.name for item in fields(Forecast))
_WITHOUT_RESULT = load_only(*(getattr(ForecastRow, name) for name in _COLUMNS))


def create(settings: Settings, forecast: Forecast, result: bytes | None) -> None:
    """Keep a forecast with its result, a Parquet file; None for one that failed."""
    migrate(settings)
    with session(settings) as opened:
        opened.add(ForecastRow(**{name: getattr(forecast, name) for name in _COLUMNS}, result=result))


def get(settings: Settings, forecast_id: str) -> Forecast:
    """One forecast.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(ForecastRow, storable(forecast_id), options=[_WITHOUT_RESULT])
        if row is None:
            raise _unknown(forecast_id)
        return _forecast(row)


def result(settings: Settings, forecast_id: str) -> bytes | None:
    """The numbers of a forecast, a Parquet file; None for one that failed.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        found = opened.execute(
            sa.select(ForecastRow.result).where(ForecastRow.id == storable(forecast_id))
        ).one_or_none()
    if found is None:
        raise _unknown(forecast_id)
    result: bytes | None = found[0]
    return result


def page(
    settings: Settings,
    *,
    model: str | None = None,
    version: int | None = None,
    series: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    caller: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Forecast]:
    """Forecasts, newest first.

    Parameters
    ----------
    series : only those that hold this series.
    since, until : made at or after the one and before the other, naive UTC.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(ForecastRow).options(_WITHOUT_RESULT).order_by(ForecastRow.id.desc())
    if model is not None:
        query = query.where(ForecastRow.model == storable(model))
    if version is not None:
        query = query.where(ForecastRow.version == version)
    if since is not None:
        query = query.where(ForecastRow.id >= id_at(since - _A_MOMENT), ForecastRow.created_at >= since)
    if until is not None:
        query = query.where(ForecastRow.id < id_at(until + _A_MOMENT), ForecastRow.created_at < until)
    if caller is not None:
        query = query.where(ForecastRow.caller == storable(caller))
    if cursor is not None:
        query = query.where(ForecastRow.id < storable(cursor))
    wanted = checked_limit(limit) + 1
    with session(settings, readonly=True) as opened:
        if series is None:
            rows = list(opened.scalars(query.limit(wanted)))
        else:
            rows = list(islice(_holding(opened, query.where(_may_hold(series)), series), wanted))
    return page_of(rows, limit, _forecast, lambda row: row.id)


def _holding(opened: Session, query: sa.Select[tuple[ForecastRow]], series: str) -> Iterator[ForecastRow]:
    """Of the rows that may hold a series those that do, newest first, read as far as somebody asks."""
    last = None
    while True:
        later = query if last is None else query.where(ForecastRow.id < last)
        rows = opened.scalars(later.limit(_BATCH)).all()
        yield from (row for row in rows if _holds(opened, row, series))
        if len(rows) < _BATCH:
            return
        last = rows[-1].id


def _may_hold(series: str) -> sa.ColumnElement[bool]:
    """What the database can tell of whether a forecast holds a series: named ones stand in the request as JSON, where
    other characters than letters and digits may be written in several ways."""
    named = ForecastRow.request["series"].as_string()
    plain = max(re.findall("[A-Za-z0-9]+", series), key=len, default="")
    request = sa.cast(ForecastRow.request, sa.Text)
    return sa.or_(named.is_(None), named == "null", request.contains(plain))


def _holds(opened: Session, row: ForecastRow, series: str) -> bool:
    """Whether a forecast holds a series: by its request where that names series, else by its numbers."""
    request = row.request
    if request.get("series") is not None:
        return series in request["series"]
    if request.get("prefix") is not None and not series.startswith(request["prefix"]):
        return False
    content = opened.execute(sa.select(ForecastRow.result).where(ForecastRow.id == row.id)).scalar_one()
    if content is None:
        return False
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = pq.read_table(io.BytesIO(content), columns=["unique_id"])["unique_id"]
    return bool(pc.any(pc.equal(names, series)).as_py())


def _forecast(row: ForecastRow) -> Forecast:
    return Forecast(**{name: getattr(row, name) for name in _COLUMNS})


def _unknown(forecast_id: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no forecast {forecast_id[:64]!r}.",
        remedy="Use the id that the forecast was created with.",
        field="id",
        value=forecast_id[:64],
    )
