"""A digest over every row and the schema of a table: the same in any row order, batch size and machine.

Each cell is hashed to 2 × 64 bits (typed, null apart from every value, −0.0 as 0.0, NaN as null), the cells of a row
are chained in column order, and the rows are added up modulo 2⁶⁴ in each half (MSet-Add-Hash of Clarke et al., 2003):
rows may come in any order, and a row that is there twice counts twice. SHA-256 over the schema, the number of rows
and the two sums is the digest. The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014). It
guards against accidents, not against somebody who builds collisions.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from store.errors import WrongType

Words = npt.NDArray[np.uint64]

_LANES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))
_NULL = np.uint64(0x6A09E667F3BCC909)
_BATCH = 65_536
_LONG_TEXT = 512  # bytes; longer texts are hashed one by one


def frame_digest(frame: pd.DataFrame) -> str:
    """Hex digest of a frame: column names and order, types and every value, in any row order. The index is left out.

    Raises
    ------
    WrongType : a column holds values of several types, or something that is not a table's value (lists, objects).
    """
    return table_digest(frame_to_arrow(frame))


def table_digest(table: pa.Table) -> str:
    """Hex digest of an Arrow table; see `frame_digest`."""
    digest = TableDigest(table.schema)
    for batch in table.to_batches(max_chunksize=_BATCH):
        digest.update(batch)
    return digest.hexdigest()


class TableDigest:
    """The digest of a table that comes in batches.

    Parameters
    ----------
    schema : the schema every batch has.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._types = [(field.name, _type_name(field.name, field.type)) for field in schema]
        self._sums = [0, 0]
        self.rows = 0

    @property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [name for name, _ in self._types]

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        for lane, words in enumerate(row_hashes(batch)):
            self._sums[lane] = (self._sums[lane] + int(words.sum(dtype=np.uint64))) % 2**64
        self.rows += batch.num_rows

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        content = json.dumps(["meritorder-digest-1", self._types, self.rows, self._sums], ensure_ascii=True)
        return hashlib.sha256(content.encode()).hexdigest()


def row_hashes(batch: pa.RecordBatch | pa.Table) -> tuple[Words, Words]:
    """Two arrays of one 64-bit hash per row, over all columns in their order."""
    lanes = []
    cells = [_cell_words(batch.schema.field(i).name, batch.column(i)) for i in range(batch.num_columns)]
    for seed in _LANES:
        total = np.full(batch.num_rows, seed, dtype=np.uint64)
        for position, cell in enumerate(cells):
            salt = _mix_scalar(int(seed) + position + 1)
            total = _mix(total * np.uint64(0x100000001B3) + cell(salt))
        lanes.append(total)
    return lanes[0], lanes[1]


def frame_to_arrow(frame: pd.DataFrame) -> pa.Table:
    """Arrow table of a frame without its index.

    Raises
    ------
    WrongType : names the column whose values are of several types.
    """
    arrays, names = [], []
    for position, name in enumerate(frame.columns):
        try:
            arrays.append(_as_read_back(frame.iloc[:, position]))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise WrongType(
                f"Column {str(name)!r} cannot be kept as one type: {str(error).splitlines()[0]}.",
                remedy="Make all its values numbers, texts, dates or booleans.",
                field=str(name),
            ) from None
        names.append(str(name))
    return pa.Table.from_arrays(arrays, names=names)


def _as_read_back(series: pd.Series) -> pa.Array:
    """The Arrow array whose pandas form is `series` again: Parquet has no nullable integers or bare days of pandas."""
    if isinstance(series.dtype, pd.api.extensions.ExtensionDtype) and pd.api.types.is_integer_dtype(series.dtype):
        values = pa.Array.from_pandas(series)
        return values.cast(pa.float64()) if values.null_count else values
    array = pa.Array.from_pandas(series)
    return array.cast(pa.timestamp("us")) if pa.types.is_date(array.type) else array


