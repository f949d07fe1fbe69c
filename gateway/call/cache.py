"""Answers kept to be given again: in this process, and in Redis where several gateways share them.

Only whole answers are kept, each for its time, in little enough memory. What a workspace does not want kept is in this
process alone, and only where the workspace turned the cache on; what it wants encrypted is sealed in Redis.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from gateway.call.cache_redis import LONGEST_TTL_S, RedisAnswers
from gateway.call.replay import replay

__all__ = ["AnswerCache", "CacheStatistics", "is_complete", "replay"]

Keep = Literal["nothing", "plain", "encrypted"]
MOST_BYTES = 64 * 1024 * 1024
MOST_ENTRIES = 50_000
TTL_S = 3600.0
# One answer larger than this pushes out too many others.
_LARGEST_SHARE = 16
# What an entry costs beside its answer: key, names, links.
_OVERHEAD = 400
# The model said all that it was asked for, `max_tokens` of it at most. Anything else is not an answer.
_ENDS = frozenset({"stop", "tool_calls", "function_call", "length"})


@dataclass(frozen=True, slots=True)
class _Entry:
    workspace: str
    user: str | None
    answer: bytes
    until: float

    @property
    def size(self) -> int:
        return len(self.answer) + _OVERHEAD


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """Of this process."""

    entries: int
    bytes: int
    hits: int
    misses: int
    evicted: int


class AnswerCache:
    """Answers by key, see `gateway.call.cache_key`. Used from one event loop.

    Parameters
    ----------
    shared : answers of all gateways in Redis; None: each has its own.
    clock : seconds that never go back.
    """

    def __init__(
        self,
        *,
        shared: RedisAnswers | None = None,
        most_bytes: int = MOST_BYTES,
        most_entries: int = MOST_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._most_bytes = most_bytes
        self._most_entries = most_entries
        self._clock = clock
        # Least recently used first.
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bytes = 0
        self._hits = self._misses = self._evicted = 0
        # Told of what is to be forgotten, here or in another gateway.
        self.on_forget: Callable[[str, str | None], object] | None = None

    async def start(self) -> None:
        """Hear of what other gateways erase, from now on."""
        if self._shared is not None:
            await self._shared.start(self._forget)

    async def close(self) -> None:
        """Finish what is being written, and forget everything."""
        if self._shared is not None:
            await self._shared.close()
        self._entries.clear()
        self._bytes = 0

    async def get(self, workspace: str, key: bytes, *, keep: Keep = "nothing") -> dict[str, Any] | None:
        """An answer that was given before; the caller's own copy. None: there is none.

        Parameters
        ----------
        keep : what the workspace keeps; one that keeps nothing has nothing in Redis.
        """
        found = self._local(workspace, key)
        if found is None and self._shared is not None and keep != "nothing":
            known = await self._shared.get(workspace, key)
            if known is not None:
                answer, user, left = known
                self._store(key, _Entry(workspace, user, answer, self._clock() + left))
                found = answer
        if found is None:
            self._misses += 1
            return None
        self._hits += 1
        body: dict[str, Any] = orjson.loads(found)
        return body

    def put(
        self,
        workspace: str,
        key: bytes,
        body: Mapping[str, Any],
        *,
        ttl_s: float = TTL_S,
        user: str | None = None,
        keep: Keep = "nothing",
    ) -> bool:
        """Keep a whole answer; returns whether it is one. Redis is written in the background.

        Parameters
        ----------
        ttl_s : how long it may be given again, a day at most.
        user : the person who asked first, so that it can be erased with what is theirs.
        """
        if not is_complete(body):
            return False
        try:
            answer = orjson.dumps(body)
        except TypeError:
            return False
        ttl_s = min(ttl_s, LONGEST_TTL_S)
        entry = _Entry(workspace, user, answer, self._clock() + ttl_s)
        if entry.size > self._most_bytes // _LARGEST_SHARE:
            return False
        self._store(key, entry)
        if self._shared is not None and keep != "nothing":
            self._shared.put(workspace, key, answer, ttl_s=ttl_s, user=user, sealed=keep == "encrypted")
        return True

    def drop(self, key: bytes) -> None:
        """Forget one answer here."""
        gone = self._entries.pop(key, None)
        if gone is not None:
            self._bytes -= gone.size

    async def erase(self, workspace: str, user: str | None = None) -> int:
        """Forget a workspace's answers, or those of one person, here and in every other gateway.

        Returns
        -------
        How many there were here and in Redis.

        Raises
        ------
        ServiceUnavailable : Redis does not answer; here they are forgotten.
        """
        erased = self._forget(workspace, user)
        if self._shared is not None:
            erased = max(erased, await self._shared.erase(workspace, user))
        return erased

    def has(self, key: bytes) -> bool:
        """Whether an answer is here and may still be given."""
        entry = self._entries.get(key)
        return entry is not None and entry.until > self._clock()

    def statistics(self) -> CacheStatistics:
        """Counts of this process."""
        return CacheStatistics(len(self._entries), self._bytes, self._hits, self._misses, self._evicted)

    def _local(self, workspace: str, key: bytes) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None or entry.workspace != workspace:
            return None
        if entry.until <= self._clock():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.answer

    def _store(self, key: bytes, entry: _Entry) -> None:
        self.drop(key)
        self._entries[key] = entry
        self._bytes += entry.size
        while self._bytes > self._most_bytes or len(self._entries) > self._most_entries:
            _, gone = self._entries.popitem(last=False)
            self._bytes -= gone.size
            self._evicted += 1

    def _forget(self, workspace: str, user: str | None) -> int:
        gone = [
            key
            for key, entry in self._entries.items()
            if entry.workspace == workspace and (user is None or entry.user == user)
        ]
        for key in gone:
            self.drop(key)
        if self.on_forget is not None:
            self.on_forget(workspace, user)
        return len(gone)


def is_complete(body: Mapping[str, Any]) -> bool:
    """Whether an answer is whole: every choice came to an end of its own and says something; or embeddings.

    What was filtered, refused or cut off is not.
    """
    if body.get("error") is not None:
        return False
    if body.get("object") == "list":
        return bool(body.get("data"))
    choices = body.get("choices") or ()
    return len(choices) > 0 and all(_is_whole(choice) for choice in choices)


def _is_whole(choice: Mapping[str, Any]) -> bool:
    message = choice.get("message") or {}
    if choice.get("finish_reason") not in _ENDS or message.get("refusal"):
        return False
    return bool(message.get("content") or message.get("tool_calls") or message.get("function_call"))
