"""What became of a model after its promotion: monitoring reports, and a challenger's silent answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from models.monitoring.shadowing import compare
from serving.dependencies import Admin, Analyst, Services, ServicesDep
from serving.limits import LARGEST_NUMBER
from serving.moments import GivenMoment, Moment
from store import monitor_reports, shadows
from store.monitor_reports import MonitorRecord

router = APIRouter(prefix="/v1/registry/models", tags=["Registry"])

Name = Annotated[str, Path(description="Name of a registered model", examples=["churn"], max_length=128)]
Id = Annotated[str, Path(description="Id of a report", pattern="^[0-9a-f]{32}$")]


class MonitorLine(BaseModel):
    """One look at a champion."""

    id: str
    model: str
    version: int
    as_of: Moment = Field(description="The data were looked at as known at this moment")
    verdict: str = Field(description="ok, no_news, drift, worse or rolled_back")
    headline: str
    created_at: Moment


class MonitorAnswer(MonitorLine):
    """A look with everything that was found."""

    report: dict[str, Any] = Field(description="Features, metrics then and now, calibration, bias, guards, alarms")


class MonitorPage(BaseModel):
    """Looks, newest first."""

    reports: list[MonitorLine]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class ShadowRequest(BaseModel):
    """Which version answers silently."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1, le=LARGEST_NUMBER, strict=True)] | None = Field(
        None, description="Default: the challenger"
    )


SHADOWS: dict[str, Any] = {"the challenger": {"value": {}}, "a version": {"value": {"version": 2}}}


class ShadowState(BaseModel):
    """A shadow in this process; counts since it was loaded."""

    version: int
    ready: bool = Field(description="Whether it is loaded and answers")
    problem: str = Field("", description="Why it could not be loaded")
    taken: int = Field(description="Answers of the champion that were queued for it")
    dropped: int = Field(description="Those that found no room: the champion's callers never wait for a shadow")
    answered: int
    failed: int


class ShadowAnswer(BaseModel):
    """The shadow of a model and how it compares with the champion on the same questions."""

    model: str
    version: int | None = Field(description="The version that is compared; null where none ever was a shadow")
    running: int | None = Field(description="The version that answers silently now; null where none does")
    here: ShadowState | None = Field(description="How it does in the process that answered this request")
    answers: dict[int, int] = Field(description="Version → number of its silent answers that were kept")
    comparison: dict[str, Any] | None = Field(
        description="Agreement, difference, latency; log loss of both where outcomes were reported"
    )


@router.get("/{name}/monitoring", summary="Looks at the champions of a model")
def reports(
    name: Name,
    services: ServicesDep,
    _: Analyst,
    version: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only of this version")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9a-f]{1,32}$")
    ] = None,
) -> MonitorPage:
    """Drift, results on what came, guards: what the flow `monitor` found, newest first."""
    found = monitor_reports.page(services.settings, name, version=version, limit=limit, cursor=cursor)
    if not found.items:
        services.registry.model(name)  # an unknown name is an error, one that nobody looked at is not
    return MonitorPage(reports=[_line(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{name}/monitoring/{report_id}", summary="One look with everything that was found")
def report(name: Name, report_id: Id, services: ServicesDep, _: Analyst) -> MonitorAnswer:
    """Every feature with its index and limit, every metric then and now, calibration, bias by slice, guards."""
    found = monitor_reports.get(services.settings, report_id, model=name)
    return MonitorAnswer(**_line(found).model_dump(), report=dict(found.report))


@router.get("/{name}/shadow", summary="How a challenger compares that answers silently")
def shadow(
    name: Name,
    services: ServicesDep,
    _: Analyst,
    version: Annotated[
        int | None, Query(ge=1, le=LARGEST_NUMBER, description="Default: the shadow, else the latest that was one")
    ] = None,
    since: Annotated[GivenMoment | None, Query(description="Only questions asked at or after this moment")] = None,
) -> ShadowAnswer:
    """Agreement with the champion, distribution of the differences, latency; and where outcomes were reported, whose
    log loss is lower (paired bootstrap over customers)."""
    return _shadow(services, name, version, since)


@router.put("/{name}/shadow", summary="Let a challenger answer silently")
def start(
    name: Name, body: Annotated[ShadowRequest, Body(openapi_examples=SHADOWS)], services: ServicesDep, caller: Admin
) -> ShadowAnswer:
    """Every API process loads it within seconds. It never delays an answer: questions that find its queue full are
    counted and dropped."""
    shadows.start(services.settings, services.registry, name, body.version, actor=caller.name)
    services.champions.wake()
    return _shadow(services, name, None, None)


@router.delete("/{name}/shadow", summary="Let it fall silent")
def stop(name: Name, services: ServicesDep, caller: Admin) -> ShadowAnswer:
    """What it answered is kept and can still be compared. A shadow that `MERIT_SHADOW` asks for comes back."""
    shadows.stop(services.settings, services.registry, name, actor=caller.name)
    services.champions.wake()
    return _shadow(services, name, None, None)


def _shadow(services: Services, name: str, version: int | None, since: Any) -> ShadowAnswer:
    aliases = services.registry.model(name).aliases
    running = services.shadows.wanted(name, aliases)
    counts = shadows.counts(services.settings, name)
    if version is None:
        version = running if running is not None else next(iter(counts), None)
    found = None
    if version is not None:
        services.registry.version(name, version)
        found = compare(name, version, shadows.pairs(services.settings, name, version, since=since)).to_dict()
    state = services.shadows.state(name)
    here = None
    if state is not None:
        here = ShadowState(
            version=state.version,
            ready=state.scorer is not None,
            problem=state.problem,
            taken=state.taken,
            dropped=state.dropped,
            answered=state.answered,
            failed=state.failed,
        )
    return ShadowAnswer(model=name, version=version, running=running, here=here, answers=counts, comparison=found)


def _line(record: MonitorRecord) -> MonitorLine:
    return MonitorLine(
        id=record.id,
        model=record.model,
        version=record.version,
        as_of=record.as_of,
        verdict=record.verdict,
        headline=str(record.report["headline"]),
        created_at=record.created_at,
    )
