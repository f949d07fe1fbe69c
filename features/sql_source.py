"""A table or a query behind a SQLAlchemy URL, read in chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from features.contracts import suggestion
from features.reading import CHUNK_ROWS, Chunk, TableSource
from store.errors import FileUnreadable

_QUERY = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)
_USAGE = "Write URL::TABLE or URL::SELECT …, such as postgresql://user:password@host/database::customers."


def open_sql(source: str, kind: str) -> TableSource:
    """Open `URL::TABLE` or `URL::SELECT …`.

    Raises
    ------
    FileUnreadable : not a database URL, no driver, no answer, no such table, or the query fails.
    """
    address, what = _split(source)
    if kind.lower() in ("http", "https", "ftp", "s3", "gs", "file"):
        raise FileUnreadable(
            f"{kind}:// is not read from here.", remedy="Download the file and name its path.", field="source"
        )
    if not what:
        raise FileUnreadable("The database URL names no table.", remedy=_USAGE, field="source")
    url = _url(address)
    label = f"{url.render_as_string(hide_password=True)}::{what}"
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            if _QUERY.match(what):
                query: sa.Select[tuple[object, ...]] | sa.TextClause = sa.text(what.rstrip("; \n").replace(":", r"\:"))
                rows = None
            else:
                table = _table(connection, what, url)
                query = sa.select(table)
                rows = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            # Nobody's data is changed by reading it: the transaction is rolled back in any case.
            result = connection.execution_options(stream_results=True).execute(query)
            names = result.keys()
            columns = tuple(map(str, names))
            result.close()
    except SQLAlchemyError as error:
        raise _unreadable(url, error) from None

    def chunks() -> Iterator[Chunk]:
        try:
            with engine.connect() as connection:
                result = connection.execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS).execute(query)
                for part in result.partitions(CHUNK_ROWS):
                    yield Chunk(pd.DataFrame([tuple(row) for row in part], columns=list(columns)))
        except SQLAlchemyError as error:
            raise _unreadable(url, error) from None

    return TableSource(label, columns, rows, chunks)


def _split(source: str) -> tuple[str, str]:
    # The address of a host, `[::1]`, is the only place of a URL where two colons may stand.
    found = re.match(r"(?P<address>[^:]+://(?:\[[^\]]*\]|[^\[])*?)::(?P<what>.*)", source, re.DOTALL)
    return (found["address"], found["what"].strip()) if found else (source, "")


def _url(address: str) -> URL:
    try:
        url = sa.make_url(address)
    except ArgumentError:
        # The text is not shown: it may hold a password.
        raise FileUnreadable("This is not a database URL.", remedy=_USAGE, field="source") from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise FileUnreadable(
            f"There is no SQLite file {url.database}.",
            remedy="An absolute path takes four slashes: sqlite:////path/to/file.db::TABLE.",
            field="source",
        )
    return url


def _engine(url: URL) -> Engine:
    try:
        return sa.create_engine(url, poolclass=sa.pool.NullPool)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise FileUnreadable(
            f"There is no driver for {url.drivername}: {error}.",
            remedy="Install the driver with pip, or export the table as CSV.",
            field="source",
        ) from None


def _table(connection: sa.Connection, name: str, url: URL) -> sa.Table:
    schema, _, table = name.rpartition(".")
    inspector = sa.inspect(connection)
    if not inspector.has_table(table, schema=schema or None):
        known = [*inspector.get_table_names(schema=schema or None), *inspector.get_view_names(schema=schema or None)]
        raise FileUnreadable(
            f"{url.render_as_string(hide_password=True)} has no table {name!r}.",
            remedy=suggestion(table, known),
            field="source",
            value=name,
        )
    return sa.Table(table, sa.MetaData(), schema=schema or None, autoload_with=connection)


def _unreadable(url: URL, error: SQLAlchemyError) -> FileUnreadable:
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    return FileUnreadable(
        f"{url.render_as_string(hide_password=True)} cannot be read: {cause}",
        remedy="Check the address, the user's rights and the query.",
        field="source",
    )
