"""Answers in Redis, shared by all gateways; and what is to be forgotten, told to each of them.

Redis is a help, never a need: where it does not answer, nothing is found and nothing is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.account.encryption import Keyring
from gateway.account.shared_state import PREFIX
from store.errors import MeritError, ServiceUnavailable

log = logging.getLogger("merit.gateway")
POLL_S = 1.0
# No answer is kept for longer.
LONGEST_TTL_S = 86_400.0
# Looking an answer up must not take longer than many an answer would.
_ANSWER_S = 0.25
_REST_S = 5.0
_MOST_WRITES = 256
_MOST_ERASURES = 10_000

Forget = Callable[[str, str | None], int]


class RedisAnswers:
    """Answers under `cache:<workspace>:<key>`; names of workspaces and people only as digests.

    Parameters
    ----------
    redis : not closed here.
    keyring : seals what is to be encrypted; without a key, such answers are not kept.
    """

    def __init__(self, redis: Redis, keyring: Keyring, *, prefix: str = PREFIX, poll_s: float = POLL_S) -> None:
        self._redis = redis
        self._keyring = keyring
        self._prefix = f"{prefix}cache:"
        self._erasures = f"{prefix}cache-erasures"
        self._poll_s = poll_s
        self._rests_until = 0.0
        self._seen: bytes | str = "0-0"
        self._writes: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, forget: Forget) -> None:
        """Call `forget(workspace, user)` for whatever any gateway erases from now on."""
        with suppress(RedisError, OSError):
            self._closing.clear()
            last: Any = await self._redis.xrevrange(self._erasures, count=1)
            self._seen = last[0][0] if last else "0-0"
        self._task = asyncio.create_task(self._listen(forget), name="merit-erasures")

    async def close(self) -> None:
        """Finish what is being written, then stop."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=2.0)
        self._closing.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def get(self, workspace: str, key: bytes) -> tuple[bytes, str | None, float] | None:
        """An answer, the person who asked first, and the seconds for which it may still be given."""
        if time.monotonic() < self._rests_until:
            return None
        name = self._name(workspace, key)
        try:
            async with asyncio.timeout(_ANSWER_S), self._redis.pipeline(transaction=True) as pipe:
                pipe.get(name)
                pipe.pttl(name)
                stored, left = await pipe.execute()
            return None if stored is None or left <= 0 else (*self._read(workspace, key, stored), left / 1000)
        except (RedisError, OSError) as error:
            self._rest(error)
        except (MeritError, ValueError) as error:
            # Sealed with a key that is gone, changed, or of another version: as good as not there.
            log.warning("An answer in Redis cannot be read: %s", error)
        return None

    def put(self, workspace: str, key: bytes, answer: bytes, *, ttl_s: float, user: str | None, sealed: bool) -> None:
        """Keep an answer, in the background."""
        if time.monotonic() < self._rests_until or len(self._writes) >= _MOST_WRITES:
            return
        if sealed and self._keyring.key_id is None:
            return
        plain = orjson.dumps({"user": user, "answer": answer.decode()})
        key_id, stored = self._keyring.seal(plain, _row(key), workspace) if sealed else ("", plain)
        self._background(self._put(workspace, key, key_id.encode() + b":" + stored, ttl_s, user))

    async def erase(self, workspace: str, user: str | None) -> int:
        """Delete a workspace's answers, or one person's, and tell every gateway.

        Raises
        ------
        ServiceUnavailable : Redis does not answer.
        """
        try:
            erased = await (self._erase_all(workspace) if user is None else self._erase_user(workspace, user))
            # Afterwards: a gateway that has forgotten an answer must not find it in Redis again.
            news = orjson.dumps([workspace, user])
            await self._redis.xadd(self._erasures, {"e": news}, maxlen=_MOST_ERASURES, approximate=True)
            return erased
        except (RedisError, OSError) as error:
            raise ServiceUnavailable(
                f"Redis does not answer ({type(error).__name__}): cached answers of the workspace {workspace!r} that "
                "are kept there were not erased.",
                remedy="Erase again when it answers; they expire by themselves within the cache's time.",
                field="workspace",
                value=workspace,
            ) from None

    async def _erase_all(self, workspace: str) -> int:
        erased = 0
        async for name in self._redis.scan_iter(f"{self._prefix}{_short(workspace)}:*", count=1000):
            gone = int(await self._redis.delete(name))
            erased += gone if b":of:" not in name else 0
        return erased

    async def _erase_user(self, workspace: str, user: str) -> int:
        index = self._index(workspace, user)
        names = list(await self._redis.smembers(index))
        erased = int(await self._redis.delete(*names)) if names else 0
        await self._redis.delete(index)
        return erased

    async def _put(self, workspace: str, key: bytes, stored: bytes, ttl_s: float, user: str | None) -> None:
        name, milliseconds = self._name(workspace, key), max(1, int(ttl_s * 1000))
        try:
            async with asyncio.timeout(2.0), self._redis.pipeline(transaction=True) as pipe:
                pipe.set(name, stored, px=milliseconds)
                if user is not None:
                    index = self._index(workspace, user)
                    pipe.sadd(index, name)
                    pipe.pexpire(index, int(LONGEST_TTL_S * 1000))
                await pipe.execute()
        except (RedisError, OSError) as error:
            self._rest(error)

    def _read(self, workspace: str, key: bytes, stored: bytes) -> tuple[bytes, str | None]:
        key_id, _, rest = stored.partition(b":")
        plain = self._keyring.unseal(key_id.decode(), rest, _row(key), workspace) if key_id else rest
        told = orjson.loads(plain)
        return told["answer"].encode(), told["user"]

    async def _listen(self, forget: Forget) -> None:
        # Not cancelled from outside: in the middle of an answer of Redis' that can be lost.
        while not await _within(self._closing, self._poll_s):
            try:
                news: Any = await self._redis.xread({self._erasures: self._seen}, count=1000)
            except (RedisError, OSError):
                continue
            for _, entries in news or ():
                for number, fields in entries:
                    self._seen = number
                    forget(*orjson.loads(fields[b"e"]))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    def _rest(self, error: BaseException) -> None:
        if time.monotonic() >= self._rests_until:
            # The address may hold a password: only the kind of error is shown.
            log.warning("Redis does not answer (%s): answers are cached in this process alone.", type(error).__name__)
        self._rests_until = time.monotonic() + _REST_S

    def _name(self, workspace: str, key: bytes) -> str:
        return f"{self._prefix}{_short(workspace)}:{key.hex()}"

    def _index(self, workspace: str, user: str) -> str:
        return f"{self._prefix}{_short(workspace)}:of:{_short(user)}"


def _row(key: bytes) -> str:
    return f"cache/{key.hex()}"


def _short(name: str) -> str:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
