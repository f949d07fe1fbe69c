"""Reading tables from where people keep them: CSV, Parquet, or a database.

A source is written as

- `customers.csv`, `customers.csv.gz`, `customers.parquet`: a file; encoding, separator and decimal comma are found out
- `postgresql://user:password@host/database::customers` or `…::schema.customers`: a table behind any SQLAlchemy URL
- `sqlite:///shop.db::SELECT id, day FROM sales`: the rows of a query
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.csv_dialect import Dialect, find_dialect, open_bytes
from store.errors import EmptyData, FileUnreadable

CHUNK_ROWS = 262_144

_URL = re.compile(r"(?P<kind>[a-zA-Z][\w.]*(\+\w+)?)://")
_INDEX = re.compile(r"__index_level_\d+__")
_MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A"})
_PADDED = r"[+-]?0\d+"
# Dots group digits by three or the value is no number: 03.01.2022, 1.2.3 and 192.168.0.1 stay what they are.
_COMMA_NUMBER = r"[+-]?((\d+|[1-9]\d{0,2}(\.\d{3})+)(,\d*)?|,\d+)([eE][+-]?\d+)?"


@dataclass(frozen=True)
class Malformed:
    """A line that is no row: it has too many or too few fields. `line` counts from 1, where it is known."""

    line: int | None
    text: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a source, as they came; a CSV file's values are all text."""

    frame: pd.DataFrame
    malformed: tuple[Malformed, ...] = ()


@dataclass(frozen=True)
class TableSource:
    """A source that is open for reading.

    Attributes
    ----------
    label : the source for people, without passwords.
    columns : its column names.
    rows : how many rows to expect, where that is known beforehand.
    decimal : decimal sign of numbers held as text.
    notes : what was found that is out of the ordinary.
    """

    label: str
    columns: tuple[str, ...]
    rows: int | None
    chunks: Callable[[], Iterator[Chunk]]
    decimal: str = "."
    notes: tuple[str, ...] = field(default=())


def read_table(source: str | Path) -> pd.DataFrame:
    """The whole table with types found out; texts are `str`, numbers int64 or float64. Dates in a CSV stay text.

    Numbers with leading zeros are identifiers and stay text.

    Raises
    ------
    FileUnreadable : the source is missing or no table; the message says which line or why.
    EmptyData : it has no rows.
    """
    opened = open_table(source)
    frames = []
    for chunk in opened.chunks():
        if chunk.malformed:
            first = chunk.malformed[0]
            where = f"Line {first.line}" if first.line else "A line"
            raise FileUnreadable(
                f"{where} of {opened.label} {first.reason}: {first.text[:120]!r}.",
                remedy="Correct the line; a value that holds the separator must stand in double quotes.",
                field="source",
            )
        frames.append(chunk.frame)
    if not any(len(frame) for frame in frames):
        raise EmptyData(
            f"{opened.label} has no rows, only the columns {', '.join(opened.columns)}.",
            remedy="Check how it was exported.",
        )
    whole = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0].reset_index(drop=True)
    is_text_file = not isinstance(source, str) or not _URL.match(source)
    if is_text_file and _is_csv(Path(source)):
        return pd.DataFrame({name: _inferred(whole[name], opened.decimal) for name in whole.columns})
    return whole


def open_table(source: str | Path) -> TableSource:
    """Open a source; nothing but its header is read.

    Raises
    ------
    FileUnreadable : it is missing or no table.
    EmptyData : the file is empty.
    """
    text = str(source)
    url = _URL.match(text)
    if url and not isinstance(source, Path):
        from features.sql_source import open_sql

        return open_sql(text, url["kind"])
    path = Path(source).expanduser()
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*") if p.is_file())[:8] if path.parent.is_dir() else []
        raise FileUnreadable(
            f"There is no file {path}.",
            remedy=f"In {path.parent} there is: {', '.join(near)}." if near else "Check the path.",
            field="source",
            value=text,
        )
    if path.is_dir():
        raise FileUnreadable(f"{path} is a folder.", remedy="Name a file in it.", field="source", value=text)
    try:
        return _open_csv(path) if _is_csv(path) else _open_parquet(path)
    except PermissionError:
        raise FileUnreadable(f"{path} may not be read.", remedy="Check its permissions.", field="source") from None


