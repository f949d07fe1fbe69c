"""Many rows into a table at once: COPY on Postgres, the driver's executemany on SQLite."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import sqlalchemy as sa
from sqlalchemy.engine import Connection


def insert_rows(connection: Connection, table: sa.Table, rows: pa.Table) -> None:
    """Add rows; the columns of `rows` are matched by name with those of `table`."""
    if rows.num_rows == 0:
        return
    columns = [table.c[name] for name in rows.schema.names]
    # A day leaves its midnight behind where the database has a type for days.
    rows = pa.table(
        {
            c.name: rows.column(c.name).cast(pa.date32()) if isinstance(c.type, sa.Date) else rows.column(c.name)
            for c in columns
        }
    )
    preparer = connection.dialect.identifier_preparer
    names = ", ".join(preparer.quote(column.name) for column in columns)
    target = f"{preparer.format_table(table)} ({names})"
    if connection.dialect.name == "postgresql":
        _copy_in(connection, target, rows)
    else:
        places = ", ".join("?" * len(columns))
        values = [_sqlite_values(rows.column(name)) for name in rows.schema.names]
        connection.exec_driver_sql(f"INSERT INTO {target} VALUES ({places})", list(zip(*values, strict=True)))  # noqa: S608


def _sqlite_values(column: pa.ChunkedArray) -> list[Any]:
    # Moments as the texts that SQLAlchemy's types write: 2026-01-31 and 2026-01-31 00:00:00.000000.
    values: list[Any] = (column.cast(pa.string()) if pa.types.is_temporal(column.type) else column).to_pylist()
    return values


def _copy_in(connection: Connection, target: str, rows: pa.Table) -> None:
    content = io.BytesIO()
    # Texts are quoted and NULL is an unquoted nothing, which is how Postgres tells them apart.
    pa_csv.write_csv(rows, content, pa_csv.WriteOptions(include_header=False))
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN (FORMAT csv)") as copy:
        copy.write(content.getbuffer())
