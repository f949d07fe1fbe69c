"""A snapshot in DuckDB, each row with the span of time in which it was the latest known.

A row is known from the moment that it has both happened and been recorded (`known_at`), and stops counting when a
version of the same key that was recorded later is known (`replaced_at`): the rule of `features.point_in_time`, for all
moments at once. What was known at t is then one comparison:

    known_at <= t AND (replaced_at IS NULL OR replaced_at > t)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import TypeAlias

import duckdb

from features.contracts import CONTRACTS, Contract
from features.contracts.schema import ARROW_TYPES
from store.dataset import SnapshotRef
from store.errors import EmptyData, FileUnreadable

Connection: TypeAlias = duckdb.DuckDBPyConnection

KNOWN = "known_at <= $t AND (replaced_at IS NULL OR replaced_at > $t)"


@contextmanager
def connection(memory: str | None = None) -> Iterator[Connection]:
    """A private in-memory database with one thread: sums of floats then come out the same every time."""
    with TemporaryDirectory(prefix="merit-duckdb-") as spill, duckdb.connect(":memory:") as database:
        database.execute("SET threads = 1")
        database.execute("SET enable_progress_bar = false")
        database.execute(f"SET temp_directory = '{spill}'")
        if memory:
            database.execute(f"SET memory_limit = '{memory}'")
        yield database


Ids: TypeAlias = tuple[str, str]
"""First and last customer_id of a range, both included."""

_CUSTOMERS_AT_ONCE = 10_000


def customer_ranges(snapshot: SnapshotRef) -> list[Ids]:
    """Ranges of customer_id that cover everybody with a subscription, 10,000 customers each, to bound memory.

    Raises
    ------
    FileUnreadable : the snapshot holds no customers or no subscriptions.
    EmptyData : there is no subscription.
    """
    for table in ("customers", "subscriptions"):
        if not _holds(snapshot, table):
            raise FileUnreadable(
                f"The snapshot at {snapshot.uri} holds no table {table}, only {', '.join(snapshot.tables) or 'none'}.",
                remedy=f"Load {table} with `merit ingest {table} FILE` and take the snapshot again.",
                field="table",
                value=table,
            )
    with connection() as database:
        found = database.execute(
            "SELECT DISTINCT customer_id FROM read_parquet($file) ORDER BY 1",
            {"file": str(snapshot.table("subscriptions"))},
        ).fetchall()
    ids = [row[0] for row in found]
    if not ids:
        raise EmptyData(
            "The snapshot holds no subscription.",
            remedy="Load them with `merit ingest subscriptions FILE` and take the snapshot again.",
            field="subscriptions",
        )
    starts = range(0, len(ids), _CUSTOMERS_AT_ONCE)
    return [(ids[begin], ids[min(begin + _CUSTOMERS_AT_ONCE, len(ids)) - 1]) for begin in starts]


def load(
    database: Connection,
    snapshot: SnapshotRef,
    table: str,
    ids: Ids | None = None,
    *,
    first_day: datetime | None = None,
) -> None:
    """Create the table with the contract's columns, `known_at` and `replaced_at`. Dates are timestamps at midnight.

    A table that the snapshot lacks is empty.

    Parameters
    ----------
    ids : range of customers; everybody by default.
    first_day : leaves out what lies before; only for a table whose key holds `day`.
    """
    contract = CONTRACTS[table]
    if not _holds(snapshot, table):
        database.execute(f"CREATE TABLE {table} ({_columns(contract)}, known_at TIMESTAMP, replaced_at TIMESTAMP)")
        return
    names = ", ".join(f'"{name}"' for name in contract.names)
    key = ", ".join(f'"{name}"' for name in contract.key)
    conditions, values = ["true"], {"file": str(snapshot.table(table))}
    if ids:
        conditions.append("customer_id BETWEEN $low AND $high")
        values |= {"low": ids[0], "high": ids[1]}
    if first_day:
        assert "day" in contract.key
        conditions.append("day >= $first_day::TIMESTAMP")
        values["first_day"] = first_day.isoformat()
    known = "greatest(event_time, recorded_at)"
    database.execute(
        f"""
        CREATE TABLE {table} AS
        SELECT {names}, {known} AS known_at,
               min({known}) OVER (
                   PARTITION BY {key} ORDER BY recorded_at, event_time
                   ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
               ) AS replaced_at
        FROM read_parquet($file) WHERE {" AND ".join(conditions)}
        """,  # noqa: S608 - names come from the contracts
        values,
    )


def _holds(snapshot: SnapshotRef, table: str) -> bool:
    return table in snapshot.tables and snapshot.table(table).exists()


def _columns(contract: Contract) -> str:
    kinds = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN"}
    return ", ".join(f'"{column.name}" {kinds.get(str(ARROW_TYPES[column.type]), "TIMESTAMP")}' for column in contract)
