"""Whose turn it is among the requests of batches: the highest priority first, and people before batches.

So many requests of batches are under way at once, all batches of this process together. While more than `yield_at`
other calls are under way, batches make room: those of a priority below 5 begin nothing, those from 5 on have one
request under way at a time, so that what was called urgent gets on.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

URGENT = 5
# How often it is looked whether there is room again.
_LOOK_SECONDS = 0.05


class Turn:
    """The right to have one request under way."""

    __slots__ = ("_turns",)

    def __init__(self, turns: Turns) -> None:
        self._turns: Turns | None = turns

    def give(self) -> None:
        """Give it back. A second time does nothing."""
        if self._turns is not None:
            turns, self._turns = self._turns, None
            turns.taken -= 1
            turns.admit()


class Turns:
    """Used from one event loop.

    Parameters
    ----------
    slots : requests under way at once.
    others : counts the calls under way that are not of batches.
    yield_at : more of them than this, and batches make room.

    Attributes
    ----------
    taken : turns that somebody has.
    """

    def __init__(self, slots: int, others: Callable[[], int], yield_at: int) -> None:
        self._slots = slots
        self._others = others
        self._yield_at = yield_at
        self._waiting: list[tuple[int, str, int, asyncio.Future[Turn | None]]] = []
        self._number = count()
        self._looking: asyncio.TimerHandle | None = None
        self.taken = 0

    @property
    def free(self) -> int:
        """Turns that nobody has or waits for."""
        return max(0, self._slots - self.taken - len(self._waiting))

    async def take(self, priority: int, batch_id: str) -> Turn | None:
        """Wait for a turn. Of one priority, the batch that was made first goes first.

        Returns
        -------
        None when the batch was taken out of the line by `leave`.
        """
        turn: asyncio.Future[Turn | None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (-priority, batch_id, next(self._number), turn))
        self.admit()
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and (had := turn.result()) is not None:
                had.give()  # It was ours just then: the next one's, now.
            raise

    def leave(self, batch_id: str) -> None:
        """Nobody waits for a turn of this batch any more."""
        for _, waiting, _, turn in self._waiting:
            if waiting == batch_id and not turn.done():
                turn.set_result(None)
        self.admit()

    def admit(self) -> None:
        """Give turns to those who wait, as far as there is room."""
        while self._waiting:
            priority, _, _, turn = self._waiting[0]
            if turn.done():
                heapq.heappop(self._waiting)
            elif self.taken < self._room(-priority):
                heapq.heappop(self._waiting)
                self.taken += 1
                turn.set_result(Turn(self))
            else:
                break
        # Turns that are given back wake those who wait; other calls that end do not.
        if self._waiting and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        self.admit()

    def _room(self, priority: int) -> int:
        if self._others() <= self._yield_at:
            return self._slots
        return 1 if priority >= URGENT else 0
