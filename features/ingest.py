"""Loading somebody's table: mapped, converted, checked, and added to the database with nothing lost on the way.

In two passes, so that memory is bounded, the database is locked only while it is written, and a load that must not
happen writes nothing: the source is read in chunks, its good rows spooled to a temporary Parquet file and its bad ones
beside it with their reasons; then, if no critical check failed too often, both are written in one transaction. Every
row read is inserted, already there, or in quarantine.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from features.contracts import EVENT_TIME, RECORDED_AT, Contract, contract_of
from features.contracts.schema import arrow_schema, cast_to_contract
from features.digest import TableDigest
from features.loading import Conflict, load, spool_schema, with_hashes
from features.mapping import ColumnMap, map_columns
from features.quarantine import Quarantine, jsonable
from features.reading import Chunk, TableSource, open_table
from features.validation import Failure, ValidationReport, inspect
from store.database import engine, migrate, to_json
from store.errors import EmptyData, InvalidValue, ValidationFailed
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.business import IngestRow

# However small a file is, so many of its rows may fail a check before the whole load is refused.
SPARE_ROWS = 5

Progress = Callable[[int, int | None], None]
Known = Literal["ingestion", "event"]


@dataclass(frozen=True)
class IngestResult:
    """What became of a load: `read` = `inserted` + `unchanged` + `quarantined`.

    Attributes
    ----------
    id : the load's id in the tables `ingests` and `quarantine`.
    corrections : how many of the inserted rows are a later version of a row that was there.
    ignored : columns of the source that no column of the table is filled from.
    notes : what was assumed, converted or found out on the way.
    reasons : why rows are in quarantine → how many; a row may have several reasons.
    warnings : checks that failed without keeping a row out.
    digest : over the accepted rows, in any order.
    """

    id: str
    table: str
    source: str
    read: int
    inserted: int
    corrections: int
    unchanged: int
    quarantined: int
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    reasons: Mapping[str, int]
    warnings: tuple[Failure, ...]
    digest: str
    report: ValidationReport

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "id": self.id,
            "table": self.table,
            "source": self.source,
            "read": self.read,
            "inserted": self.inserted,
            "corrections": self.corrections,
            "unchanged": self.unchanged,
            "quarantined": self.quarantined,
            "ignored": list(self.ignored),
            "notes": list(self.notes),
            "reasons": dict(self.reasons),
            "warnings": [failure.to_dict() for failure in self.warnings],
            "digest": self.digest,
        }


def ingest(
    settings: Settings,
    table: str,
    source: str | Path,
    mapping: Mapping[str, str] | None = None,
    *,
    known: Known = "ingestion",
    progress: Progress | None = None,
) -> IngestResult:
    """Load a source into a contract table. Loading it again inserts nothing, nor does its quarantine grow.

    Parameters
    ----------
    table : name of a contract table.
    source : a file or `URL::TABLE`; see `features.reading`.
    mapping : their column name → our column name; columns of equal names need none.
    known : for a source without `recorded_at`, when its rows became known: at their "ingestion", now, which is safe but
        gives models no past to learn from; or with the "event" (the latest of `event_time` and the moments that a row
        tells of, such as `closed_at`), which trusts that its history was known as it happened.
    progress : called with the work done and the whole, where it is known; reading and writing a row are one each.

    Raises
    ------
    InvalidValue : no such table, or a mapping that contradicts itself.
    MissingColumn : the mapping names a column that is not there.
    FileUnreadable : the source is missing or no table.
    EmptyData : it has no rows.
    ValidationFailed : a column is missing, or a critical check fails on every row, or on more than the contract's
        tolerance and more than five; nothing was written.
    """
    contract = contract_of(table)
    if known not in ("ingestion", "event"):
        raise InvalidValue(
            f"known={known!r} is neither 'ingestion' nor 'event'.", remedy="Choose one of them.", field="known"
        )
    opened = open_table(source)
    columns = map_columns(opened.columns, mapping or {}, contract)
    migrate(settings)
    with tempfile.TemporaryDirectory(prefix=".ingest-", dir=settings.root) as folder:
        spool = _Spool(Path(folder), contract, columns, opened, known)
        spool.fill(progress)
        report = spool.report()
        try:
            report.require(contract.tolerance, SPARE_ROWS, remedy=_remedy(columns))
        except ValidationFailed as error:
            from store.events import emit

            emit(settings, "validation.failed", {"table": table, "source": opened.label, "error": error.message})
            raise
        return _write(settings, spool, report, progress)


def _remedy(columns: ColumnMap) -> str:
    hint = f" Unused columns of the source: {', '.join(columns.ignored)}." if columns.ignored else ""
    return f"Correct the source, or map another column with --map THEIRS=OURS; nothing was written.{hint}"


class _Spool:
    """The first pass: good rows and bad rows on disk, and what was found."""

    def __init__(self, folder: Path, contract: Contract, columns: ColumnMap, source: TableSource, known: Known) -> None:
        self.contract, self.columns, self.source, self.known = contract, columns, source, known
        self.good, self.bad = folder / "good.parquet", folder / "bad.jsonl"
        self.now = utc_now()
        self.recorded_given = RECORDED_AT not in columns.absent
        self.read = 0
        self.rejected = 0
        self.reasons: Counter[str] = Counter()
        self._failures: dict[tuple[str, str, str], tuple[int, dict[str, None]]] = {}
        self._checks = 0
        self._notes: Counter[str] = Counter()
        names = [n for n in contract.names if n != RECORDED_AT or self.recorded_given]
        self._digest = TableDigest(pa.schema([arrow_schema(contract).field(name) for name in names]))

    @property
    def accepted(self) -> int:
        return self.read - self.rejected

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def fill(self, progress: Progress | None) -> None:
        """Read the whole source."""
        total = 2 * self.source.rows if self.source.rows is not None else None
        schema = spool_schema(self.contract)
        with pq.ParquetWriter(self.good, schema, compression="lz4") as good, self.bad.open("wb") as bad:
            for chunk in self.source.chunks():
                self._take(chunk, good, bad)
                if progress:
                    progress(self.read, max(total, 2 * self.read) if total is not None else None)
        if self.read == 0:
            raise EmptyData(
                f"{self.source.label} has no rows, only the columns {', '.join(self.source.columns)}.",
                remedy="Check how it was exported.",
                field="source",
            )

    def report(self) -> ValidationReport:
        """What the checks found over all chunks."""
        failures = tuple(
            Failure(column, check, "critical" if severity == "critical" else "warning", rows, self.read, tuple(samples))
            for (column, check, severity), (rows, samples) in self._failures.items()
        )
        return ValidationReport(self.contract.name, self.read, self._checks, failures, self.notes())

    def notes(self) -> tuple[str, ...]:
        """What was assumed, converted or found out."""
        notes = list(self.source.notes)
        if self.columns.ignored:
            notes.append(f"ignored columns: {', '.join(self.columns.ignored)}")
        for name in self.columns.absent:
            if name == EVENT_TIME:
                origin = " or ".join(self.contract.event_time_from)
                delay = self.contract.event_time_delay
                notes.append(
                    f"{EVENT_TIME} is not in the source: taken from {origin}{f' + {delay.days} day' * bool(delay)}"
                )
            elif name == RECORDED_AT and self.known == "ingestion":
                notes.append(
                    f"{RECORDED_AT} is not in the source: the time of this load, {self.now:%Y-%m-%d %H:%M:%S} UTC"
                )
            elif name == RECORDED_AT:
                origin = ", ".join((EVENT_TIME, *self.contract.known_with))
                notes.append(f"{RECORDED_AT} is not in the source: the latest of {origin}")
            else:
                notes.append(f"{name} is not in the source: left empty")
        notes.extend(note for note, _ in self._notes.most_common())
        return tuple(notes)

    def bad_rows(self) -> Iterator[dict[str, Any]]:
        with self.bad.open("rb") as file:
            for line in file:
                yield orjson.loads(line)

    def _take(self, chunk: Chunk, good: pq.ParquetWriter, bad: IO[bytes]) -> None:
        for line in chunk.malformed:
            reason = f"the line {line.reason}"
            self._reject(bad, line.line or 0, {"line": line.text}, [reason])
            self._count("line", "must have as many fields as the header", "critical", 1, (line.text[:80],))
        if not len(chunk.frame):
            self.read += len(chunk.malformed)
            return
        first = self.read + 1
        self.read += len(chunk.malformed) + len(chunk.frame)
        raw = chunk.frame.reset_index(drop=True)
        raw.columns = [str(name) for name in raw.columns]
        ours = raw[list(self.columns.ours)].rename(columns=dict(self.columns.ours))
        coerced, report = inspect(
            ours, self.contract, decimal=self.source.decimal, keys=False, complete=self._with_clocks
        )
        # A derived clock is empty only where the column it comes from is at fault, and that is told already.
        failures = [f for f in report.failures if f.column not in self.columns.absent]
        report = ValidationReport(report.table, report.rows, report.checks, tuple(failures), report.notes)
        self._checks = report.checks
        self._notes.update(report.notes)
        for failure in report.failures:
            self._count(failure.column, failure.check, failure.severity, failure.rows, failure.samples)
        wrong = report.bad_rows()
        positions = np.arange(first, first + len(raw), dtype=np.int64)
        if wrong.any():
            reasons: dict[int, list[str]] = {int(i): [] for i in np.flatnonzero(wrong)}
            for failure in report.critical:
                for i in failure.positions:
                    reasons[int(i)].append(f"{failure.column} {failure.check}")
            rejected = raw[wrong]
            records = rejected.astype("object").where(rejected.notna(), None).to_dict("records")
            for i, row in zip(reasons, records, strict=True):
                self._reject(bad, int(positions[i]), {str(k): v for k, v in row.items()}, reasons[i])
        frame = coerced.frame[~wrong]
        if len(frame):
            rows = cast_to_contract(pa.Table.from_pandas(frame, preserve_index=False), self.contract)
            for batch in rows.select(self._digest.names).combine_chunks().to_batches():
                self._digest.update(batch)
            good.write_table(with_hashes(rows, self.contract, positions[~wrong], self.recorded_given))

    def _with_clocks(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The two clocks where the source does not have them."""
        if EVENT_TIME in self.columns.absent:
            moment = frame[self.contract.event_time_from[0]]
            for name in self.contract.event_time_from[1:]:
                moment = moment.fillna(frame[name])
            frame = frame.assign(**{EVENT_TIME: (moment + self.contract.event_time_delay).astype("datetime64[us]")})
        if RECORDED_AT in self.columns.absent:
            now = pd.Timestamp(self.now)
            if self.known == "ingestion":
                moment = pd.Series(now, index=frame.index)
            else:
                moment = frame[[EVENT_TIME, *self.contract.known_with]].max(axis=1).fillna(now)
                moment = moment.where(moment <= now, now)
            frame = frame.assign(**{RECORDED_AT: moment.astype("datetime64[us]")})
        return frame

    def _reject(self, bad: IO[bytes], position: int, row: dict[str, Any], reasons: list[str]) -> None:
        bad.write(to_json({"position": position, "row": jsonable(row), "reasons": reasons}).encode() + b"\n")
        self.rejected += 1
        self.reasons.update(reasons)

    def _count(self, column: str, check: str, severity: str, rows: int, samples: tuple[str, ...]) -> None:
        before, known = self._failures.get((column, check, severity), (0, {}))
        for sample in samples:
            if len(known) < 5:
                known[sample] = None
        self._failures[column, check, severity] = (before + rows, known)


