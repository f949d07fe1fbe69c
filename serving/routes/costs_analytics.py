"""What was spent and why, by whatever one likes, and how well the platform does at saving it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from features.views.spend import end_of_ledger
from gateway.account.workspaces import Workspaces
from models.spend.analytics import DIMENSIONS, Analytics, Group, analytics, kept
from models.spend.scorecard import MEASURES
from serving.dependencies import Analyst, Services, ServicesDep, WorkspaceAnalyst
from serving.llm_runs import flushed
from serving.llm_scope import scope_of
from serving.moments import GivenMoment, Moment
from store import scorecards
from store.errors import EmptyData
from store.scorecards import Score
from store.tables.base import utc_now

router = APIRouter(prefix="/v1/costs", tags=["Money"])

DAYS = 30
Name = Annotated[str | None, Query(max_length=256)]


class GroupAnswer(BaseModel):
    """What one of them used. Money in dollars."""

    names: dict[str, str] = Field(description="Empty for everything; of a user its workspace, too")
    calls: int
    failures: int
    cached: int
    refused: int
    input_tokens: int
    output_tokens: int
    cost: float
    share: float = Field(description="Of the cost of the whole period")
    latency_ms: float | None
    calls_before: int | None = Field(description="In the period before, as long; null of days")
    cost_before: float | None


class Others(BaseModel):
    """Values that are not told one by one."""

    count: int
    cost: float


class RetentionAnswer(BaseModel):
    """How far back the ledger goes. What is older than `calls_days` of its workspace is summed up by day, to the last
    billionth of a dollar; words are removed after `contents_days`. Both are set by `PUT /v1/workspaces/NAME`."""

    calls: int = Field(description="Calls that are there one by one")
    calls_since: Moment | None
    days: int = Field(description="Rows of sums by day")
    days_since: Moment | None
    policies: dict[str, dict[str, int | None]] = Field(description="Workspace → calls_days and contents_days")


class ScoreAnswer(BaseModel):
    """One measure of the platform up to the end of a day."""

    day: str
    measure: Literal[
        "routing accuracy", "forecast accuracy", "forecast coverage", "anomaly precision", "savings", "adoption"
    ]
    value: float | None = Field(description="null where there was nothing to measure: `detail.why`")
    low: float | None
    high: float | None
    count: int = Field(description="Of calls, days or decisions that it rests on")
    detail: dict[str, Any]


class AnalyticsAnswer(BaseModel):
    """A period beside the one before it."""

    since: Moment
    until: Moment
    before: Moment = Field(description="Where the period before begins")
    complete: bool = Field(description="False while the ledger cannot be written: the newest calls are missing")
    total: GroupAnswer
    change: dict[str, float] = Field(
        description="Dollars a day by volume, mix, length and price: they add up to the change from the period before"
    )
    by: dict[str, list[GroupAnswer]]
    others: dict[str, Others]
    retention: RetentionAnswer
    scorecard: list[ScoreAnswer] = Field(description="As kept last; only for keys of the platform")


class Scorecards(BaseModel):
    """In the order of days."""

    scores: list[ScoreAnswer]


@router.get("/analytics", summary="What was spent, and why")
def read(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    by: Annotated[
        str, Query(description=f"Names with commas: {', '.join(DIMENSIONS)}; empty: all of them", max_length=100)
    ] = "",
    since: Annotated[GivenMoment | None, Query(description=f"Default: {DAYS} days before the end")] = None,
    until: Annotated[GivenMoment | None, Query(description="Not included; default: the end of the ledger")] = None,
    top: Annotated[int, Query(ge=1, le=1000, description="Of each, so many are told one by one")] = 10,
    workspace: Annotated[
        str | None, Query(description="Only this one; keys of a workspace see no other", max_length=256)
    ] = None,
    user: Name = None,
    model: Name = None,
    provider: Name = None,
    task: Name = None,
) -> AnalyticsAnswer:
    """By workspace, user, model, provider, task and day, each beside the period before, as long; and what moved the
    whole, taken apart exactly."""
    scope = scope_of(caller, workspace)
    complete = flushed(services)
    end = until or _end(services)
    found = analytics(
        services.settings,
        since or end - timedelta(days=DAYS),
        end,
        by=[name for one in by.split(",") if (name := one.strip())] or DIMENSIONS,
        workspace=scope.workspace,
        filters=scope.filters(user=user, model=model, provider=provider, task=task),
        top=top,
    )
    return _answer(services, found, scope.workspace, complete)


@router.get("/scorecard", summary="How well the platform does")
def scorecard(
    services: ServicesDep,
    _: Analyst,
    days: Annotated[int, Query(ge=1, le=800, description="So many days back from the last one kept")] = 90,
    measure: Annotated[str | None, Query(description=f"Only one of {', '.join(MEASURES)}", max_length=64)] = None,
) -> Scorecards:
    """As the flow `scorecard` kept it, day by day: how right routing, forecasts and alarms were, what recommendations
    saved, and how many were followed."""
    wanted = MEASURES if measure is None else (measure,) if measure in MEASURES else ()
    return Scorecards(scores=[_score(one) for one in _recent(services, days, wanted)] if wanted else [])


def _end(services: Services) -> datetime:
    try:
        return end_of_ledger(services.settings)
    except EmptyData:
        return utc_now()


def _recent(services: Services, days: int, measures: Sequence[str]) -> list[Score]:
    found = scorecards.history(services.settings, measures=measures)
    if not found:
        return []
    first = datetime.strptime(found[-1].day, "%Y-%m-%d") - timedelta(days=days - 1)
    return [one for one in found if one.day >= f"{first:%Y-%m-%d}"]


def _answer(services: Services, found: Analytics, workspace: str | None, complete: bool) -> AnalyticsAnswer:
    there = kept(services.settings, workspace)
    return AnalyticsAnswer(
        since=found.since,
        until=found.until,
        before=found.before,
        complete=complete,
        total=_group(found.total),
        change=dict(found.change),
        by={name: [_group(one) for one in groups] for name, groups in found.groups.items()},
        others={name: Others(count=count, cost=cost) for name, (count, cost) in found.others.items()},
        retention=RetentionAnswer(
            calls=there.calls,
            calls_since=there.calls_since,
            days=there.days,
            days_since=there.days_since,
            policies=_policies(services, workspace),
        ),
        scorecard=[] if workspace is not None else [_score(one) for one in _recent(services, 1, MEASURES)],
    )


def _policies(services: Services, workspace: str | None) -> dict[str, dict[str, int | None]]:
    known = services.llm.gateway.parts.workspaces if services.llm.runs else Workspaces(services.settings)
    if not services.llm.runs:
        known.refresh()
    names = known.every() if workspace is None else {workspace: known.get(workspace)}
    return {
        name: {"calls_days": one.calls_days, "contents_days": one.contents_days} for name, one in sorted(names.items())
    }


def _group(one: Group) -> GroupAnswer:
    return GroupAnswer(**vars(one))


def _score(one: Score) -> ScoreAnswer:
    shown = {name: value for name, value in vars(one).items() if name != "updated_at"}
    return ScoreAnswer(**shown)
