"""Rows of the business tables, out of the database and into Arrow, in batches and in the order of their natural key."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.contracts import EVENT_TIME, RECORDED_AT, Contract
from features.contracts.schema import ARROW_TYPES, arrow_schema
from store.database import engine, migrate
from store.settings import Settings
from store.tables import Base

_BATCH = 65_536


def sql_table(contract: Contract) -> sa.Table:
    """The contract's table in the database."""
    return Base.metadata.tables[contract.name]


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """One transaction that sees every table at the same moment and blocks no writer."""
    migrate(settings)
    source = engine(settings)
    if source.dialect.name == "postgresql":
        source = source.execution_options(isolation_level="REPEATABLE READ")
    with source.execution_options(readonly=True).connect() as connection, connection.begin():
        yield connection


def count_rows(connection: Connection, contract: Contract, as_of: datetime) -> int:
    """Number of rows known at `as_of`."""
    counted = sa.select(sa.func.count()).select_from(sql_table(contract)).where(_known(contract, as_of))
    return connection.execute(counted).scalar_one()


def last_recorded(connection: Connection, contract: Contract) -> datetime | None:
    """When the newest row of the table came to be known; None for an empty table."""
    recorded = sql_table(contract).c[RECORDED_AT]
    newest: datetime | None = connection.execute(sa.select(sa.func.max(recorded))).scalar_one()
    return newest


def known_rows(connection: Connection, contract: Contract, as_of: datetime) -> Iterator[pa.Table]:
    """Rows with `recorded_at` ≤ `as_of` and `event_time` ≤ `as_of`, corrections included."""
    table = sql_table(contract)
    order = [table.c[name] for name in contract.natural_key]
    return select_rows(connection, contract, lambda query: query.where(_known(contract, as_of)).order_by(*order))


def select_rows(
    connection: Connection, contract: Contract, narrow: Callable[[sa.Select[Any]], sa.Select[Any]]
) -> Iterator[pa.Table]:
    """Whole rows with the contract's columns and types; `narrow` adds conditions, joins and the order to the query."""
    table = sql_table(contract)
    columns = [table.c[column.name] for column in contract]
    if connection.dialect.name == "postgresql":
        # A day is read as its midnight, the form it has outside the database.
        moments = [sa.cast(c, sa.DateTime) if isinstance(c.type, sa.Date) else c for c in columns]
        return _copy_out(connection, narrow(sa.select(*moments)), contract)
    # Moments stay the ISO texts that SQLite holds: Arrow reads them far faster than Python does.
    texts = [sa.type_coerce(c, sa.String) if isinstance(c.type, (sa.Date, sa.DateTime)) else c for c in columns]
    return _fetch(connection, narrow(sa.select(*texts)), contract)


def _known(contract: Contract, as_of: datetime) -> sa.ColumnElement[bool]:
    table = sql_table(contract)
    return sa.and_(table.c[RECORDED_AT] <= as_of, table.c[EVENT_TIME] <= as_of)


def _fetch(connection: Connection, query: sa.Select[Any], contract: Contract) -> Iterator[pa.Table]:
    # The driver's own cursor streams, and leaves nothing for SQLAlchemy to convert.
    driver: Any = connection.connection.driver_connection
    cursor = driver.execute(_sql(connection, query))
    schema = arrow_schema(contract)
    try:
        while rows := cursor.fetchmany(_BATCH):
            arrays = []
            for values, field in zip(zip(*rows, strict=True), schema, strict=True):
                if pa.types.is_timestamp(field.type):
                    arrays.append(pa.array(values, pa.string()).cast(field.type))
                elif pa.types.is_boolean(field.type):
                    arrays.append(pa.array(values, pa.int8()).cast(field.type))
                else:
                    arrays.append(pa.array(values, field.type))
            yield pa.Table.from_arrays(arrays, schema=schema)
    finally:
        cursor.close()


def _copy_out(connection: Connection, query: sa.Select[Any], contract: Contract) -> Iterator[pa.Table]:
    schema = arrow_schema(contract)
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.execute("SET LOCAL datestyle TO ISO; SET LOCAL extra_float_digits TO 1")
        with cursor.copy(f"COPY ({_sql(connection, query)}) TO STDOUT (FORMAT csv)") as copy:
            source = io.BufferedReader(_CopyReader(copy), buffer_size=1 << 20)
            if not source.peek(1):
                return
            reader = pa_csv.open_csv(
                source,
                read_options=pa_csv.ReadOptions(
                    column_names=list(contract.names), block_size=8 << 20, use_threads=False
                ),
                parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(
                    column_types={column.name: ARROW_TYPES[column.type] for column in contract},
                    # An unquoted nothing is NULL, a quoted one the empty text.
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                    true_values=["t"],
                    false_values=["f"],
                ),
            )
            for batch in reader:
                yield pa.Table.from_batches([batch]).cast(schema)


def _sql(connection: Connection, query: sa.Select[Any]) -> str:
    return str(query.compile(connection, compile_kwargs={"literal_binds": True}))


class _CopyReader(io.RawIOBase):
    """What COPY sends, as a file to read from."""

    def __init__(self, copy: Any) -> None:
        self._copy = copy
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not len(self._rest):
            block = self._copy.read()
            if not block:
                return 0
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
