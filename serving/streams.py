"""Answers sent piece by piece, and callers who go away before the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

Result = TypeVar("Result")
# Most answers are there before it is worth looking whether anybody still waits for them.
WATCH_AFTER_S = 0.1


class ClientGone(Exception):
    """The caller closed the connection; nobody reads what would be answered."""


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work, and cancel it when the caller goes away; from `WATCH_AFTER_S` on as soon as that happens.

    Raises
    ------
    ClientGone : the caller went away; the work was cancelled and has ended.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False
    watcher: asyncio.Task[None] | None = None

    def leave(done: asyncio.Task[None]) -> None:
        nonlocal gone
        if not done.cancelled():
            gone = True
            task.cancel()

    def watch() -> None:
        nonlocal watcher
        watcher = asyncio.ensure_future(_until_gone(receive))
        watcher.add_done_callback(leave)

    timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, watch)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.remove_done_callback(leave)
            watcher.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream:
    """An ASGI response of server-sent events.

    Parameters
    ----------
    frames : whole events as bytes. Closed (`aclose`) when the caller goes away.
    """

    def __init__(self, frames: AsyncIterator[bytes], headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._frames = frames
        self._headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            # Proxies that gather answers before they pass them on would undo the streaming.
            (b"x-accel-buffering", b"no"),
            *headers,
        ]

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self._send(send))
        except ClientGone:
            return

    async def _send(self, send: Send) -> None:
        try:
            # Begun before anything else can be cancelled: what has not begun has nothing that `aclose` would end.
            frame = await anext(self._frames, None)
            await send({"type": "http.response.start", "status": 200, "headers": self._headers})
            while frame is not None:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                frame = await anext(self._frames, None)
        finally:
            close = getattr(self._frames, "aclose", None)
            if close is not None:
                await close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
