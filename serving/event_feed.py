"""The feed of events: one reader of the database for all who listen in this process, and nothing while nobody does.

What was read last is kept in a ring that all who listen share. Each of them has a cursor of its own and takes what
comes after it, as fast as it can: from the ring, or from the database where it has fallen behind the ring. So there is
no queue for each that could grow, and nobody who is slow misses anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from store import event_log, events
from store.errors import MeritError, ServiceUnavailable
from store.event_log import Cursor, Entry
from store.settings import Settings

log = logging.getLogger("merit.serving")

# Kept for all who listen; read from the database at once; given to one who listens at once.
RING, READ, PAGE = 4096, 1000, 200
# What other processes write is noticed after so long; what this one writes, at once.
_LOOK_SECONDS = 0.25
_GATHER_SECONDS = 0.02
_AGAIN_SECONDS = 2.0
MOST_LISTENERS = 1000


class Feed:
    """Used from one event loop, but for `wake`.

    Parameters
    ----------
    ring : least number of entries that are kept for all who listen, and half the most.

    Attributes
    ----------
    over : set when the process ends and nobody is to listen any longer.
    """

    def __init__(self, settings: Settings, *, ring: int = RING) -> None:
        self._settings = settings
        self._most = ring
        self._ring: list[Entry] = []
        # Place of the ring's first entry since the beginning, and what was read before it.
        self._first = 0
        self._start = Cursor()
        self._head = Cursor()
        self._reading = False
        self._listeners = 0
        self._news = asyncio.Event()
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unheard: Callable[[], None] = lambda: None
        self.over = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether nobody is to listen any longer."""
        return self.over.is_set()

    @property
    def started(self) -> bool:
        return self._loop is not None

    def start(self) -> None:
        """Be woken by events of this process from now on."""
        self._loop = asyncio.get_running_loop()
        self._unheard = events.listen(self.wake)

    async def close(self) -> None:
        self.end()
        self._unheard()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def end(self) -> None:
        """Let nobody listen any longer."""
        self.over.set()
        self._tell()

    def wake(self) -> None:
        """Something was written here: look at once. May be called from any thread."""
        if self._listeners and self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._look.set)

    async def listen(self, after: Cursor | None) -> tuple[Listener, bool]:
        """Begin to listen; `close` the listener.

        Parameters
        ----------
        after : what was read already; None: everything so far.

        Returns
        -------
        The listener, and whether `after` names more than ever happened here, being of another database, or of this one
        before it was restored: what it names is then what happened so far.

        Raises
        ------
        ServiceUnavailable : too many listen.
        """
        if self._listeners >= MOST_LISTENERS:
            raise ServiceUnavailable(
                f"{MOST_LISTENERS:,} others listen to the events of this process.", remedy="Try again later."
            )
        self._listeners += 1
        try:
            now = await asyncio.to_thread(event_log.now, self._settings)
        except BaseException:
            self._listeners -= 1
            raise
        if self._task is None:
            self._task = asyncio.create_task(self._read())
        self._look.set()
        cursor, unknown = now if after is None else after, False
        if not now.reaches(cursor):
            unknown, cursor = True, Cursor(min(now.event, cursor.event), min(now.call, cursor.call))
        return Listener(self, cursor), unknown

    def left(self) -> None:
        """Somebody listens no longer."""
        self._listeners -= 1

    def news(self) -> asyncio.Event:
        """Set when there is more in the ring than now."""
        return self._news

    def after(self, cursor: Cursor, place: int) -> tuple[list[Entry], int] | None:
        """Entries of the ring that were not read, and the place behind them; None: there may be others before it.

        Parameters
        ----------
        place : that was returned the last time; 0 the first time.
        """
        if not self._reading or not cursor.reaches(self._start):
            return None
        found: list[Entry] = []
        end = self._first + len(self._ring)
        place = max(place, self._first)
        while not found and place < end:
            part = self._ring[place - self._first : place - self._first + PAGE]
            place += len(part)
            found = [entry for entry in part if cursor.before(entry)]
        return found, place

    async def stored(self, cursor: Cursor) -> tuple[list[Entry], Cursor]:
        """Entries of the database that were not read, and where to go on when there are none."""
        start = self._start if self._reading else Cursor()
        found = await asyncio.to_thread(event_log.entries, self._settings, cursor, PAGE)
        # What there is none of before the ring was removed since; the ring has what came later.
        return found, Cursor(max(cursor.event, start.event), max(cursor.call, start.call))

    def _tell(self) -> None:
        before, self._news = self._news, asyncio.Event()
        before.set()

    async def _read(self) -> None:
        failing = False
        while True:
            try:
                if not self._listeners:
                    self._reading = False
                    self._ring.clear()
                elif not self._reading:
                    # A new ring: who needs what came before reads it from the database.
                    self._start = self._head = await asyncio.to_thread(event_log.now, self._settings)
                    self._first += len(self._ring) + 1
                    self._reading = True
                    self._tell()
                more = self._reading and await self._read_on()
                failing = False
            except (MeritError, SQLAlchemyError) as error:
                if not failing:
                    log.error("Events cannot be read, trying on: %s", error)
                failing, more = True, False
            if not more:
                # While nobody listens, only somebody who begins to wakes this.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pause(failing)):
                        await self._look.wait()
                        # What is written in the same moment is read together.
                        await asyncio.sleep(_GATHER_SECONDS)
                self._look.clear()

    def _pause(self, failing: bool) -> float | None:
        if not self._listeners:
            return None
        return _AGAIN_SECONDS if failing else _LOOK_SECONDS

    async def _read_on(self) -> bool:
        """Put what is new into the ring; whether there may be more."""
        found = await asyncio.to_thread(event_log.entries, self._settings, self._head, READ)
        for entry in found:
            self._head = self._head.after(entry)
            self._ring.append(entry)
        if len(self._ring) >= 2 * self._most:
            gone = len(self._ring) - self._most
            for entry in self._ring[:gone]:
                self._start = self._start.after(entry)
            del self._ring[:gone]
            self._first += gone
        if found:
            self._tell()
        return len(found) >= READ


class Listener:
    """One who listens.

    Attributes
    ----------
    cursor : what was taken so far.
    """

    def __init__(self, feed: Feed, cursor: Cursor) -> None:
        self._feed = feed
        self._place = 0
        self._open = True
        self.cursor = cursor

    def close(self) -> None:
        if self._open:
            self._open = False
            self._feed.left()

    async def take(self, seconds: float) -> list[tuple[Cursor, Entry]]:
        """What comes next, each once and with the cursor behind it; empty when nothing did for so long, or the process
        ends. While the database does not answer, nothing comes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not self._feed.ended:
            news = self._feed.news()
            try:
                found = await self._next()
            except (MeritError, SQLAlchemyError):  # who reads for all tells it in the log
                await asyncio.sleep(min(_AGAIN_SECONDS, seconds))
                return []
            if found is None:
                continue
            if found:
                taken = []
                for entry in found:
                    self.cursor = self.cursor.after(entry)
                    taken.append((self.cursor, entry))
                return taken
            left = until - loop.time()
            if left <= 0:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await news.wait()
        return []

    async def _next(self) -> list[Entry] | None:
        """Entries that were not taken; none: there are none; None: look again, further on."""
        known = self._feed.after(self.cursor, self._place)
        if known is not None:
            found, self._place = known
            return found
        found, further = await self._feed.stored(self.cursor)
        if found or further == self.cursor:
            return found
        self.cursor = further
        return None
