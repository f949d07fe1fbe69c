"""Periods in which nothing was sold, put back where a list holds sales alone.

A list of receipts has no row for a day without a sale. What is left of a slow product are the days on which somebody
bought, however dear it was: counts of mean m that are not zero have the mean m / (1 − e⁻ᵐ), which answers to m with the
power 1 − m e⁻ᵐ / (1 − e⁻ᵐ) alone (truncated Poisson; Cameron and Trivedi, 2013, *Regression Analysis of Count Data*,
chapter 4). A product that sells once a day would seem half as elastic as it is, with a narrow interval around the wrong
value. So these periods become rows that sold nothing, at the price that was probably asked (`models.pricing.gaps`).
Where prices change as often as somebody buys, nobody can tell that price: such products are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.pricing.adding_up import added_up, place_columns
from models.pricing.gaps import Gaps
from store.errors import InvalidValue

Whole = NDArray[np.int64]

FEWEST_MISSING = 0.02
"""Share of periods without a row from which on they are put back."""

MOST_SOLD = 10.0
"""Median quantity of a row: with more, a period without a row is not one of little demand."""

LONGEST_GAP, USUAL_GAPS = 60, 10
"""Periods without a sale after which a product was not on offer; more where its usual gap is a tenth of that."""

MOST_CHANGES, MANY_MISSING = 1 / 3, 0.2
"""Share of a product's sales after which the next one has another price, from which on prices in between are anybody's
guess; it matters where so many periods are without a row."""

OFTEN = 1 / 8
"""Share of all sales after which the next one has another price, from which on intervals hold the truth less often than
they say: at 0.10 they still did in the benchmark's lists, at 0.20 no more."""

MOST_ROWS = 500_000
WIDTHS = (1, 7, 28)
_MONDAY = 4  # 1970-01-05
_WEEKS_SEEN = 8
_DAYS_OF_MONTH = 10


@dataclass(frozen=True)
class _Holes:
    """Periods without a row: the row whose price they had, and their place on the grid."""

    like: Whole
    at: Whole


