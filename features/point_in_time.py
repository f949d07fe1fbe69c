"""What was known at a moment: the latest correction of each row, and joins that never look ahead.

Two clocks decide. A row *happened* at `event_time` and became *known* at `recorded_at`; at a moment `as_of`, a row
counts only if both are not later. Of several versions of one key, the one recorded last before `as_of` counts, also
where a later correction says otherwise.

Frames are pandas frames or DuckDB relations (`relation` opens a snapshot's table as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import duckdb
import pandas as pd

from features.contracts import CONTRACTS, EVENT_TIME, RECORDED_AT, suggestion
from features.snapshot import utc
from store.dataset import SnapshotRef
from store.errors import InvalidValue, MissingColumn, WrongType


def relation(connection: duckdb.DuckDBPyConnection, snapshot: SnapshotRef, table: str) -> duckdb.DuckDBPyRelation:
    """A snapshot's table as a DuckDB relation, corrections included.

    Raises
    ------
    InvalidValue : the snapshot does not hold the table.
    """
    if table not in snapshot.tables:
        raise InvalidValue(
            f"The snapshot {snapshot.digest[:16]} has no table {table!r}.",
            remedy=suggestion(table, list(snapshot.tables)),
            field="table",
            value=table,
        )
    return connection.read_parquet(str(snapshot.table(table)))


def latest_known(
    rows: pd.DataFrame | duckdb.DuckDBPyRelation,
    key: Sequence[str],
    as_of: datetime,
    *,
    at: datetime | None = None,
) -> Any:
    """Per key, the latest version known at `as_of`: `recorded_at` ≤ `as_of` and `event_time` ≤ `at`.

    A version whose event is later than `at` is not seen at all; an earlier version of its key then counts.

    Parameters
    ----------
    rows : with `event_time` and `recorded_at`.
    key : columns that say which thing a row is about.
    as_of : the moment of knowledge, naive UTC (aware ones are converted).
    at : the moment up to which events count; `as_of` by default, never later than it.

    Returns
    -------
    Frame or relation of the same columns, at most one row per key; a frame is ordered by key, with a default index.
    """
    known, happened = _moments(as_of, at)
    if isinstance(rows, duckdb.DuckDBPyRelation):
        return _latest_relation(rows, key, known, happened)
    _need(rows, [*key, EVENT_TIME, RECORDED_AT])
    seen = rows[(rows[RECORDED_AT] <= known) & (rows[EVENT_TIME] <= happened)]
    # Two versions recorded at once, which no contract allows, are told apart by their event and not by their order.
    ordered = seen.sort_values([*key, RECORDED_AT, EVENT_TIME], kind="stable")
    return ordered.drop_duplicates(list(key), keep="last").reset_index(drop=True)


def latest_table(
    connection: duckdb.DuckDBPyConnection, snapshot: SnapshotRef, table: str, as_of: datetime
) -> duckdb.DuckDBPyRelation:
    """`latest_known` of a snapshot's table by the key of its contract."""
    found: duckdb.DuckDBPyRelation = latest_known(
        relation(connection, snapshot, table), CONTRACTS[table].key, min(utc(as_of), snapshot.as_of)
    )
    return found


