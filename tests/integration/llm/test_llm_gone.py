"""Clients that go away before their answer: the upstream call ends with them, its slot is free, and what it used is
paid for; a provider that bills the whole answer anyway is read to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

LONG = "Describe the sea in twenty sentences, each about another thing that lives in it."
# The simulated provider once more, as one that goes on writing whether or not anybody reads.
DRAINED = """
[providers.drained]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
local = true
models = ["medium"]
on_disconnect = "drain"
probe = false

[models."drained/medium"]
price = {{ input = 0.80, output = 3.20, cached = 0.16 }}
context = 200_000
"""


@pytest.fixture(scope="module", autouse=True)
def draining(shared_gateway: Any, providers_toml: Callable[..., str]) -> Iterator[None]:
    shared_gateway.configure(providers_toml(sections=DRAINED.format(port=shared_gateway.simulator.port)))
    yield
    shared_gateway.configure(providers_toml())


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 400, "messages": [{"role": "user", "content": LONG}], **fields}


def leave(asker: Any, path: str, content: dict[str, Any]) -> None:
    """Ask, and close the connection: of a stream when its second word has come, of a whole answer after a while."""
    with httpx.Client(base_url=asker.api.base_url, headers=asker.api.headers, timeout=1.0) as api:
        if not content.get("stream"):
            with pytest.raises(httpx.ReadTimeout):
                api.post(path, json=content)
            return
        with api.stream("POST", path, json=content, timeout=30) as answer:
            assert answer.status_code == 200
            seen = b""
            for chunk in answer.iter_bytes():
                seen += chunk
                if seen.count(b"\n\n") > 4:
                    break


async def leave_at_once(gateway: Any, asker: Any, contents: list[dict[str, Any]]) -> None:
    """Ask all of them, and close every connection once all are under way and the second word of each stream has
    come."""
    heard = 0

    async def ask(api: httpx.AsyncClient, content: dict[str, Any]) -> None:
        nonlocal heard
        async with api.stream("POST", "/v1/chat/completions", json=content) as answer:
            events = 0
            async for chunk in answer.aiter_bytes():
                before, events = events, events + chunk.count(b"\n\n")
                heard += before <= 2 < events

    limits = httpx.Limits(max_connections=None)
    headers = asker.api.headers
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30, limits=limits) as api:
        asking = [asyncio.create_task(ask(api, content)) for content in contents]
        async with asyncio.timeout(30):
            while heard < sum(content["stream"] for content in contents):
                await asyncio.sleep(0.02)
            while await asyncio.to_thread(gateway.metric, "merit_llm_in_flight") < len(contents):
                await asyncio.sleep(0.02)
        for one in asking:
            one.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def at_rest(gateway: Any, provider: str = "simulated") -> None:
    """Nothing is under way any more."""
    deadline = time.monotonic() + 30
    while gateway.metric("merit_llm_slots_in_use", provider=provider) or gateway.metric("merit_llm_in_flight"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("model", ["simulated/medium", "claude/large", "gemini/large"])
def test_a_stream_that_nobody_reads_ends_upstream_too(path: str, model: str, gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    budget = gateway.budget(asker, 1.0)
    whole = asker.answer(LONG, model=model, max_tokens=400)["usage"]["completion_tokens"]
    # Half of it is said only after seconds.
    simulator.adjust(f"simulated/{model.partition('/')[2]}", ttft_ms=0, tokens_per_second=5)
    simulator.speed(1)
    leave(asker, path, body(model, stream=True))
    bill = simulator.charged(2)
    charge = bill["charges"][-1]
    assert not charge["whole"]
    assert 0 < charge["output"] < whole / 2
    line, _ = gateway.settled(asker.workspace, 2)
    assert (line["outcome"], line["stream"]) == ("cancelled", True)
    assert line["tokens"]["estimated"]
    assert 0 < line["tokens"]["output"] < whole / 2
    assert line["tokens"]["input"] == pytest.approx(charge["input"], abs=2)
    at_rest(gateway, model.partition("/")[0])
    standing = gateway.standing(budget)
    assert standing["reserved"] == 0
    assert round(standing["spent"] * 1e9) == gateway.spent(asker.workspace)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "ensemble"])
def test_a_whole_answer_that_nobody_waits_for_ends_upstream_too(path: str, gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    budget = gateway.budget(asker, 1.0)
    members = 3 if path == "ensemble" else 1
    simulator.speed(0.25)
    content = body("ensemble/jury" if path == "ensemble" else "simulated/medium")
    leave(asker, path if path.startswith("/") else "/v1/chat/completions", content)
    at_rest(gateway)
    # The provider noticed before it had written anything.
    charges = simulator.charged(members)["charges"]
    assert {(charge["whole"], charge["output"]) for charge in charges} == {(False, 0)}
    lines = gateway.settled(asker.workspace, members + (members > 1))
    assert {line["outcome"] for line in lines} == {"cancelled"}
    # The prompt was read, whatever was written by then.
    used = [line for line in lines if line["strategy"] != "ensemble"]
    assert len(used) == members
    assert all(line["tokens"]["input"] > 0 and line["tokens"]["estimated"] for line in used)
    standing = gateway.standing(budget)
    assert standing["reserved"] == 0
    assert round(standing["spent"] * 1e9) == gateway.spent(asker.workspace) > 0


def test_who_bills_the_whole_answer_anyway_is_read_to_the_end(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    budget = gateway.budget(asker, 1.0)
    simulator.adjust("simulated/medium", ttft_ms=0, tokens_per_second=10)
    simulator.speed(1)
    leave(asker, "/v1/chat/completions", body("drained/medium", stream=True))
    # The slot is taken and the money held as long as the provider goes on.
    assert gateway.metric("merit_llm_slots_in_use", provider="drained") == 1
    assert gateway.standing(budget)["reserved"] > 0
    (charge,) = simulator.charged(1)["charges"]
    assert charge["whole"]
    (line,) = gateway.settled(asker.workspace, 1)
    assert line["outcome"] == "cancelled"
    assert not line["tokens"]["estimated"]
    assert line["tokens"]["output"] == charge["output"] > 10
    at_rest(gateway, "drained")
    standing = gateway.standing(budget)
    assert standing["reserved"] == 0
    assert round(standing["spent"] * 1e9) == gateway.spent(asker.workspace) == simulator.spent()


def test_forty_who_leave_at_once_leave_nothing_behind(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker(concurrent=40)
    budget = gateway.budget(asker, 10.0)
    simulator.adjust("simulated/medium", ttft_ms=0, tokens_per_second=2)
    simulator.speed(1)
    contents = [body("simulated/medium", stream=bool(number % 2)) for number in range(40)]
    asyncio.run(leave_at_once(gateway, asker, contents))
    lines = gateway.settled(asker.workspace, len(contents))
    assert {line["outcome"] for line in lines} == {"cancelled"}
    at_rest(gateway)
    assert gateway.standing(budget)["reserved"] == 0
    simulator.speed(0)
    # As many calls at the same time as before are let in: no slot of the workspace leaked.
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: asker.chat(model="simulated/medium").status_code, range(40)))
    assert answers == [200] * 40
