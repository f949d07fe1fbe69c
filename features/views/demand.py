"""Sign-ups per plan and region beside the prices that were asked: the demand that pricing models learn from."""

# ruff: noqa: S608 - every piece of SQL is a constant of this file

from __future__ import annotations

import pandas as pd

from features.views.known import KNOWN, connection, load
from store.dataset import SnapshotRef
from store.errors import EmptyData, FileUnreadable

__all__ = ["TABLES", "demand_frame"]

TABLES = ("customers", "subscriptions", "prices")
"""What the frame is made from; all three are needed."""

EVERY_DAYS = {"day": 1, "week": 7}

_SIGNUPS = f"""
    WITH joined AS (SELECT customer_id, signup_date, region FROM customers WHERE {KNOWN}),
    states AS (SELECT customer_id, plan, event_time FROM subscriptions WHERE {KNOWN}),
    chosen AS (SELECT customer_id, arg_min(plan, event_time) AS plan FROM states GROUP BY customer_id)
    SELECT plan, region, signup_date AS day, count(*) AS quantity
    FROM joined JOIN chosen USING (customer_id) GROUP BY ALL ORDER BY ALL"""

# Who had left before records began is in no table: sign-ups of that time are those of survivors alone.
_BEGIN = f"SELECT min(ended_on) FROM subscriptions WHERE {KNOWN} AND status = 'cancelled'"

_PRICES = f"""
    SELECT plan, region, valid_from AS day, price, competitor_price, coalesce(experiment, '') AS experiment
    FROM prices WHERE {KNOWN} ORDER BY ALL"""


def demand_frame(snapshot: SnapshotRef, *, every: str = "week") -> pd.DataFrame:
    """How many joined at which price, as known at `snapshot.as_of`.

    A row is a plan in a region over a week from Monday, or over the part of it between two changes of any price: a row
    has one price. `days` says how many days it covers. A span without a sign-up is a row with 0. The first day is the
    day of the first cancellation, since of those who left before records began nobody knows; the last is the last
    complete day. Prices are those known at `as_of`; where a plan had no price yet in a region there is no row.

    Parameters
    ----------
    every : "week" or "day".

    Returns
    -------
    DataFrame with plan, region (text), day (first day of the span, midnight), days (float64), price, competitor_price
    (float64, NaN where unknown), experiment (text, "" for none), quantity (float64), ordered by day, plan and region.

    Raises
    ------
    FileUnreadable : the snapshot lacks a table.
    EmptyData : no sign-up or no price was known.
    """
    for table in TABLES:
        if not snapshot.tables.get(table):
            raise FileUnreadable(
                f"The snapshot at {snapshot.uri} holds no {table}, only "
                f"{', '.join(name for name, rows in snapshot.tables.items() if rows) or 'nothing'}.",
                remedy=f"Load {table} with `merit ingest {table} FILE` and take the snapshot again.",
                field="table",
                value=table,
            )
    moment = {"t": snapshot.as_of}
    with connection() as database:
        for table in TABLES:
            load(database, snapshot, table)
        signups = database.sql(_SIGNUPS, params=moment).to_arrow_table().to_pandas()
        prices = database.sql(_PRICES, params=moment).to_arrow_table().to_pandas()
        row = database.execute(_BEGIN, moment).fetchone()
    begin = row[0] if row else None
    if signups.empty or prices.empty:
        lacking = "sign-up" if signups.empty else "price"
        raise EmptyData(
            f"No {lacking} was known at {snapshot.as_of.isoformat(sep=' ')}.",
            remedy="Load customers, subscriptions and prices, or choose a later moment.",
            field="prices" if prices.empty else "customers",
        )
    last = pd.Timestamp(snapshot.as_of).normalize() - pd.Timedelta(days=1)
    first = pd.Timestamp(begin) if begin is not None else signups["day"].min()
    first = max(first.normalize(), prices["day"].min())
    if first > last:
        raise EmptyData(
            f"There is no complete day between {first:%Y-%m-%d} and {last:%Y-%m-%d}.",
            remedy="Load more history, or choose a later moment.",
            field="customers",
        )
    return _spans(signups, prices, pd.date_range(first, last, freq="D", unit="us"), every)


def _spans(signups: pd.DataFrame, prices: pd.DataFrame, days: pd.DatetimeIndex, every: str) -> pd.DataFrame:
    """Daily prices of every plan and region, cut where a week begins or anything about any price changes."""
    cells = prices[["plan", "region"]].drop_duplicates().sort_values(["plan", "region"], ignore_index=True)
    grid = cells.merge(pd.DataFrame({"day": days}), how="cross").sort_values("day", kind="stable")
    prices = prices.astype({"day": grid["day"].dtype}).sort_values("day", kind="stable")
    daily = pd.merge_asof(grid, prices, on="day", by=["plan", "region"])
    daily = daily[daily["price"] > 0]
    sold = signups.astype({"day": grid["day"].dtype})
    daily = daily.merge(sold, on=["plan", "region", "day"], how="left").fillna({"quantity": 0.0})
    # One calendar for all cells, so that rows that begin on one day cover the same days.
    cuts = set(prices.loc[prices["day"] > days[0], "day"])
    width = EVERY_DAYS[every]
    marks = pd.Series([day in cuts or width == 1 or day.weekday() == 0 for day in days], index=days).cumsum()
    daily["span"] = marks.reindex(daily["day"]).to_numpy()
    found = (
        daily.groupby(["span", "plan", "region"], sort=True)
        .agg(
            day=("day", "min"),
            days=("day", "size"),
            price=("price", "first"),
            competitor_price=("competitor_price", "first"),
            experiment=("experiment", "first"),
            quantity=("quantity", "sum"),
        )
        .reset_index()
    )
    found = found.astype({"days": "float64", "quantity": "float64", "price": "float64", "competitor_price": "float64"})
    columns = ["plan", "region", "day", "days", "price", "competitor_price", "experiment", "quantity"]
    return found.sort_values(["day", "plan", "region"], kind="stable", ignore_index=True)[columns]
