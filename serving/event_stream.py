"""Events as a stream of server-sent events, each with the id to go on from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

from serving.event_feed import Feed, Listener
from store.errors import AccessDenied, ServiceUnavailable
from store.event_log import Cursor, Entry

# A client that lost the connection comes back after so long.
_RETRY_MS = 2000


def frame(cursor: Cursor, entry: Entry) -> bytes:
    """One event."""
    place = str(cursor).encode()
    return b'id: %b\nevent: %b\ndata: {"id":"%b",%b}\n\n' % (place, entry.kind.encode(), place, entry.json)


class Frames:
    """The frames of one stream, until its caller may not see them any more or the process ends.

    A frame without an event tells how far the stream has come where nothing of it was wanted: a client that goes on
    from there skips what was looked through.

    Parameters
    ----------
    still_allowed : raises `AccessDenied` when the caller's key does not hold any more.
    unknown : the client asked to go on from what never happened here.
    """

    def __init__(
        self,
        feed: Feed,
        listener: Listener,
        wanted: Callable[[Entry], bool],
        still_allowed: Callable[[], Awaitable[object]],
        heartbeat: float,
        *,
        unknown: bool = False,
    ) -> None:
        self._feed = feed
        self._listener = listener
        self._wanted = wanted
        self._still_allowed = still_allowed
        self._heartbeat = heartbeat
        self._told = asyncio.get_running_loop().time()
        place = str(listener.cursor).encode()
        self._first = b"retry: %d\nid: %b\n: listening\n\n" % (_RETRY_MS, place)
        if unknown:
            self._first += b'id: %b\nevent: reset\ndata: {"id":"%b","kind":"reset"}\n\n' % (place, place)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        loop = asyncio.get_running_loop()
        while not self._feed.ended:
            due = self._told + self._heartbeat
            taken = await self._listener.take(max(0.0, due - loop.time()))
            block = b"".join(frame(cursor, entry) for cursor, entry in taken if self._wanted(entry))
            if (now := loop.time()) >= due:
                self._told = now
                await self._check()
                return block or b"id: %b\n: still here\n\n" % str(self._listener.cursor).encode()
            if block:
                return block
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._listener.close()

    async def _check(self) -> None:
        try:
            await self._still_allowed()
        except AccessDenied:
            raise StopAsyncIteration from None
        except ServiceUnavailable:
            pass  # whether it holds is known again when the database answers
