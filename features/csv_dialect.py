"""How a text file holds its table: encoding, separator, decimal sign and header, found by looking."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from store.errors import EmptyData, FileUnreadable

_SEPARATORS = (",", ";", "\t", "|")
_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 500
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+|[+-]?\d{1,3}(\.\d{3})+(,\d+)?")
_POINT_NUMBER = re.compile(r"[+-]?\d+\.\d{1,2}|[+-]?\d+\.\d{4,}|[+-]?\d{4,}\.\d+|[+-]?0\.\d+")
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "Save the sheet as CSV, or unpack the archive."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "Save the sheet as CSV."),
    (b"%PDF", "a PDF document", "Export the table as CSV."),
    (b"SQLite format 3", "a SQLite database", "Name its table: sqlite:///FILE::TABLE."),
    (b"{", "JSON", "Convert it to CSV or Parquet."),
    (b"[{", "JSON", "Convert it to CSV or Parquet."),
    (b"<", "HTML or XML", "Export the table as CSV."),
)


@dataclass(frozen=True)
class Dialect:
    """What is needed to read a CSV file.

    Attributes
    ----------
    header : column names, trimmed.
    rows : number of lines below the header; an upper bound where values hold line breaks.
    notes : what was found that is out of the ordinary.
    """

    encoding: str
    separator: str
    decimal: str
    header: tuple[str, ...]
    rows: int
    notes: tuple[str, ...] = ()


def open_bytes(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked where its name ends in .gz, .bz2 or .xz."""
    opener = _OPENERS.get(path.suffix.lower())
    file: IO[bytes] = opener(path, "rb") if opener else path.open("rb")
    return file


def find_dialect(path: Path) -> Dialect:
    """Look at the file.

    Raises
    ------
    EmptyData : it has no byte, or nothing but blanks.
    FileUnreadable : it is no table of text, its header repeats a name, or its text cannot be decoded.
    """
    with open_bytes(path) as file:
        head = file.read(_SAMPLE_BYTES)
    if not head.strip():
        raise EmptyData(f"{path} is empty.", remedy="Check how it was exported.", field="source", value=str(path))
    _refuse_foreign(path, head)
    encoding, lines, notes = _decode_all(path, head)
    text = codecs.getincrementaldecoder(encoding)("ignore").decode(head).lstrip("\ufeff")
    if len(head) == _SAMPLE_BYTES:
        text = text[: text.rfind("\n") + 1] or text
    separator, records = _separate(text)
    header = tuple(name.strip() or f"unnamed_{i}" for i, name in enumerate(records[0], start=1))
    nameless = [name for name, given in zip(header, records[0], strict=True) if not given.strip()]
    notes.extend(f"a column without a name is called {name}" for name in nameless)
    _check_header(path, header)
    decimal = _decimal(separator, records[1:])
    if separator != ",":
        notes.append(f"values are separated by {'tabs' if separator == chr(9) else repr(separator)}")
    if decimal == ",":
        notes.append("numbers are written with a decimal comma")
    return Dialect(encoding, separator, decimal, header, max(lines - 1, 0), tuple(notes))


def _refuse_foreign(path: Path, head: bytes) -> None:
    start = head.lstrip()[:16]
    for magic, what, remedy in _FOREIGN:
        if start.startswith(magic):
            raise FileUnreadable(f"{path} is {what}, not a CSV or Parquet file.", remedy=remedy, value=str(path))
    if b"\0" in head and not head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileUnreadable(
            f"{path} is not a table of text: it holds binary data.",
            remedy="Name a CSV or Parquet file.",
            field="source",
            value=str(path),
        )


def _decode_all(path: Path, head: bytes) -> tuple[str, int, list[str]]:
    """Encoding, number of lines, notes. The whole file is looked at, for the one odd byte may be its last."""
    encoding = next((name for bom, name in _BOMS if head.startswith(bom)), "utf-8")
    lines, notes, last = 0, [], ""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with open_bytes(path) as file:
            while block := file.read(1 << 22):
                text = decoder.decode(block)
                lines += text.count("\n")
                last = text[-1:] or last
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        if encoding == "utf-8":
            notes.append("not UTF-8: read as Windows-1252")
            with open_bytes(path) as file:
                lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 22), b""))
            return "cp1252", lines + 1, notes
        raise FileUnreadable(
            f"{path} says it is {encoding} but does not decode: {error.reason}.", remedy="Save it as UTF-8."
        ) from None
    except (OSError, EOFError) as error:
        raise FileUnreadable(f"{path} cannot be unpacked: {error}.", remedy="Check that it is complete.") from None
    return encoding, lines + (last != "\n"), notes


def _separate(text: str) -> tuple[str, list[list[str]]]:
    """The separator under which most lines have the same number of fields, more than one."""
    best: tuple[float, str, list[list[str]]] | None = None
    for separator in _SEPARATORS:
        records = []
        try:
            for record in csv.reader(io.StringIO(text), delimiter=separator):
                if record:
                    records.append(record)
                if len(records) > _SAMPLE_ROWS:
                    break
        except csv.Error:
            continue
        if not records:
            continue
        width, count = Counter(map(len, records)).most_common(1)[0]
        # The header decides between two that split evenly: "a;b" with "1,5;2,5" below it.
        score = (len(records[0]) > 1) * (width > 1) * (count / len(records) + (width == len(records[0])))
        if best is None or score > best[0]:
            best = (score, separator, records)
    assert best is not None
    return best[1], best[2]


def _check_header(path: Path, header: tuple[str, ...]) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise FileUnreadable(
            f"{path} has two columns called {twice[0]!r}.", remedy="Rename one of them.", field=twice[0]
        )


def _decimal(separator: str, records: list[list[str]]) -> str:
    if separator == ",":
        return "."
    values = [value.strip() for record in records for value in record]
    commas = sum(bool(_COMMA_NUMBER.fullmatch(value)) and "," in value for value in values)
    points = sum(bool(_POINT_NUMBER.fullmatch(value)) for value in values)
    return "," if commas and not points else "."
