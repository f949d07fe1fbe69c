"""What the ledger says about money, as frames: by day for forecasts, by hour for what is unusual.

A call belongs to the moment at which it was asked. Only days and hours that were over at `as_of` count, so that what
was seen then is seen again later: the ledger only grows at its end, and what retention sums up by day keeps its sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import sqlalchemy as sa

from store import llm_usage
from store.database import migrate, session
from store.errors import EmptyData
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import LlmCallRow, LlmUsageDayRow

NANOS = 1_000_000_000
TOTAL = "total"
SEPARATOR = "|"
"""Between the parts of a series' name, as `models.forecasting.hierarchy` wants it: ids of models hold slashes."""

_SUMS = (
    "calls", "requests", "failures", "cached", "refused", "answered", "input_tokens", "cached_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost",
)  # fmt: skip
_UNKNOWN = "unknown"
# Days after the last call after which the ledger counts as one that has ended, rather than as one nobody uses just now.
_ENDED = 7
_DAYS_AT_ONCE = 31


def end_of_ledger(settings: Settings, given: datetime | None = None) -> datetime:
    """The moment as of which the ledger is looked at, naive UTC: the one given, else now; where nobody has called for a
    week, the end of the last day with a call.

    Raises
    ------
    EmptyData : the ledger is empty.
    """
    if given is not None:
        return given
    migrate(settings)
    with session(settings, readonly=True) as opened:
        last = [opened.scalar(sa.select(sa.func.max(table.at))) for table in (LlmCallRow, LlmUsageDayRow)]
    known = [one for one in last if one is not None]
    if not known:
        raise EmptyData(
            "The ledger holds no call.", remedy="Send prompts through the gateway first: `merit chat`.", field="as_of"
        )
    now = utc_now()
    ends = midnight(max(known)) + timedelta(days=1)
    return ends if now - ends > timedelta(days=_ENDED) else now


def midnight(moment: datetime) -> datetime:
    """The beginning of a moment's day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def daily_cells(
    settings: Settings,
    as_of: datetime,
    *,
    days: int = 730,
    by: Sequence[str] = ("workspace", "model"),
    workspace: str | None = None,
    filters: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """What was used on each whole day before `as_of`, one row for each combination of `by`.

    Parameters
    ----------
    by : names of `store.llm_usage.NAMES`.
    workspace : the only one whose calls count.

    Returns
    -------
    day (midnight), the columns of `by` (text, "unknown" where the ledger has nothing), calls, requests, failures,
    cached, refused, answered, tokens by kind, cost (dollars), latency_ms (summed over the answered calls), ordered by
    day.
    """
    until = midnight(as_of)
    return _cells(settings, "day", by, until - timedelta(days=days), until, workspace, filters)


def hourly_cells(
    settings: Settings,
    as_of: datetime,
    *,
    hours: int = 24 * 35,
    by: Sequence[str] = ("workspace", "user", "model", "provider"),
    workspace: str | None = None,
) -> pd.DataFrame:
    """The same by hour, for whole hours before `as_of`. What was summed up by day counts at its midnight."""
    until = as_of.replace(minute=0, second=0, microsecond=0)
    return _cells(settings, "hour", by, until - timedelta(hours=hours), until, workspace, None)


def spent_between(
    settings: Settings,
    since: datetime,
    until: datetime,
    *,
    by: Sequence[str] = ("workspace", "model"),
    workspace: str | None = None,
    filters: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Dollars of the calls asked at or after the one moment and before the other: the columns of `by`, and cost."""
    migrate(settings)
    rows = llm_usage.usage(
        settings,
        by=by,
        since=since,
        until=until,
        workspace=workspace,
        filters=filters,
        limit=llm_usage.MOST_GROUPS,
        percentiles=False,
    )
    frame = pd.DataFrame(rows, columns=[*by, "cost"]) if rows else pd.DataFrame({name: [] for name in (*by, "cost")})
    frame[list(by)] = frame[list(by)].astype(object).fillna(_UNKNOWN).astype(str)
    frame["cost"] = frame["cost"].astype("float64") / NANOS
    return frame


def _cells(
    settings: Settings,
    period: str,
    by: Sequence[str],
    since: datetime,
    until: datetime,
    workspace: str | None,
    filters: Mapping[str, str] | None,
) -> pd.DataFrame:
    first = _first(settings, since)
    rows: list[dict[str, object]] = []
    step = timedelta(days=_DAYS_AT_ONCE if period == "day" else 1)
    begin = max(since, midnight(first)) if first is not None else until
    while begin < until:
        end = min(midnight(begin) + step, until)
        rows += llm_usage.usage(
            settings,
            by=(period, *by),
            since=begin,
            until=end,
            workspace=workspace,
            filters=filters,
            limit=llm_usage.MOST_GROUPS,
            percentiles=False,
        )
        begin = end
    names = [period, *by, *_SUMS, "latency_ms"]
    frame = pd.DataFrame(rows, columns=names) if rows else pd.DataFrame({name: [] for name in names})
    frame[period] = pd.to_datetime(frame[period], format="%Y-%m-%d" if period == "day" else "%Y-%m-%dT%H:%M")
    frame[list(by)] = frame[list(by)].astype(object).fillna(_UNKNOWN).astype(str)
    frame[list(_SUMS)] = frame[list(_SUMS)].astype("float64")
    frame["latency_ms"] = frame["latency_ms"].astype("float64").fillna(0.0) * frame["answered"]
    frame["cost"] = frame["cost"] / NANOS
    return frame


def _first(settings: Settings, since: datetime) -> datetime | None:
    """The first call from a moment on: nothing is asked about the time before it."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        found = [
            opened.scalar(sa.select(sa.func.min(table.at)).where(table.at >= since))
            for table in (LlmCallRow, LlmUsageDayRow)
        ]
    return min((one for one in found if one is not None), default=None)


def panel_of(cells: pd.DataFrame, until: datetime, by: Sequence[str], metric: str = "cost") -> pd.DataFrame:
    """Daily series out of cells: `total`, and `workspace=support` and the like for each value of `by`.

    A series begins on the first day on which there was any of it and ends with the last day before `until`; days
    without are zeros. What there was nothing of at all has no series.

    Returns
    -------
    DataFrame with unique_id, ds (midnight), y (float64), ordered by unique_id and ds.

    Raises
    ------
    EmptyData : there was nothing on any day.
    """
    last = pd.Timestamp(midnight(until)) - pd.Timedelta(days=1)
    parts: list[pd.DataFrame] = []
    keyed = [(TOTAL, cells)]
    keyed += [(f"{name}={value}", rows) for name in by for value, rows in cells.groupby(name, sort=True)]
    for unique_id, rows in sorted(keyed, key=lambda one: one[0]):
        daily = rows.groupby("day")[metric].sum()
        daily = daily[daily > 0]
        if daily.empty:
            continue
        days = pd.date_range(daily.index[0], last, freq="D")
        y = daily.reindex(days, fill_value=0.0).to_numpy(np.float64)
        parts.append(pd.DataFrame({"unique_id": unique_id, "ds": days, "y": y}))
    if not parts:
        raise EmptyData(
            f"The ledger has no {metric} on any day before {midnight(until):%Y-%m-%d}.",
            remedy="Send prompts through the gateway first, or ask as of a later day.",
            field="as_of",
        )
    return pd.concat(parts, ignore_index=True)
