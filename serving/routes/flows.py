"""Trigger a flow and follow its run."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.dependencies import Analyst, ServicesDep
from serving.flow_runs import FlowRun
from serving.moments import Moment

router = APIRouter(prefix="/v1/flows", tags=["Flows"])


class RunRequest(BaseModel):
    """What to run a flow with."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the flow; those left out keep the deployment's defaults"
    )


class RunAnswer(BaseModel):
    """A flow run as the Prefect server tells it."""

    id: str
    name: str
    state: str = Field(description="SCHEDULED, PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, CRASHED, …")
    state_name: str
    finished: bool
    message: str | None
    parameters: dict[str, Any]
    created_at: Moment | None
    started_at: Moment | None
    ended_at: Moment | None


def _answer(run: FlowRun) -> RunAnswer:
    return RunAnswer(
        id=run.id,
        name=run.name,
        state=run.state,
        state_name=run.state_name,
        finished=run.finished,
        message=run.message,
        parameters=dict(run.parameters),
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


@router.post("/{name}/runs", status_code=201, summary="Run a flow")
async def trigger(
    name: Annotated[str, Path(description="Name of a deployment", examples=["train-churn"])],
    services: ServicesDep,
    caller: Analyst,
    response: Response,
    body: Annotated[RunRequest | None, Body(openapi_examples={"defaults": {"value": {"parameters": {}}}})] = None,
) -> RunAnswer:
    """Schedules a run on the Prefect server; a worker picks it up. 404 lists the flows there are."""
    run = await services.prefect.trigger(name, body.parameters if body else {}, caller.name)
    response.headers["Location"] = f"/v1/flows/runs/{run.id}"
    return _answer(run)


@router.get("/runs/{run_id}", summary="State of a flow run")
async def read(run_id: UUID, services: ServicesDep, _: Analyst) -> RunAnswer:
    """Where a run stands: its state, the reason for it, and when it began and ended."""
    return _answer(await services.prefect.run(run_id))
