"""A streamed answer on its way to the caller: read while it passes, and settled however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

from gateway.account.record import Outcome
from gateway.call.filters import StreamFilter
from gateway.call.providers.wire import Piece, ProviderFailure
from gateway.call.reading import Reading
from gateway.call.run import Run
from store.errors import ContentRefused, UpstreamFailed


class Source(Protocol):
    """Where pieces come from: a provider, or the cache."""

    def __aiter__(self) -> AsyncIterator[Piece]: ...


class Streamed:
    """Iterate `pieces()` once and close it (`aclose`) when the caller has gone.

    Parameters
    ----------
    filter : of the workspace: what it takes out of the answer never leaves, and is not kept.
    drain : a provider that bills the whole answer anyway is read to its end when the caller goes away.

    Attributes
    ----------
    reading : what the provider sent.
    shown : what left.
    ended : the provider came to its end.
    """

    def __init__(
        self,
        run: Run,
        source: Source,
        settle: Settle,
        *,
        filter: StreamFilter | None = None,
        drain: bool = False,
    ) -> None:
        self.run = run
        self.reading = Reading()
        self.shown = self.reading if filter is None else Reading()
        self.ended = False
        self._source = source
        self._settle = settle
        self._filter = filter
        self._drain = drain

    async def pieces(self) -> AsyncGenerator[Piece]:
        """Every piece as it comes.

        Raises
        ------
        UpstreamFailed : the provider broke off; what was passed on stays, nothing is repeated.
        ContentRefused : the workspace does not let the rest out.
        """
        source = self._source.__aiter__()
        if self._drain:
            source = _Unhurried(source)
        outcome: Outcome = "cancelled"
        error: str | None = None
        gone = True
        try:
            async for piece in source:
                self.reading.take(piece)
                if self._filter is not None:
                    piece = self._filter.piece(piece)
                    self.shown.take(piece)
                yield piece
            self.ended = True
            for piece in self._filter.rest() if self._filter is not None else ():
                self.shown.take(piece)
                yield piece
            outcome, gone = "ok", False
        except ContentRefused:
            gone = False
            outcome, error = "refused", ContentRefused.__name__
            raise
        except ProviderFailure as failure:
            gone = False
            outcome, error = "broken", failure.kind
            model = self.run.current.model.id if self.run.current is not None else "The model"
            raise UpstreamFailed(
                f"{model} broke off after the answer had begun: {failure.message}",
                remedy="What came so far is the provider's own; ask again for a whole answer.",
                retry_after=failure.retry_after,
                details={"kind": failure.kind, "broken_stream": True},
            ) from failure
        finally:
            if gone and self._drain:
                _keep(asyncio.ensure_future(self._read_on(source)))
            else:
                await _close(source)
                await self._settle(self, outcome, error)

    async def _read_on(self, source: AsyncIterator[Piece]) -> None:
        """To the provider's end, for nobody but the ledger."""
        error = "client_gone"
        try:
            async for piece in source:
                self.reading.take(piece)
            self.ended = True
        except ProviderFailure as failure:
            error = failure.kind
        finally:
            await _close(source)
            await self._settle(self, "cancelled", error)


class _Unhurried:
    """Reads pieces in tasks of their own: whoever stops waiting for one does not end the reading."""

    def __init__(self, source: AsyncIterator[Piece]) -> None:
        self._source = source
        self._next: asyncio.Future[Piece] | None = None

    def __aiter__(self) -> _Unhurried:
        return self

    async def __anext__(self) -> Piece:
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._source))
        piece = await asyncio.shield(self._next)
        self._next = None
        return piece

    async def aclose(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait((self._next,))
            self._next = None
        await _close(self._source)


# (the stream, outcome, error): books what was used.
Settle = Callable[[Streamed, Outcome, str | None], Awaitable[None]]

_running: set[asyncio.Future[None]] = set()


async def drained(seconds: float) -> None:
    """Wait until what is still read for clients that went away has ended; after so many seconds it is cut off."""
    loop = asyncio.get_running_loop()
    if reading := {one for one in _running if one.get_loop() is loop}:
        _, late = await asyncio.wait(reading, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _keep(task: asyncio.Future[None]) -> None:
    # The loop itself holds tasks weakly.
    _running.add(task)
    task.add_done_callback(_running.discard)


async def _close(source: AsyncIterator[Piece]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
