"""Whether a worker that is a gateway alone is alive and can be asked."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from serving.dependencies import GatewayDep
from serving.llm_readiness import conditions

router = APIRouter(tags=["Health"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Condition(BaseModel):
    """One thing that the gateway needs."""

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str


class Readiness(BaseModel):
    """Whether prompts can be answered, and what stands in the way."""

    ready: bool
    checks: list[Condition]


@router.get("/healthz", summary="Is the process alive?")
async def alive() -> Alive:
    """Answers as long as the process does; looks at nothing else."""
    return Alive()


@router.get("/readyz", summary="Can it answer?", responses={503: {"model": Readiness, "description": "Not ready"}})
async def ready(services: GatewayDep, response: Response) -> Readiness:
    """503 while the gateway does not run, its ledger is not written, or its Redis does not answer."""
    checks = [
        Condition(name=one.name, ok=one.ok, required=one.stops, detail=one.detail, remedy=one.remedy)
        async for one in conditions(services)
    ]
    answer = Readiness(ready=all(one.ok or not one.required for one in checks), checks=checks)
    response.status_code = 200 if answer.ready else 503
    response.headers["Cache-Control"] = "no-store"
    return answer
