"""Prices that changed: what a model charges for its tokens, read off the ledger.

What a day cost is a sum of tokens times prices, to the nano. So prices that fit the days before explain the next day
exactly, until they change: there is no noise to be patient about, and a day that is off by a few per cent is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from models.spend.unusual.finding import Finding, score_of, severity_of_money

Floats = np.ndarray[Any, np.dtype[np.float64]]

_REFERENCE = 21  # days that say what the price was
_LEAST_DAYS, _LEAST_CALLS = 3, 15
_LEAST_CHANGE = 0.02
_DEVIATIONS = 8.0
_AFTER = 7  # days after the change that say how much it matters


def price_findings(hours: pd.DataFrame, usual_per_day: float, workspace: str | None = None) -> list[Finding]:
    """Changes of price within the hours, by model.

    Parameters
    ----------
    hours : `features.views.spend.hourly_cells`.
    usual_per_day : dollars that everybody usually spends a day.
    """
    found = []
    for model, rows in hours.groupby("model", sort=True):
        if float(rows["cost"].sum()) > 0:
            found += list(_of_model(str(model), rows, usual_per_day, workspace))
    return found


def _of_model(model: str, rows: pd.DataFrame, usual_per_day: float, workspace: str | None) -> Iterator[Finding]:
    hourly = rows.groupby("hour")[["calls", "answered", "input_tokens", "cached_tokens", "cache_write_tokens",
                                   "output_tokens", "cost"]].sum()  # fmt: skip
    hourly = hourly[(hourly["cost"] > 0) | (hourly["input_tokens"] + hourly["output_tokens"] > 0)]
    tokens, cost = _tokens(hourly), hourly["cost"].to_numpy(np.float64)
    calls = hourly["answered"].to_numpy(np.float64)
    days = pd.DatetimeIndex(hourly.index).floor("D").to_numpy()
    begun = 0  # hours from which on the present price holds
    for day in np.unique(days):
        today = np.flatnonzero(days == day)
        past = np.flatnonzero((days < day) & (days >= day - np.timedelta64(_REFERENCE, "D")))
        past = past[past >= begun]
        if len(np.unique(days[past])) < _LEAST_DAYS or calls[past].sum() < _LEAST_CALLS:
            continue
        prices = _fitted(tokens[past], cost[past])
        off = np.abs(cost[past] - tokens[past] @ prices) / np.maximum(tokens[past] @ prices, 1e-15)
        room = max(_LEAST_CHANGE, _DEVIATIONS * float(np.quantile(off, 0.8)))
        expected = tokens[today] @ prices
        ratio = cost[today] / np.maximum(expected, 1e-15)
        moved = np.abs(ratio - 1.0) > room
        # From an hour on to the end of the day, and not one odd call.
        first = _from_then_on(moved)
        if first is None or (cost[today][first:].sum() == 0 and expected[first:].sum() == 0):
            continue
        later = np.flatnonzero(days > day)
        after = np.concatenate((today[first:], later[days[later] < day + np.timedelta64(_AFTER, "D")]))
        same = np.abs(cost[after] / np.maximum(tokens[after] @ prices, 1e-15) - 1.0) > room
        if calls[after].sum() < 3 or same.mean() < 0.8:
            continue
        begun = int(today[first])
        yield _finding(model, hourly, after, tokens @ prices, usual_per_day, workspace)


def _from_then_on(moved: np.ndarray[Any, np.dtype[np.bool_]]) -> int | None:
    """The first place from which all are so; None where the last one is not."""
    if not len(moved) or not moved[-1]:
        return None
    still = np.flatnonzero(~moved)
    return int(still[-1]) + 1 if len(still) else 0


def _tokens(hourly: pd.DataFrame) -> Floats:
    plain = hourly["input_tokens"] - hourly["cached_tokens"] - hourly["cache_write_tokens"]
    columns = [plain, hourly["cached_tokens"], hourly["cache_write_tokens"], hourly["output_tokens"]]
    return np.column_stack([one.to_numpy(np.float64) for one in columns])


def _fitted(tokens: Floats, cost: Floats) -> Floats:
    """Dollars a token by kind, none negative, in the least squares of relative errors."""
    from scipy.optimize import nnls

    weight = 1.0 / np.maximum(cost, max(float(cost.max()), 1e-12) * 1e-3)
    size = np.maximum(np.abs(tokens).max(axis=0), 1.0)
    solved, _ = nnls(tokens / size * weight[:, None], cost * weight)
    return np.asarray(solved / size)


def _finding(
    model: str,
    hourly: pd.DataFrame,
    after: np.ndarray[Any, np.dtype[np.intp]],
    at_old: Floats,
    usual_per_day: float,
    workspace: str | None,
) -> Finding:
    start: datetime = hourly.index[after[0]].to_pydatetime()
    cost = hourly["cost"].to_numpy(np.float64)
    spent, expected = float(cost[after].sum()), float(at_old[after].sum())
    ratio = spent / expected if expected > 0 else float("inf")
    days = max((hourly.index[after[-1]] - hourly.index[after[0]]) / pd.Timedelta(days=1), 1.0)
    how = f"{ratio - 1:+.0%}" if np.isfinite(ratio) else "it was free before"
    rows = [
        {"hour": f"{hourly.index[k]:%Y-%m-%dT%H:00}", "cost": float(cost[k]), "at_the_old_price": float(at_old[k])}
        for k in after[:6]
    ]
    change = (spent - expected) / days
    return Finding(
        kind="price",
        subject=f"model={model}",
        workspace=workspace,
        start=start,
        end=min(start + timedelta(days=_AFTER), hourly.index[after[-1]].to_pydatetime() + timedelta(hours=1)),
        severity=severity_of_money(change, usual_per_day),
        score=score_of(abs(min(ratio, 10.0) - 1.0) / _LEAST_CHANGE),
        value=spent,
        expected=expected,
        unit="dollars in the days after",
        excess=spent - expected,
        words=f"The price of {model} changed at {start:%Y-%m-%d %H:%M} ({how}): ${change:+,.4f} a day.",
        causes=[{"dimension": "model", "value": model, "before": expected / days, "after": spent / days,
                 "change": change, "share": 1.0}],
        split={"volume": 0.0, "mix": 0.0, "length": 0.0, "price": change},
        evidence=rows,
    )  # fmt: skip
