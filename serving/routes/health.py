"""Whether the process is alive, and whether it can do its work."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from models.families import FAMILIES
from serving.champions import Standing
from serving.dependencies import Services, ServicesDep
from serving.llm_readiness import conditions
from store.database import engine
from store.errors import MeritError

router = APIRouter(tags=["Health"])

PATIENCE_SECONDS = 3.0


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Check(BaseModel):
    """One thing that the API needs."""

    name: str = Field(examples=["model churn"])
    ok: bool
    required: bool = Field(True, description="Whether it must be ok: a family that nobody has promoted yet need not be")
    detail: str
    remedy: str = Field("", description="What to run or to look at; empty when all is well")


class Readiness(BaseModel):
    """Whether requests can be answered, and what stands in the way."""

    ready: bool
    checks: list[Check]


@router.get("/healthz", summary="Is the process alive?")
async def alive() -> Alive:
    """Answers as long as the process does; looks at nothing else."""
    return Alive()


@router.get("/readyz", summary="Can it answer?", responses={503: {"model": Readiness, "description": "Not ready"}})
async def ready(
    services: ServicesDep,
    response: Response,
    models: Annotated[
        list[str] | None,
        Query(description="Models that must be served; default: every one that has a champion, and at least one"),
    ] = None,
    gateway: Annotated[
        bool | None,
        Query(
            description="Whether the LLM gateway must run; default: where it was opened. With true, champions need "
            "not be there unless `models` asks for them"
        ),
    ] = None,
) -> Readiness:
    """503 until the champions are loaded, and whenever the database or the registry does not answer.

    A family that nobody has promoted yet is told and does not stand in the way. A refused version makes it not ready
    only when no earlier version is there to serve. A gateway that runs must be able to: its ledger must be written, its
    Redis must answer. One that a wrong configuration keeps closed is told, and predictions are answered still.
    """
    database, *rest = await asyncio.gather(_database(services), _registry(services))
    champions = _models(services, [] if gateway and models is None else models)
    checks = [database, *rest, _predictions(services), *await _gateway(services, gateway), *champions]
    answer = Readiness(ready=all(check.ok or not check.required for check in checks), checks=checks)
    response.status_code = 200 if answer.ready else 503
    response.headers["Cache-Control"] = "no-store"
    return answer


async def _database(services: Services) -> Check:
    def ask() -> None:
        with engine(services.settings).execution_options(readonly=True).connect() as connection:
            connection.execute(sa.text("SELECT count(*) FROM api_keys")).scalar()

    return await _asked("database", ask)


async def _registry(services: Services) -> Check:
    def ask() -> None:
        services.registry.alias("churn", "champion")

    return await _asked("registry", ask)


async def _asked(name: str, ask: Any) -> Check:
    try:
        await asyncio.wait_for(asyncio.to_thread(ask), PATIENCE_SECONDS)
    except TimeoutError:
        reason = f"The {name} did not answer within {PATIENCE_SECONDS:g} s."
    except MeritError as error:
        return Check(name=name, ok=False, detail=error.message, remedy=error.remedy)
    except Exception as error:  # noqa: BLE001  the kind of error is the answer; its text may hold an address
        reason = f"The {name} does not answer ({type(error).__name__})."
    else:
        return Check(name=name, ok=True, detail=f"The {name} answers.")
    return Check(name=name, ok=False, detail=reason, remedy="`merit doctor` tells what is wrong.")


def _predictions(services: Services) -> Check:
    state = services.predictions.state()
    detail = (
        f"{state.written:,} predictions written, {state.pending:,} waiting; "
        f"{state.waited:,} requests waited for room, {state.refused:,} were refused; "
        f"{state.unwritable:,} could not be stored."
    )
    if state.failing is None:
        return Check(name="prediction log", ok=True, detail=detail)
    return Check(
        name="prediction log",
        ok=False,
        detail=f"The last write failed ({state.failing}). {detail}",
        remedy="`merit doctor` tells what is wrong with the database.",
    )


async def _gateway(services: Services, wanted: bool | None) -> list[Check]:
    required = services.llm.runs if wanted is None else wanted
    return [
        Check(name=one.name, ok=one.ok, required=required and one.stops, detail=one.detail, remedy=one.remedy)
        async for one in conditions(services)
    ]


def _models(services: Services, wanted: list[str] | None) -> list[Check]:
    standings = services.champions.standings()
    if wanted is not None:
        known = {standing.name: standing for standing in standings}
        return [_model(services, name, known.get(name)) for name in wanted]
    promoted = {one.name for one in standings if one.promoted or one.ready}
    return [
        # With no champion at all every family is what is missing.
        _model(services, one.name, one, required=one.name in promoted or not promoted)
        for one in standings
        if one.name in FAMILIES or one.name in promoted
    ]


def _model(services: Services, name: str, standing: Standing | None, *, required: bool = True) -> Check:
    champions = services.champions
    label = f"model {name}"
    if not champions.looked:
        remedy = "Try again in a few seconds."
        return Check(name=label, ok=False, detail="It is being loaded.", remedy=remedy)
    if standing is None:
        detail, remedy = f"There is no model {name!r}.", "Look at /v1/registry/models."
        return Check(name=label, ok=False, detail=detail, remedy=remedy)
    remedy = champions.remedy(standing)
    return Check(name=label, ok=standing.ready, required=required, detail=standing.detail, remedy=remedy)
