"""What was used and spent, by whatever one likes."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.money import dollars
from serving.dependencies import Application, GatewayDep
from serving.known_query import ONLY_KNOWN
from serving.llm_runs import flushed
from serving.llm_scope import scope_of
from serving.moments import GivenMoment, Moment
from store.llm_usage import NAMES, PERIODS, usage
from store.tables.base import utc_now

router = APIRouter(prefix="/v1/usage", tags=["Money"], dependencies=[ONLY_KNOWN])

DAYS = 30
Name = Annotated[str | None, Query(max_length=256)]


class UsageRow(BaseModel):
    """What one group used, with the names that `by` asked for. Money in dollars."""

    model_config = ConfigDict(extra="allow")

    calls: int
    requests: int = Field(description="Calls that are no member of an ensemble")
    failures: int
    cached: int = Field(description="Answered from the cache")
    refused: int = Field(description="By a budget, a limit or a filter")
    estimated: int = Field(description="Calls whose usage the gateway counted, since the provider told nothing")
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    audio_output_tokens: int
    cost: float
    answered: int
    latency_ms: float | None = Field(description="Mean of the answered")
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class UsageAnswer(BaseModel):
    """In the order of time where `by` has a period, else the most costly first."""

    by: list[str]
    since: Moment
    until: Moment
    rows: list[UsageRow]
    complete: bool = Field(description="False while the ledger cannot be written: the newest calls are missing")


@router.get("", summary="What was used and spent")
def read(
    services: GatewayDep,
    caller: Application,
    by: Annotated[
        str,
        Query(
            description=f"Names with commas: {', '.join((*NAMES, *PERIODS))}; empty: one row for everything",
            examples=["workspace,model", "day"],
            max_length=256,
        ),
    ] = "model",
    since: Annotated[GivenMoment | None, Query(description=f"Default: {DAYS} days before the end")] = None,
    until: Annotated[GivenMoment | None, Query(description="Not included; default: now")] = None,
    workspace: Annotated[
        str | None, Query(description="Only this one; keys of a workspace see no other", max_length=256)
    ] = None,
    organisation: Name = None,
    project: Name = None,
    user: Name = None,
    key: Annotated[str | None, Query(description="Id of a key", max_length=32)] = None,
    model: Name = None,
    provider: Name = None,
    task: Name = None,
    complexity: Name = None,
    strategy: Name = None,
    outcome: Name = None,
    kind: Name = None,
    cache: Name = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Most rows")] = 1_000,
) -> UsageAnswer:
    """Every call that has ended by now counts. A key of the role application sees its own calls, other keys those of
    their workspace."""
    scope = scope_of(caller, workspace)
    end = until or utc_now() + timedelta(seconds=1)
    begin = since or end - timedelta(days=DAYS)
    groups = [name for one in by.split(",") if (name := one.strip())]
    complete = flushed(services)
    rows = usage(
        services.settings,
        by=groups,
        since=begin,
        until=end,
        workspace=scope.workspace,
        filters=scope.filters(
            organisation=organisation,
            project=project,
            user=user,
            key=key,
            model=model,
            provider=provider,
            task=task,
            complexity=complexity,
            strategy=strategy,
            outcome=outcome,
            kind=kind,
            cache=cache,
        ),
        limit=limit,
    )
    return UsageAnswer(by=groups, since=begin, until=end, rows=[_row(one) for one in rows], complete=complete)


def _row(found: dict[str, Any]) -> UsageRow:
    return UsageRow(**{**found, "cost": dollars(found["cost"])})
