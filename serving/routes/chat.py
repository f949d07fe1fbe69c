"""OpenAI's API on the gateway: chat completions, embeddings, models. An application changes its base URL alone."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from serving.dependencies import Application, GatewayDep, GatewayServices
from serving.direct import DirectRoute, documented
from serving.llm_answers import headers_of, openai_events, whole
from serving.prompts import prompt_of, read_json
from serving.streams import ClientGone, EventStream, unless_gone
from store.errors import UnknownLlm

router = APIRouter(prefix="/v1", tags=["LLM gateway"])
direct = APIRouter(prefix="/v1", tags=["LLM gateway"], route_class=DirectRoute)


class MeritField(BaseModel):
    """What a request may say to the gateway itself, in the field `merit`."""

    model_config = ConfigDict(extra="forbid")

    max_cost: float | None = Field(None, description="Dollars that the whole request may cost")
    max_latency_ms: float | None = Field(None, description="Expected milliseconds until the answer is whole")
    min_quality: float | None = Field(None, description="Expected quality, 0 to 1")
    capabilities: list[str] | None = Field(None, description="What the model must be able to do: code, vision, …")
    regions: list[str] | None = Field(None, description="Where the provider must keep data")
    providers: list[str] | None = Field(None, description="Only these providers")
    exclude: list[str] | None = Field(None, description="Never these providers or models")
    local_only: bool | None = Field(None, description="The prompt must not leave the own machines")
    cache: str | None = Field(None, description="off, exact or semantic; default: as the workspace says")
    conversation: str | None = Field(None, description="Id of a conversation that the gateway keeps")
    explore: bool | None = Field(None, description="Whether a little-used model may be tried")
    fallbacks: bool | None = Field(None, description="Whether another model may answer when the chosen one fails")
    timeout_s: float | None = Field(None, description="Seconds after which the answer is of no use")
    task: str | None = Field(None, description="The kind of task, where the caller knows it")
    tags: list[str] | None = Field(None, description="For analytics")
    members: list[str] | None = Field(None, description="Models of an ensemble")
    weights: dict[str, float] | None = Field(None, description="Of an ensemble's members")
    judge: str | None = Field(None, description="Model that picks the best of an ensemble's answers")


class ChatRequest(BaseModel):
    """A chat completion as OpenAI describes it; every further field of theirs passes to the provider."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="auto, cheapest, fastest, best, private, ensemble/majority, provider/model, …")
    messages: list[dict[str, Any]]
    stream: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    merit: MeritField | None = None


class EmbeddingsRequest(BaseModel):
    """Embeddings as OpenAI describes them."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: str | list[Any]
    dimensions: int | None = None
    merit: MeritField | None = None


_HELLO = [{"role": "user", "content": "Name three rivers in France."}]
_CHATS = {
    "balanced": {"value": {"model": "auto", "messages": _HELLO}},
    "within limits": {
        "value": {"model": "cheapest", "messages": _HELLO, "merit": {"max_cost": 0.01, "max_latency_ms": 60000}}
    },
    "vote": {"value": {"model": "ensemble/majority", "messages": [{"role": "user", "content": "What is 17 * 23?"}]}},
}
_EMBEDDINGS = {"texts": {"value": {"model": "auto", "input": ["a river", "a mountain"]}}}


@direct.post(
    "/chat/completions", summary="Answer a chat", openapi_extra=documented(ChatRequest, _CHATS), response_model=None
)
async def chat(request: Request) -> Response | EventStream:
    """OpenAI's chat completions, streamed with `"stream": true`. `model` is a strategy, an ensemble or a model.

    The answer is OpenAI's; the headers `x-merit-…` and the field `merit` tell which model answered, why and at what
    cost. `GET /v1/llm/runs/{id}` tells everything about the call.
    """
    services: GatewayServices = request.app.state.services
    caller = await services.access.caller(request.scope, "application")
    prompt = prompt_of(await read_json(request), caller, request_id=request.scope.get("request_id"))
    try:
        if prompt.stream:
            streamed = await unless_gone(request.receive, services.gateway.stream(prompt))
            return EventStream(openai_events(streamed), headers_of(streamed.run))
        answered = await unless_gone(request.receive, services.gateway.ask(prompt))
    except ClientGone:
        return Response(status_code=499)
    return await whole(services.gateway, answered)


@direct.post(
    "/embeddings",
    summary="Embed texts",
    openapi_extra=documented(EmbeddingsRequest, _EMBEDDINGS),
    response_model=None,
)
async def embeddings(request: Request) -> Response:
    """OpenAI's embeddings. `auto` is the cheapest model that fits; keep to one model for vectors that are compared."""
    services: GatewayServices = request.app.state.services
    caller = await services.access.caller(request.scope, "application")
    body = await read_json(request)
    prompt = prompt_of(body, caller, kind="embeddings", request_id=request.scope.get("request_id"))
    try:
        answered = await unless_gone(request.receive, services.gateway.ask(prompt))
    except ClientGone:
        return Response(status_code=499)
    return await whole(services.gateway, answered)


class ModelAnswer(BaseModel):
    """A model or a strategy, as OpenAI lists models, with what the gateway knows of it."""

    model_config = ConfigDict(extra="allow")

    id: str
    object: str = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: str = "list"
    data: list[ModelAnswer]


@router.get("/models", summary="Models and strategies")
async def models(services: GatewayDep, caller: Application) -> ModelList:
    """Strategies first, then every model that the caller's workspace may use."""
    return ModelList(data=[ModelAnswer(**one) for one in services.gateway.offered(caller.tenant)])


@router.get("/models/{model:path}", summary="One model")
async def model(model: str, services: GatewayDep, caller: Application) -> ModelAnswer:
    """What a model costs, can do, and is believed to be good at."""
    found = next((one for one in services.gateway.offered(caller.tenant) if one["id"] == model), None)
    if found is None:
        raise UnknownLlm(
            f"There is no model {model!r}.", remedy="`GET /v1/models` lists them.", field="model", value=model
        )
    return ModelAnswer(**found)
