"""The gateway explained: a decision without the call, the calls that were made, providers, health, ensembles."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from serving import llm_runs, llm_state
from serving.dependencies import Analyst, Application, GatewayDep, GatewayServices
from serving.direct import DirectRoute, documented
from serving.known_query import ONLY_KNOWN
from serving.llm_answers import JsonBytes
from serving.llm_runs import RunDetail, RunPage
from serving.llm_scope import scope_of
from serving.llm_state import EnsembleList, HealthAnswer, ProviderList
from serving.moments import GivenMoment
from serving.prompts import prompt_of, read_json
from serving.routes.chat import ChatRequest

router = APIRouter(prefix="/v1/llm", tags=["LLM gateway"], dependencies=[ONLY_KNOWN])
direct = APIRouter(prefix="/v1/llm", tags=["LLM gateway"], route_class=DirectRoute)

Name = Annotated[str | None, Query(max_length=256)]
Outcome = Literal["ok", "cached", "failed", "broken", "cancelled", "refused", "unknown"]

_ASKED = [{"role": "user", "content": "Write a function that reverses a linked list."}]
_DRY: dict[str, Any] = {
    "balanced": {"value": {"model": "auto", "messages": _ASKED}},
    "within limits": {"value": {"model": "cheapest", "messages": _ASKED, "merit": {"min_quality": 0.5}}},
}


@direct.post(
    "/route", summary="Decide without the call", openapi_extra=documented(ChatRequest, _DRY), response_model=None
)
async def route(request: Request) -> Response:
    """Which model would answer this chat, and why: the task as it is understood, every candidate with its score and
    expected quality, cost and time, and the limit that excludes each of the others.

    Takes what `POST /v1/chat/completions` or `POST /v1/embeddings` takes; what was said in a `merit.conversation`
    counts. Nothing is called, spent or written.
    """
    services: GatewayServices = request.app.state.services
    caller = await services.access.caller(request.scope, "application")
    body = await read_json(request)
    kind: Literal["chat", "embeddings"] = "embeddings" if "input" in body and "messages" not in body else "chat"
    prompt = prompt_of(body, caller, kind=kind, request_id=request.scope.get("request_id"))
    return JsonBytes(orjson.dumps((await services.gateway.look(prompt)).explain()))


@router.get("/runs", summary="List calls")
def runs(
    services: GatewayDep,
    caller: Application,
    model: Annotated[str | None, Query(description="Only of this model", max_length=256)] = None,
    provider: Name = None,
    outcome: Annotated[Outcome | None, Query(description="Only those that ended so")] = None,
    strategy: Annotated[str | None, Query(description="auto, cheapest, ensemble, …", max_length=32)] = None,
    user: Annotated[str | None, Query(description="Only for this person", max_length=256)] = None,
    project: Name = None,
    key: Annotated[str | None, Query(description="Only with this key, by its id", max_length=32)] = None,
    task: Annotated[str | None, Query(description="Only tasks of this domain", max_length=32)] = None,
    complexity: Annotated[str | None, Query(max_length=16)] = None,
    conversation: Annotated[str | None, Query(description="Only of this conversation", max_length=64)] = None,
    batch: Annotated[str | None, Query(description="Only of this batch", max_length=64)] = None,
    parent: Annotated[str | None, Query(description="Members of this ensemble's call", max_length=32)] = None,
    request_id: Annotated[str | None, Query(max_length=64)] = None,
    workspace: Annotated[
        str | None, Query(description="Only of this one; keys of a workspace see no other", max_length=256)
    ] = None,
    since: Annotated[GivenMoment | None, Query(description="Asked at or after this moment, UTC unless it says")] = None,
    until: Annotated[GivenMoment | None, Query(description="Asked before this moment")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=80)] = None,
) -> RunPage:
    """Newest first, every call that has ended by now among them. A key of the role application sees the calls that it
    made itself; other keys those of their workspace."""
    scope = scope_of(caller, workspace)
    filters = scope.filters(
        model=model,
        provider=provider,
        outcome=outcome,
        strategy=strategy,
        user=user,
        project=project,
        key=key,
        task=task,
        complexity=complexity,
        conversation=conversation,
        batch=batch,
        parent=parent,
        request_id=request_id,
    )
    return llm_runs.page(services, scope, filters=filters, since=since, until=until, limit=limit, cursor=cursor)


@router.get("/runs/{run_id}", summary="Everything about a call")
def run(
    run_id: Annotated[str, Path(description="`merit.id` of an answer", pattern="^[0-9a-f]{32}$")],
    services: GatewayDep,
    caller: Application,
) -> RunDetail:
    """The decision with its reason, every attempt, tokens, cost, votes, feedback; and the words, where the workspace
    keeps them, for the key that said them and for admins."""
    return llm_runs.detail(services, scope_of(caller), caller, run_id)


@router.get("/providers", summary="Providers")
async def providers(services: GatewayDep, _: Analyst) -> ProviderList:
    """Every provider that may be called: where it is, its models, its health, its circuit breaker. Never a key."""
    parts, opened = services.gateway.parts, services.llm.opened
    configuration = parts.configuration
    error = opened.reloader.error if opened is not None else None
    return ProviderList(
        providers=llm_state.providers(parts),
        source=configuration.source,
        digest=configuration.digest,
        notes=list(configuration.notes),
        error=None if error is None else error.message,
    )


@router.get("/health", summary="How the models are")
async def health(services: GatewayDep, _: Analyst) -> HealthAnswer:
    """Of every model: calls of the last five minutes, share answered, time to the whole answer and to the first token,
    tokens per second, failures by kind, and the state of its circuit breaker."""
    return HealthAnswer(models=llm_state.health(services.gateway.parts))


@router.get("/ensembles", summary="Ensembles")
async def ensembles(services: GatewayDep, _: Application) -> EnsembleList:
    """Rules by which several models answer together, and the ensembles that are configured."""
    return EnsembleList(ensembles=llm_state.ensembles(services.gateway.parts))
