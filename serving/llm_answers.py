"""Answers of the gateway as HTTP: OpenAI's shape, plus what the gateway adds in headers and in the field `merit`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving import problems
from store.errors import GatewayError

if TYPE_CHECKING:
    from gateway.call.run import Run
    from gateway.call.streaming import Streamed
    from gateway.gateway import Answered, Gateway

DONE = b"data: [DONE]\n\n"


class JsonBytes(Response):
    """JSON that is written already, with headers that are bytes already."""

    def __init__(self, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            *headers,
        ]


def headers_of(run: Run) -> list[tuple[bytes, bytes]]:
    """What the gateway says about a call before its end."""
    headers = [
        (b"x-merit-id", run.prompt.id.encode()),
        (b"x-merit-attempts", b"%d" % run.tried),
        (b"x-merit-cache", (run.cache or ("off" if run.cache_key is None else "miss")).encode()),
    ]
    if run.current is not None:
        headers.append((b"x-merit-model", _latin(run.current.model.id)))
    if run.decision is not None:
        headers.append((b"x-merit-strategy", _latin(run.decision.strategy)))
    if run.ticket is not None:
        headers += [(name.encode(), value.encode()) for name, value in run.ticket.headers.items()]
    return headers


def whole_headers(run: Run) -> list[tuple[bytes, bytes]]:
    """What the gateway says about a call that has ended."""
    return [*headers_of(run), (b"x-merit-cost", b"%.9f" % (run.cost / 1e9))]


class BookedAnswer(JsonBytes):
    """A whole answer that is booked once it is sent: nobody waits for the writing down.

    Parameters
    ----------
    body : in the caller's shape.
    """

    def __init__(self, gateway: Gateway, answered: Answered, body: Mapping[str, Any]) -> None:
        run = answered.run
        super().__init__(orjson.dumps({**body, "merit": run.merit()}), whole_headers(run))
        self._gateway = gateway
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._gateway.book(self._answered)


async def whole(
    gateway: Gateway, answered: Answered, shape: Callable[[Answered], Mapping[str, Any]] = attrgetter("body")
) -> Response:
    """A whole answer, in OpenAI's shape unless another one is given."""
    try:
        return BookedAnswer(gateway, answered, shape(answered))
    except BaseException:
        await gateway.book(answered)
        raise


async def openai_events(streamed: Streamed) -> AsyncGenerator[bytes]:
    """The frames of a streamed answer in OpenAI's shape.

    The first one holds `merit` with the id and the model, the last one all of it, the cost among it: the one with the
    usage where the caller asked for that (`stream_options.include_usage`), else the one that says why the answer ended,
    which waits for the provider's end. A provider that breaks off gives an event with `error`, and no `[DONE]`.
    """
    run = streamed.run
    asked = run.prompt.body.get("stream_options")
    wants_usage = isinstance(asked, Mapping) and bool(asked.get("include_usage"))
    first: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    ending: dict[str, Any] | None = None
    pieces = streamed.pieces()
    try:
        async for piece in pieces:
            chunk = piece.chunk
            if chunk is None:
                continue
            choices = chunk.get("choices")
            if not choices and "usage" in chunk:
                last = chunk
                continue
            if ending is not None:
                yield _frame(ending)
                ending = None
            if first is None:
                first = chunk
                model = run.current.model.id if run.current is not None else None
                chunk = {**chunk, "merit": {"id": run.prompt.id, "model": model}}
            if not wants_usage and choices and choices[0].get("finish_reason"):
                ending = chunk
                continue
            yield _frame(chunk)
    except GatewayError as error:
        if ending is not None:
            yield _frame(ending)
        yield _frame({"error": problems.openai_error(error)})
        return
    finally:
        await pieces.aclose()
    if ending is not None:
        yield _frame({**ending, "merit": run.merit()})
    if wants_usage:
        frame = dict(last or {**_bare(first), "object": "chat.completion.chunk", "choices": []})
        frame["usage"] = frame.get("usage") or run.usage.as_openai()
        frame["merit"] = run.merit()
        yield _frame(frame)
    yield DONE


def _frame(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _bare(chunk: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: chunk[name] for name in ("id", "created", "model") if name in chunk} if chunk else {}


def _latin(text: str) -> bytes:
    return text.encode("latin-1", "replace")
