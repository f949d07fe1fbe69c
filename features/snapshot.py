"""Immutable Parquet with a digest: whole tables as they stood at a moment, and the frames that models learn from.

A snapshot is a folder `<home>/snapshots/<first digits of the digest>/` with one Parquet file per table and
`snapshot.json`. It is written beside its place and renamed into it, so that it is there as a whole or not at all; the
same data lands in the same folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.contracts import CONTRACTS, EVENT_TIME, RECORDED_AT, Contract, contract_of, suggestion
from features.contracts.schema import arrow_schema, cast_to_contract
from features.digest import TableDigest, frame_digest, frame_to_arrow, row_hashes, table_digest
from store.dataset import DatasetRef, SnapshotRef
from store.errors import EmptyData, FileUnreadable, InvalidValue, MissingColumn
from store.settings import Settings

__all__ = ["end_of_data", "frame_digest", "from_folder", "read_dataset", "take", "utc", "write_dataset"]

_ROW_GROUP = 131_072
_PREFIX = 16
# Usage of a day is there the next day; a weekend without a load is no standstill.
STALE_AFTER = timedelta(days=3)
# The gateway's calls are nobody's table to bring: they have no contract, and leave the database without their words.
LEDGER = "llm_calls"

Progress = Callable[[int, int | None], None]


def take(
    settings: Settings,
    tables: Iterable[str] | None = None,
    as_of: datetime | None = None,
    progress: Progress | None = None,
) -> SnapshotRef:
    """Snapshot of the database: rows with `recorded_at` ≤ `as_of` and `event_time` ≤ `as_of`, corrections included.

    Parameters
    ----------
    tables : names of contract tables; all seven by default. "llm_calls" alone: see `features.views.llm_calls`.
    as_of : naive UTC (aware ones are converted); now by default.
    progress : called with rows written so far and the total, where it is known.

    Raises
    ------
    InvalidValue : no such table.
    EmptyData : none of the tables holds a row known at `as_of`.
    """
    from features.stored_rows import count_rows, known_rows, reading

    names = list(tables) if tables is not None else list(CONTRACTS)
    if names == [LEDGER]:
        from features.views.llm_calls import take as take_calls

        return take_calls(settings, as_of)
    moment = utc(as_of)
    contracts = [contract_of(name) for name in names]
    with reading(settings) as connection:
        total = sum(count_rows(connection, contract, moment) for contract in contracts) if progress else None

        def rows(contract: Contract) -> Iterator[pa.Table]:
            return known_rows(connection, contract, moment)

        return _write(settings, contracts, moment, rows, progress, total)


def end_of_data(settings: Settings) -> datetime:
    """The moment up to which the database tells how the business went; now while it is kept up to date.

    Usage arrives every day: where it ends, the data end, and a later day without usage says nothing about anybody. A
    model trained as of a moment that the data do not reach would take silence for loyalty.
    """
    from features.stored_rows import last_recorded, reading

    now = utc(None)
    with reading(settings) as connection:
        last = last_recorded(connection, contract_of("usage_daily"))
    return now if last is None or now - last < STALE_AFTER else last


def from_folder(
    folder: Path | str,
    as_of: datetime | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> SnapshotRef:
    """Snapshot of a folder of Parquet files, one per table, with no database in between.

    The files are `<table>.parquet` in the folder or in its `tables/`; those that are there are taken. The same rows
    give the same digest as through the database.

    Raises
    ------
    FileUnreadable : the folder holds no contract table.
    MissingColumn, WrongType : a file does not fit its contract.
    EmptyData : no row was known at `as_of`.
    """
    moment = utc(as_of)
    place = Path(folder).expanduser()
    if (place / "tables").is_dir():
        place = place / "tables"
    found = {name: place / f"{name}.parquet" for name in CONTRACTS if (place / f"{name}.parquet").exists()}
    if not found:
        raise FileUnreadable(
            f"{place} holds none of the tables {', '.join(CONTRACTS)}.",
            remedy="Name a folder with files such as customers.parquet; `merit world` writes one.",
            field="folder",
            value=str(folder),
        )
    total = sum(_parquet(path).metadata.num_rows for path in found.values()) if progress else None
    contracts = [CONTRACTS[name] for name in found]
    return _write(
        settings or Settings(),
        contracts,
        moment,
        lambda contract: _known_batches(found[contract.name], contract, moment),
        progress,
        total,
    )


def write_dataset(
    frame: pd.DataFrame,
    folder: Path | str,
    *,
    as_of: datetime | None = None,
    roles: Mapping[str, str] | None = None,
    source: str = "",
) -> DatasetRef:
    """Write a frame as immutable Parquet, named by its digest.

    Rows are put in one order (time, entity, then the row's hash), so that the same digest also means the same order and
    a seeded training run repeats exactly, whatever order the rows came in. The index is left out.

    Parameters
    ----------
    roles : what columns are for: `entity`, `time`, `target`, … → column.

    Raises
    ------
    EmptyData : no row or no column.
    InvalidValue : two columns share a name.
    MissingColumn : a role names a column that is not there.
    WrongType : a column holds values of several types.
    """
    roles = dict(roles or {})
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise EmptyData(
            f"The data set has {frame.shape[0]} rows and {frame.shape[1]} columns.",
            remedy="Check its source and dates.",
        )
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidValue(
            f"Two columns are called {twice[0]!r}.", remedy="Rename or drop one of them.", field=twice[0]
        )
    for role, column in roles.items():
        if column not in names:
            raise MissingColumn(
                f"The {role} column {column!r} is not there.", remedy=suggestion(column, names), field=column
            )
    table = frame_to_arrow(frame)
    digest = table_digest(table)
    target = Path(folder).expanduser().absolute()
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"{digest[:_PREFIX]}.parquet"
    if not path.exists():
        ordered = table.take(pa.array(_canonical_order(table, roles)))
        draft = target / f".{uuid.uuid4().hex}.parquet"
        try:
            pq.write_table(ordered, draft, compression="zstd", row_group_size=_ROW_GROUP)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return DatasetRef(str(path), digest, len(frame), utc(as_of) if as_of else None, roles, source)


def read_dataset(ref: DatasetRef) -> pd.DataFrame:
    """The frame that `write_dataset` wrote, rows in its canonical order, default index.

    Raises
    ------
    FileUnreadable : the file is gone or no longer Parquet.
    """
    file = _parquet(ref.path)
    frame: pd.DataFrame = file.read().to_pandas()
    return frame


def utc(moment: date | None) -> datetime:
    """Naive UTC in microseconds; aware moments are converted; a day is its midnight; None is now."""
    if moment is None:
        return datetime.now(UTC).replace(tzinfo=None)
    if isinstance(moment, pd.Timestamp):
        moment = moment.floor("us").to_pydatetime()
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _write(
    settings: Settings,
    contracts: list[Contract],
    as_of: datetime,
    batches: Callable[[Contract], Iterable[pa.Table]],
    progress: Progress | None,
    total: int | None,
) -> SnapshotRef:
    shelf = settings.root / "snapshots"
    shelf.mkdir(parents=True, exist_ok=True)
    done = 0
    with _draft_folder(shelf) as draft:
        digests: dict[str, str] = {}
        rows: dict[str, int] = {}
        for contract in contracts:
            schema = arrow_schema(contract)
            digest = TableDigest(schema)
            with pq.ParquetWriter(draft / f"{contract.name}.parquet", schema, compression="zstd") as writer:
                for table in batches(contract):
                    writer.write_table(table, row_group_size=_ROW_GROUP)
                    for batch in table.to_batches():
                        digest.update(batch)
                    if progress:
                        progress(done + digest.rows, total)
            done += digest.rows
            digests[contract.name], rows[contract.name] = digest.hexdigest(), digest.rows
        if done == 0:
            raise EmptyData(
                f"No row of {', '.join(digests)} was known at {as_of.isoformat(sep=' ')}.",
                remedy="Load data with `merit ingest` or `merit world`, or choose a later moment.",
                field="as_of",
                value=as_of.isoformat(),
            )
        whole = hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()
        content = {"digest": whole, "tables": rows, "digests": digests, "as_of": as_of.isoformat()}
        (draft / "snapshot.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        place = shelf / whole[:_PREFIX]
        try:
            draft.rename(place)
        except OSError:
            if not (place / "snapshot.json").exists():
                raise
            # The same data was taken before; what is there is the same, row for row.
    return SnapshotRef(str(place), whole, rows, as_of)


@contextmanager
def _draft_folder(shelf: Path) -> Iterator[Path]:
    draft = shelf / f".{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        yield draft
    finally:
        if draft.exists():
            shutil.rmtree(draft)


def _known_batches(path: Path, contract: Contract, as_of: datetime) -> Iterator[pa.Table]:
    limit = pa.scalar(as_of, pa.timestamp("us"))
    for batch in _parquet(path).iter_batches(batch_size=_ROW_GROUP):
        table = cast_to_contract(batch, contract)
        known = pc.and_(pc.less_equal(table[RECORDED_AT], limit), pc.less_equal(table[EVENT_TIME], limit))
        yield table.filter(known)


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise FileUnreadable(
            f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}",
            remedy="Check that the file is there and complete; take the snapshot again if it was deleted.",
            field="path",
            value=str(path),
        ) from None


def _canonical_order(table: pa.Table, roles: Mapping[str, str]) -> np.ndarray:
    first, second = row_hashes(table)
    keys: list[np.ndarray] = [second, first]
    for role in ("entity", "time"):
        name = roles.get(role)
        if name is None:
            continue
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        ranks = pc.rank(column, sort_keys="ascending", tiebreaker="dense")
        keys.append(np.asarray(ranks))
    return np.lexsort(keys)  # the last key counts first: time, entity, hash
