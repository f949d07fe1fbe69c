"""Upstream providers for tests: real servers on a socket, well behaved or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

KEY = "sk-planted-0a1b2c3d4e5f6a7b8c9d"
OK = b"HTTP/1.1 200 OK\r\n"
EVENTS = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


@dataclass
class Exchange:
    """One request, and the means to answer it byte by byte."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self, body: Any, status: str = "200 OK", headers: str = "") -> None:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n{headers}\r\n"
        await self.send(head.encode() + raw)

    async def chunk(self, raw: bytes) -> None:
        """A chunk of a chunked answer; an empty one ends it."""
        await self.send(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")

    async def events(self, *events: Any, end: bool = True) -> None:
        """Events of a stream: objects as JSON, bytes as they are."""
        for event in events:
            await self.chunk(event if isinstance(event, bytes) else b"data: " + orjson.dumps(event) + b"\n\n")
        if end:
            await self.chunk(b"")

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        while await self.reader.read(1024):
            pass


Script = Callable[[Exchange], Awaitable[None]]


@dataclass
class Upstream:
    """A server and what it was asked.

    Attributes
    ----------
    connections : how many were ever opened.
    closed : how many the client has closed.
    """

    port: int = 0
    connections: int = 0
    closed: int = 0
    seen: list[Exchange] = field(default_factory=list)
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until(self, true: Callable[[Upstream], bool]) -> None:
        """Wait for something to have happened on the server's side."""
        async with asyncio.timeout(30), self.moved:
            await self.moved.wait_for(lambda: true(self))

    async def note(self, **changes: int) -> None:
        async with self.moved:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)
            self.moved.notify_all()


@asynccontextmanager
async def upstream(script: Script) -> AsyncIterator[Upstream]:
    """A server that answers every request by the script; a script that returns leaves the connection open."""
    server = Upstream()
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.note(connections=1)
        try:
            while exchange := await _request(reader, writer):
                server.seen.append(exchange)
                await server.note()
                await script(exchange)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            await server.note(closed=1)
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(converse(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Exchange(method, path, headers, body, reader, writer)
