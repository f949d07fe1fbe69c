"""Two gateways on Postgres and Redis: one budget, one limit, one opinion about a model; and what one that is killed
leaves behind the other finds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gateway.opening import OpenGateway
from store.database import dispose
from store.settings import Settings

SAID = [{"role": "user", "content": "What is 17 * 23? Show how you get there."}]
CHAT = {"model": "simulated/medium", "messages": SAID, "max_tokens": 100}


@pytest.fixture
def pair(start_gateway: Any, simulator: Any, postgres_url: str, redis_url: str) -> Iterator[tuple[Any, Any]]:
    """Two processes on the same home, as on one machine."""
    one = start_gateway(database_url=postgres_url, MERIT_REDIS_URL=redis_url)
    two = start_gateway(settings=one.settings, MERIT_REDIS_URL=redis_url)
    yield one, two
    for gateway in (one, two):
        # They end by themselves, whatever they are told by Redis at that moment.
        start = time.monotonic()
        gateway.process.stop()
        assert time.monotonic() - start < 10
    dispose(one.settings)


def test_two_gateways_share_everything_that_counts(pair: tuple[Any, Any], simulator: Any) -> None:
    one, two = pair
    _share_a_budget(one, two, simulator)
    _share_a_rate(one, two, simulator)
    _share_what_they_think_of_a_model(one, two, simulator)
    _one_finds_what_the_other_leaves(one, two, simulator)


def _share_a_budget(one: Any, two: Any, simulator: Any) -> None:
    asker = one.asker()
    first = one.run(asker.answer(**CHAT)["merit"]["id"])
    reserved, paid = first["reserved"], first["cost"]
    budget = one.budget(asker, paid + 10 * reserved)
    until(lambda: budget in {row["id"] for row in two.told(two.admin.get("/v1/budgets"))["budgets"]})
    simulator.speed(4)
    statuses = _storm(asker, [one.url, two.url] * 50, CHAT)
    assert set(statuses) == {200, 402}
    assert 10 <= statuses.count(200) <= int(10 * reserved / paid)
    # An answer is sent first and settled then.
    until(lambda: all(gateway.standing(budget)["reserved"] == 0 for gateway in (one, two)))
    for gateway in (one, two):
        standing = gateway.standing(budget)
        assert standing["reserved"] == 0
        assert standing["spent"] <= standing["amount"]
    # Either has the other's calls, once they have been written.
    until(lambda: two.spent(asker.workspace) == one.spent(asker.workspace) == simulator.spent())
    assert round(two.standing(budget)["spent"] * 1e9) == simulator.spent()
    simulator.speed(0)


def _share_a_rate(one: Any, two: Any, simulator: Any) -> None:
    asker = one.asker(requests_per_minute=20)
    until(lambda: two.admin.get(f"/v1/workspaces/{asker.workspace}").status_code == 200)
    statuses = _storm(asker, [one.url, two.url] * 20, CHAT)
    assert (statuses.count(200), statuses.count(429)) == (20, 20)


def _share_what_they_think_of_a_model(one: Any, two: Any, simulator: Any) -> None:
    asker = one.asker()
    simulator.fault("status", status=500, model="simulated/coder", calls=100)
    ask = {**CHAT, "model": "simulated/coder"}
    for _ in range(2):
        assert asker.chat(**ask).status_code == 502
    assert one.health("simulated/coder")["breaker"]["state"] == "open"
    until(lambda: two.health("simulated/coder")["breaker"]["state"] != "closed")
    struck = simulator._call("GET", "faults")["faults"][0]["calls"]
    assert _storm(asker, [two.url], ask) == [503]
    assert simulator._call("GET", "faults")["faults"][0]["calls"] == struck
    simulator.faults()
    two.told(two.admin.post("/v1/llm/models/simulated/coder/reset"))
    until(lambda: one.health("simulated/coder")["breaker"]["state"] == "closed")
    assert asker.chat(**ask).status_code == 200
    one.told(one.admin.post("/v1/llm/providers/gemini/drain"))
    until(lambda: two.health("gemini/large")["unavailable"] is not None)
    assert "drained" in two.health("gemini/large")["unavailable"]


def _one_finds_what_the_other_leaves(one: Any, two: Any, simulator: Any) -> None:
    asker = one.asker()
    budget = one.budget(asker, 5.0)
    until(lambda: budget in {row["id"] for row in two.told(two.admin.get("/v1/budgets"))["budgets"]})
    # No call ends before all have begun.
    simulator.speed(0.02)
    bodies = [CHAT, {**CHAT, "stream": True}, {**CHAT, "model": "ensemble/jury"}]

    async def killed() -> None:
        headers = {"Authorization": f"Bearer {asker.secret}"}
        async with httpx.AsyncClient(base_url=two.url, headers=headers, timeout=30) as api:
            asking = [asyncio.create_task(api.post("/v1/chat/completions", json=bodies[n % 3])) for n in range(30)]
            # All of them are on their way to a provider.
            await asyncio.to_thread(until, lambda: two.metric("merit_llm_in_flight") == 50)
            assert (await asyncio.to_thread(one.standing, budget))["reserved"] > 0
            two.process.process.kill()
            await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(killed())
    until(lambda: len(one.runs(asker.workspace, outcome="unknown")) == 50, seconds=60)
    until(lambda: one.standing(budget)["reserved"] == 0)
    lines = one.runs(asker.workspace)
    assert all(line["cost"] == line["reserved"] > 0 for line in lines)
    assert round(one.standing(budget)["spent"] * 1e9) == one.spent(asker.workspace) >= simulator.spent()
    simulator.speed(0)
    assert asker.chat(**CHAT).status_code == 200


def test_a_gateway_closes_whatever_it_was_doing_with_redis(settings: Settings, redis_url: str) -> None:
    shared = settings.model_copy(update={"redis_url": Settings(redis_url=redis_url).redis_url})

    async def open_and_close() -> None:
        for pause in (0.0, 0.001, 0.01, 0.05, 0.3, 0.35):
            opened = OpenGateway(shared)
            await opened.open()
            # Its tasks in the background are each somewhere else by then.
            await asyncio.sleep(pause)
            async with asyncio.timeout(30):
                await opened.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == []

    asyncio.run(open_and_close())
    dispose(shared)


def _storm(asker: Any, urls: list[str], body: dict[str, Any]) -> list[int]:
    async def ask() -> list[int]:
        headers = {"Authorization": f"Bearer {asker.secret}"}
        async with httpx.AsyncClient(headers=headers, timeout=60, limits=httpx.Limits(max_connections=None)) as api:
            answers = await asyncio.gather(*(api.post(f"{url}/v1/chat/completions", json=body) for url in urls))
        return [answer.status_code for answer in answers]

    return asyncio.run(ask())


def until(holds: Callable[[], bool], *, seconds: float = 30.0) -> None:
    """Wait for what another process does in a moment."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
