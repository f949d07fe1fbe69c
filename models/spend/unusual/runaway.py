"""Users whose program runs away: far more than they ever spend, and more than others do.

Looked for in the last hour, six hours and day at every hour: what is spent in such a window is compared with what the
user spends on a dear day, and with what users of the workspace do. So a loop is found within its first hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from models.spend.unusual.finding import Finding
from models.spend.unusual.loop import HISTORY_DAYS, MATTERS, WINDOWS, dear_day, most_allowed, runaway

Floats = np.ndarray[Any, np.dtype[np.float64]]

_OVER = 12  # hours without anything unusual after which it is over
_TOLD = 4
_LITTLE = 0.15  # of the dearest hour: what is less was the user's own work


def runaway_findings(hours: pd.DataFrame, usual_per_day: float) -> list[Finding]:
    """Runaway users within the hours.

    Parameters
    ----------
    hours : `features.views.spend.hourly_cells` with workspace, user, model.
    usual_per_day : dollars that everybody usually spends a day.
    """
    if hours.empty or usual_per_day <= 0:
        return []
    first, last = hours["hour"].min(), hours["hour"].max()
    grid = pd.date_range(first.floor("D"), last, freq="h")
    spent = hours.groupby(["workspace", "user"])["cost"].sum()
    # Whoever spent less in all cannot have spent that in a day.
    suspects = spent[spent > MATTERS * usual_per_day].index
    dear = _dear_days(hours)
    found = []
    for workspace, user in suspects:
        rows = hours[(hours["workspace"] == workspace) & (hours["user"] == user)]
        usual_of_others = float(dear.get(workspace, 0.0))
        found += list(_of_user(str(workspace), str(user), rows, hours, grid, usual_of_others, usual_per_day))
    return found


def _dear_days(hours: pd.DataFrame) -> pd.Series:
    """What a user of each workspace spends on a dear day."""
    daily = hours.assign(day=hours["hour"].dt.floor("D")).groupby(["workspace", "user", "day"])["cost"].sum()
    return daily.groupby("workspace").agg(lambda values: dear_day(values.tolist()))


def _of_user(
    workspace: str,
    user: str,
    rows: pd.DataFrame,
    hours: pd.DataFrame,
    grid: pd.DatetimeIndex,
    usual_of_others: float,
    usual_per_day: float,
) -> Iterator[Finding]:
    hourly = rows.groupby("hour")["cost"].sum().reindex(grid, fill_value=0.0).to_numpy(np.float64)
    limit = _limits(hourly, usual_of_others, usual_per_day)
    sums = np.concatenate(([0.0], np.cumsum(hourly)))
    flagged = np.zeros(len(grid), dtype=bool)
    most = 0.0
    for window in WINDOWS:
        start = np.maximum(np.arange(len(grid)) + 1 - window, 0)
        within = sums[1:] - sums[start]
        over = within > limit
        most = max(most, float(np.max(within / limit)))
        for place in np.flatnonzero(over):
            # The hours of the window in which it was spent.
            inside = np.arange(start[place], place + 1)
            flagged[inside[hourly[inside] > max(limit[place] / 24, _LITTLE * float(hourly[inside].max()))]] = True
    for first, last in _spans(flagged):
        begin, end = grid[first], grid[last] + timedelta(hours=1)
        here = rows[(rows["hour"] >= begin) & (rows["hour"] < end)]
        before = rows[rows["hour"] < begin]
        spell = max((begin - grid[0]) / pd.Timedelta(days=1), 1.0)
        usual = float(before["cost"].sum() / spell)
        spent = float(here["cost"].sum())
        everybody = hours[(hours["hour"] >= begin) & (hours["hour"] < end)]["cost"].sum()
        models = here.groupby("model")["cost"].sum()
        busiest = here.groupby("hour")[["calls", "cost"]].sum().sort_values("cost", ascending=False).head(_TOLD)
        yield runaway(
            workspace,
            user,
            begin.to_pydatetime(),
            end.to_pydatetime(),
            spent=spent,
            usual=usual,
            usual_per_day=usual_per_day,
            everybody=float(everybody),
            times=most,
            models={str(model): float(cost) for model, cost in models.items()},
            hours=[
                (pd.Timestamp(str(hour)).to_pydatetime(), int(row["calls"]), float(row["cost"]))
                for hour, row in busiest.iterrows()
            ],
            ongoing=bool(last >= len(grid) - _OVER),
        )


def _limits(hourly: Floats, usual_of_others: float, usual_per_day: float) -> Floats:
    """Dollars that are too many at each hour, from what the user spent on dear days before it."""
    days = len(hourly) // 24 + 1
    padded = np.zeros(days * 24)
    padded[: len(hourly)] = hourly
    daily = padded.reshape(days, 24).sum(axis=1)
    limits = np.empty(days)
    for day in range(days):
        before = daily[max(0, day - HISTORY_DAYS) : day].tolist()
        limits[day] = most_allowed(before, usual_of_others, usual_per_day)
    return np.repeat(limits, 24)[: len(hourly)]


def _spans(flagged: np.ndarray[Any, np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    """First and last place of what belongs together: less than half a day apart."""
    places = np.flatnonzero(flagged)
    if not len(places):
        return []
    cuts = np.flatnonzero(np.diff(places) > _OVER)
    return [(int(part[0]), int(part[-1])) for part in np.split(places, cuts + 1)]
