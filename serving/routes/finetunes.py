"""Fine-tunes: a model tuned on the gateway's own good answers, priced before and judged after."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from gateway.improve.finetuning.job import withdraw as withdraw_model
from gateway.improve.finetuning.planning import Wish, prepare
from gateway.improve.finetuning.tasks import Selection
from gateway.money import dollars
from serving.audited import note
from serving.dependencies import ServicesDep, WorkspaceAdmin, WorkspaceAnalyst
from serving.llm_scope import scope_of
from serving.moments import Moment
from store import llm_finetunes as stored
from store.llm_finetunes import Finetune
from store.tables.base import utc_now

router = APIRouter(prefix="/v1/finetunes", tags=["LLM gateway"])

Id = Annotated[str, Path(description="Id of a fine-tune", pattern="^[0-9a-f]{32}$")]
FinetuneState = Literal[
    "prepared", "submitting", "running", "evaluating", "admitted", "rejected", "failed", "cancelling", "cancelled"
]
_EXAMPLE: dict[str, Any] = {"base_model": "simulated/small", "task": "conversational", "days": 90}


class FinetuneRequest(BaseModel):
    """What is to be tuned on what."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    base_model: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Id of a model that can be tuned"
    )
    task: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        "any", description="creative, analytical, conversational, any, a domain, or tag:NAME"
    )
    workspace: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="Only its answers; for keys of the platform, null: of all that keep theirs"
    )
    name: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        None, description="What the tuned model is called; default: the task"
    )
    days: Annotated[int, Field(ge=1, le=3_650)] = 90
    min_score: Annotated[float, Field(ge=0.5, le=1)] = Field(0.75, description="Least judgement of a good answer")
    unjudged: Annotated[float, Field(ge=0.5, le=1)] | None = Field(
        None, description="Score from words from which answers count that nobody judged; null: they never do"
    )
    models: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=100)] = Field(
        default_factory=list, description="Only answers of these models or patterns; empty: of all"
    )
    most: Annotated[int, Field(ge=20, le=100_000)] = Field(2_000, description="Examples, the best and newest first")
    validation: Annotated[float, Field(ge=0.05, le=0.5)] = Field(0.2, description="Share that is held out")
    epochs: Annotated[int, Field(ge=1, le=50)] | None = Field(
        None, description="Passes over the examples; null: as OpenAI reckons them"
    )


class Submission(BaseModel):
    """What it may cost."""

    model_config = ConfigDict(extra="forbid")

    max_cost: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="Dollars, training and evaluation together; null: as budgets allow"
    )


class FinetuneAnswer(BaseModel):
    """A fine-tune. Money in dollars."""

    id: str
    workspace: str | None = Field(description="The only one whose answers are learned from; null: of several")
    name: str
    state: FinetuneState
    base_model: str
    task: str
    options: dict[str, Any]
    plan: dict[str, Any] = Field(
        description="What was collected, left out and why, personal data that was removed, tokens, expected cost"
    )
    expected: float = Field(description="Training and evaluation")
    max_cost: float | None
    cost: float = Field(description="So far")
    provider: dict[str, Any] = Field(description="The provider's job: its id, status, and what came of it")
    model: str | None = Field(description="Id of the tuned model")
    events: list[dict[str, Any]] = Field(description="What happened, oldest first")
    report: dict[str, Any] | None = Field(
        description="Base and tuned model on what was held out, and the gate's verdict"
    )
    error: str | None
    created_by: str | None
    created_at: Moment
    submitted_at: Moment | None
    finished_at: Moment | None


