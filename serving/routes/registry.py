"""Models, versions and aliases; who promoted what, when and why; promote and roll back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from serving.champions import ALIAS, Standing
from serving.dependencies import Admin, Analyst, ServicesDep
from serving.limits import LARGEST_NUMBER
from serving.moments import Moment
from store import promotions
from store.ledger import Promotion
from store.registry import ModelInfo, VersionInfo

router = APIRouter(prefix="/v1/registry/models", tags=["Registry"])

Name = Annotated[str, Path(description="Name of a registered model", examples=["churn"], max_length=128)]


# A page that another program wrote may show, but not run or load, anything.
_NOTHING_FROM_ELSEWHERE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}


class Served(BaseModel):
    """The version that this process answers with."""

    version: int
    loaded_at: Moment


class Refused(BaseModel):
    """A version that has the alias and cannot be served."""

    version: int
    reason: str
    remedy: str
    since: Moment
    attempts: int


class ModelAnswer(BaseModel):
    """A registered model, and how it stands in this process."""

    name: str
    family: str | None
    aliases: dict[str, int]
    latest: int | None
    served: Served | None
    refused: Refused | None
    created_at: Moment
    updated_at: Moment


class ModelList(BaseModel):
    models: list[ModelAnswer]


class VersionAnswer(BaseModel):
    """A registered version and where it comes from."""

    version: int
    aliases: list[str]
    candidate: str | None
    run_id: str
    dataset_digest: str | None
    git_commit: str | None
    sha256: str | None
    created_at: Moment
    tags: dict[str, str]


class VersionList(BaseModel):
    """Versions, newest first."""

    versions: list[VersionAnswer]
    next_before: int | None = Field(description="Send it as `before` for the page after this one; null on the last")


class LedgerLine(BaseModel):
    """One line of the promotion ledger."""

    id: int
    model: str
    kind: str = Field(description="promotion, rollback, or external for a change past Meritorder")
    state: str = Field(description="intended, done, refused or failed")
    from_version: int | None
    to_version: int | None
    actor: str
    reason: str
    detail: str | None
    report: dict[str, Any] | None = Field(description="The gate's verdict with its numbers")
    artifact_sha256: str | None
    dataset_digest: str | None
    run_id: str | None
    created_at: Moment
    settled_at: Moment | None


class Ledger(BaseModel):
    """Lines of the ledger, newest first."""

    promotions: list[LedgerLine]
    next_before: int | None = Field(description="Send it as `before` for the page after this one; null on the last")


class PromoteRequest(BaseModel):
    """Which version to make champion, and why."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(ge=1, le=LARGEST_NUMBER, strict=True)]
    reason: Annotated[str, Field(min_length=3, max_length=2_000, description="Kept in the ledger")]
    expected: Annotated[int, Field(ge=1, le=LARGEST_NUMBER)] | None = Field(
        None, description="Promote only if this version is champion now; default: whichever is"
    )


