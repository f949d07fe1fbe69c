"""From a customer's columns to one row of numbers that every member reads, learned from training rows only.

Kept as JSON. Numbers stay as they are, missing ones as NaN. A category's rare levels are pooled; few levels become
indicators, many a code that the boosters take as a native category. Missing is a level of its own where training rows
showed it often enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.like_named import like_named
from features.parsing import as_flag, as_number, as_text
from features.tabular import Column, values_of
from store.errors import MissingColumn, WrongType

Matrix = NDArray[np.float64]

MISSING = "(missing)"
OTHER = "(other)"
RARE_LEVEL = 20
MOST_INDICATORS = 12


@dataclass(frozen=True)
class CategoryCode:
    """Levels of one category, commonest first. `pooled`: rare levels were seen and share `(other)`."""

    levels: tuple[str, ...]
    pooled: bool

    @property
    def native(self) -> bool:
        """Whether it is one column of codes rather than an indicator per level."""
        return len(self.levels) > MOST_INDICATORS

    @property
    def indicators(self) -> tuple[str, ...]:
        """Levels that get an indicator; of two levels only the rarer one does. Anything else is all zeros."""
        return self.levels[1:] if len(self.levels) == 2 and not self.pooled else self.levels


class Encoder:
    """Fitted encoder.

    Layout of a row: numbers and flags in column order, sums of like-named numbers, indicators, native codes (0 =
    any level that is not known).

    Attributes
    ----------
    columns : what is read, in order.
    names : of the encoded positions.
    sources : columns that each encoded position is made of; several where it is their sum.
    native : positions that hold codes.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        categories: Mapping[str, CategoryCode],
        sums: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.columns = tuple(columns)
        self.categories = dict(categories)
        self.sums = dict(sums)
        self._numeric = [column for column in self.columns if column.kind != "category"]
        self._coded = [column for column in self.columns if column.kind == "category"]
        # Codes come last, whatever the order of the columns.
        self._coded.sort(key=lambda column: self.categories[column.name].native)
        names = [column.name for column in self._numeric] + [f"sum of {name}" for name in self.sums]
        self.numeric_width = len(names)
        self._readers: list[tuple[str, Callable[[Any], float]]] = [
            (column.name, _reader(column)) for column in self._numeric
        ]
        self._places: list[tuple[str, dict[str | None, int], int, bool]] = []
        for column in self._coded:
            code = self.categories[column.name]
            start = len(names)
            if code.native:
                place: dict[str | None, int] = {level: i + 1 for i, level in enumerate(code.levels)}
                names.append(column.name)
            else:
                place = {level: start + i for i, level in enumerate(code.indicators)}
                names += [f"{column.name} = {level}" for level in code.indicators]
            if MISSING in place:
                place[None] = place[MISSING]
            self._places.append((column.name, place, start, code.native))
        self.names = tuple(names)
        self.sources = self._sources()
        self.native = tuple(start for _, _, start, native in self._places if native)
        self.cardinalities = tuple(
            len(self.categories[c.name].levels) + 1 for c in self._coded if self.categories[c.name].native
        )

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: Sequence[Column]) -> Encoder:
        """Learn levels and sums from training rows."""
        numeric = [column for column in columns if column.kind != "category"]
        values = np.column_stack(
            [values_of(frame[c.name], c).to_numpy() for c in numeric] or [np.empty((len(frame), 0))]
        )
        sums = like_named([column.name for column in numeric], values)
        enough = max(2, min(RARE_LEVEL, len(frame) // 100))
        categories: dict[str, CategoryCode] = {}
        for column in columns:
            if column.kind == "category":
                texts = values_of(frame[column.name], column)
                counts = texts.fillna(MISSING).value_counts()
                # Ties are broken by name, so that row order does not matter.
                ranked = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
                kept = tuple(str(level) for level, count in ranked if int(count) >= enough)
                categories[column.name] = CategoryCode(kept, len(kept) < len(ranked))
        return cls(columns, categories, sums)

    def matrix(self, frame: pd.DataFrame) -> Matrix:
        """Encode a frame: float64, shape (rows, len(names)).

        Raises
        ------
        MissingColumn : columns are not there; the message lists all of them.
        WrongType : a value does not fit its column.
        """
        absent = [column.name for column in self.columns if column.name not in frame.columns]
        if absent:
            raise missing_columns(absent)
        out = np.zeros((len(frame), len(self.names)))
        for i, column in enumerate(self._numeric):
            out[:, i] = self._values(frame[column.name], column).to_numpy()
        for i, parts in enumerate(self.sums.values(), start=len(self._numeric)):
            total = out[:, parts[0]].copy()
            for part in parts[1:]:
                total += out[:, part]
            out[:, i] = total
        rows = np.arange(len(frame))
        for column, (_, place, start, native) in zip(self._coded, self._places, strict=True):
            codes, levels = pd.factorize(self._values(frame[column.name], column), use_na_sentinel=False)
            found = np.asarray([place.get(None if _absent(level) else level, -1) for level in levels], dtype=np.int64)
            at = found[codes] if len(levels) else np.empty(0, dtype=np.int64)
            if native:
                out[:, start] = np.maximum(at, 0)
            else:
                known = at >= 0
                out[rows[known], at[known]] = 1.0
        return out

    def row(self, record: Mapping[str, Any]) -> list[float]:
        """Encode one record without pandas; the same numbers as `matrix`.

        Raises
        ------
        MissingColumn, WrongType : as `matrix`.
        """
        out = [0.0] * len(self.names)
        try:
            for i, (name, read) in enumerate(self._readers):
                value = record[name]
                # The common case, without a call: a finite float.
                out[i] = value if type(value) is float and value - value == 0.0 else read(value)
            i = len(self._readers)
            for parts in self.sums.values():
                total = out[parts[0]]
                for part in parts[1:]:
                    total += out[part]
                out[i] = total
                i += 1
            for name, place, start, native in self._places:
                value = record[name]
                at = place.get(value) if type(value) is str else None
                if at is None:
                    at = place.get(_level(name, value), -1)
                if native:
                    out[start] = float(at) if at > 0 else 0.0
                elif at >= 0:
                    out[at] = 1.0
        except KeyError:
            raise missing_columns([column.name for column in self.columns if column.name not in record]) from None
        return out

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` reverses it."""
        return {
            "columns": [column.to_dict() for column in self.columns],
            "categories": {n: {"levels": list(c.levels), "pooled": c.pooled} for n, c in self.categories.items()},
            "sums": {name: list(parts) for name, parts in self.sums.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Encoder:
        return cls(
            [Column(**column) for column in data["columns"]],
            {n: CategoryCode(tuple(c["levels"]), c["pooled"]) for n, c in data["categories"].items()},
            {name: tuple(parts) for name, parts in data["sums"].items()},
        )

    def _sources(self) -> tuple[tuple[str, ...], ...]:
        found: list[tuple[str, ...]] = [(column.name,) for column in self._numeric]
        found += [tuple(self._numeric[part].name for part in parts) for parts in self.sums.values()]
        for column in self._coded:
            code = self.categories[column.name]
            found += [(column.name,)] * (1 if code.native else len(code.indicators))
        return tuple(found)

    def _values(self, series: pd.Series, column: Column) -> pd.Series:
        try:
            return values_of(series, column)
        except (ValueError, TypeError):
            for position, value in enumerate(series):
                try:
                    read_value(column, value)
                except WrongType as error:
                    place = f"Row {position + 1}: {error.message}" if len(series) > 1 else error.message
                    raise WrongType(place, remedy=error.remedy, field=error.field, value=error.value) from None
            raise


def read_value(column: Column, value: Any) -> float | str | None:
    """One value as its column is learned from.

    Raises
    ------
    WrongType : naming the column, the value and what would fit.
    """
    if column.kind == "category":
        return _level(column.name, value)
    return _reader(column)(value)


def _reader(column: Column) -> Callable[[Any], float]:
    decimal = column.decimal
    flag = column.kind == "flag"

    def read(value: Any) -> float:
        try:
            number = as_flag(value) if flag else as_number(value, decimal)
        except (ValueError, TypeError, OverflowError):
            what = "yes or no (true/false, 1/0)" if flag else "a number"
            raise WrongType(
                f"{column.name} = {_shown(value)}: expected {what}, found {type(value).__name__}.",
                remedy=f"Give {what}, or leave it empty (null) when it is not known.",
                field=column.name,
                value=value,
            ) from None
        return math.nan if math.isinf(number) else number

    return read


def _level(name: str, value: Any) -> str | None:
    if isinstance(value, list | dict | tuple | set):
        raise WrongType(
            f"{name} = {_shown(value)}: expected text, found {type(value).__name__}.",
            remedy="Give one level as text, or null when it is not known.",
            field=name,
            value=value,
        )
    return as_text(value)


def missing_columns(absent: Sequence[str]) -> MissingColumn:
    """One error that lists every column that is not there."""
    listed = ", ".join(repr(name) for name in absent[:20]) + (
        f" and {len(absent) - 20} more" if len(absent) > 20 else ""
    )
    plural = "s" if len(absent) > 1 else ""
    return MissingColumn(
        f"Missing column{plural}: {listed}.",
        remedy="Add what the model was trained on; a value that is not known may be empty (null).",
        field=absent[0],
        value=list(absent),
    )


def _absent(level: Any) -> bool:
    return level is None or (isinstance(level, float) and math.isnan(level))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
