"""How many calls a provider answers at once: a slot each, first come, first served, and a line that ends somewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from gateway.call.providers.wire import Provider, ProviderFailure

# Who waits, for each slot there is: more would wait for longer than anybody wants.
WAITING_PER_SLOT = 4
LONGEST_WAIT_S = 30.0
# What is asked of a model whose provider's line is full, that the breaker leaves it alone for.
_RETRY_S = 0.1


@dataclass(slots=True)
class _Line:
    """Slots of one provider.

    Attributes
    ----------
    taken : slots in use; a freed one passes straight to the first in line and stays taken.
    """

    taken: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Slots:
    """Slots of all providers. Used from one event loop.

    Parameters
    ----------
    waiting_per_slot : how many may wait for each slot that a provider has.
    longest_wait_s : nobody waits longer, whatever time there is left.
    """

    def __init__(self, *, waiting_per_slot: int = WAITING_PER_SLOT, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._waiting_per_slot = waiting_per_slot
        self._longest_wait_s = longest_wait_s
        self._lines: dict[str, _Line] = {}

    def hold(self, provider: Provider, timeout_s: float) -> Slot:
        """A slot for the length of an `async with` block.

        Entering raises `ProviderFailure` ("overloaded", nothing was sent) when the line is full, or none became free in
        `timeout_s`. The slot is given back however the block ends, and a caller who is cancelled in line leaves it.
        """
        return Slot(self, provider, timeout_s)

    def in_use(self, provider: str) -> int:
        """Slots that are taken now."""
        line = self._lines.get(provider)
        return 0 if line is None else line.taken

    def waiting(self, provider: str) -> int:
        """Callers in line now."""
        line = self._lines.get(provider)
        return 0 if line is None else len(line.waiting)

    def providers(self) -> list[str]:
        """Providers that were ever called, sorted."""
        return sorted(self._lines)

    def _take_at_once(self, provider: Provider) -> bool:
        """Take a slot where one is free and nobody is in line for it."""
        line = self._lines.get(provider.name)
        if line is None:
            line = self._lines[provider.name] = _Line()
        if line.taken >= provider.concurrency or line.waiting:
            return False
        line.taken += 1
        return True

    async def _take_in_turn(self, provider: Provider, timeout_s: float) -> None:
        line = self._lines[provider.name]
        if len(line.waiting) >= self._waiting_per_slot * provider.concurrency:
            raise _busy(provider, f"{len(line.waiting)} calls wait already")
        timeout_s = min(timeout_s, self._longest_wait_s)
        if timeout_s <= 0:
            raise _busy(provider, "there is no time left to wait")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        # A new configuration may have made more room than there was.
        self._admit(line, provider.concurrency)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._free(line, provider.concurrency)  # It was our turn just then: the next one's, now.
            else:
                # Gone already where a slot became free in the same moment.
                with suppress(ValueError):
                    line.waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise _busy(provider, f"none became free in {timeout_s:.1f} s") from None
            raise

    def _give(self, provider: Provider) -> None:
        self._free(self._lines[provider.name], provider.concurrency)

    def _free(self, line: _Line, concurrency: int) -> None:
        line.taken -= 1
        self._admit(line, concurrency)

    def _admit(self, line: _Line, concurrency: int) -> None:
        while line.waiting and line.taken < concurrency:
            turn = line.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                line.taken += 1


class Slot:
    """One slot; see `Slots.hold`."""

    __slots__ = ("_held", "_provider", "_slots", "_timeout_s")

    def __init__(self, slots: Slots, provider: Provider, timeout_s: float) -> None:
        self._slots = slots
        self._provider = provider
        self._timeout_s = timeout_s
        self._held = False

    async def __aenter__(self) -> None:
        if not self._slots._take_at_once(self._provider):
            await self._slots._take_in_turn(self._provider, self._timeout_s)
        self._held = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held:
            self._held = False
            self._slots._give(self._provider)


def _busy(provider: Provider, why: str) -> ProviderFailure:
    # With a time to come back: the breaker then does not take it for a fault of the model's.
    return ProviderFailure(
        "overloaded",
        f"all {provider.concurrency} slots of {provider.name} are in use and {why}",
        retry_after=_RETRY_S,
        sent=False,
    )
