"""Slots of a provider: never more than it has, in the order of coming, freed however a call ends."""

from __future__ import annotations

import asyncio
import random

import pytest

from gateway.call.breaker import Breakers
from gateway.call.concurrency import Slots
from gateway.call.providers.wire import Provider, ProviderFailure

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def provider(concurrency: int = 2) -> Provider:
    return Provider("acme", "openai", "http://127.0.0.1:1/v1", concurrency=concurrency)


async def until(condition: object) -> None:
    """Let others run until a condition holds."""
    assert callable(condition)
    while not condition():
        await asyncio.sleep(0)


async def test_never_more_than_there_are_and_everybody_gets_one() -> None:
    slots, one = Slots(waiting_per_slot=100), provider(3)
    now = most = done = 0
    rng = random.Random(1)

    async def call() -> None:
        nonlocal now, most, done
        async with slots.hold(one, 10.0):
            now += 1
            most = max(most, now)
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            now -= 1
        done += 1

    await asyncio.gather(*(call() for _ in range(200)))
    assert (most, done, slots.in_use("acme"), slots.waiting("acme")) == (3, 200, 0, 0)


async def test_first_come_first_served() -> None:
    slots, one = Slots(), provider(1)
    served: list[int] = []

    async def call(number: int) -> None:
        async with slots.hold(one, 10.0):
            served.append(number)
            await asyncio.sleep(0)

    tasks = []
    for number in range(4):
        tasks.append(asyncio.create_task(call(number)))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert served == [0, 1, 2, 3]


async def test_a_full_line_says_so_at_once_and_the_breaker_does_not_count_it() -> None:
    slots, one = Slots(waiting_per_slot=2), provider(1)
    hold = asyncio.Event()

    async def call() -> None:
        async with slots.hold(one, 10.0):
            await hold.wait()

    tasks = [asyncio.create_task(call()) for _ in range(3)]
    await until(lambda: slots.waiting("acme") == 2)
    with pytest.raises(ProviderFailure, match="all 1 slots of acme are in use and 2 calls wait already") as caught:
        async with slots.hold(one, 10.0):
            raise AssertionError("not reached")
    assert (caught.value.kind, caught.value.sent) == ("overloaded", False)
    breakers = Breakers()
    for _ in range(20):
        permit = breakers.admit("acme/large")
        if permit is not None:
            breakers.failed(permit, caught.value.kind, caught.value.retry_after)
    assert breakers.state("acme/large").failures == 0
    hold.set()
    await asyncio.gather(*tasks)
    assert slots.in_use("acme") == 0


@pytest.mark.parametrize("timeout_s", [0.0, 0.01])
async def test_nobody_waits_past_the_deadline(timeout_s: float) -> None:
    slots, one = Slots(), provider(1)
    async with slots.hold(one, 1.0):
        with pytest.raises(ProviderFailure, match="in use and"):
            async with slots.hold(one, timeout_s):
                raise AssertionError("not reached")
        assert slots.waiting("acme") == 0
    async with slots.hold(one, 0.0):
        assert slots.in_use("acme") == 1


async def test_a_slot_is_freed_by_errors_and_by_cancelling() -> None:
    slots, one = Slots(), provider(1)
    with pytest.raises(ValueError):
        async with slots.hold(one, 1.0):
            raise ValueError
    assert slots.in_use("acme") == 0

    async def call() -> None:
        async with slots.hold(one, 10.0):
            await asyncio.Event().wait()

    holder = asyncio.create_task(call())
    await until(lambda: slots.in_use("acme") == 1)
    waiter = asyncio.create_task(call())
    await until(lambda: slots.waiting("acme") == 1)
    waiter.cancel()
    holder.cancel()
    assert [str(type(one)) for one in await asyncio.gather(holder, waiter, return_exceptions=True)] == [
        "<class 'asyncio.exceptions.CancelledError'>"
    ] * 2
    assert (slots.in_use("acme"), slots.waiting("acme")) == (0, 0)


async def test_cancelled_in_the_moment_of_its_turn_it_passes_the_slot_on() -> None:
    slots, one = Slots(), provider(1)
    first = slots.hold(one, 1.0)
    await first.__aenter__()

    async def call() -> str:
        async with slots.hold(one, 10.0):
            return "served"

    unlucky = asyncio.create_task(call())
    next_one = asyncio.create_task(call())
    await until(lambda: slots.waiting("acme") == 2)
    await first.__aexit__(None, None, None)  # It is the unlucky one's turn …
    unlucky.cancel()  # … and it goes before it has noticed.
    assert await next_one == "served"
    with pytest.raises(asyncio.CancelledError):
        await unlucky
    assert slots.in_use("acme") == 0


async def test_random_cancelling_leaks_nothing() -> None:
    slots, one = Slots(waiting_per_slot=50), provider(3)
    rng = random.Random(7)
    most = 0

    async def call() -> None:
        nonlocal most
        async with slots.hold(one, rng.choice([0.0005, 5.0])):
            most = max(most, slots.in_use("acme"))
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)

    tasks = [asyncio.create_task(call()) for _ in range(120)]
    for _ in range(60):
        await asyncio.sleep(0)
        rng.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (slots.in_use("acme"), slots.waiting("acme")) == (0, 0)
    assert most <= 3


async def test_more_room_after_a_reload_lets_those_in_line_in() -> None:
    slots = Slots()
    async with slots.hold(provider(1), 1.0):
        waiter = slots.hold(provider(1), 5.0)
        task = asyncio.create_task(waiter.__aenter__())
        await until(lambda: slots.waiting("acme") == 1)
        late = slots.hold(provider(3), 5.0)
        await late.__aenter__()
        await task
        assert slots.in_use("acme") == 3
        await late.__aexit__(None, None, None)
        await waiter.__aexit__(None, None, None)