def asof_join(
    spine: pd.DataFrame,
    facts: pd.DataFrame,
    *,
    by: str | Sequence[str],
    key: Sequence[str] | None = None,
    time: str = "as_of",
    columns: Sequence[str] | None = None,
    suffix: str = "",
) -> pd.DataFrame:
    """To each row of the spine, the latest fact that was known at its own moment.

    A fact counts for a row if neither its `event_time` nor its `recorded_at` is later than the row's moment. Of several
    versions of one fact the one recorded last counts; of the facts, the one with the latest event.

    Parameters
    ----------
    spine : one row per entity and moment, such as (customer_id, as_of); repeated rows stay repeated.
    facts : with `by`, `event_time` and `recorded_at`.
    by : the columns that say whose fact it is, called alike in both.
    key : columns that say which fact a row is a version of; `by` and `event_time` by default, so that a correction that
        moves an event is another fact.
    time : the spine's column of moments.
    columns : which columns of the facts to add; all but `by` and the two clocks by default.
    suffix : added to their names.

    Returns
    -------
    The spine with the columns added, as many rows, in the same order and with the same index; missing where nothing was
    known.

    Raises
    ------
    MissingColumn : a column is not there.
    InvalidValue : a column to add is in the spine already.
    WrongType : moments are no naive timestamps.
    """
    keys = [by] if isinstance(by, str) else list(by)
    _need(spine, [*keys, time])
    _need(facts, [*keys, EVENT_TIME, RECORDED_AT])
    clocks = (EVENT_TIME, RECORDED_AT)
    wanted = [str(c) for c in (facts.columns if columns is None else columns) if columns or c not in (*keys, *clocks)]
    _need(facts, wanted)
    names = [f"{name}{suffix}" for name in wanted]
    taken = [name for name in names if name in spine.columns]
    if taken:
        raise InvalidValue(
            f"The spine has a column {taken[0]!r} already.",
            remedy="Give a suffix, or name the columns to add.",
            field=taken[0],
        )
    for frame, column in ((spine, time), (facts, EVENT_TIME), (facts, RECORDED_AT)):
        if frame[column].dtype.kind != "M" or getattr(frame[column].dtype, "tz", None) is not None:
            raise WrongType(
                f"Column {column!r} holds {frame[column].dtype}, not naive UTC timestamps.",
                remedy="Convert it with pandas.to_datetime(…, utc=True).dt.tz_localize(None).",
                field=column,
            )
    picked = _pick(spine, facts, keys, list(key or (*keys, EVENT_TIME)), time)
    added = facts[wanted].reset_index(drop=True).reindex(picked)
    added.index, added.columns = spine.index, pd.Index(names)
    return pd.concat([spine, added], axis=1)


def _pick(spine: pd.DataFrame, facts: pd.DataFrame, by: list[str], key: list[str], time: str) -> list[int]:
    """Position of the fact for each row of the spine; −1 where there is none."""
    _need(facts, key)
    left = pd.DataFrame({f"k{i}": spine[name].to_numpy() for i, name in enumerate(by)})
    left["moment"], left["row"] = spine[time].to_numpy(), range(len(spine))
    right = pd.DataFrame({f"k{i}": facts[name].to_numpy() for i, name in enumerate(by)})
    # One number per fact: its versions share it.
    right["thing"] = facts.groupby(key, sort=False, dropna=False).ngroup().to_numpy()
    right["event_time"], right["recorded_at"] = facts[EVENT_TIME].to_numpy(), facts[RECORDED_AT].to_numpy()
    right["fact"] = range(len(facts))
    same = " AND ".join(f"s.k{i} = f.k{i}" for i in range(len(by)))
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.register("spine", left)
        connection.register("facts", right)
        found = connection.execute(
            f"""
            WITH known AS (
                SELECT s."row", f.thing, f.event_time, f.recorded_at, f.fact
                FROM spine AS s JOIN facts AS f
                  ON {same} AND f.event_time <= s.moment AND f.recorded_at <= s.moment
                QUALIFY row_number() OVER (
                    PARTITION BY s."row", f.thing ORDER BY f.recorded_at DESC, f.event_time DESC, f.fact DESC
                ) = 1
            )
            SELECT "row", fact FROM known
            QUALIFY row_number() OVER (
                PARTITION BY "row" ORDER BY event_time DESC, recorded_at DESC, fact DESC
            ) = 1
            """  # noqa: S608  (only names of ours)
        ).fetchnumpy()
    picked = [-1] * len(left)
    for row, fact in zip(found["row"].tolist(), found["fact"].tolist(), strict=True):
        picked[row] = fact
    return picked


def _latest_relation(
    rows: duckdb.DuckDBPyRelation, key: Sequence[str], known: datetime, happened: datetime
) -> duckdb.DuckDBPyRelation:
    for name in (*key, EVENT_TIME, RECORDED_AT):
        if name not in rows.columns:
            raise MissingColumn(f"There is no column {name!r}.", remedy=suggestion(name, rows.columns), field=name)
    keys = ", ".join(f'"{name}"' for name in key)
    latest = rows.query(
        "versions",
        f"""
        SELECT * FROM versions
        WHERE recorded_at <= TIMESTAMP '{known.isoformat(sep=" ")}'
          AND event_time <= TIMESTAMP '{happened.isoformat(sep=" ")}'
        QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY recorded_at DESC, event_time DESC) = 1
        """,  # noqa: S608  (column names are those of the relation)
    )
    assert latest is not None
    return latest


def _moments(as_of: datetime, at: datetime | None) -> tuple[datetime, datetime]:
    known = utc(as_of)
    return known, known if at is None else min(utc(at), known)


def _need(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in frame.columns:
            existing = [str(column) for column in frame.columns]
            raise MissingColumn(f"There is no column {name!r}.", remedy=suggestion(name, existing), field=name)
