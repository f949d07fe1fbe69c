"""The simulated provider as a server: `uvicorn serving.simulated_provider:create_app --factory --port 8100`.

Plain ASGI, since benchmarks of the gateway measure against it. Under `/v1` it speaks OpenAI's and Anthropic's shape,
under `/v1beta` Gemini's; `/local/v1` is the same server as if it ran on the own machines. `MERIT_SIMULATOR_SPEED`
divides every delay (20; 0: none at all), `MERIT_SIMULATOR_SEED` decides every answer, `MERIT_SIMULATOR_FAILURES` scales
the share of calls that fail by themselves. What was tuned is kept in `MERIT_SIMULATOR_FOLDER`, where one is given.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from gateway.simulated import anthropic_shape, gemini_shape, openai_shape
from gateway.simulated.asked import Refused
from gateway.simulated.exchange import ANTHROPIC, GEMINI, JSON, OPENAI, Exchange
from gateway.simulated.provider import SPEED, SimulatedProvider
from serving import simulated_tuning
from serving.simulator_control import control
from store.errors import SettingsError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Under which path which provider is.
_PLACES = {
    "/v1": "simulated",
    "/v1beta": "simulated",
    "/local/v1": "simulated-local",
    "/local/v1beta": "simulated-local",
}
_MOST_BYTES = 64 * 1024 * 1024
# Shorter waits are added up: a sleep is not that exact.
_SHORTEST = 0.002


class SimulatedProviderApp:
    """The ASGI application around a `SimulatedProvider`."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self.provider = provider

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path.startswith("/simulator/"):
            body = await _body(receive)
            client = (scope.get("client") or ("",))[0]
            status, content = control(
                self.provider, scope["method"], path, scope["query_string"].decode(), body, client
            )
            await _whole(send, status, content)
        elif simulated_tuning.concerns(scope["method"], path):
            body = await _body(receive)
            kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
            query = scope["query_string"].decode()
            await _whole(send, *simulated_tuning.answer(self.provider.tuning, scope["method"], path, query, kind, body))
        elif scope["method"] == "GET":
            await _whole(send, *self._get(path))
        else:
            await self._post(path, scope, receive, send)

    def _get(self, path: str) -> tuple[int, Any]:
        if path in ("/healthz", "/"):
            return 200, {"status": "ok"}
        place, _, rest = path.rpartition("/models")
        provider = _PLACES.get(place)
        if provider is None:
            return _nothing(path)
        if path.startswith(("/v1beta", "/local/v1beta")):
            offered = self.provider.models.offered(provider)
            return 200, {"models": [{"name": f"models/{name}", "displayName": name} for name, _ in offered]}
        listed = self.provider.models.listing(provider)
        if not rest:
            return 200, {"object": "list", "data": listed}
        found = next((one for one in listed if one["id"] == rest.strip("/")), None)
        return (200, found) if found else _nothing(path)

    async def _post(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return
        exchange = self._exchange(path, scope, body)
        if exchange is None:
            await _whole(send, *_nothing(path))
            return
        step = exchange.steps[0] if len(exchange.steps) == 1 else None
        if step is not None and not step.wait and not exchange.ending:
            # Nothing to wait for, and nobody to look out for.
            exchange.book(step.tokens, True)
            await send({"type": "http.response.start", "status": exchange.status, "headers": exchange.headers})
            await send({"type": "http.response.body", "body": step.data})
            return
        await _play(exchange, receive, send)

    def _exchange(self, path: str, scope: Scope, body: bytes) -> Exchange | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        call = _named(headers)
        for ending, shape, parse in (
            ("/chat/completions", OPENAI, openai_shape.parse),
            ("/messages", ANTHROPIC, anthropic_shape.parse),
        ):
            if path.endswith(ending) and (provider := _PLACES.get(path.removesuffix(ending))):
                return self.provider.chat(shape, provider, parse, body, call)
        if path.endswith("/embeddings") and (provider := _PLACES.get(path.removesuffix("/embeddings"))):
            return self.provider.embeddings(provider, body, call)
        place, _, named = path.rpartition("/models/")
        model, _, action = named.partition(":")
        if (provider := _PLACES.get(place)) and action in ("generateContent", "streamGenerateContent"):
            parse = partial(gemini_shape.parse, model=model, streamed=action.startswith("stream"))
            return self.provider.chat(GEMINI, provider, parse, body, call)
        return None


def create_app(environment: Mapping[str, str] | None = None) -> SimulatedProviderApp:
    """The server, with settings from the environment.

    Raises
    ------
    SettingsError : a setting is no number, or negative.
    """
    given = os.environ if environment is None else environment
    failures = _number(given, "MERIT_SIMULATOR_FAILURES", -1.0)
    return SimulatedProviderApp(
        SimulatedProvider(
            seed=int(_number(given, "MERIT_SIMULATOR_SEED", 7.0)),
            speed=_number(given, "MERIT_SIMULATOR_SPEED", SPEED),
            failures=None if failures < 0 else failures,
            folder=Path(folder) if (folder := given.get("MERIT_SIMULATOR_FOLDER")) else None,
        )
    )


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise SettingsError(
            f"{name}={text!r} is not a number of 0 or more.", remedy=f"Correct or unset {name}.", field=name, value=text
        )
    return value


async def _play(exchange: Exchange, receive: Receive, send: Send) -> None:
    """Send the steps in their time, and notice when the client goes away: then what was made by then is charged."""
    gone = asyncio.ensure_future(_gone(receive))
    made, owed, begun, booked = 0, 0.0, False, False
    try:
        for step in exchange.steps:
            owed += step.wait
            if owed >= _SHORTEST:
                await asyncio.wait((gone,), timeout=owed)
                owed = 0.0
            elif begun:
                await asyncio.sleep(0)
            if gone.done():
                exchange.book(made, False)
                return
            if step.books:
                exchange.book(step.tokens, True)
                booked = True
            if not begun:
                await send({"type": "http.response.start", "status": exchange.status, "headers": exchange.headers})
                begun = True
            await send({"type": "http.response.body", "body": step.data, "more_body": True})
            made = step.tokens
        if exchange.ending == "hang":
            await gone
        elif not exchange.ending:
            await send({"type": "http.response.body", "body": b""})
        # Otherwise the server sees an answer without an end, and closes the connection.
        if begun and not booked:
            exchange.book(made, exchange.ending == "")
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where the client went away before its end, or sends more than anybody should."""
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        return bytes(message.get("body", b""))
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] == "http.disconnect" or sum(map(len, parts)) > _MOST_BYTES:
            return None
    return b"".join(parts) if message["type"] == "http.request" else None


async def _whole(send: Send, status: int, content: Any) -> None:
    kind, body = (b"application/octet-stream", content) if isinstance(content, bytes) else (JSON, orjson.dumps(content))
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _nothing(path: str) -> tuple[int, Any]:
    refused = Refused(404, "invalid_request_error", f"There is nothing at {path[:200]}.")
    return 404, orjson.loads(openai_shape.error(refused))


def _named(headers: list[tuple[bytes, bytes]]) -> str | None:
    """What the client calls its request."""
    found: str | None = None
    for name, value in headers:
        if name == b"x-merit-call":
            return value.decode("latin-1")
        if name == b"x-request-id":
            found = value.decode("latin-1")
    return found


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
