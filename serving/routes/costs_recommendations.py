"""Ways to spend less: listed, followed or turned down, and what those that are followed saved."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from features.views.spend import end_of_ledger
from gateway.account.workspaces import Workspaces
from gateway.choose.substitution import HELD_BACK
from gateway.improve import following
from models.spend.recommending.keeping import measure_one, payload_of, tell
from serving.audited import note
from serving.dependencies import Services, ServicesDep, WorkspaceAdmin, WorkspaceAnalyst
from serving.llm_runs import flushed
from serving.llm_scope import scope_of
from serving.moments import GivenMoment
from store import spend_recommendations as stored
from store.spend_recommendations import Kind, SpendRecommendation, State

router = APIRouter(prefix="/v1/costs/recommendations", tags=["Money"])

Id = Annotated[str, Path(description="Id of a recommendation", pattern="^[0-9a-f]{32}$")]
Reason = Annotated[str, Field(max_length=1000, description="Why, in your words")]


class Interval(BaseModel):
    """An expected value and its interval at `level`."""

    value: float
    low: float
    high: float


class RecommendationAnswer(BaseModel):
    """A way to spend less. Money in dollars a month."""

    id: str
    workspace: str | None
    kind: Kind
    state: State
    subject: str = Field(description="What it is about: the model that is asked for, for example")
    words: str
    saving: Interval = Field(description="Estimated, at the volume of the time that was looked at")
    saving_estimated: float
    level: float = Field(description="Of every interval, 0 to 1")
    spent: float = Field(description="What these calls cost as things are")
    quality: Interval | None = Field(description="Change to be expected of judgements, which are 0 to 1")
    latency: float | None = Field(description="Factor to the time until an answer is whole")
    scope: dict[str, Any]
    setting: dict[str, Any] | None = Field(description="What accepting it sets; null: somebody must do `steps`")
    steps: list[str]
    evidence: dict[str, Any]
    notes: list[str]
    accepted: dict[str, Any] | None = Field(description="`by`, `reason`, `at`, `since`, and what was `done`")
    dismissed: dict[str, Any] | None
    measured: dict[str, Any] | None = Field(
        description="What was saved beside what would have been paid without it, never the estimate"
    )
    reverted: dict[str, Any] | None
    created_at: str
    updated_at: str


class RecommendationPage(BaseModel):
    """Newest first."""

    recommendations: list[RecommendationAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class Acceptance(BaseModel):
    """Who follows it says why, and from when it held."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = ""
    since: GivenMoment | None = Field(default=None, description="From when it held; default: now")
    held_back: Annotated[
        float, Field(ge=0, le=0.5, description="Share of the calls that are answered as before, to compare with")
    ] = HELD_BACK


class Refusal(BaseModel):
    """Why it is not followed, or no longer."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = ""


@router.get("", summary="Ways to spend less")
def page(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    state: Annotated[State | None, Query(description="Only these")] = None,
    kind: Annotated[Kind | None, Query(description="Only of this kind")] = None,
    workspace: Annotated[
        str | None, Query(description="Only this one; keys of a workspace see no other", max_length=256)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=100)] = None,
) -> RecommendationPage:
    """As the weekly flow `propose-savings` found them, with what the daily `measure-savings` says of those followed."""
    found = stored.page(
        services.settings,
        workspace=scope_of(caller, workspace).workspace,
        kind=kind,
        states=() if state is None else (state,),
        limit=limit,
        cursor=cursor,
    )
    return RecommendationPage(recommendations=[_answer(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{recommendation_id}", summary="One recommendation")
def read(recommendation_id: Id, services: ServicesDep, caller: WorkspaceAnalyst) -> RecommendationAnswer:
    """With what it rests on, and what became of it."""
    return _answer(stored.get(services.settings, recommendation_id, caller.workspace))


@router.post("/{recommendation_id}/accept", summary="Follow it")
def accept(
    recommendation_id: Id,
    request: Request,
    body: Annotated[Acceptance, Body()],
    services: ServicesDep,
    caller: WorkspaceAdmin,
) -> RecommendationAnswer:
    """What the gateway can set is set for the workspace, and counts within seconds; see `setting`. Where there is none,
    `steps` say what is to be done in the program itself. Either way what it saves is measured from now on."""
    row = following.accept(
        services.settings, _workspaces(services), recommendation_id, by=caller.name, reason=body.reason,
        since=body.since, held_back=body.held_back, workspace=caller.workspace,
    )  # fmt: skip
    return _told(services, request, caller, "accept", row, body.reason)


@router.post("/{recommendation_id}/dismiss", summary="Turn it down")
def dismiss(
    recommendation_id: Id,
    request: Request,
    body: Annotated[Refusal, Body()],
    services: ServicesDep,
    caller: WorkspaceAnalyst,
) -> RecommendationAnswer:
    """It is not proposed again for ninety days."""
    row = stored.dismiss(
        services.settings, recommendation_id, by=caller.name, reason=body.reason, workspace=caller.workspace
    )
    return _told(services, request, caller, "dismiss", row, body.reason)


@router.post("/{recommendation_id}/revert", summary="Follow it no longer")
def revert(
    recommendation_id: Id,
    request: Request,
    body: Annotated[Refusal, Body()],
    services: ServicesDep,
    caller: WorkspaceAdmin,
) -> RecommendationAnswer:
    """What accepting it had set is taken back."""
    row = following.revert(
        services.settings, _workspaces(services), recommendation_id, by=caller.name, reason=body.reason,
        workspace=caller.workspace,
    )  # fmt: skip
    return _told(services, request, caller, "revert", row, body.reason)


@router.post("/{recommendation_id}/measure", summary="Measure what it saved now")
def measure(
    recommendation_id: Id,
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    as_of: Annotated[
        GivenMoment | None, Query(description="Only calls until then; default: the end of the ledger")
    ] = None,
) -> RecommendationAnswer:
    """Beside a counterfactual, with an interval, and with what people said of the answers before and after."""
    flushed(services)
    row = stored.get(services.settings, recommendation_id, caller.workspace)
    moment = end_of_ledger(services.settings, as_of)
    return _answer(measure_one(services.settings, row, moment, seed=services.settings.seed))


def _told(
    services: Services, request: Request, caller: Any, action: Literal["accept", "dismiss", "revert"],
    row: SpendRecommendation, reason: str,
) -> RecommendationAnswer:  # fmt: skip
    note(
        services, request, caller, f"spend_recommendation.{action}", row.id, workspace=row.workspace,
        after={"state": row.state, "reason": reason},
    )  # fmt: skip
    tell(services.settings, row)
    return _answer(row)


def _workspaces(services: Services) -> Workspaces:
    return services.gateway.parts.workspaces if services.llm.runs else Workspaces(services.settings)


def _answer(row: SpendRecommendation) -> RecommendationAnswer:
    return RecommendationAnswer(**payload_of(row))
