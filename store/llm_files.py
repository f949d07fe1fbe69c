"""Files of applications as rows; their bytes are `gateway.account.files`. One that has expired is not there."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import InvalidValue, StateConflict, UnknownEntity
from store.locks import transaction_lock
from store.pages import MOST, Page, page_of, storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import BatchRow, FileRow

# A file that one of these reads cannot be removed.
READING = ("validating", "in_progress", "finalizing", "cancelling")
MOST_LISTED = 10_000


@dataclass(frozen=True)
class StoredFile:
    """A file; moments are naive UTC.

    Attributes
    ----------
    id : "file-" and 32 hex digits that sort by time.
    key_name : of the key that uploaded it, or whose batch made it.
    user : the person whom it concerns, as the application names them.
    bytes, sha256 : of what was sent, whether or not it lies encrypted.
    expires_at : None: never.
    """

    id: str
    workspace: str
    key_name: str | None
    user: str | None
    filename: str
    purpose: str
    bytes: int
    sha256: str
    created_at: datetime
    expires_at: datetime | None


def add(settings: Settings, file: StoredFile, most_bytes: int) -> None:
    """Keep the row of a file whose bytes are at their place.

    Raises
    ------
    InvalidValue : with it, the workspace would have more than `most_bytes`.
    """
    migrate(settings)
    with session(settings) as opened:
        # Uploads side by side are counted one after the other.
        transaction_lock(opened, f"llm_files/{file.workspace}")
        kept = sa.select(sa.func.sum(FileRow.bytes)).where(FileRow.workspace == file.workspace, _alive())
        total = int(opened.scalar(kept) or 0)
        if total + file.bytes > most_bytes:
            raise InvalidValue(
                f"The files of the workspace {file.workspace!r} have {total:,} bytes; with these {file.bytes:,} they "
                f"would have more than {most_bytes:,}.",
                remedy="Delete files that are not needed, or raise MERIT_MAX_FILES_BYTES on the server.",
                field="file",
            )
        insert(opened, file)


def insert(opened: Session, file: StoredFile) -> None:
    """The row, in a transaction of the caller's."""
    opened.add(FileRow(**asdict(file)))


def get(
    settings: Settings,
    file_id: str,
    *,
    workspace: str | None = None,
    key_name: str | None = None,
    expired: bool = False,
) -> StoredFile:
    """One file.

    Parameters
    ----------
    workspace, key_name : the only ones whose files may be seen; None: all.
    expired : find it even so, for as long as a batch reads it.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    """
    migrate(settings)
    query = sa.select(FileRow).where(FileRow.id == storable(file_id), *_owned(workspace, key_name))
    if not expired:
        query = query.where(_alive())
    with session(settings, readonly=True) as opened:
        row = opened.scalar(query)
    if row is None:
        raise unknown(file_id)
    return _file(row)


def files(
    settings: Settings,
    *,
    workspace: str | None = None,
    key_name: str | None = None,
    purpose: str | None = None,
    limit: int = MOST_LISTED,
    after: str | None = None,
    ascending: bool = False,
) -> Page[StoredFile]:
    """Files, newest first unless `ascending`, those behind `after` in that order.

    Raises
    ------
    InvalidValue : `limit` outside 1 to 10,000.
    """
    if not 1 <= limit <= MOST_LISTED:
        raise InvalidValue(
            f"limit={limit} is not between 1 and {MOST_LISTED:,}.",
            remedy=f"Ask for 1 to {MOST_LISTED:,} at a time.",
            field="limit",
            value=limit,
        )
    migrate(settings)
    query = sa.select(FileRow).where(_alive(), *_owned(workspace, key_name)).limit(limit + 1)
    if purpose is not None:
        query = query.where(FileRow.purpose == storable(purpose))
    if after is not None:
        query = query.where(FileRow.id > storable(after) if ascending else FileRow.id < storable(after))
    with session(settings, readonly=True) as opened:
        rows = opened.scalars(query.order_by(FileRow.id.asc() if ascending else FileRow.id.desc())).all()
    return page_of(rows, limit, _file, lambda row: row.id)


def delete(settings: Settings, file_id: str, *, workspace: str | None = None, key_name: str | None = None) -> None:
    """Remove a file's row.

    Raises
    ------
    UnknownEntity : as `get`.
    StateConflict : a batch reads it.
    """
    migrate(settings)
    with session(settings) as opened:
        mine = FileRow.id == storable(file_id), _alive(), *_owned(workspace, key_name)
        row = opened.scalar(sa.select(FileRow).where(*mine).with_for_update())
        if row is None:
            raise unknown(file_id)
        reading = sa.select(BatchRow.id).where(BatchRow.input_file == row.id, BatchRow.status.in_(READING)).limit(1)
        if (batch := opened.scalar(reading)) is not None:
            raise StateConflict(
                f"The file {row.id} is read by the batch {batch}.",
                remedy=f"Wait for its end, or cancel it: `POST /v1/batches/{batch}/cancel`.",
                field="file_id",
                value=row.id,
            )
        opened.delete(row)


def remove_expired(settings: Settings) -> list[str]:
    """Remove the rows of files that have expired and that no batch reads; their ids."""
    reading = sa.select(BatchRow.input_file).where(BatchRow.status.in_(READING))
    found = sa.select(FileRow.id).where(FileRow.expires_at <= utc_now(), FileRow.id.not_in(reading)).limit(MOST)
    removed: list[str] = []
    while True:
        with session(settings) as opened:
            gone = opened.scalars(sa.delete(FileRow).where(FileRow.id.in_(found)).returning(FileRow.id)).all()
        if not gone:
            return removed
        removed += gone


def all_of(settings: Settings, *where: sa.ColumnElement[bool]) -> Iterator[StoredFile]:
    """Every file that meets conditions, those that have expired among them, by id."""
    last = ""
    while True:
        query = sa.select(FileRow).where(FileRow.id > last, *where).order_by(FileRow.id).limit(MOST)
        with session(settings, readonly=True) as opened:
            rows = opened.scalars(query).all()
        if not rows:
            return
        yield from map(_file, rows)
        last = rows[-1].id


def resize(settings: Settings, file_id: str, size: int, sha256: str) -> None:
    """What a file holds was changed."""
    with session(settings) as opened:
        opened.execute(sa.update(FileRow).where(FileRow.id == file_id).values(bytes=size, sha256=sha256))


def known(settings: Settings, ids: Collection[str]) -> set[str]:
    """Those of the ids that have a row."""
    with session(settings, readonly=True) as opened:
        return set(opened.scalars(sa.select(FileRow.id).where(FileRow.id.in_(ids))))


def unknown(file_id: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no file {file_id[:64]!r}.",
        remedy="`GET /v1/files` lists those that there are.",
        field="file_id",
        value=file_id[:64],
    )


def _alive() -> sa.ColumnElement[bool]:
    return sa.or_(FileRow.expires_at.is_(None), FileRow.expires_at > utc_now())


def _owned(workspace: str | None, key_name: str | None) -> list[sa.ColumnElement[bool]]:
    owned = []
    if workspace is not None:
        owned.append(FileRow.workspace == storable(workspace))
    if key_name is not None:
        owned.append(FileRow.key_name == key_name)
    return owned


def _file(row: FileRow) -> StoredFile:
    values: dict[str, Any] = {field.name: getattr(row, field.name) for field in fields(StoredFile)}
    return StoredFile(**values)
