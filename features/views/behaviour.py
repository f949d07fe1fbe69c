"""How subscribers behave at a moment, how they behave one period later, and how long they stay."""

# ruff: noqa: S608 - every piece of SQL is a constant of this file or of the churn view

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd

from features.views.churn_features import FEATURE_QUERY, LABEL_QUERY, PERSONAL, TABLES, USAGE_DAYS
from features.views.known import KNOWN, Ids, connection, customer_ranges, load
from store.dataset import SnapshotRef
from store.errors import EmptyData, InvalidValue

__all__ = ["COLUMNS", "NEXT", "TABLES", "behaviour_frame", "current_behaviour"]

_WINDOW = 90

COLUMNS: tuple[str, ...] = (
    "kind",
    "region",
    "plan",
    "tenure_days",
    "monthly_price",
    "contract_months",
    "days_to_contract_end",
    "api_calls_28d",
    "compute_hours_28d",
    "energy_kwh_28d",
    "api_calls_trend_28d",
    "active_users_28d",
    "active_users_trend_28d",
    "idle_days_28d",
    "logins_28d",
    "exports_28d",
    "automations_28d",
    "tickets_90d",
    "late_invoices_90d",
    "recency_days",
    "active_days_90d",
    "billed_90d",
)
"""What is told of a customer; all but the last three as in the churn view. `recency_days`: days since anybody last used
the product, at most 90; `active_days_90d`: days with at least one active user; `billed_90d`: EUR invoiced, credit notes
taken off, both of the last 90 days."""

NEXT: tuple[str, ...] = ("api_calls_28d", "active_users_28d", "logins_28d", "monthly_price")
"""What is looked at again one period later, as `next_<name>`: 0 for whoever has left by then."""

_MORE = f"""
WITH used AS (
    SELECT customer_id,
           date_diff('day', max(day) FILTER (active_users > 0), $day) AS recency,
           count(*) FILTER (active_users > 0) AS active_days
    FROM usage_daily WHERE {KNOWN} AND day >= $day - INTERVAL {_WINDOW} DAY AND day < $day GROUP BY customer_id
),
billed AS (
    SELECT customer_id, fsum(amount) AS billed
    FROM invoices WHERE {KNOWN} AND period_start > $t - INTERVAL {_WINDOW} DAY AND period_start <= $t
    GROUP BY customer_id
)
SELECT features.*,
       coalesce(recency, {_WINDOW})::DOUBLE AS recency_days,
       coalesce(active_days, 0)::DOUBLE AS active_days_90d,
       round(coalesce(billed, 0)::DOUBLE, 6) AS billed_90d,
       left_at
FROM ({FEATURE_QUERY}) AS features
LEFT JOIN used USING (customer_id)
LEFT JOIN billed USING (customer_id)
LEFT JOIN ({LABEL_QUERY}) AS labels USING (customer_id)
ORDER BY customer_id
"""
"""Parameters: t, day (its midnight), tenure (days), now (the moment of the snapshot)."""


def behaviour_frame(
    snapshot: SnapshotRef, *, horizon_days: int = 90, moments: int = 8, min_tenure_days: int = 30
) -> pd.DataFrame:
    """Every customer at moments one horizon apart, the last of them `snapshot.as_of`.

    What a row tells of a customer uses only what was known at its moment t; `next_*` is what was known at t + horizon;
    `observed_days`, `left` and `followed_days` use everything known at `snapshot.as_of`.

    Parameters
    ----------
    moments : at most so many, as far as the history reaches.

    Returns
    -------
    DataFrame with customer_id, as_of (= t, naive UTC), `COLUMNS` (text as text, numbers as float64, NaN where nothing
    is known), `next_<name>` of `NEXT` (float64, NaN at the last moment), observed_days (float64, from t until the
    customer left or the snapshot was taken), left (float64, 1 where they left) and followed_days (float64, from t until
    the snapshot was taken), ordered by as_of and customer_id.

    Raises
    ------
    InvalidValue : a number is not positive.
    FileUnreadable : the snapshot holds no subscriptions or no customers.
    EmptyData : nobody was a customer at any of the moments.
    """
    for name, value in (("horizon_days", horizon_days), ("moments", moments)):
        if value < 1:
            raise InvalidValue(f"{name} = {value}.", remedy="Give at least 1.", field=name, value=value)
    begin = _begin_of_history(snapshot) + timedelta(days=min_tenure_days)
    step = timedelta(days=horizon_days)
    at = [snapshot.as_of - step * place for place in range(moments) if snapshot.as_of - step * place >= begin]
    parts = _at_moments(snapshot, at[::-1] or [snapshot.as_of], 0)
    frame = pd.concat(parts, ignore_index=True)
    if frame.empty:
        raise EmptyData(
            f"No customer was known to be active before {snapshot.as_of.isoformat(sep=' ')}.",
            remedy="Check `recorded_at` of the subscriptions: a history recorded only today was not known then.",
            field="subscriptions",
        )
    return _with_next(frame, parts, snapshot.as_of)


