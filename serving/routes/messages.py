"""Anthropic's API on the gateway: messages and the count of their tokens, for clients that speak that format."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from serving import problems
from serving.dependencies import GatewayServices
from serving.direct import DirectRoute, documented
from serving.llm_answers import JsonBytes, headers_of, whole
from serving.prompts import prompt_of, read_json
from serving.routes.chat import MeritField
from serving.streams import ClientGone, EventStream, unless_gone
from store.errors import GatewayError

if TYPE_CHECKING:
    from gateway.call.streaming import Streamed
    from gateway.gateway import Answered

router = APIRouter(prefix="/v1", tags=["LLM gateway"], route_class=DirectRoute)


class MessagesRequest(BaseModel):
    """A request as Anthropic describes it; every further field of theirs passes to a provider that speaks it."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="auto, cheapest, best, private, provider/model, …")
    max_tokens: int
    messages: list[dict[str, Any]]
    stream: bool | None = None
    merit: MeritField | None = None


_HELLO = {"model": "auto", "max_tokens": 200, "messages": [{"role": "user", "content": "Name three rivers in France."}]}
_EXAMPLES = {"a question": {"value": _HELLO}}


@router.post(
    "/messages",
    summary="Answer a message, in Anthropic's format",
    openapi_extra=documented(MessagesRequest, _EXAMPLES),
    response_model=None,
)
async def messages(request: Request) -> Response | EventStream:
    """Anthropic's messages, streamed with `"stream": true`. Any model may answer; one that speaks the format itself
    gets the request untouched. Headers tell what the gateway adds, as for chat completions."""
    from gateway.call.providers.anthropic_answer import to_anthropic_answer
    from gateway.call.providers.anthropic_caller import from_anthropic_request

    services: GatewayServices = request.app.state.services
    caller = await services.access.caller(request.scope, "application")
    native = await read_json(request)
    merit = native.pop("merit", None)
    body = from_anthropic_request(native)
    if merit is not None:
        body["merit"] = merit
    prompt = prompt_of(body, caller, request_id=request.scope.get("request_id"))
    prompt = replace(prompt, wire="anthropic", native=native)
    try:
        if prompt.stream:
            streamed = await unless_gone(request.receive, services.gateway.stream(prompt))
            return EventStream(anthropic_events(streamed), headers_of(streamed.run))
        answered = await unless_gone(request.receive, services.gateway.ask(prompt))
    except ClientGone:
        return Response(status_code=499)

    def shape(answered: Answered) -> Mapping[str, Any]:
        return answered.native or to_anthropic_answer(answered.body, usage=answered.run.usage)

    return await whole(services.gateway, answered, shape)


@router.post(
    "/messages/count_tokens",
    summary="Count a message's tokens, in Anthropic's format",
    openapi_extra=documented(MessagesRequest, _EXAMPLES),
    response_model=None,
)
async def count_tokens(request: Request) -> Response:
    """Counted offline, before any model is chosen: an estimate for models with a vocabulary of their own."""
    from gateway.account.tokens import count_prompt
    from gateway.call.providers.anthropic_caller import from_anthropic_request

    services: GatewayServices = request.app.state.services
    await services.access.caller(request.scope, "application")
    native = await read_json(request)
    native.pop("merit", None)
    native.setdefault("max_tokens", 1)
    return JsonBytes(orjson.dumps({"input_tokens": count_prompt(from_anthropic_request(native), "chat")}))


async def anthropic_events(streamed: Streamed) -> AsyncGenerator[bytes]:
    """The events of a streamed answer in Anthropic's format. A provider that breaks off gives an event `error`."""
    from gateway.call.providers.anthropic_events import AnthropicEncoder

    run = streamed.run
    model = run.current.model.id if run.current is not None else run.prompt.model
    encoder = AnthropicEncoder(model, run.task.input_tokens)
    pieces = streamed.pieces()
    try:
        async for piece in pieces:
            for event in encoder.encode(piece):
                yield _event(event)
    except GatewayError as error:
        for event in encoder.fail(str(error), str(problems.openai_error(error)["type"])):
            yield _event(event)
        return
    finally:
        await pieces.aclose()
    for event in encoder.finish(run.usage):
        yield _event(event)


def _event(event: tuple[str, dict[str, Any]]) -> bytes:
    name, data = event
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"
