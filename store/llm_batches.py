"""Batches as they are stored: who works on which, what became of each request, and how far it has come.

One gateway works on a batch at a time. It claims the batch for a while and says again and again that it still does;
when it dies, another one takes over after that while. Answers are taken from its claimant alone, so that one which was
believed to be dead cannot add a second answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store import llm_files
from store.database import migrate, session
from store.errors import StateConflict, UnknownEntity
from store.llm_files import StoredFile
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import BatchLineRow, BatchRow, FileRow
from store.tables.platform import ApiKeyRow

# To be worked on.
ACTIVE = llm_files.READING
_PORTION = 200


@dataclass(frozen=True)
class Batch:
    """A batch; moments are naive UTC.

    Attributes
    ----------
    tenant : who pays, fields of `gateway.prompt.Tenant`.
    status : validating, in_progress, finalizing, completed, failed, expired, cancelling or cancelled.
    priority : 0 to 9, the highest goes first.
    cost : nanos so far.
    details : `metadata` of the caller's, `errors` of the whole batch, `max_cost` (nanos), `output_seconds` after which
        its files expire, `usage`, and moments as ISO texts: `finalizing_at`, `cancelling_at`.
    """

    id: str
    workspace: str
    key_name: str | None
    tenant: Mapping[str, Any]
    status: str
    priority: int
    endpoint: str
    input_file: str
    output_file: str | None
    error_file: str | None
    total: int
    completed: int
    failed: int
    cost: int
    details: Mapping[str, Any]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one request.

    Attributes
    ----------
    line : its number in the input file, from 1.
    answered : whether it was; else `answer` tells why not.
    call_id : None where no call was made.
    key_id : of the key that `answer` is encrypted with; None: plain.
    cost : nanos.
    """

    line: int
    custom_id: str
    user: str | None
    answered: bool
    call_id: str | None
    key_id: str | None
    answer: bytes
    cost: int = 0


def create(settings: Settings, batch: Batch) -> None:
    """Keep a new batch.

    Raises
    ------
    UnknownEntity : its input file is gone.
    """
    migrate(settings)
    with session(settings) as opened:
        # Whoever removes the file waits, and then finds the batch.
        if opened.get(FileRow, batch.input_file, with_for_update=True) is None:
            raise llm_files.unknown(batch.input_file)
        opened.add(BatchRow(**{field.name: getattr(batch, field.name) for field in fields(batch)}))


