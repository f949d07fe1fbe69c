"""How much was asked for within the last minute: exactly, not on average and not from one full minute to the next.

Whoever may ask 60 times a minute may ask 60 times at once, and then again as each of those is a minute old: in no
minute, wherever it begins, is there more than the limit, and nothing is refused before. What was asked within the same
tenth of a second is kept together and leaves together, at the end of the minute that begins with the end of that tenth,
so that a window never holds more than 600 entries.
"""

from __future__ import annotations

from collections import deque

WINDOW_MS = 60_000
STEP_MS = 100


def leaving(now: int) -> int:
    """When that leaves which is asked now: a minute after the end of this step."""
    return now + -now % STEP_MS + WINDOW_MS


class Window:
    """The last minute of one limit. Moments are whole milliseconds, in an order of any clock that goes forward.

    Attributes
    ----------
    entries : [moment at which it leaves, amount], in that order.
    total : of the amounts.
    """

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[list[int]] = deque()
        self.total = 0

    def move(self, now: int) -> int:
        """What is left of the total at this moment."""
        entries = self.entries
        while entries and entries[0][0] <= now:
            self.total -= entries.popleft()[1]
        return self.total

    def add(self, leaves: int, amount: int) -> list[int]:
        """Count an amount until a moment of `leaving`; the entry that holds it."""
        self.total += amount
        entries = self.entries
        if entries:
            entry = entries[-1]
            if entry[0] >= leaves:
                entry[1] += amount
                return entry
        entry = [leaves, amount]
        entries.append(entry)
        return entry

    def change(self, now: int, entry: list[int], by: int) -> None:
        """Correct an amount, unless it has left."""
        self.move(now)
        if entry[0] > now:
            entry[1] += by
            self.total += by

    def wait(self, now: int, amount: int, limit: int) -> int | None:
        """Milliseconds until so much fits, if nobody else asks; None where it never does."""
        if amount > limit:
            return None
        needed = self.move(now) + amount - limit
        for leaves, held in self.entries:
            if needed <= 0:
                break
            needed -= held
            if needed <= 0:
                return leaves - now
        return 0

    def reset(self, now: int) -> int:
        """Milliseconds until the window is empty, if nobody asks."""
        return self.entries[-1][0] - now if self.entries else 0
