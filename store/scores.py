"""What a version said of every entity as of a moment: batches that are there as a whole, and their rows.

A batch is named by (model, version, as_of). Its row is written once all of its scores are, and taken away before they
change: whoever starts from a batch never reads half of one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from store.database import database_url, engine, migrate, session
from store.errors import InvalidValue, UnknownEntity
from store.locks import file_lock
from store.pages import Page, checked_limit, page_of, storable
from store.score_rows import checked
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.decisions import ScoreBatchRow, ScoreRow

LOCK_SECONDS = 600
Order = Literal["value", "entity"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one version said of one entity.

    Attributes
    ----------
    as_of : naive UTC; what was known then is what the score rests on.
    label, value : what lists are filtered and sorted by.
    output : everything else the model said.
    """

    model: str
    version: int
    as_of: datetime
    entity_id: str
    label: str
    value: float
    output: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ScoreBatch:
    """All scores of one version as of one moment.

    Attributes
    ----------
    digest : hex SHA-256 over every row, the same in any order.
    snapshot : digest of the snapshot that was scored; None where there was none.
    uri : the same scores as a Parquet file.
    scored_at : naive UTC.
    """

    model: str
    version: int
    as_of: datetime
    rows: int
    digest: str
    snapshot: str | None
    uri: str
    flow_run: str | None
    scored_at: datetime


class LabelCount(NamedTuple):
    """The entities of a batch that carry one label."""

    label: str
    rows: int
    mean_value: float
    total_value: float


class Movement(NamedTuple):
    """Entities that went from one label to another; None stands for not being there."""

    before: str | None
    after: str | None
    rows: int


_SCORE = tuple(item.name for item in fields(Score))
_BATCH = tuple(item.name for item in fields(ScoreBatch))


def write(
    settings: Settings,
    model: str,
    version: int,
    as_of: datetime,
    rows: pd.DataFrame,
    *,
    snapshot: str | None = None,
    uri: str = "",
    flow_run: str | None = None,
) -> int:
    """Keep the scores of a version as of a moment; what an earlier attempt left of the same batch is replaced.

    Rows are committed a few thousand at a time, so that others can write in between. Killed half-way, it may be
    repeated; two writers of one model wait for each other.

    Parameters
    ----------
    rows : one per entity, its id as the index; `label` (str), `value` (finite float), any JSON-ready columns.

    Returns
    -------
    Number of rows written; 0 where exactly these scores were there already, in which case nothing changes.

    Raises
    ------
    DataError : the rows do not fit, see `store.score_rows.checked`.
    ServiceUnavailable : another writer did not finish within ten minutes.
    """
    found = checked(rows)
    migrate(settings)
    key = {"model": storable(model), "version": version, "as_of": _naive(as_of)}
    with _alone(settings, model):
        with session(settings) as opened:
            known = opened.get(ScoreBatchRow, tuple(key.values()))
            if known is not None and known.digest == found.digest:
                return 0
            if known is not None:
                opened.delete(known)
            stale = set(opened.scalars(sa.select(ScoreRow.entity_id).where(*_of(ScoreRow, **key))))
        for batch in found.batches():
            with session(settings) as opened:
                insert = sqlite.insert if opened.get_bind().dialect.name == "sqlite" else postgresql.insert
                upsert = insert(ScoreRow)
                changed = {name: upsert.excluded[name] for name in ("label", "value", "output")}
                primary = ["model", "version", "as_of", "entity_id"]
                upsert = upsert.on_conflict_do_update(index_elements=primary, set_=changed)
                opened.execute(upsert, [{**key, **row} for row in batch])
        _forget(settings, key, sorted(stale.difference(found.frame.index)))
        with session(settings) as opened:
            opened.add(
                ScoreBatchRow(
                    **key,
                    rows=len(found),
                    digest=found.digest,
                    snapshot=snapshot,
                    uri=uri,
                    flow_run=flow_run,
                    scored_at=utc_now(),
                )
            )
    return len(found)


