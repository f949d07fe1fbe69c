"""What language models will cost, and where each budget is headed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from features.views.spend import daily_cells
from models.forecasting.options import level_name
from models.spend.bill import budget_advice, budget_outlooks
from models.spend.user_limits import user_limit
from serving.costs import bill
from serving.dependencies import ServicesDep, WorkspaceAnalyst
from serving.llm_scope import scope_of
from serving.moments import GivenMoment, Moment

router = APIRouter(prefix="/v1/costs", tags=["Money"])

Days = Annotated[int, Query(ge=1, le=365, description="Days ahead, today among them")]
AsOf = Annotated[GivenMoment | None, Query(description="Only what was known then; default: the end of the ledger")]
Only = Annotated[str | None, Query(description="Only this one; keys of a workspace see no other", max_length=256)]
Level = Annotated[float, Query(gt=0, lt=100, description="Level of the interval, in percent")]
_LEARNED_FROM = 180


class DayAnswer(BaseModel):
    """Dollars of a day, with the ends of the interval."""

    day: str
    expected: float
    low: float
    high: float


class MonthAnswer(BaseModel):
    """What a month will have cost."""

    month: str
    spent: float = Field(description="So far")
    expected: float
    low: float
    high: float
    whole: bool = Field(description="Whether every day that is left of it is forecast")


class SpendSeries(BaseModel):
    """The forecast of all spending, of a workspace or of a model."""

    series: str = Field(description="total, workspace=NAME or model=ID")
    expected: float = Field(description="Dollars over the horizon")
    days: list[DayAnswer]
    months: list[MonthAnswer]


class SpendForecast(BaseModel):
    """What will be spent. Money in dollars; totals are the sums of their parts."""

    as_of: Moment
    horizon: int
    by: str
    level: float
    model: str = Field(description="The promoted model, or: worked out now")
    version: int | None
    notes: list[str] = Field(description="Days that were set aside, because somebody's program ran away")
    complete: bool = Field(description="False while the ledger cannot be written: the newest calls are missing")
    series: list[SpendSeries]


class CrossingAnswer(BaseModel):
    """Where a budget is headed; money in dollars."""

    budget: str = Field(description="Its id")
    scope: str
    subject: str = Field(description="Whose spending it is")
    workspace: str
    period: Literal["day", "month"]
    action: str
    amount: float
    spent: float = Field(description="In the present period")
    expected: float = Field(description="By its end, with an 80 % interval")
    low: float
    high: float
    probability: float = Field(description="That the amount is reached in the present period")
    by_50: str | None = Field(description="First day by which it is reached with 50 %; null: not within the horizon")
    by_80: str | None
    by_95: str | None
    later: dict[str, float] = Field(description="Month → probability that it is reached in that month")
    summary: str


class Crossings(BaseModel):
    """The most probable to be used up first."""

    as_of: Moment
    horizon: int
    budgets: list[CrossingAnswer]


class AdviceAnswer(BaseModel):
    """A fitting amount for a month."""

    subject: str
    month: str = Field(description="The dearest whole month that is forecast")
    amount: float
    quantiles: dict[str, float] = Field(description="Percent → dollars, of that month")
    present: float | None = Field(description="The budget there is")
    verdict: Literal["none yet", "fits", "tight", "loose"]
    reasons: list[str]


class HitAnswer(BaseModel):
    """Days of one user on which the amount would have been used up."""

    workspace: str
    user: str
    days: int
    spent: float
    saved: float


class UserLimitAnswer(BaseModel):
    """An amount a day for each user that lets everybody work and stops a program that runs away."""

    amount: float
    usual: float = Field(description="Dollars that 99 of 100 days of users stay below")
    user_days: int
    saved: float = Field(description="Dollars that would not have been spent")
    hits: list[HitAnswer]
    reasons: list[str]


class BudgetAdviceAnswer(BaseModel):
    """Budgets that would fit; setting them is `POST /v1/budgets`."""

    as_of: Moment
    months: list[AdviceAnswer]
    users: UserLimitAnswer | None = Field(description="null while too little is known of users")


@router.get("/forecast", summary="What will be spent")
def forecast(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    horizon: Days = 90,
    by: Annotated[Literal["total", "workspace", "model"], Query(description="One series for each of these")] = "total",
    level: Level = 80,
    workspace: Only = None,
    as_of: AsOf = None,
) -> SpendForecast:
    """By the promoted model where there is one that is young enough, else worked out now from the ledger's days."""
    only = scope_of(caller, workspace).workspace
    found, complete = bill(services, only, horizon, as_of)
    outlook = found.outlook
    names = outlook.series(by)
    frame = outlook.forecast(names, horizon, (level,))
    low, high = f"lo-{level_name(level)}", f"hi-{level_name(level)}"
    series = []
    for name, rows in frame.groupby("unique_id", sort=False):
        days = [
            DayAnswer(day=f"{row['ds']:%Y-%m-%d}", expected=row["forecast"], low=row[low], high=row[high])
            for row in rows.to_dict("records")
        ]
        months = [MonthAnswer(**vars(one)) for one in found.months(str(name), horizon, level)]
        series.append(SpendSeries(series=str(name), expected=float(rows["forecast"].sum()), days=days, months=months))
    return SpendForecast(
        as_of=outlook.as_of,
        horizon=horizon,
        by=by,
        level=level,
        model="worked out now" if outlook.version is None else "spend",
        version=outlook.version,
        notes=list(outlook.notes),
        complete=complete,
        series=series,
    )


@router.get("/crossings", summary="When budgets will be used up")
def crossings(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    horizon: Annotated[int, Query(ge=1, le=365, description="Days ahead, today among them")] = 60,
    workspace: Only = None,
    as_of: AsOf = None,
) -> Crossings:
    """The probability that each budget is used up in its present period, and the days by which it is with 50, 80 and
    95 %. Of a budget of each one by itself, those who spent most lately."""
    only = scope_of(caller, workspace).workspace
    found, _ = bill(services, only, horizon, as_of)
    told = [
        CrossingAnswer(**one.to_dict()) for one in budget_outlooks(services.settings, found, horizon, workspace=only)
    ]
    return Crossings(as_of=found.outlook.as_of, horizon=horizon, budgets=told)


@router.get("/budgets", summary="Budgets that would fit")
def budgets(
    services: ServicesDep, caller: WorkspaceAnalyst, workspace: Only = None, as_of: AsOf = None
) -> BudgetAdviceAnswer:
    """A month's amount for each workspace, from what it is expected to cost; and a day's for each user, with whom it
    would have stopped."""
    only = scope_of(caller, workspace).workspace
    found, _ = bill(services, only, 90, as_of)
    moment = found.outlook.as_of
    months = [AdviceAnswer(**one.to_dict()) for one in budget_advice(services.settings, found, 90, workspace=only)]
    cells = daily_cells(services.settings, moment, days=_LEARNED_FROM, by=("workspace", "user"), workspace=only)
    limit = user_limit(cells)
    told: dict[str, Any] | None = None if limit is None else limit.to_dict()
    return BudgetAdviceAnswer(as_of=moment, months=months, users=None if told is None else UserLimitAnswer(**told))
