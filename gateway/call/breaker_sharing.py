"""Breakers of several gateways agree through Redis: what one learns the others know within a second.

Each gateway decides by itself, without a round trip, and writes down what changed: openings, closings, drains, and who
asked to be left alone. The others read it when a counter says that there is something new. Only the right to probe a
half-open circuit is asked for, since there must be one probe among all: a lock in Redis that its holder renews.

Moments are those of Redis' own clock, so that clocks of hosts may differ. Without Redis, each gateway goes on alone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import asdict

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.account.shared_state import PREFIX
from gateway.call.breaker import Breakers
from gateway.call.circuit import Circuit, Learned

log = logging.getLogger("merit.gateway")
POLL_S = 0.3
# A gateway that dies while it probes keeps the others from it for so long.
LOCK_S = 5.0
# The right to probe is given back when no call came to use it.
_UNUSED_S = 2.0
_ANSWER_S = 0.5
_STEP_S = 2.0
# A circuit that has been closed for so long needs no entry.
_FORGOTTEN_S = 86_400.0
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"


class RedisSharing:
    """Keeps the breakers of this process in step with others'.

    Parameters
    ----------
    redis : a client of its own or shared; not closed here.
    prefix : of all keys, so that several platforms can use one Redis.
    """

    def __init__(self, breakers: Breakers, redis: Redis, *, prefix: str = PREFIX, poll_s: float = POLL_S) -> None:
        self.available = True
        self._breakers = breakers
        self._redis = redis
        self._entries = f"{prefix}breakers"
        self._counter = f"{prefix}breakers:changes"
        self._lock = f"{prefix}breakers:probe:"
        self._poll_s = poll_s
        self._me = secrets.token_hex(8)
        self._seen = -1
        # Redis' clock less the breakers' own.
        self._offset = 0.0
        self._changed: dict[str, float] = {}
        self._dirty: dict[str, Circuit] = {}
        self._ended: set[str] = set()
        # Locks held: key → moment of the breakers' clock at which they were given.
        self._held: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what the others know, then keep in step until `close`."""
        self._closing = False
        await self._step()
        self._breakers.sharing = self
        self._task = asyncio.create_task(self._run(), name="merit-breakers")

    async def close(self) -> None:
        """Write what is still to be written, give back what is held, stop."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
            self._task = None
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        self._ended.update(self._held)
        await self._step()
        self._breakers.sharing = None

    def changed(self, circuit: Circuit) -> None:
        """A circuit changed here; the others will be told."""
        self._dirty[circuit.key] = circuit
        self._changed[circuit.key] = self._now()
        self._wake.set()

    def may_probe(self, circuits: tuple[Circuit, ...]) -> bool:
        """Whether this gateway holds the lock of each; where it does not, it begins to ask."""
        if not self.available:
            return True
        if all(one.key in self._held for one in circuits):
            self._ended.difference_update(one.key for one in circuits)
            return True
        self._ask(circuits)
        return False

    async def ask_to_probe(self, circuits: tuple[Circuit, ...]) -> bool:
        """Wait until it is known whether this gateway may probe, not for long."""
        task = self._ask(circuits)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                return await asyncio.shield(task)
        return not self.available

    def probe_ended(self, circuit: Circuit) -> None:
        """The lock of a circuit is needed no longer; it goes after its outcome has been written."""
        if circuit.key in self._held:
            self._ended.add(circuit.key)
            self._wake.set()

    def _ask(self, circuits: tuple[Circuit, ...]) -> asyncio.Task[bool]:
        name = circuits[-1].key
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._acquire(circuits))
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return task

    async def _acquire(self, circuits: tuple[Circuit, ...]) -> bool:
        """Get the locks of all, then see whether the probe is still due: another may have made it meanwhile."""
        got: list[str] = []
        try:
            for one in circuits:
                if one.key in self._held:
                    continue
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.set(self._lock + one.key, self._me, nx=True, px=int(LOCK_S * 1000))
                    pipe.hget(self._entries, one.key)
                    locked, entry = await pipe.execute()
                if locked:
                    got.append(one.key)
                    self._held[one.key] = self._breakers.clock()
                if entry is not None:
                    self._adopt(one.key, entry)
                if not locked or not one.is_due(self._breakers.clock()):
                    self._ended.update(got)
                    self._wake.set()
                    return False
        except (RedisError, OSError) as error:
            self._lost(error)
            return True
        return True

    async def _run(self) -> None:
        # Not cancelled from outside: in the middle of an answer of Redis' that can be lost.
        while not self._closing:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            self._wake.clear()
            await self._step()

    async def _step(self) -> None:
        try:
            async with asyncio.timeout(_STEP_S):
                await self._write()
                await self._locks()
                await self._read()
            if not self.available:
                self.available = True
                # Whatever changed while nobody could read it.
                self._dirty.update({key: self._breakers.circuit(key) for key in self._changed})
                log.info("Redis answers again: breakers are shared with the other gateways.")
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)

    async def _write(self) -> None:
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, {}
        try:
            # Written under one counter: who reads a count has all that it counts.
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(self._entries, mapping={key: self._entry(one) for key, one in dirty.items()})
                pipe.incr(self._counter)
                await pipe.execute()
        except BaseException:
            self._dirty = {**dirty, **self._dirty}
            raise

    async def _locks(self) -> None:
        now = self._breakers.clock()
        for key, since in list(self._held.items()):
            unused = self._breakers.circuit(key).probe is None and now - since > _UNUSED_S
            if unused or key in self._ended:
                # Not ours from here on, whatever happens while we wait.
                self._held.pop(key, None)
                self._ended.discard(key)
                await self._redis.eval(_RELEASE, 1, self._lock + key, self._me)
            elif not await self._redis.eval(_RENEW, 1, self._lock + key, self._me, str(int(LOCK_S * 1000))):
                self._held.pop(key, None)

    async def _read(self) -> None:
        before = self._breakers.clock()
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.get(self._counter)
            (seconds, micros), count = await pipe.execute()
        self._offset = seconds + micros / 1e6 - (before + self._breakers.clock()) / 2
        if int(count or 0) == self._seen:
            return
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(self._counter)
            pipe.hgetall(self._entries)
            count, entries = await pipe.execute()
        for key, entry in entries.items():
            name = key.decode() if isinstance(key, bytes) else key
            if not self._adopt(name, entry):
                await self._redis.hdel(self._entries, name)
        self._seen = int(count or 0)

    def _entry(self, circuit: Circuit) -> bytes:
        told = asdict(circuit.learned().moved(self._offset))
        return orjson.dumps({"by": self._me, "changed": self._changed[circuit.key], "circuit": told})

    def _adopt(self, key: str, written: bytes) -> bool:
        """Take an entry over where it is news; False where it has long been of no interest to anybody."""
        try:
            entry = orjson.loads(written)
            by, changed, learned = entry["by"], entry["changed"], Learned(**entry["circuit"])
        except (ValueError, KeyError, TypeError):
            log.warning("What another gateway tells of %s is not understood: it may be of another version.", key)
            return True
        if by != self._me and changed > self._changed.get(key, 0.0):
            self._changed[key] = changed
            self._dirty.pop(key, None)
            self._breakers.adopt(key, learned.moved(-self._offset))
        return learned.is_open or learned.drained or self._now() - changed < _FORGOTTEN_S

    def _now(self) -> float:
        return self._breakers.clock() + self._offset

    def _lost(self, error: BaseException) -> None:
        if self.available:
            self.available = False
            self._held.clear()
            # The address may hold a password: only the kind of error is shown.
            log.warning("Redis does not answer (%s): breakers are this gateway's own for now.", type(error).__name__)