def get(settings: Settings, batch_id: str, *, workspace: str | None = None, key_name: str | None = None) -> Batch:
    """One batch.

    Parameters
    ----------
    workspace, key_name : the only ones whose batches may be seen; None: all.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        return _batch(_found(opened, batch_id, workspace, key_name))


def batches(
    settings: Settings,
    *,
    workspace: str | None = None,
    key_name: str | None = None,
    limit: int = 20,
    after: str | None = None,
) -> Page[Batch]:
    """Batches, newest first, those older than `after`.

    Raises
    ------
    InvalidValue : `limit` outside 1 to 1,000.
    """
    query = sa.select(BatchRow)
    query = query.where(*_owned(workspace, key_name))
    migrate(settings)
    return newest(settings, query, BatchRow.id, _batch, limit=limit, cursor=after)


def cancel(settings: Settings, batch_id: str, *, workspace: str | None = None, key_name: str | None = None) -> Batch:
    """Ask for no more requests of a batch to be made. Cancelling one that is being cancelled changes nothing.

    Raises
    ------
    UnknownEntity : as `get`.
    StateConflict : it has ended.
    """
    migrate(settings)
    with session(settings) as opened:
        row = _found(opened, batch_id, workspace, key_name, lock=True)
        if row.status in ("validating", "in_progress"):
            row.status = "cancelling"
            row.details = {**row.details, "cancelling_at": utc_now().isoformat()}
        elif row.status not in ("cancelling", "cancelled"):
            raise StateConflict(
                f"The batch {row.id} is {row.status}.",
                remedy="Only batches that are being validated or worked on can be cancelled.",
                field="status",
                value=row.status,
            )
        return _batch(row)


def claim(settings: Settings, owner: str, seconds: float, above: int | None = None) -> Batch | None:
    """Take the batch that is next: by priority, then by age; None when there is none that nobody works on.

    Parameters
    ----------
    seconds : for how long.
    above : only one of a higher priority than this, or one that has only to be brought to its end.
    """
    wanted: list[sa.ColumnElement[bool]] = [BatchRow.status.in_(ACTIVE)]
    if above is not None:
        wanted.append(sa.or_(BatchRow.priority > above, BatchRow.status.in_(("finalizing", "cancelling"))))
    query = sa.select(BatchRow).where(*wanted).order_by(BatchRow.priority.desc(), BatchRow.id).limit(1)
    with session(settings, readonly=True) as opened:
        # SQLite has one writer: it is not disturbed while there is nothing to do.
        if opened.scalar(query.where(_unclaimed(_now(opened))).with_only_columns(BatchRow.id)) is None:
            return None
    with session(settings) as opened:
        now = _now(opened)
        row = opened.scalar(query.where(_unclaimed(now)).with_for_update(skip_locked=True))
        if row is None:
            return None
        row.claimed_by, row.claimed_until = owner, now + timedelta(seconds=seconds)
        return _batch(row)


def hold(settings: Settings, owner: str, seconds: float) -> dict[str, Batch]:
    """Say that this gateway still works on what it claimed: id → the batch as it is now, of those that are still its.

    A batch whose key was revoked or has expired meanwhile is being cancelled then, and says so among its errors.
    """
    with session(settings) as opened:
        now = _now(opened)
        rows = opened.scalars(sa.select(BatchRow).where(BatchRow.claimed_by == owner).with_for_update()).all()
        keys = {row.tenant.get("key_id") for row in rows if row.status in ("validating", "in_progress")} - {None}
        ended = sa.or_(ApiKeyRow.revoked_at.is_not(None), ApiKeyRow.expires_at <= now)
        gone = set(opened.scalars(sa.select(ApiKeyRow.id).where(ApiKeyRow.id.in_(keys), ended))) if keys else set()
        for row in rows:
            row.claimed_until = now + timedelta(seconds=seconds)
            if row.tenant.get("key_id") in gone and row.status in ("validating", "in_progress"):
                row.status = "cancelling"
                told = f"The key {row.key_name!r} is not valid any more."
                error = {"code": "invalid_api_key", "message": told, "line": None, "param": None}
                row.details = {**row.details, "errors": [error], "cancelling_at": now.isoformat()}
        return {row.id: _batch(row) for row in rows}


def release(settings: Settings, owner: str | None, batch_id: str | None = None, *, seconds: float = 0.0) -> None:
    """Work no longer on one batch, or on any.

    Parameters
    ----------
    owner : None: nobody does, where no other gateway can.
    seconds : in which nobody is to take it up.
    """
    with session(settings) as opened:
        mine = [BatchRow.claimed_by.is_not(None) if owner is None else BatchRow.claimed_by == owner]
        if batch_id is not None:
            mine.append(BatchRow.id == batch_id)
        until = _now(opened) + timedelta(seconds=seconds) if seconds else None
        opened.execute(sa.update(BatchRow).where(*mine).values(claimed_by=None, claimed_until=until))


def change(settings: Settings, batch_id: str, owner: str, **values: Any) -> Batch | None:
    """Set columns of a batch, `details` added to those there are; None when it is no longer this gateway's.

    A status is not set where somebody has cancelled it meanwhile.
    """
    with session(settings) as opened:
        row = _claimed(opened, batch_id, owner)
        if row is None:
            return None
        if row.status == "cancelling":
            values.pop("status", None)
        row.details = {**row.details, **values.pop("details", {})}
        for name, value in values.items():
            setattr(row, name, value)
        return _batch(row)


def keep(settings: Settings, batch_id: str, owner: str, lines: Sequence[Line]) -> str | None:
    """Keep what became of requests, and count it; the status of the batch, None when it is no longer this gateway's."""
    with session(settings) as opened:
        row = _claimed(opened, batch_id, owner)
        if row is None:
            return None
        opened.execute(
            sa.insert(BatchLineRow),
            [
                {
                    "batch_id": batch_id,
                    "line": one.line,
                    "custom_id": one.custom_id,
                    "user": one.user,
                    "status": "completed" if one.answered else "failed",
                    "call_id": one.call_id,
                    "key_id": one.key_id,
                    "answer": one.answer,
                }
                for one in lines
            ],
        )
        answered = sum(one.answered for one in lines)
        row.completed += answered
        row.failed += len(lines) - answered
        row.cost += sum(one.cost for one in lines)
        return row.status


