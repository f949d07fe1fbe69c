"""OpenAI's batches on the gateway: many requests from a file, worked on beside other calls, answers in another file."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.account.files import FEWEST_SECONDS, MOST_SECONDS
from gateway.money import dollars, nanos
from serving.dependencies import Application, GatewayDep
from serving.llm_scope import scope_of
from serving.moments import unix
from serving.prompts import tenant_of
from serving.routes.files import owned
from store import llm_batches, llm_files
from store.errors import InvalidValue
from store.llm_batches import Batch

router = APIRouter(prefix="/v1", tags=["Files and batches"])

BatchId = Annotated[str, Path(pattern="^batch_[0-9a-f]{32}$", description="`id` of a batch")]
MOST_LISTED = 100


class OutputExpires(BaseModel):
    model_config = ConfigDict(extra="forbid")

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=FEWEST_SECONDS, le=MOST_SECONDS)]


class BatchMerit(BaseModel):
    """What the gateway itself wants to know of a batch."""

    model_config = ConfigDict(extra="forbid")

    priority: Annotated[int, Field(ge=0, le=9)] = Field(
        5, description="9 goes first; those below 5 wait while many other calls are under way"
    )
    max_cost: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None, description="Dollars that the whole batch may cost; what does not fit is not asked"
    )
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="The person for whom it is, where its requests name none"
    )


class BatchRequest(BaseModel):
    """A batch, as OpenAI describes it."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: Annotated[str, Field(max_length=64)]
    endpoint: Literal["/v1/chat/completions", "/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
        ]
        | None
    ) = None
    output_expires_after: OutputExpires | None = None
    merit: BatchMerit = BatchMerit()


class LineProblem(BaseModel):
    code: str
    line: int | None
    message: str
    param: str | None


class BatchErrors(BaseModel):
    """Why a batch was not begun, or was ended: the first hundred lines that are wrong, each with its number."""

    object: Literal["list"] = "list"
    data: list[LineProblem]


class Counts(BaseModel):
    total: int
    completed: int
    failed: int


class Details(BaseModel):
    cached_tokens: int = 0


class OutputDetails(BaseModel):
    reasoning_tokens: int = 0


class BatchUsage(BaseModel):
    input_tokens: int
    input_tokens_details: Details = Details()
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
    total_tokens: int


class BatchState(BaseModel):
    """What the gateway adds: `cost` in dollars so far."""

    priority: int
    max_cost: float | None
    cost: float


