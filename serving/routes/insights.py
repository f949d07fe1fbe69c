"""Questions about the platform's own numbers: several models answer, and every number is checked against its row."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from features.views.spend import end_of_ledger
from gateway.account.contents import Contents
from gateway.choose.ensemble import MOST_MEMBERS
from gateway.improve.insights import Found, ask_models, read_words
from gateway.money import dollars
from models.insights.asking import LONGEST_QUESTION
from models.insights.gathering import Gathered, gather
from models.insights.topics import MOST_DAYS
from serving.costs import bill
from serving.dependencies import Services, ServicesDep, WorkspaceAnalyst
from serving.llm_scope import scope_of
from serving.moments import GivenMoment, Moment
from store import insights as stored
from store.errors import MeritError
from store.insights import Insight

router = APIRouter(prefix="/v1/insights", tags=["Money"])

Id = Annotated[str, Path(description="Id of an insight", pattern="^[0-9a-f]{32}$")]
Name = Annotated[str, Field(min_length=1, max_length=256)]
_HORIZON = 60


class InsightRequest(BaseModel):
    """A question."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"question": "Which model cost most in the last 7 days, and who used it?"}]},
    )

    question: Annotated[str, Field(min_length=3, max_length=LONGEST_QUESTION)]
    models: Annotated[list[Name], Field(max_length=MOST_MEMBERS)] = Field(
        default_factory=list, description="Two or more that answer; none: the three best for the question"
    )
    workspace: Name | None = Field(None, description="Only its rows; keys of a workspace see no other")
    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] | None = Field(
        None, description="Days looked at; default: as the question says, else 30"
    )
    as_of: GivenMoment | None = Field(None, description="Only what was known then; default: the end of the ledger")
    max_cost: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="Dollars that all models together may cost"
    )


class RemovedAnswer(BaseModel):
    """A sentence that was taken out."""

    text: str
    reason: str


class MemberAnswer(BaseModel):
    """A model that was asked."""

    model: str
    call: str = Field(description="Id of its call, in `/v1/llm/runs`")
    state: str = Field(
        description="used, agrees, partly (with some sentences), other (says something else), untold (says that the "
        "rows do not tell), refused (too much of it does not hold) or failed"
    )
    kept: int = Field(description="Sentences of its answer that hold")
    removed: int = Field(description="Sentences that were taken out")
    agrees_with: int = Field(description="Sentences of the one answer whose numbers it states")
    error: str | None = Field(description="Why it failed")
    cost: float
    took_ms: float
    refused: str | None = Field(None, description="Why nothing of it was used")
    removed_sentences: list[RemovedAnswer] = Field(default_factory=list)


class SentenceAnswer(BaseModel):
    """A sentence whose every number is in the rows that it cites."""

    text: str
    rows: list[str]
    models: list[str] = Field(description="That state its numbers, the one whose words these are first")


class RowAnswer(BaseModel):
    """A row that models were shown. Ends of columns are units: `_usd`, `_eur`, `_ms`, `_share` (0 to 1)."""

    row: str
    about: str
    values: dict[str, str | int | float]


class InsightSummary(BaseModel):
    """A question without its words. Money in dollars."""

    id: str
    at: Moment
    workspace: str | None = Field(description="The only one whose rows were looked at; null: the platform")
    asked_in: str = Field(description="The workspace that paid")
    status: str = Field(description="answered, untold (the rows do not tell) or refused (no model's answer held)")
    kept: int
    removed: int
    rows_shown: int
    agreement: float = Field(description="Mean share of the models that state a sentence's numbers")
    cost: float
    caller: str


class InsightAnswer(InsightSummary):
    """One question with everything that is kept of it."""

    question: str | None
    answer: str | None
    sentences: list[SentenceAnswer]
    members: list[MemberAnswer]
    rows: list[RowAnswer]
    aliases: dict[str, str] = Field(description="What models were shown instead of names that could mislead them")
    words_missing: str | None = Field(None, description="Why there are no words")


class InsightPage(BaseModel):
    """Newest first."""

    insights: list[InsightSummary]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


@router.post("", summary="Ask about the numbers", status_code=201)
async def create(request: InsightRequest, services: ServicesDep, caller: WorkspaceAnalyst) -> InsightAnswer:
    """Rows that the caller may see are chosen for the question and numbered; several models answer from them, citing
    rows. A sentence with a number, a date or a name that is not in the rows it cites is taken out; a stated sum,
    difference or share of rows is worked out again. The answer tells which models agree, what was taken out and why."""
    gateway = services.gateway
    only = scope_of(caller, request.workspace).workspace
    gathered = await asyncio.to_thread(_gathered, services, request, only)
    found = await ask_models(
        gateway,
        services.settings,
        gathered,
        request.question,
        tenant=caller.tenant,
        caller=caller.name,
        workspace=only,
        models=request.models,
        max_cost=request.max_cost,
    )
    return _answer(found)


@router.get("", summary="Questions that were asked")
def listed(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    workspace: Annotated[
        str | None, Query(description="Only about this one; keys of a workspace see no other", max_length=256)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=100)] = None,
) -> InsightPage:
    """What it took to answer them; `GET /v1/insights/{id}` has the words."""
    only = scope_of(caller, workspace).workspace
    found = stored.page(services.settings, workspace=only, limit=limit, cursor=cursor)
    return InsightPage(insights=[InsightSummary(**_summary(one)) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{insight_id}", summary="One question and its answer")
def read(insight_id: Id, services: ServicesDep, caller: WorkspaceAnalyst) -> InsightAnswer:
    """With its words where the workspace that asked keeps them."""
    found = stored.get(services.settings, insight_id, scope_of(caller).workspace)
    words, missing = _words(services, found)
    told: dict[str, Any] = words or {"question": None, "answer": None, "sentences": [], "rows": [], "aliases": {}}
    return InsightAnswer(**{**_summary(found), "members": list(found.members), **told}, words_missing=missing)


def _gathered(services: Services, request: InsightRequest, only: str | None) -> Gathered:
    if services.llm.runs:
        services.gateway.parts.ledger.flush()
    as_of = end_of_ledger(services.settings, request.as_of)
    return gather(
        services.settings,
        request.question,
        as_of,
        lambda: bill(services, only, _HORIZON, request.as_of)[0],
        days=request.days,
        workspace=only,
    )


def _words(services: Services, found: Insight) -> tuple[dict[str, Any] | None, str | None]:
    contents = services.gateway.parts.contents if services.llm.runs else Contents(services.settings)
    try:
        words = read_words(contents, found)
    except MeritError as error:
        return None, f"They cannot be read: {error.message}"
    return words, None if words is not None else "They were not kept, or are no longer."


def _summary(insight: Insight) -> dict[str, Any]:
    named = {name: getattr(insight, name) for name in InsightSummary.model_fields}
    return {**named, "cost": dollars(insight.cost)}


def _answer(found: Found) -> InsightAnswer:
    return InsightAnswer(**_summary(found.insight), **found.told())
