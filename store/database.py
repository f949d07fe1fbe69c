"""The platform database: one engine per URL, transactions, and the schema brought up to date.

SQLite by default, Postgres by `MERIT_DATABASE_URL`. Every moment stored is naive UTC.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session

from store.errors import ServiceUnavailable, SettingsError
from store.same_file import identity
from store.settings import Settings

log = logging.getLogger("merit.store")

BUSY_SECONDS = 30
MIGRATIONS = Path(__file__).with_name("migrations")
# Any fixed number: the key of the advisory lock that migrations take on Postgres.
_MIGRATION_LOCK = 0x6D657269

# A process uses one; test suites and tools that walk over many databases use more.
_MOST_ENGINES = 8
_engines: dict[URL, Engine] = {}
_guard = threading.Lock()


def database_url(settings: Settings) -> URL:
    """The URL of the platform database with its driver spelled out.

    Raises
    ------
    SettingsError : not a URL, a database that is not supported, or SQLite in memory.
    """
    text = settings.resolved_database_url
    try:
        url = sa.make_url(text)
    except ArgumentError:
        # Neither the text nor the cause is shown: either may hold a password.
        raise SettingsError(
            "MERIT_DATABASE_URL is not a database URL.",
            remedy="Use sqlite:////path/to/file.db or postgresql://user:password@host/database.",
            field="MERIT_DATABASE_URL",
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if kind == "sqlite":
        if not url.database or url.database == ":memory:" or "mode=memory" in url.database:
            raise SettingsError(
                f"MERIT_DATABASE_URL={text}: a database in memory cannot be shared between processes.",
                remedy="Name a file: sqlite:////path/to/file.db.",
                field="MERIT_DATABASE_URL",
            )
        return url
    raise SettingsError(
        f"MERIT_DATABASE_URL names the database {kind!r}; SQLite and Postgres are supported.",
        remedy="Use sqlite:////path/to/file.db or postgresql://user:password@host/database.",
        field="MERIT_DATABASE_URL",
        value=kind,
    )


def engine(settings: Settings) -> Engine:
    """The engine of the platform database, one per URL and process.

    A transaction on SQLite starts as a writer (`BEGIN IMMEDIATE`), because one that starts as a reader fails as soon
    as it writes after somebody else did. Readers that must not wait ask for `execution_options(readonly=True)`, or
    use `session(settings, readonly=True)`.
    """
    url = database_url(settings)
    with _guard:
        found = _engines.get(url)
        if found is None:
            found = _engines[url] = _create(url)
            while len(_engines) > _MOST_ENGINES:
                # Files stay open no longer than they are of use; who still holds this engine can go on using it.
                _engines.pop(next(iter(_engines))).dispose()
    return found


def _create(url: URL) -> Engine:
    # An error never shows the values of a statement: they may be what somebody said.
    options: dict[str, Any] = {
        "json_serializer": to_json,
        "json_deserializer": orjson.loads,
        "hide_parameters": True,
    }
    if url.get_backend_name() == "sqlite":
        Path(url.database or "").absolute().parent.mkdir(parents=True, exist_ok=True)
        made = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, **options)
        event.listen(made, "connect", _prepare_sqlite)
        event.listen(made, "begin", _begin_sqlite)
        event.listen(made, "checkout", _check_sqlite_file)
        return made
    return sa.create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10}, **options)


def to_json(value: Any) -> str:
    """JSON text; NaN and infinity become null, numpy scalars and arrays and dates are written as what they are."""
    flags = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, option=flags, default=_json_default).decode()


def _json_default(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "isoformat"):  # pandas.Timestamp, pandas.NaT
        text = value.isoformat()
        return None if text == "NaT" else text
    if hasattr(value, "item"):
        return value.item()
    if value.__class__.__name__ == "NAType":
        return None
    raise TypeError(f"{type(value).__name__} does not go into JSON")


def _prepare_sqlite(connection: Any, record: Any) -> None:
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = path, identity(path)
    # Transactions are begun by `_begin_sqlite`, never by the driver behind our back.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA foreign_keys = ON")
    # What is deleted is overwritten: the words of somebody who was erased do not stay in the file.
    connection.execute("PRAGMA secure_delete = ON")
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # Changing the journal does not wait for the busy timeout when two processes open a new file at once.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _check_sqlite_file(_connection: Any, record: Any, _proxy: Any) -> None:
    path, opened = record.info["file"]
    if identity(path) != opened:
        log.error("The database file %s was removed or replaced; what is at that path now is used.", path)
        # Makes the pool close this connection and open another.
        raise sa.exc.DisconnectionError


def _begin_sqlite(connection: Connection) -> None:
    readonly = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


@contextmanager
def session(settings: Settings, *, readonly: bool = False) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises.

    `readonly` keeps a SQLite transaction from taking the one write lock; readers then never wait for a writer.

    Raises
    ------
    ServiceUnavailable : the database does not answer.
    """
    source = engine(settings)
    bind = source.execution_options(readonly=True) if readonly else source
    try:
        with Session(bind, expire_on_commit=False) as opened:
            try:
                yield opened
                opened.commit()
            except BaseException:
                opened.rollback()
                raise
    except OperationalError as error:
        raise _unavailable(error, source) from error


