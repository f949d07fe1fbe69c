"""A table somebody brought: what each column is, what may be learned from, and what gives the target away."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.leaks import StrongColumn, SuspectedLeak, suspect
from features.parsing import (
    TRUE_WORDS,
    Decimal,
    as_flag,
    as_number,
    as_text,
    dates_as_numbers,
    decimal_mark,
    distinct,
    looks_like_dates,
    spread,
)
from store.errors import EmptyData, InvalidValue, MissingColumn

Kind = Literal["number", "flag", "category"]
Reason = Literal["identifier", "date", "constant", "empty", "text", "suspected leak", "unsupported"]

OBVIOUS_POSITIVES = TRUE_WORDS | {
    "churn",
    "churned",
    "left",
    "exited",
    "cancelled",
    "canceled",
    "lost",
    "attrited customer",
}
MIN_POSITIVES = 10
MANY_OUTCOMES = 20
RARE = 20

_ID_NAME = re.compile(
    r"(^|[_\W])(id|ids|uuid|guid|key|index|idx|rownames?|row_?num(ber)?|row_?id|unnamed.*|no|nr|phone|phone_?number|"
    r"e?mail|surname|last_?name|name)$|[a-z](Id|ID|Key|Number|Index)$",
    re.IGNORECASE,
)
_CAMEL_ID = re.compile(r"[a-z](Id|ID|UUID|Key|Index)$")


_OF_A_DATE = "bring what matters about it as a number, such as days since"


@dataclass(frozen=True)
class Column:
    """A column that is learned from.

    Attributes
    ----------
    kind : "number"; "flag" (yes or no in any spelling); "category" (a level, compared as text).
    decimal : decimal mark of numbers that arrive as text.
    """

    name: str
    kind: Kind
    decimal: Decimal = "."

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "decimal": self.decimal}


@dataclass(frozen=True)
class Dropped:
    """A column that is not learned from, and why."""

    name: str
    reason: Reason
    note: str

    def to_dict(self) -> dict[str, str]:
        return {"name": self.name, "reason": self.reason, "note": self.note}


@dataclass(frozen=True)
class TableProfile:
    """What was recognised.

    Attributes
    ----------
    columns : what may be learned from, in the table's order.
    dropped : everything else except the roles.
    leaks : columns suspected of giving the target away; they are also in `dropped` unless suspects were kept.
    strong : columns that are learned from although one alone tells nearly everything.
    """

    columns: tuple[Column, ...]
    dropped: tuple[Dropped, ...]
    leaks: tuple[SuspectedLeak, ...]
    strong: tuple[StrongColumn, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class Target:
    """The outcome as numbers.

    Attributes
    ----------
    y : int64 0/1, one per row.
    positive : the value that counts as positive.
    note : says so when the positive value was inferred, or is written in several ways.
    """

    y: NDArray[np.int64]
    positive: str
    note: str = ""


def check_roles(frame: pd.DataFrame, roles: Mapping[str, str]) -> None:
    """Raise unless the table has rows and every column that a role names.

    Raises
    ------
    EmptyData : no rows.
    MissingColumn : a role names a column that is not there; the message lists the columns that are.
    InvalidValue : two roles name one column, or a column name occurs twice.
    """
    if not len(frame):
        raise EmptyData("The table has no rows.", remedy="Check that the file holds data below its header.")
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise InvalidValue(
            f"Column {doubled[0]!r} occurs twice.", remedy="Rename or remove one of them.", field=str(doubled[0])
        )
    named = {role: roles[role] for role in ("entity", "target", "time") if roles.get(role)}
    for role, column in named.items():
        if column not in frame.columns:
            near = [name for name in frame.columns if str(name).lower() == column.lower()]
            hint = f"Did you mean {near[0]!r}?" if near else f"Columns: {_listing(frame.columns)}."
            raise MissingColumn(
                f"There is no column {column!r} (--{role}).", remedy=hint, field=column, value=list(frame.columns)[:50]
            )
    if len(set(named.values())) < len(named):
        raise InvalidValue(f"One column has two roles: {named}.", remedy="Give each role a column of its own.")


def read_target(
    series: pd.Series,
    positive: str | None = None,
    *,
    fewest: int = MIN_POSITIVES,
    rows: str = "rows",
    written: str | None = None,
) -> Target:
    """Outcome column → 0/1.

    Values are compared without regard to case. Without `positive` it is inferred when one of two values is an obvious
    one (Yes, 1, True, churned, …).

    Parameters
    ----------
    rows : what the rows are, for messages.
    written : the positive value as people know it, where the column holds 0/1 in its place.

    Raises
    ------
    InvalidValue : missing outcomes, one class only, more than two values without `positive`, a positive value that
        does not occur, or fewer than `fewest` rows of a class. The message lists the values found.
    """
    name = str(series.name)
    codes, values = distinct(series)
    texts = [as_text(value) for value in values]
    lost = int((codes < 0).sum()) + int(sum((codes == i).sum() for i, text in enumerate(texts) if text is None))
    if lost:
        raise InvalidValue(
            f"The target {name!r} is missing in {lost} of {len(series)} rows.",
            remedy="Remove the rows whose outcome is not known yet; score them later with `merit predict churn`.",
            field=name,
        )
    levels = sorted({text for text in texts if text is not None})
    # Yes, YES and yes are one value.
    words = {level.lower() for level in levels}
    found = _listing(levels)
    if len(words) < 2:
        raise InvalidValue(
            f"The target {name!r} has only one value, {found}: there is nothing to tell apart.",
            remedy="Bring rows of both outcomes.",
            field=name,
        )
    note = ""
    if positive is None:
        obvious = words & OBVIOUS_POSITIVES
        if len(obvious) != 1 or len(words) > 2:
            question = f"Which value of {name!r} means that the customer left? Found: {found}."
            if len(words) > MANY_OUTCOMES:
                question = f"The target {name!r} has {len(words)} different values: {_listing(levels, 5)}."
            raise InvalidValue(
                question,
                remedy="Say it with --positive VALUE, or name another column.",
                field=name,
                value=levels[:20],
            )
        positive = next(level for level in levels if level.lower() in obvious)
        note = f"{name} = {positive} is taken as positive (values found: {found})."
    wanted = str(as_text(positive)).lower()
    chosen = {level for level in levels if level.lower() == wanted}
    if not chosen:
        raise InvalidValue(
            f"The target {name!r} never has the value {positive!r}. Found: {found}.",
            remedy="Give one of them to --positive.",
            field=name,
            value=positive,
        )
    if not note and len(chosen) > 1:
        note = f"{name} = {', '.join(sorted(chosen))} are taken for one value."
    hit = np.asarray([text in chosen for text in texts] + [False])
    y = hit[codes].astype(np.int64)
    rarer = int(min(y.sum(), len(y) - y.sum()))
    if rarer < fewest:
        raise InvalidValue(
            f"Only {rarer} of {len(y)} {rows} have the rarer outcome of {name!r} (positive: "
            f"{written or positive!r}); at least {fewest} are needed.",
            remedy="Bring more rows of it.",
            field=name,
            value=rarer,
        )
    return Target(y, written or str(positive), note)


def profile(
    frame: pd.DataFrame, roles: Mapping[str, str], y: NDArray[np.int64], *, keep_suspects: bool = False
) -> TableProfile:
    """Recognise every column that has no role.

    Identifiers, dates, constants and free text are not learned from; neither are suspected leaks, unless
    `keep_suspects`.
    """
    taken = {roles.get(role) for role in ("entity", "target", "time")}
    first = _one_row_per_entity(frame, roles)
    columns: list[Column] = []
    dropped: list[Dropped] = []
    leaks: list[SuspectedLeak] = []
    strong: list[StrongColumn] = []
    target = roles.get("target", "target")
    for name in frame.columns:
        if name in taken:
            continue
        series = frame[name]
        recognised = _recognise(str(name), series, first)
        if isinstance(recognised, Dropped):
            # A date or a text may still tell by being there at all: a date of leaving.
            found = suspect(str(name), series.isna().astype(np.float64), True, y, target)
            if isinstance(found, SuspectedLeak) and recognised.reason not in {"constant", "empty"}:
                leaks.append(
                    SuspectedLeak(found.column, found.auc, f"whether {name!r} is filled gives the target away")
                )
            dropped.append(recognised)
            continue
        found = suspect(str(name), values_of(series, recognised), recognised.kind != "category", y, target)
        if isinstance(found, StrongColumn):
            strong.append(found)
        elif found:
            leaks.append(found)
            if not keep_suspects:
                dropped.append(Dropped(str(name), "suspected leak", found.evidence))
                continue
        columns.append(recognised)
    return TableProfile(tuple(columns), tuple(dropped), tuple(leaks), tuple(strong))


def values_of(series: pd.Series, column: Column) -> pd.Series:
    """The column as it is learned from: float64 with NaN (numbers, flags 1/0), or trimmed text with None.

    Raises
    ------
    ValueError : a value does not fit the column's kind.
    """
    if column.kind == "number" and pd.api.types.is_numeric_dtype(series):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return pd.Series(np.where(np.isinf(values), np.nan, values), index=series.index, name=series.name)
    codes, levels = distinct(series)
    if column.kind == "category":
        texts = np.asarray([*(as_text(level) for level in levels), None], dtype=object)
        return pd.Series(texts[codes], index=series.index, name=series.name, dtype=object)
    if column.kind == "flag":
        parsed = [as_flag(level) for level in levels]
    else:
        parsed = [as_number(level, column.decimal) for level in levels]
    return pd.Series(spread(codes, parsed), index=series.index, name=series.name)


def _recognise(name: str, series: pd.Series, first: NDArray[np.bool_] | None) -> Column | Dropped:
    present = series.dropna()
    if not len(present):
        return Dropped(name, "empty", "no value in any row")
    if pd.api.types.is_datetime64_any_dtype(series) or pd.api.types.is_timedelta64_dtype(series):
        return Dropped(name, "date", f"a date; {_OF_A_DATE}")
    try:
        count = present.nunique()
    except TypeError:
        return Dropped(name, "unsupported", "holds lists or objects")
    if pd.api.types.is_bool_dtype(series):
        return _constant(name, series) if count == 1 and len(present) == len(series) else Column(name, "flag")
    if count == 1 and len(present) == len(series):
        return _constant(name, series)
    unique = series[first].dropna() if first is not None else present
    if pd.api.types.is_numeric_dtype(series):
        return _written_date(name, present) or _identifier(name, unique) or Column(name, "number")
    return _recognise_text(name, series, present, unique)


def _recognise_text(name: str, series: pd.Series, present: pd.Series, unique: pd.Series) -> Column | Dropped:
    values = list(pd.unique(present))
    if any(isinstance(value, list | dict | set | tuple | bytes | np.ndarray) for value in values[:50]):
        return Dropped(name, "unsupported", "holds lists or objects")
    if all(hasattr(value, "isoformat") for value in values[:50]):
        return Dropped(name, "date", f"a date; {_OF_A_DATE}")
    levels = sorted({text for text in map(as_text, values) if text is not None})
    if not levels:
        return Dropped(name, "empty", "no value in any row")
    missing = len(present) < len(series) or len(levels) < len({str(value).strip() for value in values})
    if len(levels) == 1 and not missing:
        return _constant(name, series)
    words = {level.lower() for level in levels}
    if len(words) == 2 and len(words & TRUE_WORDS) == 1:
        try:
            for word in words:
                as_flag(word)
        except ValueError:
            pass
        else:
            return Column(name, "flag")
    mark = decimal_mark(levels)
    if mark is not None:
        numbers = pd.Series([as_number(value, mark) for value in unique]).dropna()
        return _written_date(name, numbers) or _identifier(name, numbers) or Column(name, "number", mark)
    if looks_like_dates(levels):
        return Dropped(name, "date", f"a date; {_OF_A_DATE}")
    share = unique.nunique() / max(1, len(unique))
    if len(unique) >= RARE and (share > 0.9 or (share > 0.5 and _ID_NAME.search(name))):
        if np.mean([len(level.split()) for level in levels[:500]]) >= 4:
            return Dropped(name, "text", "free text")
        return Dropped(name, "identifier", f"{unique.nunique()} different values in {len(unique)} rows")
    if np.mean([len(level.split()) for level in levels[:500]]) >= 5 and share > 0.3:
        return Dropped(name, "text", "free text")
    if len(series) >= 10 * RARE and int(present.value_counts().iloc[0]) < RARE:
        return Dropped(name, "text", f"{len(levels)} different values, none of them in {RARE} rows")
    return Column(name, "category")


def _constant(name: str, series: pd.Series) -> Dropped:
    return Dropped(name, "constant", f"always {as_text(series.iloc[0])}")


def _written_date(name: str, values: pd.Series) -> Dropped | None:
    form = dates_as_numbers(name, values.to_numpy(dtype=np.float64, na_value=np.nan))
    return Dropped(name, "date", f"dates written as {form}; {_OF_A_DATE}") if form else None


def _identifier(name: str, values: pd.Series) -> Dropped | None:
    """A whole number that counts or names rows: all different, and consecutive, in file order, or named like one."""
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if len(numbers) < RARE or not np.all(np.isfinite(numbers)) or not np.all(numbers == np.round(numbers)):
        return None
    different = len(np.unique(numbers))
    named = bool(_ID_NAME.search(name) or _CAMEL_ID.search(name))
    if named and different > 0.9 * len(numbers):
        return Dropped(name, "identifier", f"named like one, and {different} of {len(numbers)} values differ")
    if different < len(numbers):
        return None
    steps = np.diff(numbers)
    if np.all(steps > 0) or np.all(steps < 0):
        return Dropped(name, "identifier", "a number that only rises or falls from row to row")
    if numbers.max() - numbers.min() + 1 <= 1.2 * len(numbers):
        return Dropped(name, "identifier", "consecutive numbers, each used once")
    return None


def _one_row_per_entity(frame: pd.DataFrame, roles: Mapping[str, str]) -> NDArray[np.bool_] | None:
    entity = roles.get("entity")
    if not entity or entity not in frame.columns:
        return None
    repeated = frame[entity].duplicated()
    return None if not repeated.any() else np.asarray(~repeated)


def _listing(values: Any, limit: int = 20) -> str:
    shown = [str(value) for value in values]
    more = f" and {len(shown) - limit} more" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more
