"""Benchmarks: prompts asked of several models, with quality, cost and latency beside each other."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from gateway.improve.benchmarks.planning import MAX_TOKENS, MOST_MODELS, MOST_REPEATS, Order
from gateway.improve.benchmarks.prompts import MOST_PROMPTS, read_prompts
from gateway.improve.benchmarks.report import as_csv
from gateway.money import dollars, nanos
from serving.audited import note
from serving.dependencies import ServicesDep, WorkspaceAnalyst
from serving.llm_scope import scope_of
from serving.moments import Moment
from store import llm_benchmarks as stored
from store.llm_benchmarks import Benchmark, Result

router = APIRouter(prefix="/v1/benchmarks", tags=["LLM gateway"])

Id = Annotated[str, Path(description="Id of a benchmark", pattern="^[0-9a-f]{32}$")]
_EXAMPLE: dict[str, Any] = {
    "prompts": [{"prompt": "What is 17 * 23?", "expected": "391"}],
    "models": ["simulated/nano", "simulated/small"],
    "dry_run": True,
}


class BenchmarkRequest(BaseModel):
    """What is to be measured."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    prompts: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_PROMPTS)] = Field(
        description="Each `prompt` or `messages`, and as far as known `expected` (texts of which a right answer is "
        "one), `reference` (a good answer), `id`, `group` (prompts that are not independent share one), `system`, "
        "`response_format`, `max_tokens`"
    )
    models: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=MOST_MODELS)] = Field(
        description="Ids, strategies or ensembles", min_length=1
    )
    name: Annotated[str, Field(min_length=1, max_length=200)] = "benchmark"
    repeats: Annotated[int, Field(ge=1, le=MOST_REPEATS)] = Field(1, description="Times that each prompt is asked")
    max_cost: Annotated[float, Field(ge=0, le=1e6)] = Field(
        1.0, description="Dollars: nothing begins that is expected to cost more, and more is never spent"
    )
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        MAX_TOKENS, description="Of an answer, where the prompt says nothing of it"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        4, description="Calls at once: more is faster and slower each"
    )
    dry_run: bool = Field(False, description="Only tell what it would cost")


class CostAnswer(BaseModel):
    """Dollars."""

    expected: float
    most: float = Field(description="If every answer were as long as it may be")
    by_model: dict[str, float]


class BenchmarkAnswer(BaseModel):
    """A benchmark. Money in dollars."""

    id: str | None = Field(description="null for a dry run")
    workspace: str
    name: str
    status: Literal["planned", "running", "completed", "stopped", "failed", "cancelled"]
    models: list[str]
    prompts: int
    repeats: int
    done: int = Field(description="Answers so far")
    total: int
    cost: float = Field(description="Spent")
    max_cost: float
    expected: CostAnswer
    reason: str | None = Field(description="Why it did not come to its end")
    mlflow_run: str | None
    report: dict[str, Any] | None = Field(
        description="`models`: quality, cost and latency with 95 % intervals; `pairs`: every two models compared by a "
        "paired test, adjusted for their number (Holm)"
    )
    created_by: str | None
    created_at: Moment | None
    finished_at: Moment | None


