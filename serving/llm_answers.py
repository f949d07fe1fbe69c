"""Answers of the gateway as HTTP: OpenAI's shape, plus what the gateway adds in headers and in the field `merit`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response

from serving import problems
from store.errors import GatewayError

if TYPE_CHECKING:
    from gateway.call.run import Run
    from gateway.call.streaming import Streamed
    from gateway.gateway import Answered

DONE = b"data: [DONE]\n\n"


class JsonBytes(Response):
    """JSON that is written already."""

    media_type = "application/json"


def headers_of(run: Run) -> dict[str, str]:
    """What the gateway says about a call before its end."""
    headers = {
        "x-merit-id": run.prompt.id,
        "x-merit-attempts": str(len(run.attempts)),
        "x-merit-cache": run.cache or "miss",
    }
    if run.current is not None:
        headers["x-merit-model"] = _latin(run.current.model.id)
    if run.decision is not None:
        headers["x-merit-strategy"] = _latin(run.decision.strategy)
    return headers if run.ticket is None else headers | run.ticket.headers


def whole(answered: Answered) -> Response:
    """A whole answer in OpenAI's shape."""
    run = answered.run
    headers = headers_of(run)
    headers["x-merit-cost"] = f"{run.cost / 1e9:.9f}"
    return JsonBytes(orjson.dumps({**answered.body, "merit": run.merit()}), headers=headers)


async def openai_events(streamed: Streamed) -> AsyncGenerator[bytes]:
    """The frames of a streamed answer in OpenAI's shape.

    The first one holds `merit` with the id and the model. Where the caller asked for the usage
    (`stream_options.include_usage`), the last one holds it and `merit` with the cost. A provider that breaks off gives
    an event with `error`, and no `[DONE]`.
    """
    run = streamed.run
    asked = run.prompt.body.get("stream_options")
    wants_usage = isinstance(asked, Mapping) and bool(asked.get("include_usage"))
    first: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    pieces = streamed.pieces()
    try:
        async for piece in pieces:
            chunk = piece.chunk
            if chunk is None:
                continue
            if not chunk.get("choices") and "usage" in chunk:
                last = chunk
                continue
            if first is None:
                first = chunk
                model = run.current.model.id if run.current is not None else None
                chunk = {**chunk, "merit": {"id": run.prompt.id, "model": model}}
            yield b"data: " + orjson.dumps(chunk) + b"\n\n"
    except GatewayError as error:
        yield b"data: " + orjson.dumps({"error": problems.openai_error(error)}) + b"\n\n"
        return
    finally:
        await pieces.aclose()
    if wants_usage:
        frame = dict(last or {**_bare(first), "object": "chat.completion.chunk", "choices": []})
        frame["usage"] = frame.get("usage") or run.usage.as_openai()
        frame["merit"] = run.merit()
        yield b"data: " + orjson.dumps(frame) + b"\n\n"
    yield DONE


def _bare(chunk: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: chunk[name] for name in ("id", "created", "model") if name in chunk} if chunk else {}


def _latin(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