class RollbackRequest(BaseModel):
    """Why to go back, and where to."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=3, max_length=2_000, description="Kept in the ledger")]
    to: Annotated[int, Field(ge=1, le=LARGEST_NUMBER)] | None = Field(
        None, description="Version to go back to; default: the previous one"
    )
    expected: Annotated[int, Field(ge=1, le=LARGEST_NUMBER)] | None = Field(
        None, description="Roll back only if this version is champion now"
    )


PROMOTIONS: dict[str, Any] = {
    "version 2, whatever is champion": {"value": {"version": 2, "reason": "better on last month's outcomes"}}
}
ROLLBACKS: dict[str, Any] = {"to the champion before": {"value": {"reason": "complaints from sales"}}}


@router.get("", summary="Registered models")
def models(services: ServicesDep, _: Analyst) -> ModelList:
    """Every registered model with its aliases, the version that is served and one that was refused, if any."""
    standings = {standing.name: standing for standing in services.champions.standings()}
    return ModelList(models=[_model(info, standings.get(info.name)) for info in services.registry.models()])


@router.get("/{name}", summary="A registered model")
def model(name: Name, services: ServicesDep, _: Analyst) -> ModelAnswer:
    """One model with its aliases and how it stands in this process."""
    standings = {standing.name: standing for standing in services.champions.standings()}
    return _model(services.registry.model(name), standings.get(name))


@router.get("/{name}/versions", summary="Versions of a model")
def versions(
    name: Name,
    services: ServicesDep,
    _: Analyst,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only versions below this one")] = None,
) -> VersionList:
    """Newest first, with the run, the data and the commit that each comes from."""
    found = services.registry.versions(name, limit=limit + 1, before=before)
    return VersionList(
        versions=[_version(info) for info in found[:limit]],
        next_before=found[limit - 1].version if len(found) > limit else None,
    )


@router.get(
    "/{name}/versions/{version}/card",
    summary="Card of a version",
    response_class=HTMLResponse,
    responses={200: {"content": {"text/html": {}}, "description": "A page that needs nothing from the internet"}},
)
def card(
    name: Name,
    version: Annotated[int, Path(description="A version of the model", examples=[1], ge=1, le=LARGEST_NUMBER)],
    services: ServicesDep,
    _: Analyst,
) -> HTMLResponse:
    """What the version is for, its data, candidates with intervals, groups, plots, limits and verdict, for anybody to
    read. Written when the version was registered; 404 for one that was registered past training."""
    return HTMLResponse(services.registry.card(name, version), headers=_NOTHING_FROM_ELSEWHERE)


@router.get("/{name}/history", summary="Promotion history of a model")
def history(
    name: Name,
    services: ServicesDep,
    _: Analyst,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[
        int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only lines whose id is below this")
    ] = None,
) -> Ledger:
    """Who made which version champion, when and why; also what the gate refused. Newest first."""
    found = promotions.history(services.settings, name, limit=limit + 1, before=before)[::-1]
    if not found and before is None:
        services.registry.model(name)  # an unknown name is an error, one without a promotion is not
    return Ledger(
        promotions=[_line(line) for line in found[:limit]],
        next_before=found[limit - 1].id if len(found) > limit else None,
    )


@router.post("/{name}/promote", summary="Make a version champion")
def promote(
    name: Name,
    body: Annotated[PromoteRequest, Body(openapi_examples=PROMOTIONS)],
    services: ServicesDep,
    caller: Admin,
) -> LedgerLine:
    """Moves the alias and writes the ledger; every API process serves the version within seconds.

    409 when `expected` is given and another version is champion, or when somebody promoted in the meantime.
    """
    expected = body.expected if body.expected is not None else services.registry.alias(name, ALIAS)
    done = promotions.promote(
        services.settings,
        services.registry,
        name,
        body.version,
        expected=expected,
        actor=caller.name,
        reason=body.reason,
    )
    services.champions.wake()
    return _line(done)


@router.post("/{name}/rollback", summary="Go back to an earlier champion")
def rollback(
    name: Name,
    body: Annotated[RollbackRequest, Body(openapi_examples=ROLLBACKS)],
    services: ServicesDep,
    caller: Admin,
) -> LedgerLine:
    """Makes the previous champion, or the version `to`, champion again. Needs neither training code nor data."""
    done = promotions.rollback(
        services.settings,
        services.registry,
        name,
        actor=caller.name,
        reason=body.reason,
        to=body.to,
        expected=body.expected,
    )
    services.champions.wake()
    return _line(done)


def _model(info: ModelInfo, standing: Standing | None) -> ModelAnswer:
    champion = standing.champion if standing else None
    refusal = standing.refusal if standing else None
    return ModelAnswer(
        name=info.name,
        family=standing.family if standing else info.tags.get("family"),
        aliases=dict(info.aliases),
        latest=info.latest,
        served=Served(version=champion.version, loaded_at=champion.loaded_at) if champion else None,
        refused=Refused(
            version=refusal.version,
            reason=refusal.reason,
            remedy=refusal.remedy,
            since=refusal.since,
            attempts=refusal.attempts,
        )
        if refusal
        else None,
        created_at=info.created_at,
        updated_at=info.updated_at,
    )


def _version(info: VersionInfo) -> VersionAnswer:
    return VersionAnswer(
        version=info.version,
        aliases=list(info.aliases),
        candidate=info.tags.get("candidate"),
        run_id=info.run_id,
        dataset_digest=info.tags.get("dataset_digest"),
        git_commit=info.tags.get("git_commit"),
        sha256=info.sha256,
        created_at=info.created_at,
        tags=dict(info.tags),
    )


def _line(line: Promotion) -> LedgerLine:
    return LedgerLine(
        id=line.id,
        model=line.name,
        kind=line.kind,
        state=line.state,
        from_version=line.from_version,
        to_version=line.to_version,
        actor=line.actor,
        reason=line.reason,
        detail=line.detail,
        report=dict(line.report) if line.report is not None else None,
        artifact_sha256=line.artifact_sha256,
        dataset_digest=line.dataset_digest,
        run_id=line.run_id,
        created_at=line.created_at,
        settled_at=line.settled_at,
    )
