"""Daily series of the business: usage, revenue, sign-ups and tickets, in total and by what divides them."""

# ruff: noqa: S608 - every piece of SQL is a constant of this file

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pandas as pd

from features.views.known import KNOWN, Ids, connection, customer_ranges, load
from store.dataset import SnapshotRef
from store.errors import EmptyData

__all__ = ["SERIES", "TABLES", "business_panel"]

TABLES = ("customers", "subscriptions", "usage_daily", "tickets")
"""What the panel is made from. Without tickets there is no series of tickets; the others are needed."""

SERIES: dict[str, tuple[str, ...]] = {
    "api_calls": ("kind", "region"),
    "compute_hours": ("region",),
    "storage_gb": ("kind",),
    "energy_kwh": ("region", "kind"),
    "active_users": ("kind",),
    "revenue": ("plan",),
    "signups": (),
    "tickets": (),
}
"""Metric → what it is divided by, besides its total. Revenue is EUR per day: monthly prices of the contracts in force
times 12 / 365."""

_USAGE = ("api_calls", "compute_hours", "storage_gb", "energy_kwh", "active_users")
_ENOUGH_REPORTING = 0.9

_QUERIES = {
    "usage": f"""
        SELECT day, kind, region, {", ".join(f"fsum({name}) AS {name}" for name in _USAGE)}, count(*) AS reporting
        FROM usage_daily LEFT JOIN people USING (customer_id)
        WHERE {KNOWN} GROUP BY day, kind, region ORDER BY day, kind, region""",
    # Each state adds its price on its first day and takes it off on the day after its last.
    "revenue": f"""
        WITH states AS (
            SELECT *, date_trunc('day', event_time) AS begins,
                   lead(status) OVER next AS next_status, lead(ended_on) OVER next AS next_ended,
                   date_trunc('day', lead(event_time) OVER next) AS next_begins
            FROM subscriptions WHERE {KNOWN}
            WINDOW next AS (PARTITION BY subscription_id ORDER BY event_time)
        ),
        spans AS (
            SELECT plan, monthly_price, begins,
                   CASE WHEN next_status = 'cancelled' AND next_ended IS NOT NULL
                        THEN next_ended + INTERVAL 1 DAY ELSE next_begins END AS stops
            FROM states WHERE status = 'active'
        )
        SELECT day, plan, fsum(amount) AS revenue FROM (
            SELECT begins AS day, plan, monthly_price * 12 / 365 AS amount FROM spans
            UNION ALL
            SELECT stops AS day, plan, -monthly_price * 12 / 365 AS amount FROM spans WHERE stops IS NOT NULL
        ) GROUP BY day, plan ORDER BY day, plan""",
    "signups": "SELECT signup_date AS day, count(*) AS signups FROM people GROUP BY day ORDER BY day",
    "tickets": f"""
        SELECT date_trunc('day', opened_at) AS day, count(*) AS tickets
        FROM tickets WHERE {KNOWN} GROUP BY day ORDER BY day""",
}


def business_panel(snapshot: SnapshotRef) -> pd.DataFrame:
    """The panel as known at `snapshot.as_of`: about 35 series, from the first day of usage to the last complete day.

    A day is complete when it is over and nearly all customers have reported: at its end, days are left off on which
    fewer than 90 % of the median of the week before have. A day without a row counts as zero, so that no series has a
    gap; a table without any row has no series. They are called `metric/total` and `metric/dimension=value`, as `SERIES`
    lists them.

    Returns
    -------
    DataFrame with unique_id, ds (midnight), y (float64), ordered by unique_id and ds.

    Raises
    ------
    FileUnreadable : the snapshot holds no customers or no subscriptions.
    EmptyData : there is no complete day of usage.
    """
    ranges = customer_ranges(snapshot)
    with ThreadPoolExecutor(max(1, min(len(ranges), os.cpu_count() or 1, 8))) as pool:
        parts = list(pool.map(lambda ids: _of_range(snapshot, ids), ranges))
    frames = {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in _QUERIES}
    days = _complete_days(frames["usage"], snapshot)

    series: dict[str, pd.Series] = {}
    for metric, dimensions in SERIES.items():
        if metric == "tickets" and not snapshot.tables.get("tickets"):
            continue  # a table nobody loaded is no row of zeros
        frame = frames["usage" if metric in _USAGE else metric]
        for dimension in (None, *dimensions):
            series |= _divided(frame, metric, dimension, days)
    names = sorted(series)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(names, len(days)),
            "ds": np.tile(days.to_numpy(), len(names)),
            "y": np.concatenate([series[name].to_numpy() for name in names]),
        }
    )


def _of_range(snapshot: SnapshotRef, ids: Ids) -> dict[str, pd.DataFrame]:
    moment = {"t": snapshot.as_of}
    with connection() as database:
        for table in TABLES:
            load(database, snapshot, table, ids)
        database.execute(
            f"CREATE TABLE people AS SELECT customer_id, signup_date, kind, region FROM customers WHERE {KNOWN}", moment
        )
        results = {}
        for name, query in _QUERIES.items():
            values = moment if "$t" in query else {}
            results[name] = database.sql(query, params=values).to_arrow_table().to_pandas()
    return results


def _complete_days(usage: pd.DataFrame, snapshot: SnapshotRef) -> pd.DatetimeIndex:
    over = pd.Timestamp(snapshot.as_of) - timedelta(days=1)
    reporting = usage.groupby("day")["reporting"].sum().sort_index()
    reporting = reporting[reporting.index <= over]
    if not reporting.empty:
        reporting = reporting.asfreq("D", fill_value=0)
        usual = reporting.rolling(7).median().shift(1)
        complete = reporting[~(reporting < _ENOUGH_REPORTING * usual)]
        last = complete.index[-1]
        return pd.date_range(reporting.index[0], last, freq="D", name="ds", unit="us")
    raise EmptyData(
        f"No complete day of usage was known at {snapshot.as_of.isoformat(sep=' ')}.",
        remedy="Load usage with `merit ingest usage_daily FILE` and take the snapshot again.",
        field="usage_daily",
    )


def _divided(frame: pd.DataFrame, metric: str, dimension: str | None, days: pd.DatetimeIndex) -> dict[str, pd.Series]:
    """Daily sums of one metric, in total or for each value of a dimension."""
    if dimension is None:
        table = frame.groupby("day")[[metric]].sum().rename(columns={metric: f"{metric}/total"})
    else:
        table = frame.pivot_table(index="day", columns=dimension, values=metric, aggfunc="sum")
        table.columns = [f"{metric}/{dimension}={value}" for value in table.columns]
    if metric == "revenue":
        # The rows are changes: what began before the first day is still in force on it.
        table = table.reindex(table.index.union(days)).fillna(0.0).cumsum()
    table = table.reindex(days).fillna(0.0).astype("float64").round(6)
    return {str(name): table[name] for name in table.columns}