def _type_name(name: str, kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return f"category<{_type_name(name, kind.value_type)}>"
    if _is_text(kind):
        return "string"
    if pa.types.is_large_binary(kind):
        return "binary"
    if pa.types.is_nested(kind):
        raise WrongType(
            f"Column {name!r} holds {kind}, not single values.",
            remedy="Spread it over columns of numbers, texts, dates or booleans.",
            field=name,
        )
    return str(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


class _Cells(ABC):
    """One column, ready to be hashed with a salt: fixed-width values as words, or texts as bytes."""

    def __init__(self, nulls: npt.NDArray[np.bool_] | None) -> None:
        self.nulls = nulls

    def __call__(self, salt: np.uint64) -> Words:
        words = self.values(salt)
        if self.nulls is not None:
            words[self.nulls] = _mix_scalar(int(_NULL) ^ int(salt))
        return words

    @abstractmethod
    def values(self, salt: np.uint64) -> Words:
        """A word per row; what stands under a null does not matter."""


class _FixedCells(_Cells):
    def __init__(self, words: Words, nulls: npt.NDArray[np.bool_] | None) -> None:
        super().__init__(nulls)
        self.words = words

    def values(self, salt: np.uint64) -> Words:
        return _mix(_mix(self.words ^ salt) + salt)


class _TextCells(_Cells):
    def __init__(self, array: pa.Array, nulls: npt.NDArray[np.bool_] | None) -> None:
        super().__init__(nulls)
        array = array.cast(pa.large_binary())
        offsets_buffer, data_buffer = array.buffers()[1:]
        offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
        self.starts, self.lengths = offsets[:-1], np.diff(offsets)
        if nulls is not None:
            self.lengths = np.where(nulls, 0, self.lengths)
        # Eight spare bytes, so that a word may be read at any position; the view overlaps itself on purpose.
        self.data = np.zeros((data_buffer.size if data_buffer else 0) + 8, dtype=np.uint8)
        if data_buffer:
            self.data[:-8] = np.frombuffer(data_buffer, dtype=np.uint8)
        self.words_at = np.ndarray((len(self.data) - 7,), dtype="<u8", buffer=self.data.data, strides=(1,))

    def values(self, salt: np.uint64) -> Words:
        total = _mix(self.lengths.astype(np.uint64) ^ salt)
        short = self.lengths <= _LONG_TEXT
        longest = int(self.lengths[short].max(initial=0))
        same_length = bool(short.all()) and bool((self.lengths == longest).all())
        for begin in range(0, longest, 8):
            rows = slice(None) if same_length else np.flatnonzero(short & (self.lengths > begin))
            words = self.words_at[self.starts[rows] + begin].astype(np.uint64)
            spare = np.clip(8 - (self.lengths[rows] - begin), 0, 7).astype(np.uint64) * np.uint64(8)
            words = (words << spare) >> spare
            total[rows] = _mix(total[rows] * np.uint64(0x100000001B3) + words)
        for row in np.flatnonzero(~short):
            start, length = int(self.starts[row]), int(self.lengths[row])
            content = hashlib.blake2b(self.data[start : start + length].tobytes(), digest_size=8, key=salt.tobytes())
            total[row] = np.frombuffer(content.digest(), dtype="<u8")[0]
        return total


def _cell_words(name: str, column: Any) -> _Cells:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    kind = array.type
    _type_name(name, kind)
    if pa.types.is_dictionary(kind):
        array = array.cast(kind.value_type)
        kind = array.type
    nulls = np.asarray(array.is_null(nan_is_null=True)) if array.null_count or pa.types.is_floating(kind) else None
    if pa.types.is_null(kind):
        return _FixedCells(np.zeros(len(array), dtype=np.uint64), np.ones(len(array), dtype=bool))
    if _is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _TextCells(array, nulls)
    if pa.types.is_decimal(kind):
        return _TextCells(array.cast(pa.string()), nulls)
    if pa.types.is_boolean(kind):
        return _FixedCells(np.asarray(array.cast(pa.uint8()).fill_null(0)).astype(np.uint64), nulls)
    if pa.types.is_floating(kind):
        floats = np.asarray(pc.fill_null(array.cast(pa.float64()), 0.0)) + 0.0  # + 0.0 turns −0.0 into 0.0
        return _FixedCells(floats.view(np.uint64), nulls)
    if pa.types.is_temporal(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    integers = np.asarray(array.fill_null(0))
    return _FixedCells(integers.astype(np.int64 if integers.dtype.kind == "i" else np.uint64).view(np.uint64), nulls)


def _mix(words: Words) -> Words:
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _mix_scalar(value: int) -> np.uint64:
    return np.uint64(_mix(np.array([value % 2**64], dtype=np.uint64))[0])
