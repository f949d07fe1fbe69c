"""The bill as the ledger tells it: what it will be, month by month, and where each budget is headed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pandas as pd

from features.views.spend import TOTAL, daily_cells, midnight, panel_of, spent_between
from models.forecasting.model import ForecastModel
from models.spend.budgets import BudgetAdvice, BudgetOutlook, Spending, advise, outlook_of
from models.spend.months import DRAWS, Month, months_of, still_to_come
from models.spend.outlook import Outlook, promoted, worked_out
from models.spend.usual import set_aside
from store import budgets
from store.budgets import Budget
from store.errors import EmptyData
from store.llm_usage import usage
from store.settings import Settings

BY = ("workspace", "model")
HISTORY = 730
# Of a budget of each one by itself, those who spent most lately.
MOST_SUBJECTS = 10
_LATELY = 30
_OWN_HISTORY = 180


@dataclass(frozen=True)
class Bill:
    """A forecast and what was spent of the present month.

    Attributes
    ----------
    before : series → dollars since the first of the month, before today.
    today : series → dollars spent today so far.
    """

    outlook: Outlook
    before: Mapping[str, float]
    today: Mapping[str, float]

    def spending(self, name: str, days: int, count: int = DRAWS) -> Spending:
        """What a series may cost, path by path.

        Raises
        ------
        UnknownEntity : nothing was spent in it. InvalidValue : more days than can be forecast.
        """
        self.outlook.require(name)
        today = self.today.get(name, 0.0)
        draws = still_to_come(self.outlook.draws(name, days, count), today)
        return Spending(draws, self.outlook.days(days), self.before.get(name, 0.0), today)

    def months(self, name: str, days: int, level: float = 80) -> tuple[Month, ...]:
        """What each month will have cost; raises as `spending`."""
        found = self.spending(name, days)
        return months_of(found.draws, found.days, found.before, found.today, level)


def panel_as_of(
    settings: Settings, as_of: datetime, *, workspace: str | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Daily spending in all, by workspace and by model, without what will not come again; and what that was, in words.

    Raises
    ------
    EmptyData : nothing was spent on any day before.
    """
    cells, aside = set_aside(daily_cells(settings, as_of, days=HISTORY, by=BY, workspace=workspace))
    return panel_of(cells, as_of, BY), tuple(str(one) for one in aside)


def bill_of(
    settings: Settings,
    as_of: datetime,
    days: int,
    *,
    workspace: str | None = None,
    champion: tuple[ForecastModel, int] | None = None,
) -> Bill:
    """The bill of the coming days.

    Parameters
    ----------
    workspace : the only one whose calls count; of it alone everything is worked out now.
    champion : the promoted forecaster and its version; used where it is young enough and reaches far enough.

    Raises
    ------
    EmptyData : nothing was spent on any day before. InvalidValue : `days` lies outside 1 to 365.
    """
    outlook = None
    if champion is not None and workspace is None:
        outlook = promoted(*champion, as_of, days)
    if outlook is None:
        panel, notes = panel_as_of(settings, as_of, workspace=workspace)
        outlook = worked_out(panel, as_of, days, notes)
    start = midnight(as_of)
    return Bill(
        outlook,
        _by_series(spent_between(settings, start.replace(day=1), start, by=BY, workspace=workspace)),
        _by_series(spent_between(settings, start, as_of, by=BY, workspace=workspace)),
    )


def _by_series(frame: pd.DataFrame) -> dict[str, float]:
    found = {TOTAL: float(frame["cost"].sum())}
    for name in BY:
        found |= {f"{name}={value}": float(cost) for value, cost in frame.groupby(name)["cost"].sum().items()}
    return found