def _write(settings: Settings, spool: _Spool, report: ValidationReport, progress: Progress | None) -> IngestResult:
    """The second pass, one transaction."""
    ingest_id = new_id()
    inserted = corrections = unchanged = done = 0
    reasons = Counter(spool.reasons)
    quarantined = spool.rejected
    header: dict[str, Any] = {
        "id": ingest_id,
        "table_name": spool.contract.name,
        "source": spool.source.label,
        "digest": spool.digest,
        "read": spool.read,
        "inserted": 0,
        "unchanged": 0,
        "quarantined": 0,
        "notes": list(report.notes),
        "started_at": spool.now,
        "finished_at": spool.now,
    }
    with engine(settings).begin() as connection:
        connection.execute(sa.insert(IngestRow), header)
        quarantine = Quarantine(connection, header, () if spool.recorded_given else (RECORDED_AT,))
        for part in load(connection, spool.contract, spool.good, spool.now, spool.recorded_given):
            inserted, corrections = inserted + part.inserted, corrections + part.corrections
            unchanged, done = unchanged + part.unchanged, done + part.rows
            quarantined += len(part.conflicts)
            reasons.update(conflict.reason for conflict in part.conflicts)
            quarantine.add(_conflict_record(conflict) for conflict in part.conflicts)
            if progress:
                progress(spool.read + done, spool.read + spool.accepted)
        quarantine.add(spool.bad_rows())
        connection.execute(
            sa.update(IngestRow)
            .where(IngestRow.id == ingest_id)
            .values(inserted=inserted, unchanged=unchanged, quarantined=quarantined, finished_at=utc_now())
        )
    assert spool.read == inserted + unchanged + quarantined
    return IngestResult(
        ingest_id,
        spool.contract.name,
        spool.source.label,
        spool.read,
        inserted,
        corrections,
        unchanged,
        quarantined,
        spool.columns.ignored,
        report.notes,
        dict(reasons.most_common()),
        report.warnings,
        spool.digest,
        report,
    )


def _conflict_record(conflict: Conflict) -> dict[str, Any]:
    return {"position": conflict.position, "row": jsonable(conflict.row), "reasons": [conflict.reason]}
