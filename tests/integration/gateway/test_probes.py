"""Probes of a real upstream server: who is probed, what is learned, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from gateway.call.breaker import Breakers, Policy
from gateway.call.health import Health
from gateway.call.probes import Prober
from gateway.call.providers.http import Http
from gateway.call.providers.openai import OpenAIWire
from gateway.call.providers.wire import Provider, Wire
from store.errors import UnknownEntity

MODEL = "acme/large"
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Upstream:
    """A provider that lists its models, says no, or keeps silent."""

    status: int = 200
    silent: bool = False
    asked: list[str | None] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    runner: web.AppRunner | None = None
    port: int = 0

    async def models(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Authorization"))
        if self.silent:
            await self.ended.wait()
        return web.json_response({"object": "list", "data": [{"id": "large", "object": "model"}]}, status=self.status)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        self.runner = web.AppRunner(app, shutdown_timeout=0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        self.ended.set()
        if self.runner is not None:
            await self.runner.cleanup()


@dataclass
class Configured:
    providers: Mapping[str, Provider]
    wires: Mapping[str, Wire]


@asynccontextmanager
async def probing(
    upstream: Upstream, every_s: float = 0.01, quiet_s: float = 60.0, **changes: object
) -> AsyncIterator[tuple[Prober, Breakers, Health]]:
    await upstream.start()
    http = Http()
    provider = Provider("acme", "openai", f"http://127.0.0.1:{upstream.port}/v1", key="k-123", local=True, **changes)  # type: ignore[arg-type]
    configured = Configured({"acme": provider}, {"openai": OpenAIWire(http)})
    breakers = Breakers(policy=Policy(consecutive=2, open_s=300.0, jitter=0.0))
    health = Health(breakers)
    prober = Prober(lambda: configured, breakers, health, every_s=every_s, quiet_s=quiet_s, timeout_s=30.0)
    try:
        yield prober, breakers, health
    finally:
        await prober.close()
        await http.close()
        await upstream.stop()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30.0):
        while not condition():
            await asyncio.sleep(0.005)


def opened(breakers: Breakers) -> None:
    for _ in range(2):
        permit = breakers.admit(MODEL)
        assert permit is not None
        breakers.failed(permit, "server")
    assert breakers.admit(MODEL) is None


async def test_probing_now_tells_how_it_went() -> None:
    upstream = Upstream()
    async with probing(upstream) as (prober, _, health):
        found = await prober.probe_now("acme")
        assert (found.ok, found.kind, found.failures) == (True, None, 0)
        assert upstream.asked == ["Bearer k-123"]
        upstream.status = 503
        found = await prober.probe_now("acme")
        assert (found.ok, found.kind, found.failures) == (False, "server", 1)
        upstream.silent, prober._timeout_s = True, 0.2
        found = await prober.probe_now("acme")
        assert (found.ok, found.kind, found.failures) == (False, "timeout", 2)
        assert health.probe("acme") == found
        assert health.snapshot("acme").samples == 0
        with pytest.raises(UnknownEntity, match=r"no provider 'umbrella'\. Use one of acme"):
            await prober.probe_now("umbrella")


async def test_several_who_ask_share_one_probe() -> None:
    upstream = Upstream()
    async with probing(upstream) as (prober, _, _):
        await asyncio.gather(*(prober.probe_now("acme") for _ in range(20)))
        assert len(upstream.asked) == 1


@pytest.mark.parametrize("status", [404, 405, 429])
async def test_a_provider_without_such_a_list_is_alive(status: int) -> None:
    async with probing(Upstream(status=status)) as (prober, breakers, _):
        assert (await prober.probe_now("acme")).ok
        assert breakers.admit(MODEL) is not None


async def test_an_open_circuit_is_probed_soon_and_half_open_when_the_provider_answers() -> None:
    upstream = Upstream(status=500)
    async with probing(upstream) as (prober, breakers, health):
        health.started(MODEL)
        health.succeeded(MODEL, 1.0, 2.0, 1)  # There is traffic.
        assert prober.due() == []
        opened(breakers)
        assert prober.due() == ["acme"]
        prober.start()
        await until(lambda: len(upstream.asked) > 2)
        assert breakers.state(MODEL).state == "open"
        upstream.status = 200
        await until(lambda: breakers.state(MODEL).state == "half_open")
        probe = breakers.admit(MODEL)
        assert probe is not None
        assert probe.is_probe
        breakers.succeeded(probe)
        assert prober.due() == []


async def test_a_refused_key_closes_the_provider_before_any_call_and_a_taken_one_opens_it() -> None:
    upstream = Upstream(status=401)
    async with probing(upstream) as (prober, breakers, _):
        assert prober.due() == ["acme"]  # Never asked so far.
        prober.start()
        await until(lambda: breakers.admit(MODEL) is None)
        assert breakers.state("acme").last_error == "credentials"
        upstream.status = 200
        await until(lambda: breakers.admit(MODEL) is not None)


async def test_a_provider_that_is_down_is_noticed_and_noticed_again_when_it_is_back() -> None:
    upstream = Upstream()
    async with probing(upstream, quiet_s=0.0) as (prober, breakers, health):
        await prober.probe_now("acme")
        await upstream.stop()
        prober.start()
        await until(lambda: breakers.admit(MODEL) is None)
        assert breakers.state("acme").last_error == "connect"
        probe = health.probe("acme")
        assert probe is not None
        assert probe.failures >= 2
        await upstream.start()
        await until(lambda: breakers.admit(MODEL) is not None)


async def test_a_quiet_provider_is_probed_once_in_a_while_and_one_that_wants_none_never() -> None:
    upstream = Upstream()
    async with probing(upstream) as (prober, _, _):
        assert prober.due() == ["acme"]
        await prober.probe_now("acme")
        assert prober.due() == []
    async with probing(Upstream(), probe=False) as (prober, breakers, _):
        opened(breakers)
        assert prober.due() == []
        assert (await prober.probe_now("acme")).ok


async def test_closing_cuts_a_probe_off() -> None:
    upstream = Upstream(silent=True)
    async with probing(upstream) as (prober, _, _):
        asking = asyncio.create_task(prober.probe_now("acme"))
        await until(lambda: upstream.asked)
        await prober.close()
        with pytest.raises(asyncio.CancelledError):
            await asking
