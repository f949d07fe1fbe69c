"""Events over a WebSocket: what a client wants can change while it is open, and clients that may can publish.

    → {"type": "auth", "key": "…"}                          first, where the request itself had no key
    → {"type": "subscribe", "kinds": ["call", "custom.*"], "after": "e5-c9"}      no kinds: all; no after: from now on
    → {"type": "unsubscribe", "kinds": ["call"]}            no kinds: all
    → {"type": "filter", "workspace": "energy", "model": "simulated/nano"}        null: any
    → {"type": "publish", "kind": "custom.deployed", "payload": {…}, "ref": "7"}
    → {"type": "ping"}                                      ← {"type": "pong"}
    ← {"type": "event", "id": "e6-c9", "kind": "…", "at": "…", "workspace": "…", "payload": {…}}
    ← {"type": "ping", "id": "e6-c12"}                      a sign of life, and how far the stream has come
    ← {"type": "error", "detail": "…", "field": "…", "remedy": "…"}

It closes with 4401 where the key is missing or not valid any more, with 4403 where it may not, with 1008 after a
message that is none, with 1009 after one that is too large, with 1012 when the process ends, and with 1013 when too
many listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from serving import problems
from serving.access import ROLES, Caller
from serving.dependencies import GatewayServices
from serving.event_feed import Listener
from serving.event_publishing import publish
from serving.event_scope import Interest, parse_kinds, sees
from serving.llm_scope import Scope, scope_of
from store.errors import AccessDenied, InvalidValue, MeritError, ServiceUnavailable, WrongType
from store.event_log import Cursor, parse_cursor

PROTOCOL = "merit.events"
# A browser cannot set headers; a key in the address would be in every log on the way.
KEY_PROTOCOL = "merit.key."
LARGEST_BYTES = 65_536
_AUTH_SECONDS = 10.0
_UNAUTHORISED, _FORBIDDEN, _BAD, _LARGE, _RESTART, _BUSY = 4401, 4403, 1008, 1009, 1012, 1013


class Closed(Exception):
    """The connection is to be closed, with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class EventSocket:
    """One connection."""

    def __init__(self, websocket: WebSocket, services: GatewayServices) -> None:
        self._websocket = websocket
        self._services = services
        self._heartbeat = services.settings.events_heartbeat_seconds
        self._scope: Mapping[str, Any] = websocket.scope
        self._caller: Caller
        self._sight: Scope
        self._interest = Interest(frozenset())
        self._listener: Listener | None = None
        self._sending: asyncio.Task[None] | None = None
        # What was sent, or looked at and not wanted: from there a client may go on.
        self._reached = Cursor()
        # Two tasks write: what one sends is never in the middle of what the other does.
        self._writing = asyncio.Lock()

    async def run(self) -> None:
        """Serve it until it is closed, by whichever side."""
        offered = self._websocket.scope.get("subprotocols", [])
        await self._websocket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        try:
            await self._authenticate(offered)
            await self._begin()
            tasks = [asyncio.create_task(one) for one in (self._read(), self._live())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancelled(*tasks)
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        except Closed as closed:
            # Whoever is gone already cannot be told.
            with suppress(RuntimeError, WebSocketDisconnect):
                await self._websocket.close(closed.code, closed.reason)
        except WebSocketDisconnect:
            pass
        finally:
            await self._stop()

    async def _authenticate(self, offered: list[str]) -> None:
        key = next((one[len(KEY_PROTOCOL) :] for one in offered if one.startswith(KEY_PROTOCOL)), None)
        if key is None and not _has_key(self._scope):
            try:
                self._caller = await self._services.access.caller(self._scope, "application")
            except AccessDenied as denied:
                key = await self._first(denied)
        if key is not None:
            header = (b"authorization", b"Bearer " + key.encode("latin-1", "replace"))
            self._scope = {**self._scope, "headers": [*self._scope["headers"], header]}
        await self._verify()
        self._sight = scope_of(self._caller)

    async def _verify(self) -> None:
        """The caller, as long as its key holds."""
        try:
            self._caller = await self._services.access.caller(self._scope, "application")
        except AccessDenied as denied:
            code = _UNAUTHORISED if problems.status_of(denied) == 401 else _FORBIDDEN
            raise Closed(code, denied.message[:120]) from None

    async def _first(self, denied: AccessDenied) -> str:
        """The key of the first message."""
        try:
            async with asyncio.timeout(_AUTH_SECONDS):
                message = await self._receive()
        except TimeoutError:
            message = {}
        key = message.get("key")
        if message.get("type") != "auth" or not isinstance(key, str):
            raise Closed(_UNAUTHORISED, denied.message[:120])
        return key

    async def _begin(self) -> None:
        """What the address asks for already."""
        query = self._websocket.query_params
        if not query:
            await self._tell({"type": "ready"})
            return
        message: dict[str, Any] = {"type": "subscribe"}
        message |= {name: query[name] for name in ("workspace", "model", "after") if name in query}
        if "kinds" in query:
            message["kinds"] = query["kinds"].split(",")
        await self._handle(message)

    async def _read(self) -> None:
        while True:
            await self._handle(await self._receive())

    async def _receive(self) -> dict[str, Any]:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            content = message.get("text")
            if content is None:
                content = message.get("bytes") or b""
            if len(content) > LARGEST_BYTES:
                raise Closed(_LARGE, f"A message has at most {LARGEST_BYTES:,} bytes.")
            try:
                given = orjson.loads(content)
            except orjson.JSONDecodeError:
                raise Closed(_BAD, "A message is a JSON object.") from None
            if not isinstance(given, dict):
                raise Closed(_BAD, "A message is a JSON object.")
            return given

    async def _handle(self, message: dict[str, Any]) -> None:
        ref = message.get("ref")
        try:
            match message.get("type"):
                case "subscribe":
                    await self._subscribe(message)
                case "unsubscribe":
                    await self._unsubscribe(message)
                case "filter":
                    self._filter(message)
                    await self._subscribed()
                case "publish":
                    await self._publish(message)
                case "ping":
                    await self._tell({"type": "pong", "ref": ref})
                case "pong":
                    pass
                case other:
                    raise InvalidValue(
                        f"{str(other)[:50]!r} is no type of a message.",
                        remedy="Send subscribe, unsubscribe, filter, publish or ping.",
                        field="type",
                    )
        except ServiceUnavailable as error:
            if self._listener is None and message.get("type") == "subscribe":
                raise Closed(_BUSY, error.message[:120]) from None
            await self._tell(_problem(error, ref))
        except MeritError as error:
            await self._tell(_problem(error, ref))

    async def _subscribe(self, message: Mapping[str, Any]) -> None:
        kinds = _kinds(message)
        after = message.get("after")
        cursor = None if after is None else parse_cursor(str(after))
        if "workspace" in message or "model" in message:
            self._filter(message)
        wanted = (self._interest.kinds or frozenset()) | kinds
        self._interest = Interest(parse_kinds(wanted), self._interest.workspace, self._interest.model)
        if self._listener is not None and cursor is None:
            await self._subscribed()
            return
        await self._stop()
        self._listener, unknown = await self._services.llm.events.listen(cursor)
        self._reached = self._listener.cursor
        await self._subscribed()
        if unknown:
            await self._tell({"type": "reset", "id": str(self._reached)})
        self._sending = asyncio.create_task(self._send(self._listener))

    async def _unsubscribe(self, message: Mapping[str, Any]) -> None:
        before = self._interest.kinds or frozenset()
        left = before - _kinds(message) if message.get("kinds") is not None else frozenset()
        self._interest = Interest(left, self._interest.workspace, self._interest.model)
        await self._subscribed()

    def _filter(self, message: Mapping[str, Any]) -> None:
        given = {name: message.get(name) for name in ("workspace", "model")}
        for name, value in given.items():
            if value is not None and (not isinstance(value, str) or not 0 < len(value) <= 256):
                raise WrongType(f"{name} is not a text of 1 to 256 characters.", remedy="Correct it.", field=name)
        # A workspace that is another's is refused rather than silent.
        scope_of(self._caller, given["workspace"])
        self._interest = Interest(self._interest.kinds, given["workspace"], given["model"])

    async def _publish(self, message: Mapping[str, Any]) -> None:
        if ROLES[self._caller.role] < ROLES["analyst"]:
            raise AccessDenied(
                f"The key {self._caller.name!r} has the role {self._caller.role}; this needs analyst.",
                remedy="Use a key of the role analyst.",
                field="role",
            )
        kind, payload = message.get("kind"), message.get("payload", {})
        if not isinstance(kind, str) or not isinstance(payload, dict):
            raise WrongType(
                "What is published has a kind, a text, and a payload, an object.", remedy="Correct it.", field="kind"
            )
        workspace = message.get("workspace")
        if workspace is not None and not isinstance(workspace, str):
            raise WrongType("workspace is not a text.", remedy="Correct it, or leave it out.", field="workspace")
        number = await publish(self._services.settings, self._caller, kind, payload, workspace)
        await self._tell({"type": "published", "event": number, "ref": message.get("ref")})

    async def _subscribed(self) -> None:
        interest = self._interest
        await self._tell(
            {
                "type": "subscribed",
                "kinds": sorted(interest.kinds or ()),
                "workspace": interest.workspace,
                "model": interest.model,
                "id": self._place(),
            }
        )

    async def _send(self, listener: Listener) -> None:
        while True:
            for cursor, entry in await listener.take(3600.0):
                if sees(self._sight, entry) and self._interest.wants(entry):
                    await self._write(b'{"type":"event","id":"%b",%b}' % (str(cursor).encode(), entry.json))
                self._reached = cursor
            if self._services.llm.events.ended:
                return

    async def _live(self) -> None:
        """Signs of life, and whether the key still holds."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat):
                    await self._services.llm.events.over.wait()
            if self._services.llm.events.ended:
                raise Closed(_RESTART, "The server ends; go on from the last id with another.")
            with suppress(ServiceUnavailable):  # whether it holds is known again when the database answers
                await self._verify()
            if self._sending is not None and self._sending.done():
                self._sending.result()
            await self._tell({"type": "ping", "id": self._place()})

    def _place(self) -> str | None:
        return None if self._listener is None else str(self._reached)

    async def _stop(self) -> None:
        sending, self._sending = self._sending, None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        if sending is not None:
            await _cancelled(sending)
            if not sending.cancelled():
                sending.exception()  # whoever is gone is told nothing

    async def _tell(self, message: Mapping[str, Any]) -> None:
        await self._write(orjson.dumps(message))

    async def _write(self, message: bytes) -> None:
        async with self._writing:
            await self._websocket.send_text(message.decode())


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _has_key(scope: Mapping[str, Any]) -> bool:
    return any(name in (b"authorization", b"x-api-key") for name, _ in scope["headers"])


def _kinds(message: Mapping[str, Any]) -> frozenset[str]:
    kinds = message.get("kinds")
    if kinds is None:
        return frozenset(("*",))
    if not isinstance(kinds, list):
        raise WrongType("kinds is not a list of texts.", remedy='Send for example ["call"].', field="kinds")
    return parse_kinds(kinds) or frozenset()


def _problem(error: MeritError, ref: Any) -> dict[str, Any]:
    told = {"type": "error", "detail": error.message, "field": error.field, "remedy": error.remedy, "ref": ref}
    return {"status": problems.status_of(error), **told}
