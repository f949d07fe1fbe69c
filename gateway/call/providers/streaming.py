"""A streamed answer as pieces: bytes from the connection, events from the bytes, pieces from the events."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

import orjson

from gateway.call.providers.failures import MAX_ERROR_BYTES, failure_in_answer
from gateway.call.providers.http import Opened
from gateway.call.providers.sse import MAX_EVENT_BYTES, EventParser, EventTooLarge
from gateway.call.providers.wire import Piece, ProviderFailure


class Decoder(Protocol):
    """What one wire format makes of its events.

    Attributes
    ----------
    ended : the format's own end of stream was seen; nothing after it is read.
    """

    ended: bool

    def event(self, name: str, data: bytes) -> Sequence[Piece]:
        """The pieces that an event is; raises `ProviderFailure` for an error or what is malformed."""

    def finish(self) -> Sequence[Piece]:
        """The last pieces, when nothing more comes; raises "closed" where the answer is not whole."""


class PieceStream:
    """The context that `Wire.stream` returns, and the iterator that it yields."""

    __slots__ = ("_begun", "_closed", "_decoder", "_failure", "_opened", "_parser", "_ready", "_whole")

    def __init__(self, opened: Opened, decoder: Decoder, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._opened = opened
        self._decoder = decoder
        self._parser = EventParser(max_event_bytes)
        self._ready: deque[Piece] = deque()
        self._begun = False
        self._closed = False
        self._failure: ProviderFailure | None = None
        # What came instead of events, where it is JSON.
        self._whole: bytes | None = None

    async def __aenter__(self) -> PieceStream:
        await self._opened.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(kind, error, trace)

    def __aiter__(self) -> PieceStream:
        return self

    async def __anext__(self) -> Piece:
        ready = self._ready
        while not ready:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                self._closed = True
                raise failure
            if self._closed:
                raise StopAsyncIteration
            await self._more()
        return ready.popleft()

    async def _more(self) -> None:
        try:
            chunk = await self._opened.read()
        except ProviderFailure as failure:
            # Cut off, but perhaps whole: then it is no failure.
            if failure.kind != "closed":
                raise
            self._end(failure)
            return
        if not chunk:
            self._end(None)
            return
        if not self._begun:
            first = chunk.lstrip()[:1]
            self._begun = first != b""
            if first in (b"{", b"["):
                self._whole = b""
        if self._whole is not None:
            self._whole = (self._whole + chunk)[: MAX_ERROR_BYTES + 1]
            return
        decoder, ready = self._decoder, self._ready
        try:
            for name, data in self._parser.feed(chunk):
                ready.extend(decoder.event(name, data))
                if decoder.ended:
                    self._closed = self._opened.done = True
                    return
        except ProviderFailure as failure:
            # What came before it is handed out first.
            self._failure = failure
        except EventTooLarge:
            self._failure = ProviderFailure(
                "malformed", f"{self._opened.provider.name} sent an event that is larger than any is."
            )

    def _end(self, cut: ProviderFailure | None) -> None:
        self._closed = True
        if self._whole is not None:
            failure = self._instead(self._whole)
            self._failure = cut if cut is not None and failure.kind == "malformed" else failure
            return
        decoder = self._decoder
        try:
            for name, data in self._parser.close():
                try:
                    self._ready.extend(decoder.event(name, data))
                except ProviderFailure as last:
                    # An event that was cut in the middle is not malformed, and what came before it may be whole.
                    if last.kind != "malformed":
                        raise
            if not decoder.ended:
                self._ready.extend(decoder.finish())
        except ProviderFailure as failure:
            self._failure = cut if cut is not None and failure.kind == "closed" else failure
            return
        except EventTooLarge:
            self._failure = ProviderFailure("malformed", f"{self._opened.provider.name} sent an event without end.")
            return
        self._opened.done = cut is None

    def _instead(self, whole: bytes) -> ProviderFailure:
        """What a provider means that answers a request for a stream with JSON: mostly an error."""
        provider = self._opened.provider
        try:
            body = orjson.loads(whole)
        except orjson.JSONDecodeError:
            body = None
        told = body[0] if isinstance(body, list) and body else body
        if isinstance(told, dict) and ("error" in told or told.get("object") == "error"):
            return failure_in_answer(provider, body)
        return ProviderFailure("malformed", f"{provider.name} answered with JSON where a stream was asked for.")