def current_behaviour(snapshot: SnapshotRef) -> pd.DataFrame:
    """Everybody who is a customer at `snapshot.as_of`: customer_id, as_of and `COLUMNS`, ordered by customer_id."""
    frame = _at_moments(snapshot, [snapshot.as_of], 0)[0]
    return frame[["customer_id", "as_of", *COLUMNS]]


def _with_next(frame: pd.DataFrame, parts: Sequence[pd.DataFrame], now: datetime) -> pd.DataFrame:
    later = []
    for here, after in pairwise(parts):
        known = after.set_index("customer_id")[list(NEXT)].astype("float64")
        found = known.reindex(here["customer_id"]).reset_index(drop=True)
        there = here["customer_id"].isin(known.index).reset_index(drop=True)
        # Whoever is no customer any more uses and pays nothing; a gap in what was measured counts as nothing too.
        later.append(found.where(there, 0.0).fillna(0.0))
    later.append(pd.DataFrame(np.nan, index=range(len(parts[-1])), columns=list(NEXT)))
    ahead = pd.concat(later, ignore_index=True).add_prefix("next_")
    ended = frame["left_at"].astype("datetime64[us]")
    stops = ended.fillna(pd.Timestamp(now))
    frame["observed_days"] = ((stops - frame["as_of"]).dt.total_seconds() / 86_400).clip(lower=0.0).round(6)
    frame["left"] = ended.notna().astype("float64")
    frame["followed_days"] = ((pd.Timestamp(now) - frame["as_of"]).dt.total_seconds() / 86_400).round(6)
    names = ["customer_id", "as_of", *COLUMNS]
    return pd.concat([frame[names], ahead, frame[["observed_days", "left", "followed_days"]]], axis=1)


def _begin_of_history(snapshot: SnapshotRef) -> datetime:
    source = "usage_daily" if snapshot.tables.get("usage_daily") else "subscriptions"
    if not snapshot.tables.get(source):
        return snapshot.as_of
    with connection() as database:
        row = database.execute(
            "SELECT min(event_time) FROM read_parquet($file)", {"file": str(snapshot.table(source))}
        ).fetchone()
    return row[0] if row and row[0] else snapshot.as_of


def _at_moments(snapshot: SnapshotRef, moments: Sequence[datetime], tenure: int) -> list[pd.DataFrame]:
    """One frame a moment, in their order."""
    ranges = customer_ranges(snapshot)
    # A range of customers at a time bounds memory; each has its own database, so that they may run side by side.
    with ThreadPoolExecutor(max(1, min(len(ranges), os.cpu_count() or 1, 8))) as pool:
        found = list(pool.map(lambda ids: _of_range(snapshot, ids, moments, tenure), ranges))
    return [pd.concat(parts, ignore_index=True) for parts in zip(*found, strict=True)]


def _of_range(snapshot: SnapshotRef, ids: Ids, moments: Sequence[datetime], tenure: int) -> list[pd.DataFrame]:
    with connection() as database:
        for table in PERSONAL:
            begin = min(moments) - timedelta(days=USAGE_DAYS + 1) if table == "usage_daily" else None
            load(database, snapshot, table, ids, first_day=begin)
        load(database, snapshot, "prices")
        frames = []
        for moment in moments:
            values = {
                "t": moment,
                "day": datetime(moment.year, moment.month, moment.day),
                "tenure": tenure,
                "now": snapshot.as_of,
            }
            frame: pd.DataFrame = database.sql(_MORE, params=values).to_arrow_table().to_pandas()
            # Known later to have ended by then: at t they were no customer.
            ended = frame["left_at"].astype("datetime64[us]")
            frames.append(frame[~(ended <= frame["as_of"])].reset_index(drop=True))
        return frames
