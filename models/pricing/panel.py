"""Sales as the estimators see them: one row per cell and period, read once from a data set and its roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_text, as_times
from store.errors import EmptyData, InvalidValue, MissingColumn, WrongType

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

EPOCH = date(1970, 1, 1)
REQUIRED = ("product", "price", "quantity")


@dataclass(frozen=True)
class Panel:
    """Rows of sales. Arrays have one entry per row.

    Attributes
    ----------
    product, segment, group : names; `segment` and `group` are "" where the data know none.
    day : days since 1970 on which the row begins; None where the data know no time.
    length : days that the row covers.
    price, quantity : per unit, and in all over `length`.
    competitor, cost : NaN where unknown; None where no row knows it.
    controls : numbers as float64 with NaN, everything else as text.
    instruments : shape (rows, instruments); none where empty.
    dated : whether `day` counts real days, so that seasons mean something.
    """

    product: NDArray[Any]
    segment: NDArray[Any]
    group: NDArray[Any]
    day: Floats | None
    length: Floats
    price: Floats
    quantity: Floats
    competitor: Floats | None
    cost: Floats | None
    controls: pd.DataFrame
    instruments: Floats
    dated: bool = True
    instrument_names: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.price)

    @cached_property
    def products(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.product.tolist())))

    @cached_property
    def product_code(self) -> Codes:
        return _codes(self.product)

    @cached_property
    def place(self) -> Codes:
        """Code of product × segment × group: the panel's unit."""
        return _joint(_joint(_codes(self.product), _codes(self.segment)), _codes(self.group))

    @cached_property
    def market_code(self) -> Codes:
        """Code of product × segment."""
        return _joint(_codes(self.product), _codes(self.segment))

    @property
    def has_segments(self) -> bool:
        return bool((self.segment != "").any())

    @property
    def span_days(self) -> float:
        """From the first day to the end of the last row; 0 without time."""
        return 0.0 if self.day is None else float((self.day + self.length).max() - self.day.min())

    @property
    def start(self) -> date:
        """The day after the last one."""
        if self.day is None:
            return EPOCH
        return EPOCH + timedelta(days=int(np.ceil((self.day + self.length).max() - 1e-9)))

    def take(self, rows: NDArray[Any]) -> Panel:
        """Some of the rows, by mask or position."""
        return Panel(
            product=self.product[rows],
            segment=self.segment[rows],
            group=self.group[rows],
            day=None if self.day is None else self.day[rows],
            length=self.length[rows],
            price=self.price[rows],
            quantity=self.quantity[rows],
            competitor=None if self.competitor is None else self.competitor[rows],
            cost=None if self.cost is None else self.cost[rows],
            controls=self.controls[rows] if rows.dtype == bool else self.controls.iloc[rows],
            instruments=self.instruments[rows],
            dated=self.dated,
            instrument_names=self.instrument_names,
        )


def listed(roles: Mapping[str, str], kind: str) -> list[str]:
    """Columns of a role that several can have: "control:0", "control:1", …"""
    found = [(int(role.split(":")[1]), name) for role, name in roles.items() if role.startswith(f"{kind}:")]
    return [name for _, name in sorted(found)]


def panel_of(frame: pd.DataFrame, roles: Mapping[str, str], period_days: float = 7.0) -> Panel:
    """Read a frame by its roles: product, price, quantity, and where given segment, group, time, exposure, competitor,
    cost, control:0 …, instrument:0 ….

    Parameters
    ----------
    period_days : length of a row, where neither an exposure nor dates tell it.

    Raises
    ------
    EmptyData : no rows.
    MissingColumn : a role names a column that is not there.
    WrongType, InvalidValue : a value that is no number, or no possible price or quantity.
    """
    if not len(frame):
        raise EmptyData("The table has no rows.", remedy="Bring sales to learn from.")
    for role in REQUIRED:
        if not roles.get(role):
            raise MissingColumn(
                f"No column is named as the {role}.", remedy="Name product, price and quantity.", field=role
            )
    for role, name in roles.items():
        if name not in frame.columns:
            raise MissingColumn(
                f"There is no column {name!r} ({role}).",
                remedy=f"Columns: {', '.join(map(str, frame.columns[:30]))}.",
                field=name,
            )
    day, dated = _days(frame, roles.get("time"), period_days)
    optional = {role: numbers(frame[roles[role]], role) for role in ("competitor", "cost") if roles.get(role)}
    controls = listed(roles, "control")
    instruments = listed(roles, "instrument")
    return Panel(
        product=_names(frame, roles["product"]),
        segment=_names(frame, roles.get("segment")),
        group=_names(frame, roles.get("group")),
        day=day,
        length=_lengths(frame, roles, day, dated, period_days),
        price=positive(frame[roles["price"]], "price"),
        quantity=positive(frame[roles["quantity"]], "quantity", zero=True),
        competitor=_usable(optional.get("competitor")),
        cost=_usable(optional.get("cost"), zero=True),
        controls=_controls(frame, controls),
        instruments=np.column_stack([complete(frame[name]) for name in instruments])
        if instruments
        else np.empty((len(frame), 0)),
        dated=dated,
        instrument_names=tuple(instruments),
    )


