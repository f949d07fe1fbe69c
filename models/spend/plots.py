"""The bill as a picture: what was spent and what is to come, and a budget on its way to being used up."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from features.views.spend import TOTAL, daily_cells, end_of_ledger, panel_of
from models.spend.bill import BY, Bill, budget_outlooks
from models.spend.budgets import BudgetOutlook
from models.spend.months import running_sums
from store.settings import Settings

_PAST = 90
_BLUE, _GREY, _RED = "#1f77b4", "#555555", "#c8102e"


def forecast_plot(settings: Settings, bill: Bill, days: int, level: float, *, workspace: str | None = None) -> bytes:
    """PNG: daily spending with its forecast; below it the monthly budget that is most in doubt, where there is one."""
    from matplotlib.figure import Figure

    cells = daily_cells(settings, bill.outlook.as_of, days=_PAST, by=BY, workspace=workspace)
    past = panel_of(cells, bill.outlook.as_of, BY)
    doubtful = _doubtful(budget_outlooks(settings, bill, days, workspace=workspace), bill)
    figure = Figure(figsize=(10, 3.2 if doubtful is None else 6.2), layout="constrained")
    axes = figure.subplots(1 if doubtful is None else 2, 1, squeeze=False)[:, 0]
    _days(axes[0], past, _came(settings, bill, days, workspace), bill, days, level)
    if doubtful is not None:
        _budget(axes[1], past, bill, doubtful, days)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _came(settings: Settings, bill: Bill, days: int, workspace: str | None) -> pd.DataFrame:
    """What was spent on the days that are forecast, as far as the ledger knows it by now."""
    begin = pd.Timestamp(bill.outlook.today)
    until = min(end_of_ledger(settings), (begin + pd.Timedelta(days=days)).to_pydatetime())
    cells = daily_cells(settings, until, days=days, by=BY, workspace=workspace)
    return cells[cells["day"] >= begin].groupby("day")[["cost"]].sum().reset_index()


def _doubtful(found: tuple[BudgetOutlook, ...], bill: Bill) -> BudgetOutlook | None:
    """Of the monthly budgets of workspaces, the one whose end in the horizon is the least certain."""
    monthly = [one for one in found if one.budget.period == "month" and bill.outlook.knows(one.subject)]
    return min(monthly, key=lambda one: abs(max(one.probability, *one.later.values(), 0.0) - 0.6), default=None)


def _days(axis: Any, past: pd.DataFrame, came: pd.DataFrame, bill: Bill, days: int, level: float) -> None:
    rows = past[past["unique_id"] == TOTAL]
    frame = bill.outlook.forecast([TOTAL], days, (level, 95))
    axis.plot(rows["ds"], rows["y"], color=_GREY, linewidth=0.9, label="spent")
    for shown, alpha in ((95, 0.13), (level, 0.25)):
        ends = frame[f"lo-{shown:g}"], frame[f"hi-{shown:g}"]
        axis.fill_between(frame["ds"], *ends, color=_BLUE, alpha=alpha, linewidth=0, label=f"{shown:g} %")
    axis.plot(frame["ds"], frame["forecast"], color=_BLUE, linewidth=1.2, label="expected")
    if len(came):
        axis.plot(came["day"], came["cost"], "o", color=_RED, markersize=2.5, label="what came")
    # What ran away once is shown, but does not flatten everything else.
    top = 1.6 * max(float(frame["hi-95"].max()), float(rows["y"].quantile(0.95)))
    if (beyond := rows[rows["y"] > top]).size:
        most = beyond.sort_values("y").iloc[-1]
        axis.annotate(f" ${most['y']:,.2f} on one day", (most["ds"], top), fontsize=7, va="top", color=_RED)
    axis.set_ylim(0, top)
    axis.set_title("All spending, dollars a day", fontsize=9, loc="left")
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, loc="upper left", ncols=5, frameon=False)


def _budget(axis: Any, past: pd.DataFrame, bill: Bill, found: BudgetOutlook, days: int) -> None:
    rows = past[past["unique_id"] == found.subject].set_index("ds")["y"]
    month = rows[rows.index >= pd.Timestamp(bill.outlook.today.replace(day=1))]
    if len(month):
        axis.plot(month.index, month.cumsum(), color=_GREY, linewidth=1.1, label="spent since the first")
    spending = bill.spending(found.subject, days)
    place = 0
    for number, (_, sums) in enumerate(running_sums(spending.draws, spending.days, spending.before)):
        when = pd.DatetimeIndex(list(spending.days[place : place + sums.shape[1]]))
        for tails, alpha in (((2.5, 97.5), 0.13), ((10, 90), 0.25)):
            low, high = np.percentile(sums, tails, axis=0)
            axis.fill_between(when, low, high, color=_BLUE, alpha=alpha, linewidth=0)
        axis.plot(when, sums.mean(axis=0), color=_BLUE, linewidth=1.2, label="expected" if number == 0 else None)
        place += sums.shape[1]
    axis.axhline(found.amount, color=_RED, linewidth=0.9, label=f"budget ${found.amount:g}")
    for percent, day in found.by.items():
        if day is not None:
            axis.axvline(pd.Timestamp(day), color=_RED, linewidth=0.7, linestyle=":")
            axis.annotate(f"{percent} %", (pd.Timestamp(day), found.amount), fontsize=7, color=_RED, va="bottom")
    axis.set_ylim(0)
    axis.set_title(f"{found.subject}, dollars since the first of the month", fontsize=9, loc="left")
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, loc="upper left", ncols=3, frameon=False)
