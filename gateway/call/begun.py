"""A stream of a provider's after its first piece with content: from here on no other model can take over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from gateway.call.providers.wire import Piece, ProviderFailure

# (what went wrong, whether the provider came to its end, the tokens of the answer as far as it told them).
Release = Callable[[ProviderFailure | None, bool, int], Awaitable[None]]


class Begun:
    """Iterate once; leaving early (`aclose`) closes the upstream connection.

    Parameters
    ----------
    opened : the context that `pieces` are read in, entered already.
    head : pieces that were read to see that it has begun.
    release : called once, when nothing more will be read.
    """

    def __init__(
        self,
        opened: AbstractAsyncContextManager[AsyncIterator[Piece]],
        pieces: AsyncIterator[Piece],
        head: list[Piece],
        release: Release,
    ) -> None:
        self._opened = opened
        self._pieces = pieces
        self._head = head
        self._release = release

    async def __aiter__(self) -> AsyncIterator[Piece]:
        failure: ProviderFailure | None = None
        complete = False
        tokens = 0
        try:
            for piece in self._head:
                if piece.usage is not None:
                    tokens = piece.usage.output
                yield piece
            async for piece in self._pieces:
                if piece.usage is not None:
                    tokens = piece.usage.output
                yield piece
            complete = True
        except ProviderFailure as error:
            failure = error
            raise
        finally:
            await self._opened.__aexit__(None, None, None)
            await self._release(failure, complete, tokens)


def has_content(piece: Piece) -> bool:
    """Whether a caller could tell this piece from silence: text, thought, a tool call, a refusal, an end."""
    chunk = piece.chunk
    if chunk is None:
        return False
    for choice in chunk.get("choices") or ():
        if choice.get("finish_reason"):
            return True
        delta = choice.get("delta") or {}
        for name, value in delta.items():
            if value and name != "role":
                return True
    return False