def with_unsold(frame: pd.DataFrame, roles: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    """Add the periods of each place in which it sold nothing, where the list seems to leave them out: no row has a
    quantity of zero, and quantities are whole and small.

    Days of the week on which a group never sold anything are closed. Where days would be too many rows, they are first
    put together to weeks, or to four of them.

    Parameters
    ----------
    frame : as `added_up` returns it.

    Returns
    -------
    The table ordered by place and time, and what the user should know.

    Raises
    ------
    InvalidValue : of no product can be told what was asked while nobody bought.
    """
    time = roles.get("time")
    if not time or not _sales_alone(frame[roles["quantity"]]):
        return frame, []
    daily = _daily(frame[time])
    for width in WIDTHS if daily else WIDTHS[:1]:
        wide = frame
        if width > 1:
            wide, _ = added_up(frame.assign(**{time: _floored(frame[time], width)}), roles)
        grid, at = _grid(wide[time], width if daily else None)
        order, gaps = _gaps(wide, roles, at, len(grid))
        if int(gaps.empty.sum()) + len(wide) <= MOST_ROWS or width == WIDTHS[-1]:
            break
    found = _holes(order, gaps, at)
    if daily and width == 1:
        found = _without_closed_days(wide, roles, grid, at, found)
    if len(found.like) < FEWEST_MISSING * (len(found.like) + len(wide)):
        return frame, []
    notes = _told(roles, len(found.like), len(found.like) + len(wide), width)
    holes = wide.iloc[found.like].assign(**{time: grid[found.at]}).assign(**{roles["quantity"]: 0.0})
    whole = pd.concat([wide, holes])
    unknown = _unknown(wide[roles["product"]], order, gaps, holes[roles["product"]])
    if len(unknown):
        notes.append(_refused(unknown, wide[roles["product"]].nunique(), roles))
        whole = whole[~whole[roles["product"]].isin(unknown)]
    kept = ~wide[roles["product"]].isin(unknown).to_numpy()[order]
    if (share := gaps.changed[kept].sum() / max(gaps.followed[kept].sum(), 1)) >= OFTEN:
        notes.append(
            f"After {share:.0%} of the sales {roles['price']} had changed by the next one: what was asked in between "
            "is less sure than the intervals say."
        )
    whole = whole.sort_values([*place_columns(roles), time], kind="stable", ignore_index=True)
    return whole[list(frame.columns)].astype(frame.dtypes.to_dict()), notes


def _sales_alone(quantity: pd.Series) -> bool:
    sold = quantity.to_numpy(np.float64)
    return bool(sold.min() > 0 and np.all(sold == np.round(sold)) and np.median(sold) <= MOST_SOLD)


def _daily(times: pd.Series) -> bool:
    """Whether rows are of days: dates on many days of the month whose distances have no common measure."""
    if not pd.api.types.is_datetime64_any_dtype(times):
        return False
    days = np.unique(times.to_numpy().astype("datetime64[D]").astype(np.int64))
    many = times.dt.day.nunique() >= _DAYS_OF_MONTH
    return bool(many and len(days) > 1 and np.gcd.reduce(np.diff(days)) == 1)


def _floored(times: pd.Series, width: int) -> pd.Series:
    days = times.to_numpy().astype("datetime64[D]").astype(np.int64)
    floored = (days - _MONDAY) // width * width + _MONDAY
    return pd.Series(floored.astype("datetime64[D]").astype("datetime64[us]"), index=times.index)


def _grid(times: pd.Series, step: int | None) -> tuple[NDArray[np.generic], Whole]:
    """All periods, and the place of each row among them: every `step` days, or those that occur."""
    if step is None:
        grid, at = np.unique(times.to_numpy(), return_inverse=True)
        return grid, at.astype(np.int64)
    days = times.to_numpy().astype("datetime64[D]").astype(np.int64)
    grid = np.arange(days.min(), days.max() + 1, step)
    return grid.astype("datetime64[D]").astype("datetime64[us]"), (days - days.min()) // step


def _gaps(frame: pd.DataFrame, roles: Mapping[str, str], at: Whole, periods: int) -> tuple[Whole, Gaps]:
    """The rows' order by place and time, and in it the periods between the first sale of a place and its last one, or
    the end of the data where that is not long after."""
    place = frame.groupby(place_columns(roles), sort=False, dropna=False).ngroup().to_numpy(np.int64)
    order = np.lexsort((at, place)).astype(np.int64)
    place, at = place[order], at[order]
    followed = np.append(place[1:] == place[:-1], False)
    empty = np.where(followed, np.append(at[1:], 0), periods) - at - 1
    last = np.append(np.flatnonzero(~followed), len(at))[:-1]
    first = np.append(0, last[:-1] + 1)
    usual = (at[last] - at[first] + 1) / (last - first + 1)
    limit = np.maximum(LONGEST_GAP, USUAL_GAPS * np.repeat(usual, last - first + 1))
    sorted_ = frame.iloc[order]
    return order, Gaps(
        product=np.asarray(pd.factorize(sorted_[roles["product"]])[0], dtype=np.int64),
        place=np.repeat(np.arange(len(last)), last - first + 1),
        price=sorted_[roles["price"]].to_numpy(np.float64),
        quantity=sorted_[roles["quantity"]].to_numpy(np.float64),
        empty=np.where(empty < limit, empty, 0).astype(np.int64),
        followed=followed,
    )


def _holes(order: Whole, gaps: Gaps, at: Whole) -> _Holes:
    row = np.repeat(np.arange(len(order)), gaps.empty)
    step = np.arange(len(row)) - np.repeat(np.cumsum(gaps.empty) - gaps.empty, gaps.empty) + 1
    mine = gaps.before_change()[row]
    like = np.where(step <= mine, row, np.minimum(row + 1, len(order) - 1))
    return _Holes(order[like], at[order][row] + step)


def _unknown(products: pd.Series, order: Whole, gaps: Gaps, holes: pd.Series) -> list[str]:
    """Products of which cannot be told what was asked while nobody bought."""
    of = pd.DataFrame({"product": products.to_numpy()[order], "followed": gaps.followed, "changed": gaps.changed})
    table = of.groupby("product").agg(rows=("followed", "size"), steps=("followed", "sum"), changes=("changed", "sum"))
    missing = holes.value_counts().reindex(table.index, fill_value=0)
    often = table["changes"] > MOST_CHANGES * table["steps"]
    many = missing >= MANY_MISSING * (missing + table["rows"])
    return [str(name) for name in table.index[often & many]]


def _refused(unknown: list[str], products: int, roles: Mapping[str, str]) -> str:
    shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
    why = (
        f"no row says that nothing was sold, and {roles['price']} changed about as often as somebody bought: what was "
        "asked in between cannot be told"
    )
    remedy = f"Add rows with {roles['quantity']} = 0 and the price that was asked, or sums by week or month."
    if len(unknown) == products:
        raise InvalidValue(f"Nothing can be learned of {shown}: {why}.", remedy=remedy, field=roles["quantity"])
    return f"Left out are {len(unknown)} of {products} products ({shown}): {why}. {remedy}"


def _without_closed_days(
    frame: pd.DataFrame, roles: Mapping[str, str], grid: NDArray[np.generic], at: Whole, found: _Holes
) -> _Holes:
    """Less the days of the week on which nothing is ever sold, known once some weeks were seen."""
    if len(grid) < 7 * _WEEKS_SEEN:
        return found
    weekday = grid.astype("datetime64[D]").astype(np.int64) % 7
    group = np.zeros(len(frame), dtype=np.int64)
    if "group" in roles:
        group = pd.factorize(frame[roles["group"]])[0].astype(np.int64)
    opened = np.bincount(7 * group + weekday[at], minlength=7 * (int(group.max()) + 1)) > 0
    kept = opened[7 * group[found.like] + weekday[found.at]]
    return _Holes(found.like[kept], found.at[kept])


def _told(roles: Mapping[str, str], holes: int, rows: int, width: int) -> list[str]:
    wide = {1: "", 7: "Days were put together to weeks. ", 28: "Days were put together to four weeks. "}[width]
    return [
        f"{wide}No row says that nothing was sold, so the {holes:,} periods of a product without a row, of {rows:,} in "
        "all, count as such, at the price of the sale before or after. Where a product was not on offer for some time, "
        f"add rows with {roles['quantity']} = 0 for the periods in which it was and nothing was sold: then only these "
        "count."
    ]