def batches(settings: Settings, model: str, *, version: int | None = None, limit: int = 100) -> list[ScoreBatch]:
    """The batches of a model, the newest moment first; of one moment, the one scored last first.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    order = (ScoreBatchRow.as_of.desc(), ScoreBatchRow.scored_at.desc(), ScoreBatchRow.version.desc())
    query = sa.select(ScoreBatchRow).where(ScoreBatchRow.model == storable(model)).order_by(*order)
    if version is not None:
        query = query.where(ScoreBatchRow.version == version)
    with session(settings, readonly=True) as opened:
        return [_batch(row) for row in opened.scalars(query.limit(checked_limit(limit)))]


def latest(settings: Settings, model: str, *, version: int | None = None) -> ScoreBatch | None:
    """The batch of the newest moment; None where nothing was scored."""
    return next(iter(batches(settings, model, version=version, limit=1)), None)


def batch(settings: Settings, model: str, version: int, as_of: datetime) -> ScoreBatch | None:
    """One batch; None where it was not scored, or is being written."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(ScoreBatchRow, (storable(model), version, _naive(as_of)))
        return None if row is None else _batch(row)


def page(
    settings: Settings,
    model: str,
    *,
    version: int,
    as_of: datetime,
    label: str | None = None,
    order: Order = "value",
    limit: int = 100,
    cursor: str | None = None,
) -> Page[Score]:
    """Scores of one batch, the highest value first or in the order of the entities' ids.

    Parameters
    ----------
    label : only those with this label.
    cursor : `next_cursor` of the page before, asked in the same order.

    Raises
    ------
    UnknownEntity : there is no such batch.
    InvalidValue : `limit` lies outside 1 to 1,000, or `cursor` is none.
    """
    key = _existing(settings, model, version, as_of)
    query = sa.select(ScoreRow).where(*_of(ScoreRow, **key)).limit(checked_limit(limit) + 1)
    if label is not None:
        query = query.where(ScoreRow.label == storable(label))
    if order == "value":
        query = query.order_by(ScoreRow.value.desc(), ScoreRow.entity_id)
        if cursor is not None:
            value, entity = _read_cursor(cursor)
            after = sa.and_(ScoreRow.value == value, ScoreRow.entity_id > entity)
            query = query.where(sa.or_(ScoreRow.value < value, after))
    else:
        query = query.order_by(ScoreRow.entity_id)
        if cursor is not None:
            query = query.where(ScoreRow.entity_id > _read_cursor(cursor)[1])
    with session(settings, readonly=True) as opened:
        rows = opened.scalars(query).all()
    return page_of(rows, limit, _score, _cursor)


def get(settings: Settings, model: str, entity_id: str, *, limit: int = 100) -> list[Score]:
    """What the versions of a model said of one entity, the newest moment first; only from batches that are whole."""
    migrate(settings)
    same = sa.and_(*(getattr(ScoreRow, name) == getattr(ScoreBatchRow, name) for name in ("model", "version", "as_of")))
    query = (
        sa.select(ScoreRow)
        .join(ScoreBatchRow, same)
        .where(ScoreRow.model == storable(model), ScoreRow.entity_id == storable(entity_id))
        .order_by(ScoreRow.as_of.desc(), ScoreBatchRow.scored_at.desc(), ScoreRow.version.desc())
        .limit(checked_limit(limit))
    )
    with session(settings, readonly=True) as opened:
        return [_score(row) for row in opened.scalars(query)]


def counts(settings: Settings, model: str, *, version: int, as_of: datetime) -> list[LabelCount]:
    """Entities of a batch by label, with the mean and the sum of their values; in the order of the labels.

    Raises
    ------
    UnknownEntity : there is no such batch.
    """
    key = _existing(settings, model, version, as_of)
    value = ScoreRow.value
    query = (
        sa.select(ScoreRow.label, sa.func.count(), sa.func.avg(value), sa.func.sum(value))
        .where(*_of(ScoreRow, **key))
        .group_by(ScoreRow.label)
    )
    with session(settings, readonly=True) as opened:
        # Sorted here: databases do not agree on the order of text.
        return sorted(
            LabelCount(str(row[0]), int(row[1]), float(row[2]), float(row[3])) for row in opened.execute(query)
        )


