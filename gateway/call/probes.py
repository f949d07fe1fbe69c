"""Probes beside the traffic: is a provider alive that nobody has asked lately, or whose circuit is open?

A probe asks for the list of models, which costs nothing. It is counted apart from calls: that a provider lists its
models says that it is there and takes the key, not that a model answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from gateway.call.breaker import Breakers
from gateway.call.health import Health
from gateway.call.health_snapshot import ProbeResult
from gateway.call.providers.wire import FailureKind, Provider, ProviderFailure, Wire
from store.errors import UnknownEntity

log = logging.getLogger("merit.gateway")
EVERY_S = 15.0
QUIET_S = 60.0
TIMEOUT_S = 5.0
_AT_ONCE = 4
_JITTER = 0.2
# What a provider says that is there and takes the key, but has no such list, or none for us now.
_ALIVE: frozenset[FailureKind] = frozenset({"unknown_model", "refused", "overloaded"})


class Upstreams(Protocol):
    """Providers and how to speak to them, as they are configured at the moment."""

    @property
    def providers(self) -> Mapping[str, Provider]: ...

    @property
    def wires(self) -> Mapping[str, Wire]: ...


class Prober:
    """Probes providers until it is closed.

    Parameters
    ----------
    upstreams : called for every round, so that a new configuration counts at once.
    every_s : between two looks at who should be probed; a fifth of it is left to chance.
    quiet_s : a provider without traffic for so long is probed, no more often than that.
    timeout_s : of one probe.
    """

    def __init__(
        self,
        upstreams: Callable[[], Upstreams],
        breakers: Breakers,
        health: Health,
        *,
        every_s: float = EVERY_S,
        quiet_s: float = QUIET_S,
        timeout_s: float = TIMEOUT_S,
        rng: random.Random | None = None,
    ) -> None:
        self._upstreams = upstreams
        self._breakers = breakers
        self._health = health
        self._every_s = every_s
        self._quiet_s = quiet_s
        self._timeout_s = timeout_s
        self._rng = rng or random.Random()  # noqa: S311  spreads probes; nothing secret
        self._last: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[ProbeResult]] = {}
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Probe from now on, in the background."""
        self._task = asyncio.create_task(self._run(), name="merit-probes")

    async def close(self) -> None:
        """Stop; probes under way are cut off."""
        tasks = [one for one in (self._task, *self._running.values()) if one is not None]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def probe_now(self, provider: str) -> ProbeResult:
        """Probe a provider now, also one that is configured without probes; one under way counts.

        Raises
        ------
        UnknownEntity : none of that name is configured.
        """
        upstreams = self._upstreams()
        found = upstreams.providers.get(provider)
        if found is None:
            raise UnknownEntity(
                f"There is no provider {provider[:64]!r}.",
                remedy=f"Use one of {', '.join(sorted(upstreams.providers)) or 'those in providers.toml'}.",
                field="provider",
                value=provider[:64],
            )
        task = self._running.get(provider)
        if task is None:
            task = self._running[provider] = asyncio.create_task(self._probe(found, upstreams.wires[found.wire]))
            task.add_done_callback(lambda _: self._running.pop(provider, None))
        # Others may wait for the same one.
        return await asyncio.shield(task)

    def due(self) -> list[str]:
        """Providers to be probed now: allowed to, and with an open circuit or no traffic."""
        now = time.monotonic()
        found = []
        for name, provider in self._upstreams().providers.items():
            if not provider.probe or name in self._running:
                continue
            circuit = self._breakers.circuit(name)
            idle = self._health.idle_s(name)
            quiet = (idle is None or idle > self._quiet_s) and now - self._last.get(name, -1e9) > self._quiet_s
            if quiet or any(one.state != "closed" for one in (circuit, *circuit.children)):
                found.append(name)
        return found

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s * self._rng.uniform(1.0 - _JITTER, 1.0 + _JITTER))
            try:
                await asyncio.gather(*(self._quietly(name) for name in self.due()))
            except Exception:  # health must not stop being looked at
                log.exception("A round of probes failed.")

    async def _quietly(self, provider: str) -> None:
        with suppress(UnknownEntity):  # Gone from the configuration meanwhile.
            await self.probe_now(provider)

    async def _probe(self, provider: Provider, wire: Wire) -> ProbeResult:
        async with self._at_once:
            start = time.perf_counter()
            kind: FailureKind | None = None
            message: str | None = None
            try:
                async with asyncio.timeout(2 * self._timeout_s):
                    await wire.models(provider, self._timeout_s)
            except ProviderFailure as failure:
                kind, message = (None, None) if failure.kind in _ALIVE else (failure.kind, failure.message)
            except TimeoutError:
                kind, message = "timeout", f"{provider.name} did not answer in time"
            self._last[provider.name] = time.monotonic()
            result = self._health.probed(provider.name, 1000 * (time.perf_counter() - start), kind, message)
            self._breakers.probed(provider.name, kind, result.failures)
            return result
