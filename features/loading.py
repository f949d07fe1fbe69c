"""Adding checked rows to the database: what is new is inserted, what is there is left, what contradicts is told.

The natural key decides. Where the source says when a row became known (`recorded_at`), a row is there already when its
key and that moment are. Where it does not, a row is compared with the latest version of its key: equal, it is left
alone; different, it is a correction known from now on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.bulk_insert import insert_rows
from features.contracts import RECORDED_AT, Contract
from features.contracts.schema import arrow_schema
from features.digest import row_hashes
from features.stored_rows import select_rows, sql_table

BATCH = 131_072
POSITION = "__position"
_HASHES = ("__key_1", "__key_2", "__content_1", "__content_2")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Conflict:
    """A row that contradicts another one. `row` holds it as it was read."""

    position: int
    row: dict[str, Any]
    reason: str


@dataclass(frozen=True)
class Loaded:
    """What became of one batch."""

    rows: int
    inserted: int
    corrections: int
    unchanged: int
    conflicts: tuple[Conflict, ...]


def spool_schema(contract: Contract) -> pa.Schema:
    """The contract's columns, the row's position in the source, and the hashes of key and content."""
    extra = [pa.field(POSITION, pa.int64()), *(pa.field(name, pa.uint64()) for name in _HASHES)]
    return pa.schema([*arrow_schema(contract), *extra])


def with_hashes(rows: pa.Table, contract: Contract, positions: npt.NDArray[np.int64], recorded_given: bool) -> pa.Table:
    """Checked rows as they are spooled: what identifies a row and what it says, each as 128 bits."""
    key, content = _hash_columns(contract, recorded_given)
    rows = rows.combine_chunks()
    columns = [*rows.columns, pa.array(positions)]
    for names in (key, content):
        columns.extend(pa.array(lane) for lane in row_hashes(rows.select(names)))
    return pa.Table.from_arrays(columns, schema=spool_schema(contract))


def load(
    connection: Connection, contract: Contract, spool: Path, now: datetime, recorded_given: bool
) -> Iterator[Loaded]:
    """Insert the spooled rows, batch by batch, within the caller's transaction.

    Parameters
    ----------
    spool : Parquet file of rows from `with_hashes`.
    now : what `recorded_at` of a correction becomes where the source does not have it.
    recorded_given : whether the source has `recorded_at`.
    """
    table = sql_table(contract)
    if connection.dialect.name == "postgresql":
        # Two loads of one table would each miss what the other inserts. Readers are not kept out.
        connection.exec_driver_sql(
            f"LOCK TABLE {connection.dialect.identifier_preparer.format_table(table)} IN SHARE ROW EXCLUSIVE MODE"
        )
    occupied = connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None
    repeats, contradicting = _repeated(spool)
    stage = _Stage(connection, contract) if occupied else None
    for batch in pq.ParquetFile(spool).iter_batches(batch_size=BATCH):
        rows = pa.Table.from_batches([batch])
        positions = np.asarray(rows.column(POSITION))
        repeated = np.isin(positions, repeats)
        conflict = np.isin(positions, contradicting)
        reasons = dict.fromkeys(
            positions[conflict].tolist(), f"{_key_text(contract, recorded_given)} is there twice with different values"
        )
        unchanged = repeated & ~conflict
        correction = np.zeros(len(positions), dtype=bool)
        if stage is not None:
            stored = stage.stored(rows.filter(pa.array(~repeated)))
            same, correction, late = _compare(rows, stored, contract, now, recorded_given)
            late &= ~repeated
            unchanged |= same & ~repeated
            correction &= ~repeated
            conflict |= late
            text = (
                f"{_key_text(contract, True)} is stored already with different values; "
                f"a correction needs a later {RECORDED_AT}"
            )
            reasons.update(dict.fromkeys(positions[late].tolist(), text))
        wanted = ~(unchanged | conflict)
        fresh = rows.select(list(contract.names)).filter(pa.array(wanted))
        if not recorded_given and correction.any():
            index = fresh.schema.get_field_index(RECORDED_AT)
            moments = fresh.column(RECORDED_AT).to_numpy().copy()
            moments[correction[wanted]] = np.datetime64(now, "us")
            fresh = fresh.set_column(index, fresh.schema.field(index), pa.array(moments, pa.timestamp("us")))
        insert_rows(connection, table, fresh)
        yield Loaded(
            len(positions),
            int(wanted.sum()),
            int(correction.sum()),
            int(unchanged.sum()),
            tuple(_conflicts(rows.filter(pa.array(conflict)), contract, reasons)),
        )
    if stage is not None:
        stage.drop()


def _hash_columns(contract: Contract, recorded_given: bool) -> tuple[list[str], list[str]]:
    key = list(contract.natural_key if recorded_given else contract.key)
    return key, [name for name in contract.names if name != RECORDED_AT]


def _key_text(contract: Contract, recorded_given: bool) -> str:
    return f"the key ({', '.join(contract.natural_key if recorded_given else contract.key)})"


def _repeated(spool: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of rows whose key came before in this source, and those among them that say something else."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        found = connection.execute(
            f"""
            WITH spool AS (SELECT {POSITION} AS position, {", ".join(_HASHES)} FROM read_parquet(?)),
            twice AS (SELECT __key_1, __key_2 FROM spool GROUP BY ALL HAVING count(*) > 1),
            grouped AS (
                SELECT position,
                       row_number() OVER key_rows AS nth,
                       __content_1 = first_value(__content_1) OVER key_rows
                       AND __content_2 = first_value(__content_2) OVER key_rows AS same
                FROM spool SEMI JOIN twice USING (__key_1, __key_2)
                WINDOW key_rows AS (PARTITION BY __key_1, __key_2 ORDER BY position)
            )
            SELECT position, same FROM grouped WHERE nth > 1 ORDER BY position
            """,  # noqa: S608  (only names of ours)
            [str(spool)],
        ).fetchnumpy()
    positions = np.asarray(found["position"], dtype=np.int64)
    return positions, positions[~np.asarray(found["same"], dtype=bool)]


class _Stage:
    """A temporary table of keys, to find what is stored about them."""

    def __init__(self, connection: Connection, contract: Contract) -> None:
        self._connection, self._contract = connection, contract
        self._table = sql_table(contract)
        columns = [sa.Column(name, self._table.c[name].type) for name in contract.key]
        self._keys = sa.Table(f"{contract.name}_loading", sa.MetaData(), *columns, prefixes=["TEMPORARY"])
        self._keys.create(connection)

    def stored(self, rows: pa.Table) -> pa.Table:
        """Every stored version of the keys in `rows`."""
        self._connection.execute(sa.delete(self._keys))
        insert_rows(self._connection, self._keys, rows.select(list(self._contract.key)))
        if self._connection.dialect.name == "postgresql":
            self._connection.exec_driver_sql(f"ANALYZE {self._keys.name}")
        distinct = sa.select(self._keys).distinct().subquery()
        on = sa.and_(*(self._table.c[name] == distinct.c[name] for name in self._contract.key))
        parts = list(
            select_rows(
                self._connection,
                self._contract,
                lambda query: query.select_from(distinct.join(self._table, on)),
            )
        )
        return pa.concat_tables(parts) if parts else arrow_schema(self._contract).empty_table()

    def drop(self) -> None:
        self._keys.drop(self._connection)


def _compare(
    rows: pa.Table, stored: pa.Table, contract: Contract, now: datetime, recorded_given: bool
) -> tuple[Mask, Mask, Mask]:
    """Rows that are stored as they are, rows that correct a stored one, rows that contradict a stored one."""
    key, content = _hash_columns(contract, recorded_given)
    ours = _hash_frame(rows, list(contract.key), key, content)
    known = _hash_frame(stored, list(contract.key), key, content)
    has_version = ours.merge(known[["thing_1", "thing_2"]].drop_duplicates(), how="left", indicator=True)["_merge"]
    existing = (has_version == "both").to_numpy()
    # Of several versions of a key, the latest is what a row is compared with.
    latest = known.sort_values(RECORDED_AT, kind="stable").drop_duplicates(["key_1", "key_2"], keep="last")
    matched = ours.merge(latest, on=["key_1", "key_2"], how="left", suffixes=("", "_known"))
    found = matched[f"{RECORDED_AT}_known"].notna().to_numpy()
    alike = [(matched[f"content_{i}"] == matched[f"content_{i}_known"]).fillna(False) for i in (1, 2)]
    same = found & (alike[0] & alike[1]).to_numpy(dtype=bool)
    if recorded_given:
        return same, existing & ~found, found & ~same
    late = found & ~same & (matched[f"{RECORDED_AT}_known"] >= pd.Timestamp(now)).to_numpy()
    return same, found & ~same & ~late, late


def _hash_frame(rows: pa.Table, thing: list[str], key: list[str], content: list[str]) -> pd.DataFrame:
    rows = rows.combine_chunks()
    columns: dict[str, Any] = {RECORDED_AT: rows.column(RECORDED_AT).to_numpy()}
    for name, names in (("thing", thing), ("key", key), ("content", content)):
        # As signed integers: what a left join leaves empty becomes NA without losing bits.
        for lane, words in enumerate(row_hashes(rows.select(names)), start=1):
            columns[f"{name}_{lane}"] = pd.array(words.view(np.int64), dtype="Int64")
    return pd.DataFrame(columns)


def _conflicts(rows: pa.Table, contract: Contract, reasons: dict[int, str]) -> Iterator[Conflict]:
    for row in rows.select([*contract.names, POSITION]).to_pylist():
        position = row.pop(POSITION)
        yield Conflict(position, row, reasons[position])
