"""Locks between processes: on a file, released by the operating system when their holder dies, or in the database."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.errors import ServiceUnavailable


@contextmanager
def file_lock(path: Path, timeout: float = 60.0, *, shared: bool = False) -> Iterator[None]:
    """Hold `path` alone among all threads and processes of this machine; `shared`: with others that share it.

    SQLite's own file locking, through an empty database: it is portable, waits without a busy loop of ours, and a
    `kill -9` of the holder frees it.

    Raises
    ------
    ServiceUnavailable : nobody let go of it within `timeout` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    with closing(sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)) as connection:
        while True:
            try:
                if shared:
                    # A transaction that has read keeps others from being alone until it ends.
                    connection.execute("BEGIN")
                    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                else:
                    connection.execute("BEGIN EXCLUSIVE")
                break
            except sqlite3.OperationalError as error:
                # The busy handler is skipped where waiting could dead-lock; trying again is safe here.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if time.monotonic() >= deadline or "locked" not in str(error):
                    raise ServiceUnavailable(
                        f"The lock {path} was not free within {timeout:g} s ({error}).",
                        remedy="Wait for the other process, or end it; then try again.",
                    ) from error
                time.sleep(0.01)
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def transaction_lock(opened: Session, name: str) -> None:
    """Let no other transaction that asks for `name` run until this one has ended, on any machine.

    What the transaction did is visible to all before the next one goes on. On SQLite every transaction that may write
    is alone anyway.
    """
    if opened.get_bind().dialect.name == "postgresql":
        key = zlib.crc32(name.encode())
        opened.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