def kept(settings: Settings, batch_id: str) -> set[int]:
    """Numbers of the lines of which it is known what became of them."""
    with session(settings, readonly=True) as opened:
        return set(opened.scalars(sa.select(BatchLineRow.line).where(BatchLineRow.batch_id == batch_id)))


def lines(settings: Settings, batch_id: str) -> Iterator[Line]:
    """What became of requests, in the order of the input."""
    last = 0
    while True:
        query = (
            sa.select(BatchLineRow)
            .where(BatchLineRow.batch_id == batch_id, BatchLineRow.line > last)
            .order_by(BatchLineRow.line)
            .limit(_PORTION)
        )
        with session(settings, readonly=True) as opened:
            rows = opened.scalars(query).all()
        if not rows:
            return
        for row in rows:
            answered = row.status == "completed"
            yield Line(row.line, row.custom_id, row.user, answered, row.call_id, row.key_id, row.answer or b"")
        last = rows[-1].line


def finish(
    settings: Settings,
    batch_id: str,
    owner: str,
    status: str,
    *,
    output: StoredFile | None = None,
    errors: StoredFile | None = None,
    failed: int | None = None,
    details: Mapping[str, Any] | None = None,
    forget: bool = False,
) -> Batch | None:
    """Bring a batch to its end, together with its files; None when it is no longer this gateway's.

    Parameters
    ----------
    failed : how many requests were not answered, those never made among them; None: as counted.
    forget : the answers are in the files, and are to be nowhere else.
    """
    with session(settings) as opened:
        row = _claimed(opened, batch_id, owner)
        if row is None:
            return None
        for file in (output, errors):
            if file is not None:
                llm_files.insert(opened, file)
        if forget:
            mine = sa.update(BatchLineRow).where(BatchLineRow.batch_id == batch_id)
            opened.execute(mine.values(answer=None, key_id=None))
        row.output_file = None if output is None else output.id
        row.error_file = None if errors is None else errors.id
        row.status, row.finished_at = status, utc_now()
        row.failed = row.failed if failed is None else failed
        row.claimed_by = row.claimed_until = None
        row.details = {**row.details, **(details or {})}
        return _batch(row)


def _claimed(opened: Session, batch_id: str, owner: str) -> BatchRow | None:
    row = opened.get(BatchRow, batch_id, with_for_update=True)
    return row if row is not None and row.claimed_by == owner else None


def _unclaimed(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(BatchRow.claimed_until.is_(None), BatchRow.claimed_until <= now)


def _now(opened: Session) -> datetime:
    """The database's own clock, where several machines share one: theirs may disagree."""
    if opened.get_bind().dialect.name != "postgresql":
        return utc_now()
    found: datetime = opened.execute(sa.text("SELECT clock_timestamp() AT TIME ZONE 'UTC'")).scalar_one()
    return found


def _found(
    opened: Session, batch_id: str, workspace: str | None, key_name: str | None, *, lock: bool = False
) -> BatchRow:
    query = sa.select(BatchRow).where(BatchRow.id == storable(batch_id), *_owned(workspace, key_name))
    row = opened.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise UnknownEntity(
            f"There is no batch {batch_id[:64]!r}.",
            remedy="`GET /v1/batches` lists those that there are.",
            field="batch_id",
            value=batch_id[:64],
        )
    return row


def _owned(workspace: str | None, key_name: str | None) -> list[sa.ColumnElement[bool]]:
    owned = []
    if workspace is not None:
        owned.append(BatchRow.workspace == storable(workspace))
    if key_name is not None:
        owned.append(BatchRow.key_name == key_name)
    return owned


def _batch(row: BatchRow) -> Batch:
    values: dict[str, Any] = {field.name: getattr(row, field.name) for field in fields(Batch)}
    return Batch(**values)
