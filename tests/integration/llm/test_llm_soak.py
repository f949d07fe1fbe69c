"""A worker that answers for long stays as small as it was; `benchmarks/gateway_soak.py` asks for longer."""

from __future__ import annotations

import asyncio
import gc
import math
import sys
import time
import weakref
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from gateway.gateway import Gateway
from gateway.improve.scoring_queue import CAPACITY
from gateway.opening import OpenGateway
from gateway.prompt import Options, Prompt, Tenant
from store.database import dispose
from store.errors import GatewayError
from store.settings import Settings
from store.tables.base import new_id

SAID = [{"role": "user", "content": "What is 17 * 23?"}]
CONCURRENCY = 48
# Asked by those who go away: what they are charged is guessed, and a provider may have written more before it notices.
LEFT = "simulated/vision"
MOST_MIB, MOST_GROWTH_MIB = 250.0, 10.0
# Of thirty calls: a kind that leaves an object for each is found.
MOST_LEFT = 15
# An ended stream may take a second to end on the wire too, and on a slow machine it does.
TAIL_S = 1.1


def resident(pid: int) -> float:
    """MiB in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def requests(number: int) -> tuple[str, dict[str, Any]]:
    """What is asked in turn: whole, streamed, in the other format, embedded, cached, by name and by strategy."""
    body: dict[str, Any] = {"model": "simulated/small", "messages": SAID, "max_tokens": 60, "user": f"u{number % 50}"}
    match number % 8:
        case 0:
            return "/v1/chat/completions", {**body, "model": "auto"}
        case 1 | 2:
            return "/v1/chat/completions", {**body, "stream": True}
        case 3:
            return "/v1/messages", {**body, "model": "claude/small", "stream": number % 16 == 3}
        case 4:
            return "/v1/embeddings", {"model": "simulated/embed", "input": ["a river", f"buoy {number}"]}
        case 5:
            return "/v1/chat/completions", {**body, "merit": {"cache": "exact", "fallbacks": True}}
        case _:
            return "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": f"Say {number}."}]}


async def ask(url: str, secret: str, calls: range) -> Counter[int]:
    """So many calls, so many at once; the statuses. Every fortieth client goes away before its answer."""
    statuses: Counter[int] = Counter()
    numbers = iter(calls)
    headers = {"Authorization": f"Bearer {secret}"}

    async def one(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            path, body = requests(number)
            if leaves := number % 40 == 7:
                body["model"] = LEFT
            with suppress(asyncio.TimeoutError):
                async with asyncio.timeout(0.002 if leaves else 60):
                    async with session.post(url + path, json=body) as answer:
                        await answer.read()
                        statuses[answer.status] += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(one(session) for _ in range(CONCURRENCY)))
    return statuses


def spent(gateway: Any, asker: Any) -> int:
    """Nanos in the ledger, but for those who went away."""
    rows = gateway.told(gateway.admin.get("/v1/usage", params={"by": "model", "workspace": asker.workspace}))["rows"]
    return sum(round(row["cost"] * 1e9) for row in rows if row["model"] != LEFT)


def test_a_worker_stays_as_small_as_it_was(start_gateway: Any, simulator: Any) -> None:
    gateway = start_gateway(fresh=True)
    asker = gateway.asker(keep="plain")
    gateway.budget(asker, 1_000.0)
    simulator.fault("status", status=500, probability=0.01)
    asyncio.run(ask(gateway.url, asker.secret, range(1_000)))
    spent(gateway, asker)
    warm = resident(gateway.process.process.pid)
    statuses = asyncio.run(ask(gateway.url, asker.secret, range(1_000, 4_000)))
    spent(gateway, asker)
    after = resident(gateway.process.process.pid)
    assert statuses[200] > 2_800
    assert set(statuses) <= {200, 502, 503}
    assert after < MOST_MIB
    assert after - warm < MOST_GROWTH_MIB
    # Nothing was lost on the way; the last of it is written after its answer was sent.
    billed = sum(nanos for model, nanos in simulator.bill()["by_model"].items() if model != LEFT)
    deadline = time.monotonic() + 30
    while (spent(gateway, asker) != billed or gateway.metric("merit_llm_in_flight")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert spent(gateway, asker) == billed
    assert 0.99 * simulator.spent() < gateway.spent(asker.workspace) < 1.01 * simulator.spent()
    assert gateway.metric("merit_llm_in_flight") == 0
    gateway.process.stop()


PATTERN = Prompt(
    id="", tenant=Tenant(), kind="chat", model="simulated/small", body={"messages": SAID, "max_tokens": 60}
)
SHAPES = {
    "whole": PATTERN,
    "streamed": replace(PATTERN, stream=True),
    "left": replace(PATTERN, stream=True),
    "an ensemble": replace(PATTERN, model="ensemble/jury"),
    "failing": replace(PATTERN, model="simulated/nano"),
    "refused": replace(PATTERN, model="simulated/nano", body={"messages": SAID, "max_tokens": 60_000}),
    "cached": replace(PATTERN, options=Options(cache="exact")),
}


async def call(gateway: Gateway, shape: str) -> None:
    prompt = replace(SHAPES[shape], id=new_id())
    with suppress(GatewayError):
        if not prompt.stream:
            await gateway.answer(prompt)
            return
        pieces = (await gateway.stream(prompt)).pieces()
        async for _ in pieces:
            if shape == "left":
                break
        await pieces.aclose()


async def settled(expected: int) -> int:
    """Objects that there are, once there are fewer than expected or nothing is waited for any more."""
    for _ in range(math.ceil(10 * TAIL_S)):
        gc.collect()
        # Of its cursors that are gone, sqlite3 keeps up to 200 weak references before it looks.
        count = sum(not isinstance(one, weakref.ReferenceType) for one in gc.get_objects())
        if count < expected:
            break
        await asyncio.sleep(0.1)
    return count


def test_no_kind_of_call_leaves_objects_behind(settings: Settings, simulator: Any) -> None:
    chosen = settings.model_copy(update={"simulator_port": simulator.port})
    simulator.fault("status", status=404, model="simulated/nano")

    async def grown() -> dict[str, int]:
        opened = OpenGateway(chosen)
        gateway = await opened.open()
        # What is learned of calls beside the traffic takes its time and keeps some meanwhile: here it keeps all it may.
        await asyncio.to_thread(opened.improvement.queue.close)
        for _ in range(CAPACITY):
            await call(gateway, "whole")
        least: dict[str, int] = {}
        for shape in SHAPES:
            found: list[int] = []
            for calls in (40, 30, 30, 30):
                for _ in range(calls):
                    await call(gateway, shape)
                await asyncio.to_thread(gateway.parts.ledger.flush)
                if not found and SHAPES[shape].stream:
                    await asyncio.sleep(TAIL_S)
                found.append(await settled(found[-1] + MOST_LEFT if found else sys.maxsize))
            # What is kept for a while anyway, a slice of health for one, does not grow every time.
            least[shape] = min(after - before for before, after in pairwise(found))
        await opened.close()
        return least

    gc.collect()
    gc.freeze()  # what the tests before have made would only be walked over
    try:
        # As it is served: asyncio's own loop keeps up to a hundred timers that were cancelled.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(grown())
    finally:
        gc.unfreeze()
    assert {shape: many for shape, many in found.items() if many >= MOST_LEFT} == {}
    dispose(chosen)