class BatchAnswer(BaseModel):
    """A batch, as OpenAI shows one."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: Counts
    metadata: dict[str, str] | None
    usage: BatchUsage | None
    merit: BatchState


class BatchList(BaseModel):
    """Batches, newest first; ask for those `after` the `last_id` while there are more."""

    object: Literal["list"] = "list"
    data: list[BatchAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


_NEW: dict[str, Any] = {
    "chats": {
        "value": {
            "input_file_id": f"file-{'0' * 32}",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "merit": {"priority": 3, "max_cost": 2.5},
        }
    }
}


@router.post("/batches", summary="Begin a batch")
async def create(
    body: Annotated[BatchRequest, Body(openapi_examples=_NEW)], services: GatewayDep, caller: Application
) -> BatchAnswer:
    """The file holds a JSON object a line: `custom_id`, `method` POST, `url` the endpoint, `body` the request. Every
    line is checked before the first is asked. What is answered is kept as it comes and never asked again, also after
    a crash; what is not answered after 24 hours is told in the file of errors."""
    from gateway.call.batches import Order, submit

    batches = services.llm.batches
    tenant = tenant_of(caller, body.merit.user)
    order = Order(
        body.input_file_id,
        body.endpoint,
        body.metadata or {},
        body.merit.priority,
        None if body.merit.max_cost is None else nanos(body.merit.max_cost),
        None if body.output_expires_after is None else body.output_expires_after.seconds,
    )

    def work() -> Batch:
        whose = owned(scope_of(caller), caller.name)
        file = llm_files.get(services.settings, body.input_file_id, **whose)
        if file.purpose != "batch":
            raise InvalidValue(
                f"The file {file.id} was uploaded for {file.purpose}, not for a batch.",
                remedy="Upload it with the purpose batch.",
                field="input_file_id",
                value=file.id,
            )
        return submit(services.settings, tenant, order)

    batch = await asyncio.to_thread(work)
    batches.wake(batch)
    return answer(batch)


@router.get("/batches", summary="List batches")
def listing(
    services: GatewayDep,
    caller: Application,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 20,
    after: Annotated[str | None, Query(description="`last_id` of the page before", max_length=64)] = None,
) -> BatchList:
    """A key of the role application sees those that it began, others those of their workspace."""
    page = llm_batches.batches(services.settings, **owned(scope_of(caller), caller.name), limit=limit, after=after)
    data = [answer(one) for one in page.items]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return BatchList(data=data, first_id=first, last_id=last, has_more=page.next_cursor is not None)


@router.get("/batches/{batch_id}", summary="One batch")
def one(batch_id: BatchId, services: GatewayDep, caller: Application) -> BatchAnswer:
    """How far it has come; its files are named when it has ended."""
    return answer(llm_batches.get(services.settings, batch_id, **owned(scope_of(caller), caller.name)))


@router.post("/batches/{batch_id}/cancel", summary="Cancel a batch")
async def cancel(batch_id: BatchId, services: GatewayDep, caller: Application) -> BatchAnswer:
    """No more requests are made; those under way are answered, and everything answered is in the file."""
    whose = owned(scope_of(caller), caller.name)
    batch = await asyncio.to_thread(lambda: llm_batches.cancel(services.settings, batch_id, **whose))
    if services.llm.runs:
        services.llm.batches.wake(batch)
    return answer(batch)


def answer(batch: Batch) -> BatchAnswer:
    """A batch as it is shown."""
    details = batch.details
    errors = details.get("errors")
    usage = details.get("usage")
    ended = None if batch.finished_at is None else unix(batch.finished_at)
    max_cost = details.get("max_cost")
    return BatchAnswer(
        id=batch.id,
        endpoint=batch.endpoint,
        errors=BatchErrors(data=[LineProblem(**found) for found in errors]) if errors else None,
        input_file_id=batch.input_file,
        status=batch.status,
        output_file_id=batch.output_file,
        error_file_id=batch.error_file,
        created_at=unix(batch.created_at),
        in_progress_at=None if batch.started_at is None else unix(batch.started_at),
        expires_at=None if batch.expires_at is None else unix(batch.expires_at),
        finalizing_at=_moment(details.get("finalizing_at")),
        completed_at=ended if batch.status == "completed" else None,
        failed_at=ended if batch.status == "failed" else None,
        expired_at=ended if batch.status == "expired" else None,
        cancelling_at=_moment(details.get("cancelling_at")),
        cancelled_at=ended if batch.status == "cancelled" else None,
        request_counts=Counts(total=batch.total, completed=batch.completed, failed=batch.failed),
        metadata=details.get("metadata") or None,
        usage=_usage(usage) if usage else None,
        merit=BatchState(
            priority=batch.priority,
            max_cost=None if max_cost is None else dollars(max_cost),
            cost=dollars(batch.cost),
        ),
    )


def _moment(text: str | None) -> int | None:
    return None if text is None else unix(datetime.fromisoformat(text))


def _usage(counted: dict[str, int]) -> BatchUsage:
    given, made = counted.get("prompt_tokens", 0), counted.get("completion_tokens", 0)
    return BatchUsage(
        input_tokens=given,
        output_tokens=made,
        total_tokens=counted.get("total_tokens", given + made),
        input_tokens_details=Details(cached_tokens=counted.get("cached_tokens", 0)),
        output_tokens_details=OutputDetails(reasoning_tokens=counted.get("reasoning_tokens", 0)),
    )