class FinetunePage(BaseModel):
    """Newest first, without events and reports."""

    finetunes: list[FinetuneAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


@router.post("", status_code=201, summary="Prepare a fine-tune")
def create(
    request: Request, services: ServicesDep, caller: WorkspaceAdmin, body: Annotated[FinetuneRequest, Body()]
) -> FinetuneAnswer:
    """Collects good answers whose words are kept, cleans, splits, counts and prices them. Nothing leaves the platform
    and nothing is spent until it is submitted."""
    wish = Wish(
        base_model=body.base_model,
        workspace=scope_of(caller, body.workspace).workspace,
        name=body.name,
        epochs=body.epochs,
        selection=Selection(
            task=body.task,
            days=body.days,
            min_score=body.min_score,
            unjudged=body.unjudged,
            models=tuple(body.models),
            most=body.most,
            validation=body.validation,
        ),
    )
    configuration = services.gateway.parts.configuration
    made = prepare(services.settings, configuration, wish, caller.tenant, utc_now())
    after = {"base_model": made.base_model, "task": made.task, "expected": dollars(made.expected)}
    note(services, request, caller, "finetune.prepare", made.id, workspace=made.workspace, after=after)
    return _answer(made)


@router.get("", summary="Fine-tunes")
def page(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    workspace: Annotated[
        str | None, Query(description="Only of this one; keys of a workspace see no other", max_length=256)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=100)] = None,
) -> FinetunePage:
    """Newest first."""
    only = scope_of(caller, workspace).workspace
    found = stored.page(services.settings, workspace=only, limit=limit, cursor=cursor)
    return FinetunePage(finetunes=[_answer(one, whole=False) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{finetune_id}", summary="One fine-tune")
def read(finetune_id: Id, services: ServicesDep, caller: WorkspaceAnalyst) -> FinetuneAnswer:
    """How far it is, what the provider told, and how the tuned model did."""
    return _answer(stored.get(services.settings, finetune_id, caller.workspace))


@router.post("/{finetune_id}/submit", summary="Submit a fine-tune")
async def submit(
    finetune_id: Id,
    request: Request,
    services: ServicesDep,
    caller: WorkspaceAdmin,
    body: Annotated[Submission | None, Body()] = None,
) -> FinetuneAnswer:
    """Files and job go to the provider, the job is followed, the tuned model is compared with its base on what was held
    out, and joins the catalogue if the gate says so. Refused where it is expected to cost more than it may, or than a
    budget has left."""
    limit = body.max_cost if body is not None else None
    made = await services.llm.finetunes.submit(finetune_id, max_cost=limit, workspace=caller.workspace)
    after = {"max_cost": limit, "expected": dollars(made.expected)}
    await run_in_threadpool(
        note, services, request, caller, "finetune.submit", made.id, workspace=made.workspace, after=after
    )
    return _answer(made)


@router.post("/{finetune_id}/cancel", summary="End a fine-tune")
def cancel(finetune_id: Id, request: Request, services: ServicesDep, caller: WorkspaceAdmin) -> FinetuneAnswer:
    """The provider's job is ended, and what it had trained is paid for."""
    found = stored.cancel(services.settings, finetune_id, caller.workspace)
    note(services, request, caller, "finetune.cancel", finetune_id, workspace=found.workspace)
    return _answer(found)


@router.post("/{finetune_id}/withdraw", summary="Take a tuned model out of the catalogue")
def withdraw(finetune_id: Id, request: Request, services: ServicesDep, caller: WorkspaceAdmin) -> FinetuneAnswer:
    """It gets no more calls, within seconds and on every gateway. The provider keeps it."""
    found = stored.get(services.settings, finetune_id, caller.workspace)
    withdraw_model(services.settings, found)
    note(services, request, caller, "finetune.withdraw", finetune_id, workspace=found.workspace)
    return _answer(found)


def _answer(one: Finetune, *, whole: bool = True) -> FinetuneAnswer:
    upstream = dict(one.upstream)
    return FinetuneAnswer(
        id=one.id,
        workspace=one.workspace,
        name=one.name,
        state=one.state,
        base_model=one.base_model,
        task=one.task,
        options=dict(one.options),
        plan=dict(one.plan),
        expected=dollars(one.expected),
        max_cost=None if one.max_cost is None else dollars(one.max_cost),
        cost=dollars(one.cost),
        provider={name: value for name, value in upstream.items() if name != "model"},
        model=upstream.get("model"),
        events=[dict(event) for event in one.events] if whole else [],
        report=dict(one.report) if whole and one.report is not None else None,
        error=one.error,
        created_by=one.created_by,
        created_at=one.created_at,
        submitted_at=one.submitted_at,
        finished_at=one.finished_at,
    )