def numbers(series: pd.Series, role: str) -> Floats:
    """float64 with NaN where missing or infinite.

    Raises
    ------
    WrongType : a value is no number.
    """
    if pd.api.types.is_numeric_dtype(series):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan)
    parsed = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.isnan(parsed) & series.notna().to_numpy()
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise WrongType(
            f"{series.name} ({role}) is no number in {int(wrong.sum())} of {len(series)} rows, first "
            f"{series.iloc[at]!r} in row {at + 1}.",
            remedy="Write numbers, or name another column.",
            field=str(series.name),
            value=str(series.iloc[at]),
        )
    return np.where(np.isfinite(parsed), parsed, np.nan)


def positive(series: pd.Series, role: str, *, zero: bool = False) -> Floats:
    """Numbers above zero in every row, or from zero on.

    Raises
    ------
    WrongType, InvalidValue : a value is missing, infinite, no number or too small; the message says in how many rows
        and where first.
    """
    values = complete(series, role)
    wrong = values < 0 if zero else values <= 0
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        least = "negative" if zero else "not above zero"
        remedy = "Take returns out, or add them to the sales they belong to." if zero else "Remove these rows."
        raise InvalidValue(
            f"{series.name} ({role}) is {least} in {int(wrong.sum())} of {len(series)} rows, first {values[at]:g} in "
            f"row {at + 1}.",
            remedy=remedy,
            field=str(series.name),
            value=float(values[at]),
        )
    return values


def complete(series: pd.Series, role: str = "instrument") -> Floats:
    """Numbers in every row.

    Raises
    ------
    WrongType, InvalidValue : a value is missing, infinite or no number.
    """
    values = numbers(series, role)
    lost = np.isnan(values)
    if lost.any():
        at = int(np.flatnonzero(lost)[0])
        raise InvalidValue(
            f"{series.name} ({role}) is missing or infinite in {int(lost.sum())} of {len(series)} rows, first in row "
            f"{at + 1}.",
            remedy="Fill it in, or remove these rows.",
            field=str(series.name),
            value=None,
        )
    return values


def _usable(values: Floats | None, *, zero: bool = False) -> Floats | None:
    """None where nothing usable is in it; a price of zero is no price."""
    if values is None:
        return None
    usable = np.where(values > 0, values, np.nan) if not zero else np.where(values >= 0, values, np.nan)
    return None if np.isnan(usable).all() else usable


def _names(frame: pd.DataFrame, column: str | None) -> NDArray[Any]:
    if column is None:
        return np.full(len(frame), "", dtype=object)
    codes, levels = pd.factorize(frame[column])
    texts = [as_text(level) for level in levels]
    lost = (codes < 0) | np.asarray([text is None for text in texts] + [True])[codes]
    if lost.any():
        at = int(np.flatnonzero(lost)[0])
        raise InvalidValue(
            f"{column} is missing in {int(lost.sum())} of {len(frame)} rows, first in row {at + 1}.",
            remedy="Fill it in, or remove these rows.",
            field=column,
        )
    return np.asarray(texts, dtype=object)[codes]


def _days(frame: pd.DataFrame, column: str | None, period_days: float) -> tuple[Floats | None, bool]:
    if column is None:
        return None, False
    series = frame[column]
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        return complete(series, "time") * period_days, False
    moments = as_times(series)
    if moments.isna().any():
        at = int(np.flatnonzero(moments.isna().to_numpy())[0])
        raise InvalidValue(
            f"{column} (time) is no date in {int(moments.isna().sum())} of {len(series)} rows, first "
            f"{series.iloc[at]!r} in row {at + 1}.",
            remedy="Write dates as 2026-03-01, or number the periods.",
            field=column,
            value=str(series.iloc[at]),
        )
    micro = moments.to_numpy().astype("datetime64[us]").astype(np.int64)
    return np.floor(micro / 86_400_000_000), True


def _lengths(
    frame: pd.DataFrame, roles: Mapping[str, str], day: Floats | None, dated: bool, period_days: float
) -> Floats:
    if roles.get("exposure"):
        return positive(frame[roles["exposure"]], "exposure")
    if day is None or not dated:
        return np.full(len(frame), period_days)
    gaps = np.diff(np.unique(day))
    # The usual distance between periods; months have 28 to 31 days.
    return np.full(len(frame), float(np.median(gaps)) if len(gaps) else 1.0)


def _controls(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in names:
        series = frame[name]
        if pd.api.types.is_numeric_dtype(series) or pd.api.types.is_bool_dtype(series):
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
            columns[name] = np.where(np.isfinite(values), values, np.nan)
        else:
            codes, levels = pd.factorize(series)
            texts = np.asarray([*(as_text(level) or "" for level in levels), ""], dtype=object)
            columns[name] = texts[codes]
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))


def _codes(values: NDArray[Any]) -> Codes:
    return np.asarray(pd.factorize(values, sort=True)[0], dtype=np.int64)


def _joint(first: Codes, second: Codes) -> Codes:
    width = int(second.max()) + 1 if len(second) else 1
    return np.asarray(np.unique(first * width + second, return_inverse=True)[1], dtype=np.int64)
