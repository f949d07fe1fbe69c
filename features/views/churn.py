"""Training frame and current features for churn: one query for both, run at each moment on what was known then."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pandas as pd
import pyarrow as pa

from features.views.churn_features import FEATURE_QUERY, FEATURES, LABEL_QUERY, PERSONAL, USAGE_DAYS
from features.views.known import Connection, Ids, connection, customer_ranges, load
from store.dataset import SnapshotRef
from store.errors import EmptyData, InvalidValue

__all__ = ["FEATURES", "current_features", "training_frame"]

Progress = Callable[[int, int], None]


def training_frame(
    snapshot: SnapshotRef,
    *,
    horizon_days: int = 30,
    every_days: int = 30,
    min_tenure_days: int = 30,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Who was a customer at t, what was known of them at t, and whether they left within the horizon.

    t runs back from `snapshot.as_of` − horizon in steps of `every_days`, as long as there are `min_tenure_days` of
    history before it. Features use only rows with `event_time` ≤ t and `recorded_at` ≤ t, in the version known at t;
    labels use everything known at `snapshot.as_of`. A customer who, as it turned out later, had already ended by t is
    left out, and so is one who had given notice by t.

    Parameters
    ----------
    progress : called with moments done and moments in all.

    Returns
    -------
    DataFrame with customer_id, as_of (= t, naive UTC), the columns of `FEATURES` (text as text, numbers as float64, NaN
    where nothing is known) and churned (int64, 1: `ended_on` in (t, t + horizon]), ordered by as_of and customer_id.

    Raises
    ------
    InvalidValue : a number of days is not positive.
    FileUnreadable : the snapshot holds no subscriptions or no customers.
    EmptyData : nobody was a customer at any t.
    """
    for name, value in (("horizon_days", horizon_days), ("every_days", every_days)):
        if value < 1:
            raise InvalidValue(f"{name} = {value}.", remedy="Give at least 1 day.", field=name, value=value)
    if min_tenure_days < 0:
        raise InvalidValue(
            f"min_tenure_days = {min_tenure_days}.", remedy="Give 0 or more.", field="min_tenure_days",
            value=min_tenure_days,
        )  # fmt: skip
    ranges = customer_ranges(snapshot)
    moments = _moments(snapshot, horizon_days, every_days, min_tenure_days)
    if not moments:
        raise EmptyData(
            f"The history before {snapshot.as_of.isoformat(sep=' ')} is shorter than {min_tenure_days} days of tenure "
            f"and a horizon of {horizon_days} days.",
            remedy="Load more history, or shorten the horizon.",
            field="usage_daily" if snapshot.tables.get("usage_daily") else "subscriptions",
        )
    frame = _features(snapshot, ranges, moments, min_tenure_days, timedelta(days=horizon_days), progress)
    if frame.empty:
        raise EmptyData(
            f"No customer was known to be active at any of {len(moments)} moments before "
            f"{snapshot.as_of.isoformat(sep=' ')}.",
            remedy="Check `recorded_at` of the subscriptions: a history recorded only today was not known then.",
            field="subscriptions",
        )
    return frame


def current_features(snapshot: SnapshotRef, at: datetime | None = None) -> pd.DataFrame:
    """Features of everybody who is a customer at `at` (by default `snapshot.as_of`), as known at `at`.

    Returns
    -------
    DataFrame with customer_id, as_of and the columns of `FEATURES`, ordered by customer_id; as in `training_frame`.

    Raises
    ------
    InvalidValue : `at` lies after the snapshot.
    """
    moment = at or snapshot.as_of
    if moment > snapshot.as_of:
        raise InvalidValue(
            f"at = {moment.isoformat(sep=' ')} lies after the snapshot of {snapshot.as_of.isoformat(sep=' ')}.",
            remedy="Take a later snapshot, or ask for an earlier moment.",
            field="at",
            value=moment.isoformat(),
        )
    return _features(snapshot, customer_ranges(snapshot), [moment], 0, None, None)


def _moments(snapshot: SnapshotRef, horizon: int, every: int, tenure: int) -> list[datetime]:
    """Moments of the training frame, oldest first."""
    with connection() as database:
        source = "usage_daily" if snapshot.tables.get("usage_daily") else "subscriptions"
        if snapshot.tables.get(source):
            row = database.execute(
                "SELECT min(event_time) FROM read_parquet($file)", {"file": str(snapshot.table(source))}
            ).fetchone()
        else:
            row = None
    begin = row[0] if row and row[0] else snapshot.as_of
    latest = snapshot.as_of - timedelta(days=horizon)
    count = (latest - begin - timedelta(days=tenure)) // timedelta(days=every) + 1
    return [latest - timedelta(days=every * step) for step in range(max(count, 0))][::-1]


def _features(
    snapshot: SnapshotRef,
    ranges: list[Ids],
    moments: list[datetime],
    tenure: int,
    horizon: timedelta | None,
    progress: Progress | None,
) -> pd.DataFrame:
    total, done = len(ranges) * len(moments), 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    # A range of customers at a time bounds memory; each has its own database, so that they may run side by side.
    with ThreadPoolExecutor(max(1, min(len(ranges), os.cpu_count() or 1, 8))) as pool:
        parts = list(pool.map(lambda ids: _of_range(snapshot, ids, moments, tenure, horizon, count), ranges))
    table = pa.concat_tables(parts)
    frame: pd.DataFrame = table.to_pandas()
    return frame.sort_values(["as_of", "customer_id"], kind="stable", ignore_index=True)


def _of_range(
    snapshot: SnapshotRef,
    ids: Ids,
    moments: list[datetime],
    tenure: int,
    horizon: timedelta | None,
    count: Callable[[], None],
) -> pa.Table:
    with connection() as database:
        for table in PERSONAL:
            begin = min(moments) - timedelta(days=USAGE_DAYS + 1) if table == "usage_daily" else None
            load(database, snapshot, table, ids, first_day=begin)
        load(database, snapshot, "prices")
        parts = []
        for moment in moments:
            parts.append(_at(database, moment, tenure, horizon, snapshot.as_of))
            count()
    return pa.concat_tables(parts)


def _at(database: Connection, moment: datetime, tenure: int, horizon: timedelta | None, now: datetime) -> pa.Table:
    values = {"t": moment, "day": datetime(moment.year, moment.month, moment.day), "tenure": tenure}
    if horizon is None:
        return database.sql(FEATURE_QUERY, params=values).to_arrow_table()
    values |= {"now": now, "until": moment + horizon}
    return database.sql(
        f"""
        SELECT features.*, coalesce(left_at <= $until, false)::BIGINT AS churned
        FROM ({FEATURE_QUERY}) AS features JOIN ({LABEL_QUERY}) AS labels USING (customer_id)
        WHERE left_at IS NULL OR left_at > $t
        ORDER BY customer_id
        """,  # noqa: S608 - our own constants
        params=values,
    ).to_arrow_table()