def _unavailable(error: OperationalError, source: Engine) -> Exception:
    if error.statement is not None and "locked" not in str(error.orig):
        return error
    return ServiceUnavailable(
        f"The database {source.url.render_as_string(hide_password=True)} does not answer: {error.orig}",
        remedy="Start it, or correct MERIT_DATABASE_URL; `merit doctor` shows every setting.",
    )


def migrate(settings: Settings) -> None:
    """Bring the schema up to date. Cheap when it already is (one query); safe when several processes do it at once.

    Raises
    ------
    ServiceUnavailable : the database does not answer.
    SettingsError : the database was migrated by a later version of Meritorder.
    """
    source = engine(settings)
    try:
        with source.execution_options(readonly=True).connect() as connection:
            if current_revision(connection) == head_revision():
                return
        with source.connect() as connection:
            _upgrade(connection)
    except OperationalError as error:
        raise _unavailable(error, source) from error


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.util import CommandError

    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        # Rebuilding a table in place must not trip over rows that refer to it; only settable outside a transaction.
        _set_foreign_keys(connection, "OFF")
    try:
        # Everything happens in this one transaction, which others wait for: SQLite by its write lock, Postgres here.
        with connection.begin():
            if not sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config = alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise SettingsError(
            f"The schema of {connection.engine.url.render_as_string(hide_password=True)} is unknown here: {error}.",
            remedy="Upgrade Meritorder to the version that last used this database, or name another database.",
            field="MERIT_DATABASE_URL",
        ) from error
    finally:
        if sqlite:
            _set_foreign_keys(connection, "ON")


def _set_foreign_keys(connection: Connection, state: str) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute(f"PRAGMA foreign_keys = {state}")


def current_revision(connection: Connection) -> str | None:
    """The revision the schema stands at; None for an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


@cache
def head_revision() -> str | None:
    """The newest revision that this version of Meritorder brings.

    By the files, which are called as their revisions are: every process asks, few have anything to migrate, and Alembic
    takes a tenth of a second to import.
    """
    return max((file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py")), default=None)


def alembic_config() -> Any:
    """Alembic's configuration, independent of the current directory."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def dispose(settings: Settings) -> None:
    """Close the connections of this process to the platform database."""
    with _guard:
        found = _engines.pop(database_url(settings), None)
    if found is not None:
        found.dispose()


def _forget_after_fork() -> None:
    # A connection must not be used from two processes: the child opens its own.
    global _guard
    _guard = threading.Lock()
    for made in _engines.values():
        made.dispose(close=False)
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