def budget_outlooks(
    settings: Settings, bill: Bill, days: int, *, workspace: str | None = None
) -> tuple[BudgetOutlook, ...]:
    """Where every budget with a period is headed, the most probable to be used up first.

    Budgets of those of whom nothing was spent yet are left out.

    Parameters
    ----------
    workspace : only budgets of this one.
    """
    found = []
    for budget in budgets.list_budgets(settings, workspace=workspace):
        if budget.period == "request":
            continue
        if budget.scope == "workspace":
            names = [f"workspace={budget.subject}"] if budget.subject else bill.outlook.series("workspace")
            found += [outlook_of(budget, name, bill.spending(name, days)) for name in names if bill.outlook.knows(name)]
            continue
        own = _own_bill(settings, budget, bill.outlook.as_of, days)
        if own is not None:
            found += [outlook_of(budget, name, own.spending(name, days)) for name in own.outlook.model.ids]
    keys = _key_names(settings) if any(one.budget.scope == "key" for one in found) else {}
    found = [replace(one, subject=keys.get(one.subject, one.subject)) for one in found]
    return tuple(sorted(found, key=lambda one: (-one.probability, one.subject)))


def _key_names(settings: Settings) -> dict[str, str]:
    """Keys by the names that people gave them; the ledger remembers those of keys that are gone."""
    rows = usage(settings, by=("key",), percentiles=False)
    return {f"key={row['key']}": f"key={row['key_name']}" for row in rows if row["key_name"]}


def _own_bill(settings: Settings, budget: Budget, as_of: datetime, days: int) -> Bill | None:
    """A forecast for those whose spending a budget counts; None where they spent nothing."""
    filters: dict[str, str] = {budget.scope: budget.subject} if budget.subject else {}
    only = budget.workspace or None
    # Users and projects are names that a workspace gives.
    qualified = not budget.subject and not budget.workspace and budget.scope in ("user", "project")
    by = (budget.scope, "workspace") if qualified else (budget.scope,)
    cells = daily_cells(settings, as_of, days=_OWN_HISTORY, by=by, workspace=only, filters=filters)
    start = midnight(as_of)
    month = spent_between(settings, start.replace(day=1), start, by=by, workspace=only, filters=filters)
    today = spent_between(settings, start, as_of, by=by, workspace=only, filters=filters)
    for frame in (cells, month, today):
        frame["subject"] = frame[list(by)[::-1]].agg("/".join, axis=1) if len(frame) else []
    lately = cells[cells["day"] >= pd.Timestamp(start - timedelta(days=_LATELY))].groupby("subject")["cost"].sum()
    chosen = lately[lately > 0].sort_values(ascending=False).index[:MOST_SUBJECTS]
    usual, _ = set_aside(cells[cells["subject"].isin(chosen)], "subject", "subject")
    try:
        panel = panel_of(usual, as_of, ("subject",))
    except EmptyData:
        return None
    panel = panel[panel["unique_id"] != TOTAL].copy()
    panel["unique_id"] = panel["unique_id"].str.replace("subject=", f"{budget.scope}=", n=1, regex=False)

    def named(frame: pd.DataFrame) -> dict[str, float]:
        return {f"{budget.scope}={name}": float(cost) for name, cost in frame.groupby("subject")["cost"].sum().items()}

    return Bill(worked_out(panel, as_of, days), named(month), named(today))


def budget_advice(
    settings: Settings, bill: Bill, days: int, *, workspace: str | None = None
) -> tuple[BudgetAdvice, ...]:
    """A fitting monthly amount for each workspace and for everything, beside the budget that there is."""
    present = {
        (one.scope, one.subject): one
        for one in budgets.list_budgets(settings, workspace=workspace)
        if one.period == "month" and one.scope in ("workspace", "organisation")
    }
    organisations = [one for (scope, _), one in present.items() if scope == "organisation"]
    names: Sequence[str] = bill.outlook.series("workspace")
    if workspace is None:
        names = [TOTAL, *names]
    found = []
    for name in names:
        subject = name.partition("=")[2]
        budget = present.get(("workspace", subject)) or present.get(("workspace", ""))
        if name == TOTAL:
            budget = organisations[0] if len(organisations) == 1 else None
        if (advice := advise(name, bill.spending(name, days), budget)) is not None:
            found.append(advice)
    return tuple(found)
