"""What is unusual in the ledger: as the hourly flow told of it, or looked for at once; and what people say of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from features.views.spend import end_of_ledger
from models.spend.unusual.finding import Finding
from models.spend.unusual.keeping import payload_of
from models.spend.unusual.look import look
from serving.audited import note
from serving.dependencies import ServicesDep, WorkspaceAnalyst
from serving.llm_runs import flushed
from serving.llm_scope import scope_of
from serving.moments import GivenMoment, Moment
from store import spend_anomalies as stored
from store.spend_anomalies import SpendAnomaly

router = APIRouter(prefix="/v1/costs/anomalies", tags=["Money"])

Id = Annotated[str, Path(description="Id of an anomaly", pattern="^[0-9a-f]{16}$")]
Severity = Literal["low", "medium", "high", "critical"]
SpendKind = Literal[
    "price", "volume", "runaway user", "model mix", "prompt length", "new model", "errors", "latency", "budget pace"
]


class SpendAnomalyAnswer(BaseModel):
    """Something unusual. Money in dollars."""

    id: str
    workspace: str | None = Field(description="The only one that it concerns; null: the platform")
    kind: SpendKind
    subject: str = Field(description="total, workspace=NAME, model=ID, user=WORKSPACE/NAME, or budget=ID and whose")
    severity: Severity
    score: float = Field(description="0.5 at the threshold of being told, towards 1 the more certain")
    start: Moment
    end: Moment
    ongoing: bool
    value: float
    expected: float
    unit: str
    excess: float = Field(description="Dollars above what was expected, over its whole time")
    words: str
    causes: list[dict[str, Any]] = Field(description="What it comes from, largest first")
    split: dict[str, float] = Field(
        description="Dollars a day by volume, mix, length and price, which add up to the change"
    )
    evidence: list[dict[str, Any]] = Field(description="Hours, days or amounts that it was seen in")
    state: Literal["open", "confirmed", "dismissed"]
    decided: dict[str, Any] | None


class SpendAnomalyPage(BaseModel):
    """Begun last first."""

    anomalies: list[SpendAnomalyAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class Decision(BaseModel):
    """What a person says that it was."""

    model_config = ConfigDict(extra="forbid")

    state: Literal["open", "confirmed", "dismissed"] = Field(
        description="confirmed: it matters; dismissed: it does not"
    )
    reason: Annotated[str, Field(max_length=1000)] = ""


@router.get("", summary="What is unusual in the ledger")
def page(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    kind: Annotated[SpendKind | None, Query(description="Only of this kind")] = None,
    severity: Annotated[Severity | None, Query(description="Only so severe or more")] = None,
    state: Annotated[Literal["open", "confirmed", "dismissed"] | None, Query(description="Only these")] = None,
    workspace: Annotated[
        str | None, Query(description="Only this one; keys of a workspace see no other", max_length=256)
    ] = None,
    since: Annotated[GivenMoment | None, Query(description="Only what was so at this time or later")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=100)] = None,
) -> SpendAnomalyPage:
    """As the flow `watch-spend` found it; one that goes on is the same one."""
    found = stored.page(
        services.settings,
        workspace=scope_of(caller, workspace).workspace,
        kind=kind,
        least=severity,
        state=state,
        since=since,
        limit=limit,
        cursor=cursor,
    )
    return SpendAnomalyPage(anomalies=[_answer(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/now", summary="Look now")
def now(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    days: Annotated[int, Query(ge=1, le=30, description="Within so many days")] = 7,
    workspace: Annotated[
        str | None, Query(description="Only its calls; keys of a workspace see no other", max_length=256)
    ] = None,
    as_of: Annotated[
        GivenMoment | None, Query(description="Only what was known then; default: the end of the ledger")
    ] = None,
) -> SpendAnomalyPage:
    """What is unusual at this moment, whether or not it was told of. Nothing is kept, and nobody is notified."""
    flushed(services)
    only = scope_of(caller, workspace).workspace
    moment = end_of_ledger(services.settings, as_of)
    found = look(services.settings, moment, days=days, workspace=only)
    return SpendAnomalyPage(anomalies=[_found(one) for one in found], next_cursor=None)


@router.get("/{anomaly_id}", summary="One anomaly")
def read(anomaly_id: Id, services: ServicesDep, caller: WorkspaceAnalyst) -> SpendAnomalyAnswer:
    """With its causes and the rows that it was seen in."""
    return _answer(stored.get(services.settings, anomaly_id, caller.workspace))


@router.post("/{anomaly_id}/decision", summary="Say what it was")
def decide(
    anomaly_id: Id,
    request: Request,
    body: Annotated[Decision, Body()],
    services: ServicesDep,
    caller: WorkspaceAnalyst,
) -> SpendAnomalyAnswer:
    """How often what was told matters is part of the platform's scorecard. A later word replaces an earlier one."""
    before = stored.get(services.settings, anomaly_id, caller.workspace)
    found = stored.decide(
        services.settings, anomaly_id, body.state, by=caller.name, reason=body.reason, workspace=caller.workspace
    )
    note(
        services, request, caller, "spend_anomaly.decide", anomaly_id, workspace=found.workspace,
        before={"state": before.state}, after={"state": found.state, "reason": body.reason},
    )  # fmt: skip
    return _answer(found)


def _answer(row: SpendAnomaly) -> SpendAnomalyAnswer:
    return SpendAnomalyAnswer(**payload_of(row))


def _found(one: Finding) -> SpendAnomalyAnswer:
    return SpendAnomalyAnswer(
        id=one.id,
        workspace=one.workspace,
        kind=one.kind,
        subject=one.subject,
        severity=one.severity,
        score=round(one.score, 4),
        start=one.start,
        end=one.end,
        ongoing=one.ongoing,
        excess=one.excess,
        state="open",
        decided=None,
        **one.report(),
    )
