"""What a table must look like: columns with type, unit and nullability, checks with a severity, and its two clocks.

Every table carries `event_time` (when it happened) and `recorded_at` (when it became known here), both naive UTC. A row
is never changed: a correction is another row with the same key and a later `recorded_at`, so the natural key is the key
and `recorded_at` together.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from store.errors import MissingColumn

ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp"]
Severity = Literal["critical", "warning"]

EVENT_TIME = "event_time"
RECORDED_AT = "recorded_at"


@dataclass(frozen=True)
class OneOf:
    """The value is one of a list."""

    values: tuple[str, ...]
    severity: Severity = "critical"

    def __str__(self) -> str:
        return f"one of {', '.join(self.values)}"


@dataclass(frozen=True)
class Between:
    """The number lies in a closed range; None leaves a side open."""

    low: float | None = None
    high: float | None = None
    severity: Severity = "critical"

    def __str__(self) -> str:
        if self.high is None:
            return f"at least {self.low:g}"
        if self.low is None:
            return f"at most {self.high:g}"
        return f"between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Matches:
    """The text matches a regular expression from its beginning; `meaning` says it in words."""

    pattern: str
    meaning: str
    severity: Severity = "critical"

    def __str__(self) -> str:
        return self.meaning


@dataclass(frozen=True)
class NotBefore:
    """`later` is not before `earlier` where both are filled."""

    later: str
    earlier: str
    severity: Severity = "critical"

    def __str__(self) -> str:
        return f"{self.later} not before {self.earlier}"


@dataclass(frozen=True)
class FilledWhen:
    """`column` is filled wherever `when` holds `value`."""

    column: str
    when: str
    value: str
    severity: Severity = "warning"

    def __str__(self) -> str:
        return f"{self.column} filled where {self.when} is {self.value}"


ValueCheck = OneOf | Between | Matches
RowCheck = NotBefore | FilledWhen


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    type : `date` is a day and held as midnight; `timestamp` is naive UTC in microseconds.
    unit : for people: "EUR/month", "GB", "calls"; empty where there is none.
    nullable : whether the value may be missing. In a column that may not, a missing value is a critical failure.
    checks : what holds for every value that is there.
    """

    name: str
    type: ColumnType
    description: str
    unit: str = ""
    nullable: bool = False
    checks: tuple[ValueCheck, ...] = ()


@dataclass(frozen=True)
class Contract:
    """One table.

    Attributes
    ----------
    name : the table's name.
    key : columns that say which thing a row is about; unique together with `recorded_at`.
    own_columns : the table's own columns, without the two clocks.
    checks : what holds between columns of one row.
    event_time_from : where `event_time` comes from in a source that lacks it: the first filled one of these columns.
    event_time_delay : added to that; a day's total is an event only when the day is over.
    known_with : columns whose filled value says that the row cannot have been known earlier (a ticket with `closed_at`
        was not known before it was closed). Used where a source lacks `recorded_at` and its history is to be trusted.
    tolerance : largest share of rows, 0–1, that may fail one critical check and go to quarantine; beyond it the load
        stops and nothing is written.
    """

    name: str
    description: str
    key: tuple[str, ...]
    own_columns: tuple[Column, ...]
    checks: tuple[RowCheck, ...] = ()
    event_time_from: tuple[str, ...] = ()
    event_time_delay: timedelta = timedelta(0)
    known_with: tuple[str, ...] = ()
    tolerance: float = 0.05

    @property
    def columns(self) -> tuple[Column, ...]:
        """The own columns, then `event_time` and `recorded_at`."""
        return (*self.own_columns, _EVENT_TIME_COLUMN, _RECORDED_AT_COLUMN)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def natural_key(self) -> tuple[str, ...]:
        """The key and `recorded_at`."""
        return (*self.key, RECORDED_AT)

    @property
    def required(self) -> tuple[str, ...]:
        """Columns a source must have; the clocks can be derived and nullable columns left out."""
        return tuple(column.name for column in self.own_columns if not column.nullable)

    def column(self, name: str) -> Column:
        """Raises `MissingColumn` with the closest name where there is no such column."""
        for column in self.columns:
            if column.name == name:
                return column
        raise MissingColumn(
            f"Table {self.name} has no column {name!r}.", remedy=suggestion(name, self.names), field=name, value=name
        )

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)


def suggestion(name: str, existing: tuple[str, ...] | list[str]) -> str:
    """ "Did you mean 'x'?" where something is close, and what exists."""
    lowered = {str(candidate).lower(): str(candidate) for candidate in existing}
    close = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    hint = f"Did you mean {lowered[close[0]]!r}? " if close else ""
    return f"{hint}There is: {', '.join(map(str, existing)) or 'nothing'}."


_EVENT_TIME_COLUMN = Column(EVENT_TIME, "timestamp", "When it happened", unit="UTC")
_RECORDED_AT_COLUMN = Column(RECORDED_AT, "timestamp", "When it became known here", unit="UTC")
