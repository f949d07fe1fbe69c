"""How buyers behave at a moment and one period later, from a list of purchases."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from store.errors import EmptyData, InvalidValue

__all__ = ["COLUMNS", "NEXT", "VALUE_COLUMNS", "purchases_frame"]

COLUMNS: tuple[str, ...] = ("recency_days", "orders", "orders_recent", "mean_amount", "spent", "tenure_days")
"""Days since the last purchase; days with a purchase; the same within the last horizon; mean amount of such a day;
amount in all; days since the first purchase. Amounts are net of returns."""

VALUE_COLUMNS: tuple[str, ...] = ("repeats", "last_days", "age_days", "repeat_mean")
"""What BG/NBD and Gamma-Gamma read: purchase days after the first one, days from the first to the last of them, days
from the first until now, mean amount of the repeat purchases (0 without one)."""

NEXT: tuple[str, ...] = ("orders", "spent")
"""Purchase days and amount of the period after the moment, as `next_<name>`."""

_FEWEST_SHARE = 0.3
_FEWEST = 20
_DAY = np.timedelta64(1, "D")


def purchases_frame(purchases: pd.DataFrame, *, horizon_days: int = 90, moments: int = 6) -> pd.DataFrame:
    """Every customer known at moments one horizon apart, the last of them the end of the data.

    All purchases of a day count as one. A day that ends with nothing kept is a return: no purchase, and what was given
    back is taken off the customer's other amounts in proportion, never below zero.

    Parameters
    ----------
    purchases : `entity` (text), `date` (naive timestamps) and `amount` (float, negative for returns); none missing.
    moments : at most so many; a moment at which fewer than 20 customers or 30 % of all of them were known is left out.

    Returns
    -------
    DataFrame with entity, as_of (midnight after the last day counted), `COLUMNS`, `VALUE_COLUMNS`, and `next_<name>` of
    `NEXT` (NaN at the last moment), all float64, ordered by as_of and entity.

    Raises
    ------
    InvalidValue : a number is not positive.
    EmptyData : no purchase at all.
    """
    for name, value in (("horizon_days", horizon_days), ("moments", moments)):
        if value < 1:
            raise InvalidValue(f"{name} = {value}.", remedy="Give at least 1.", field=name, value=value)
    codes, names = pd.factorize(purchases["entity"], sort=True)
    day = purchases["date"].to_numpy("datetime64[D]").astype(np.int64)
    days = _per_day(codes, day, purchases["amount"].to_numpy(np.float64))
    bought = days[days["bought"]]
    if bought.empty:
        raise EmptyData(
            "There is no purchase: every customer's amounts sum to nothing or less on each day, to a millionth.",
            remedy="Returns are negative and purchases positive; check the sign of the amounts and their unit.",
            field="amount",
        )
    end, begin = int(days["day"].max()), int(bought["day"].min())
    first = bought.groupby("code")["day"].min()
    parts = []
    for place in range(moments):
        last = end - place * horizon_days
        known = int((first <= last).sum())
        # The latest moment with a known period is needed in any case, however young the business.
        enough = max(_FEWEST, _FEWEST_SHARE * len(first)) if place > 1 else _FEWEST
        if place and (known < enough or last - begin < horizon_days // 2):
            break
        parts.append(_at(days, last, horizon_days, ahead=place > 0))
    frame = pd.concat(parts[::-1], ignore_index=True)
    frame.insert(0, "entity", names.to_numpy()[frame.pop("code").to_numpy()])
    return frame.astype({"entity": "str"})


def _per_day(codes: NDArray[np.intp], day: NDArray[np.int64], amount: NDArray[np.float64]) -> pd.DataFrame:
    """One row per customer and day: `code`, `day`, `amount` (sum), `bought`."""
    rows = pd.DataFrame({"code": codes, "day": day, "amount": amount, "size": np.abs(amount)})
    sums = rows.groupby(["code", "day"]).agg(amount=("amount", "sum"), size=("size", "max")).reset_index()
    sums["amount"] = sums["amount"].round(6)
    # Something that cost nothing is a purchase; something given back on the day it was bought is none.
    sums["bought"] = (sums["amount"] > 0) | (sums["size"] == 0)
    return sums.drop(columns="size")


def _at(days: pd.DataFrame, last: int, horizon: int, *, ahead: bool) -> pd.DataFrame:
    """What was known of every customer at the end of day `last`, and what came in the horizon after it."""
    seen = days[days["day"] <= last]
    bought = seen[seen["bought"]]
    by = bought.groupby("code")
    table = pd.DataFrame({"first": by["day"].min(), "final": by["day"].max(), "orders": by.size()})
    gross = by["amount"].sum()
    net = seen.groupby("code")["amount"].sum().reindex(table.index)
    kept = np.where(gross > 0, (net.clip(lower=0.0) / gross.where(gross > 0, 1.0)), 0.0)
    repeats = bought[bought["day"] > bought["code"].map(table["first"])].groupby("code")
    recent = bought[bought["day"] > last - horizon].groupby("code").size().reindex(table.index, fill_value=0)
    again = table["orders"] - 1
    amount_again = repeats["amount"].sum().reindex(table.index, fill_value=0.0) * kept
    out = pd.DataFrame(
        {
            "code": table.index.to_numpy(),
            "as_of": np.datetime64(last + 1, "D").astype("datetime64[us]"),
            "recency_days": last - table["final"],
            "orders": table["orders"],
            "orders_recent": recent,
            "mean_amount": gross * kept / table["orders"],
            "spent": gross * kept,
            "tenure_days": last - table["first"],
            "repeats": again,
            "last_days": table["final"] - table["first"],
            "age_days": last - table["first"],
            "repeat_mean": amount_again / again.clip(lower=1),
        }
    )
    period = days[(days["day"] > last) & (days["day"] <= last + horizon)]
    later = period[period["bought"]].groupby("code").size().reindex(table.index, fill_value=0)
    worth = period.groupby("code")["amount"].sum().reindex(table.index, fill_value=0.0).clip(lower=0.0)
    out["next_orders"] = later.astype("float64") if ahead else np.nan
    out["next_spent"] = worth.astype("float64") if ahead else np.nan
    numbers = [name for name in out.columns if name not in ("code", "as_of")]
    out[numbers] = out[numbers].astype("float64").round(6)
    return out.reset_index(drop=True)