def movements(settings: Settings, model: str, before: ScoreBatch, after: ScoreBatch) -> list[Movement]:
    """How many entities went from which label in one batch to which in the other, newcomers and leavers included.

    Raises
    ------
    UnknownEntity : one of the batches is not there any more.
    """
    one, other = aliased(ScoreRow), aliased(ScoreRow)
    mine = _of(one, **_existing(settings, model, before.version, before.as_of))
    theirs = _of(other, **_existing(settings, model, after.version, after.as_of))
    rows = sa.func.count()
    same = one.entity_id == other.entity_id
    # Two left joins rather than a full one, which older SQLite does not know.
    stayed_or_left = (
        sa.select(one.label, other.label, rows)
        .outerjoin(other, sa.and_(same, *theirs))
        .where(*mine)
        .group_by(one.label, other.label)
    )
    came = (
        sa.select(sa.null(), other.label, rows)
        .select_from(other)
        .outerjoin(one, sa.and_(same, *mine))
        .where(*theirs, one.entity_id.is_(None))
        .group_by(other.label)
    )
    with session(settings, readonly=True) as opened:
        found = [Movement(*row) for query in (stayed_or_left, came) for row in opened.execute(query)]
    return sorted(found, key=lambda move: tuple((label is None, label or "") for label in move[:2]))


def _of(table: Any, **key: Any) -> list[sa.ColumnElement[bool]]:
    return [getattr(table, name) == value for name, value in key.items()]


def _existing(settings: Settings, model: str, version: int, as_of: datetime) -> dict[str, Any]:
    if batch(settings, model, version, as_of) is None:
        raise UnknownEntity(
            f"Version {version} of {model!r} has no scores as of {_naive(as_of).isoformat(sep=' ')}.",
            remedy=f"Score first: `merit score {model} --version {version} --as-of DATE`.",
            field="as_of",
            value=as_of.isoformat(),
        )
    return {"model": storable(model), "version": version, "as_of": _naive(as_of)}


def _forget(settings: Settings, key: Mapping[str, Any], entities: list[str]) -> None:
    """Scores of an earlier attempt at the same batch that the batch no longer holds."""
    for start in range(0, len(entities), 500):
        gone = ScoreRow.entity_id.in_(entities[start : start + 500])
        with session(settings) as opened:
            opened.execute(sa.delete(ScoreRow).where(*_of(ScoreRow, **key), gone))


@contextmanager
def _alone(settings: Settings, model: str) -> Iterator[None]:
    """Hold the scores of a model against every other writer: of this machine on SQLite, of all on Postgres."""
    digest = hashlib.sha256(b"scores " + model.encode()).digest()
    url = database_url(settings)
    if url.get_backend_name() == "sqlite":
        with file_lock(Path(f"{url.database}.locks") / f"{digest.hex()[:16]}.lock", timeout=LOCK_SECONDS):
            yield
        return
    # Its own connection: rows are committed elsewhere while this transaction stays open.
    with engine(settings).begin() as connection:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        number = int.from_bytes(digest[:8], "big", signed=True)
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": number})
        yield


def _score(row: ScoreRow) -> Score:
    return Score(**{name: getattr(row, name) for name in _SCORE})


def _batch(row: ScoreBatchRow) -> ScoreBatch:
    return ScoreBatch(**{name: getattr(row, name) for name in _BATCH})


def _cursor(row: ScoreRow) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([row.value, row.entity_id])).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[float, str]:
    try:
        value, entity = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return float(value), storable(str(entity))
    except (binascii.Error, ValueError, TypeError):
        raise InvalidValue(
            f"cursor={cursor[:64]!r} does not continue a list.",
            remedy="Use `next_cursor` of the page before, or leave it out.",
            field="cursor",
            value=cursor[:64],
        ) from None


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