def _is_csv(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) != b"PAR1"


def _open_parquet(path: Path) -> TableSource:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise FileUnreadable(
            f"{path} is a damaged Parquet file: {str(error).splitlines()[0]}.", remedy="Write it again.", field="source"
        ) from None
    # An unnamed index that pandas wrote along is nobody's column.
    names = tuple(name for name in file.schema_arrow.names if not _INDEX.fullmatch(name))

    def chunks() -> Iterator[Chunk]:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=CHUNK_ROWS, columns=list(names)):
            yield Chunk(batch.to_pandas(ignore_metadata=True))

    return TableSource(str(path), names, file.metadata.num_rows, chunks)


def _open_csv(path: Path) -> TableSource:
    dialect = find_dialect(path)
    return TableSource(
        str(path), dialect.header, dialect.rows, lambda: _csv_chunks(path, dialect), dialect.decimal, dialect.notes
    )


def _csv_chunks(path: Path, dialect: Dialect) -> Iterator[Chunk]:
    malformed: list[Malformed] = []

    def keep(row: Any) -> str:
        reason = f"has {row.actual_columns} fields instead of {row.expected_columns}"
        malformed.append(Malformed(row.number, row.text, reason))
        return "skip"

    names = list(dialect.header)
    with open_bytes(path) as file:
        try:
            reader = pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(
                    column_names=names,
                    skip_rows=1,
                    encoding=dialect.encoding,
                    use_threads=False,
                    block_size=8 << 20,
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=dialect.separator, newlines_in_values=True, invalid_row_handler=keep
                ),
                convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
            )
            waiting: list[pa.RecordBatch] = []
            for batch in reader:
                waiting.append(batch)
                if sum(b.num_rows for b in waiting) >= CHUNK_ROWS:
                    yield from _cut(waiting, malformed)
            yield from _cut(waiting, malformed)
        except pa.ArrowException as error:
            message = str(error).splitlines()[0]
            if "Empty CSV" in message or "empty" in message.lower():
                yield Chunk(pd.DataFrame({name: pd.Series(dtype="str") for name in names}))
                return
            raise FileUnreadable(
                f"{path} cannot be read as CSV: {message}.", remedy="Check its quotes.", field="source"
            ) from None


def _cut(waiting: list[pa.RecordBatch], malformed: list[Malformed]) -> Iterator[Chunk]:
    if waiting or malformed:
        frame = pa.Table.from_batches(waiting).to_pandas() if waiting else pd.DataFrame()
        for start in range(0, max(len(frame), 1), CHUNK_ROWS):
            lines = tuple(malformed) if start == 0 else ()
            yield Chunk(frame.iloc[start : start + CHUNK_ROWS].reset_index(drop=True), lines)
        waiting.clear()
        malformed.clear()


def _inferred(texts: pd.Series, decimal: str) -> pd.Series:
    """A column of texts as numbers or truth values where every value that is there is one."""
    trimmed = texts.str.strip()
    missing = trimmed.isin(_MISSING) | trimmed.isna()
    present = trimmed[~missing]
    if not len(present):
        return pd.Series(float("nan"), index=texts.index, dtype="float64")
    if not present.str.fullmatch(_PADDED).any():
        plain = present
        if decimal == ",":
            plain = present.where(present.str.fullmatch(_COMMA_NUMBER))
            plain = plain.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        numbers = pd.to_numeric(plain, errors="coerce")
        if numbers.notna().all():
            return numbers if not missing.any() else numbers.astype("float64").reindex(texts.index)
    if not missing.any() and present.str.lower().isin(["true", "false"]).all():
        return present.str.lower() == "true"
    return texts.mask(missing)