class BenchmarkPage(BaseModel):
    """Newest first, without reports."""

    benchmarks: list[BenchmarkAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class ResultAnswer(BaseModel):
    """One answer, as numbers."""

    model: str
    prompt: int
    repeat: int
    prompt_id: str
    group: str
    domain: str | None
    call_id: str | None = Field(description="`/v1/llm/runs/{id}` tells more of it")
    answered_by: str | None
    quality: float
    scored_by: str = Field(description="expected, reference, or the scorer's name")
    cost: float = Field(description="Dollars")
    latency_ms: float | None
    input_tokens: int
    output_tokens: int
    error: str | None


class ResultList(BaseModel):
    """Every answer, by model, prompt and repeat."""

    results: list[ResultAnswer]


@router.post("", status_code=201, summary="Measure models on prompts")
async def create(
    request: Request, services: ServicesDep, caller: WorkspaceAnalyst, body: Annotated[BenchmarkRequest, Body()]
) -> BenchmarkAnswer:
    """Every prompt goes to every model through the gateway, so that budgets hold and the ledger has each call; no cache
    answers. Begins and returns; `GET /v1/benchmarks/{id}` tells how far it is. Prompts are not kept."""
    order = Order(
        name=body.name,
        prompts=await run_in_threadpool(read_prompts, body.prompts),
        models=body.models,
        repeats=body.repeats,
        max_cost=nanos(body.max_cost),
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        concurrency=body.concurrency,
    )
    benchmarks = services.llm.benchmarks
    if body.dry_run:
        return _planned(order, (await benchmarks.plan(order, caller.tenant)).to_dict(), caller.tenant.workspace)
    made = await benchmarks.start(order, caller.tenant)
    after = {"models": body.models, "prompts": len(order.prompts), "max_cost": body.max_cost}
    await run_in_threadpool(
        note, services, request, caller, "benchmark.create", made.id, workspace=made.workspace, after=after
    )
    return _answer(made)


@router.get("", summary="Benchmarks")
def page(
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    workspace: Annotated[
        str | None, Query(description="Only this one; keys of a workspace see no other", max_length=256)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=100)] = None,
) -> BenchmarkPage:
    """Newest first."""
    only = scope_of(caller, workspace).workspace
    found = stored.page(services.settings, workspace=only, limit=limit, cursor=cursor)
    return BenchmarkPage(benchmarks=[_answer(one, report=False) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{benchmark_id}", summary="One benchmark")
def read(benchmark_id: Id, services: ServicesDep, caller: WorkspaceAnalyst) -> BenchmarkAnswer:
    """How far it is, and its table once it has ended."""
    return _answer(stored.get(services.settings, benchmark_id, caller.workspace))


@router.get("/{benchmark_id}/results", summary="Every answer of a benchmark")
def results(
    benchmark_id: Id,
    services: ServicesDep,
    caller: WorkspaceAnalyst,
    format: Annotated[Literal["json", "csv"], Query(description="As what")] = "json",
) -> ResultList:
    """Numbers alone, no words: as JSON, or as CSV with one line for each answer."""
    stored.get(services.settings, benchmark_id, caller.workspace)
    found = stored.results(services.settings, benchmark_id)
    if format == "csv":
        name = f"benchmark-{benchmark_id}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(as_csv(found), media_type="text/csv", headers=headers)  # type: ignore[return-value]
    return ResultList(results=[_result(one) for one in found])


@router.post("/{benchmark_id}/cancel", summary="End a benchmark")
def cancel(benchmark_id: Id, request: Request, services: ServicesDep, caller: WorkspaceAnalyst) -> BenchmarkAnswer:
    """No more prompts are asked; there is a report over what was answered."""
    found = stored.cancel(services.settings, benchmark_id, caller.workspace)
    note(services, request, caller, "benchmark.cancel", benchmark_id, workspace=found.workspace)
    return _answer(found)


def _planned(order: Order, expected: dict[str, Any], workspace: str) -> BenchmarkAnswer:
    return BenchmarkAnswer(
        id=None, workspace=workspace, name=order.name, status="planned", models=list(order.models),
        prompts=len(order.prompts), repeats=order.repeats, done=0, total=order.total, cost=0.0,
        max_cost=dollars(order.max_cost), expected=CostAnswer(**expected), reason=None, mlflow_run=None, report=None,
        created_by=None, created_at=None, finished_at=None,
    )  # fmt: skip


def _answer(one: Benchmark, *, report: bool = True) -> BenchmarkAnswer:
    return BenchmarkAnswer(
        id=one.id,
        workspace=one.workspace,
        name=one.name,
        status=one.status,
        models=list(one.models),
        prompts=one.prompts,
        repeats=one.repeats,
        done=one.done,
        total=one.total,
        cost=dollars(one.cost),
        max_cost=dollars(one.max_cost),
        expected=CostAnswer(**one.details["expected"]),
        reason=one.details.get("reason"),
        mlflow_run=one.details.get("run"),
        report=dict(one.report) if report and one.report is not None else None,
        created_by=one.created_by,
        created_at=one.created_at,
        finished_at=one.finished_at,
    )


def _result(one: Result) -> ResultAnswer:
    shown = {name: getattr(one, name) for name in ResultAnswer.model_fields}
    return ResultAnswer(**{**shown, "cost": dollars(one.cost)})
