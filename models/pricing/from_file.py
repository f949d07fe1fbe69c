"""A user's own sales file into the lifecycle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_number, as_text, decimal_mark, missing_in
from features.reading import read_table
from features.snapshot import write_dataset
from models.pricing.adding_up import added_up
from models.pricing.panel import complete, numbers, positive
from models.pricing.periods import read_periods
from models.pricing.unsold import with_unsold
from store.dataset import DatasetRef
from store.errors import EmptyData, InvalidValue, MissingColumn, WrongType

_FAR = 10


def prepare(
    source: str | Path,
    folder: Path,
    *,
    product: str,
    price: str,
    quantity: str,
    time: str | None = None,
    group: str | None = None,
    controls: Sequence[str] = (),
    cost: str | None = None,
    competitor: str | None = None,
    instruments: Sequence[str] = (),
    segment: str | None = None,
) -> tuple[DatasetRef, tuple[str, ...]]:
    """Read a table of sales, check every column that has a role, and write it as a data set below `folder`.

    Rows of one product, segment, group and time are added up, their price being the mean weighted by quantity. Where
    the list seems to hold sales alone, periods without one are put back (`models.pricing.unsold`). Rows that say
    nothing of demand are left out and counted in the notes: where product, price, quantity, time, group or segment is
    missing, where nothing was asked (a gift), and returns. A date is read as one; other numbers in the time column
    number the periods.

    Parameters
    ----------
    source : a CSV or Parquet file, or a database URL with `::table`.
    product, price, quantity : columns with what was sold, at which price, and how much.
    time : a date, or the number of a period.
    group : panel unit, such as a store; its level is taken out.
    segment : what elasticities are also told by, such as a region.
    controls : columns that move both price and quantity, such as promotions.
    cost, competitor : unit cost and the competitor's price of the same row.
    instruments : columns that move the price, and the quantity only through it, such as costs.

    Returns
    -------
    The data set with its roles, and what the user should know about it, one sentence each.

    Raises
    ------
    FileUnreadable, EmptyData, MissingColumn, InvalidValue, WrongType : each says what is wrong and what to do.
    """
    frame = read_table(str(source))
    frame.columns = [str(name).strip() for name in frame.columns]
    roles = _roles(
        {
            "product": product,
            "price": price,
            "quantity": quantity,
            "time": time,
            "group": group,
            "segment": segment,
            "cost": cost,
            "competitor": competitor,
        },
        controls,
        instruments,
    )
    _check(frame, roles)
    frame, notes = _usable(frame, roles)
    clean = pd.DataFrame(index=frame.index)
    for role, name in roles.items():
        if role in ("product", "group", "segment"):
            clean[name] = _named(frame[name], role)
        elif role == "time":
            clean[name] = read_periods(frame[name], notes)
        elif role in ("price", "quantity"):
            clean[name] = positive(_numeric(frame[name], role), role, zero=role == "quantity")
        elif role.startswith("instrument"):
            clean[name] = complete(_numeric(frame[name], "instrument"))
        elif role.startswith("control"):
            clean[name] = _control(frame[name])
        else:
            clean[name] = numbers(_numeric(frame[name], role), role)
    if clean[quantity].sum() <= 0:
        raise InvalidValue(
            f"{quantity} is zero in all {len(clean)} rows: nothing was ever sold.",
            remedy="Check which column holds the quantity.",
            field=quantity,
            value=0,
        )
    notes += _odd_prices(clean, roles)
    clean, merged = added_up(clean.reset_index(drop=True), roles)
    clean, put_back = with_unsold(clean, roles)
    ref = write_dataset(clean, folder, roles=roles, source=Path(str(source)).name)
    return ref, (*notes, *_about(clean, roles), *merged, *put_back)


def _roles(single: Mapping[str, str | None], controls: Sequence[str], instruments: Sequence[str]) -> dict[str, str]:
    roles = {role: str(name).strip() for role, name in single.items() if name}
    roles |= {f"control:{at}": str(name).strip() for at, name in enumerate(controls)}
    roles |= {f"instrument:{at}": str(name).strip() for at, name in enumerate(instruments)}
    for role in ("product", "price", "quantity"):
        if role not in roles:
            raise MissingColumn(
                f"No column is named as the {role}.", remedy=f"Name it with --{role} COLUMN.", field=role
            )
    seen: dict[str, str] = {}
    for role, name in roles.items():
        if name in seen:
            raise InvalidValue(
                f"The column {name!r} has two roles, {seen[name].split(':')[0]} and {role.split(':')[0]}.",
                remedy="Give each role a column of its own.",
                field=name,
            )
        seen[name] = role
    return roles


def _check(frame: pd.DataFrame, roles: Mapping[str, str]) -> None:
    if not len(frame):
        raise EmptyData("The table has no rows.", remedy="Check that the file holds data below its header.")
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise InvalidValue(
            f"Column {doubled[0]!r} occurs twice.", remedy="Rename or remove one of them.", field=str(doubled[0])
        )
    for role, name in roles.items():
        if name not in frame.columns:
            near = [str(one) for one in frame.columns if str(one).lower() == name.lower()]
            hint = f"Did you mean {near[0]!r}?" if near else f"Columns: {', '.join(map(str, frame.columns[:30]))}."
            option = role.split(":")[0]
            raise MissingColumn(f"There is no column {name!r} (--{option}).", remedy=hint, field=name)


def _usable(frame: pd.DataFrame, roles: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """The rows that say something of demand, under their own numbers, and how many were left out and why.

    Where that would be half of the rows or more, all are kept: what reads the column refuses it by name, for then it is
    rather another column that was meant.
    """
    rows = len(frame)
    notes: list[str] = []
    kept = np.ones(rows, dtype=bool)

    def leave(lost: NDArray[np.bool_], why: str) -> None:
        nonlocal kept
        count = int((lost & kept).sum())
        if count and 2 * int(lost.sum()) < rows:
            kept &= ~lost
            notes.append(f"Left out, since {why}: {count} of {rows} rows.")

    for role in ("product", "price", "quantity", "time", "group", "segment"):
        if name := roles.get(role):
            leave(missing_in(frame[name]).to_numpy(dtype=bool), f"{name} is missing")
    price, quantity = (_numeric(frame[roles[role]], role).to_numpy(np.float64, na_value=np.nan)
                       for role in ("price", "quantity"))  # fmt: skip
    leave(price <= 0, f"{roles['price']} is not above zero")
    leave(quantity < 0, f"{roles['quantity']} is negative, as of goods given back")
    return frame[kept], notes


def _named(series: pd.Series, role: str) -> pd.Series:
    codes, levels = pd.factorize(series)
    texts = np.asarray([*(as_text(level) for level in levels), None], dtype=object)[codes]
    lost = np.asarray([text is None for text in texts])
    if lost.any():
        raise InvalidValue(
            f"{series.name} ({role}) is missing in {int(lost.sum())} of {len(series)} rows, first in row "
            f"{int(np.flatnonzero(lost)[0]) + 1}.",
            remedy="Fill it in, or remove these rows.",
            field=str(series.name),
        )
    return pd.Series(texts, index=series.index, dtype="str")


def _numeric(series: pd.Series, role: str) -> pd.Series:
    """Numbers as people write them: "€ 1,99", "1.234,50"."""
    if pd.api.types.is_numeric_dtype(series):
        return series
    levels = [str(level) for level in series.dropna().unique()]
    mark = decimal_mark(levels)
    if mark is None:
        for at, value in enumerate(series):
            if not pd.isna(value):
                try:
                    as_number(str(value))
                except ValueError:
                    raise WrongType(
                        f"{series.name} ({role}) is no number: {value!r} in row {at + 1}.",
                        remedy="Write numbers, or name another column.",
                        field=str(series.name),
                        value=str(value),
                    ) from None
        mark = "."
    parsed = [as_number(None if pd.isna(value) else value, mark) for value in series]
    return pd.Series(parsed, index=series.index, name=series.name, dtype="float64")


def _control(series: pd.Series) -> pd.Series:
    if pd.api.types.is_bool_dtype(series):
        return series.astype("float64")
    if pd.api.types.is_numeric_dtype(series):
        return series.astype("float64")
    if pd.api.types.is_datetime64_any_dtype(series):
        return series.astype("str")
    if decimal_mark([str(level) for level in series.dropna().unique()[:5000]]) is not None:
        return _numeric(series, "control")
    return pd.Series([as_text(value) or "" for value in series], index=series.index, dtype="str")


def _odd_prices(frame: pd.DataFrame, roles: Mapping[str, str]) -> list[str]:
    """Slips of the pen, such as a lost decimal point: told, and left as they are."""
    price, product = frame[roles["price"]], frame[roles["product"]]
    ratio = price / price.groupby(product).transform("median")
    odd = np.flatnonzero((ratio > _FAR) | (ratio < 1 / _FAR))
    if not len(odd):
        return []
    first = int(odd[0])
    return [
        f"In {len(odd)} of {len(frame)} rows {roles['price']} is more than {_FAR} times, or less than one {_FAR}th, of "
        f"what the product usually costs, first {price.iloc[first]:g} for {product.iloc[first]} in row "
        f"{int(frame.index[first]) + 1}. One such row can outweigh all others: correct or remove it if it is a slip."
    ]


def _about(frame: pd.DataFrame, roles: Mapping[str, str]) -> list[str]:
    product, price, quantity = roles["product"], roles["price"], roles["quantity"]
    levels = frame.groupby(product)[price].nunique()
    fixed = [str(name) for name in levels.index[levels < 2]]
    zero = int((frame[quantity] == 0).sum())
    notes = [
        f"{len(frame)} rows of {len(levels)} products, {price} from {frame[price].min():.4g} to "
        f"{frame[price].max():.4g}."
    ]
    if fixed:
        shown = ", ".join(fixed[:5]) + (f" and {len(fixed) - 5} more" if len(fixed) > 5 else "")
        notes.append(f"The price of {shown} never varied: nothing can be said about what another one would do.")
    if zero:
        notes.append(f"{zero} rows sold nothing: quantities are modelled as counts.")
    time = roles.get("time")
    if not time:
        notes.append("Without --time a row counts as one week, and neither trend nor season can be told from prices.")
    elif pd.api.types.is_numeric_dtype(frame[time]):
        notes.append(f"{time} holds numbers, not dates: they are taken as weeks; where they are not, write dates.")
    lost = {
        name: int(frame[name].isna().sum())
        for role, name in roles.items()
        if role in ("competitor", "cost") or role.startswith("control")
    }
    notes += [f"{name} is missing in {count} of {len(frame)} rows." for name, count in lost.items() if count]
    return notes
