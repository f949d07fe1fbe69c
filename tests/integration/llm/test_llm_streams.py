"""Many streams at once: every frame of each one, in order; a new configuration meanwhile drops none; retries of a
provider that fails stay within their budget."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

STREAMS = 128


@pytest.fixture(autouse=True)
def as_before(shared_gateway: Any, providers_toml: Callable[..., str]) -> Iterator[None]:
    yield
    shared_gateway.configure(providers_toml())


def question(number: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"Describe the sea at buoy {number} in ten sentences."}]


async def listen(api: httpx.AsyncClient, body: dict[str, Any], begun: asyncio.Event | None = None) -> tuple[str, int]:
    """What a stream says, and how many frames said something. Nothing may be missing at its end."""
    parts: list[str] = []
    async with api.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        last = ""
        async for line in answer.aiter_lines():
            if not line:
                continue
            last = line.removeprefix("data: ")
            if last == "[DONE]":
                continue
            frame = json.loads(last)
            assert "error" not in frame, frame
            parts += (choice["delta"].get("content") or "" for choice in frame["choices"])
            if begun is not None and len(parts) > 1:
                begun.set()
        assert last == "[DONE]"
    return "".join(parts), sum(1 for part in parts if part)


def client(gateway: Any, asker: Any) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {asker.secret}"}
    return httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=60, limits=limits)


def test_128_streams_at_once_lose_and_reorder_nothing(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    models = ("simulated/medium", "claude/small", "gemini/small", "simulated/small")
    bodies = [
        {"model": models[number % len(models)], "messages": question(number % 8), "max_tokens": 200, "stream": True}
        for number in range(STREAMS)
    ]
    direct: dict[str, tuple[str, int]] = {}

    async def alone() -> None:
        async with client(gateway, asker) as api:
            for body in bodies[:8]:
                direct[_key(body)] = await listen(api, body)

    async def all_at_once() -> list[tuple[str, int]]:
        async with client(gateway, asker) as api:
            return await asyncio.gather(*(listen(api, body) for body in bodies))

    asyncio.run(alone())
    assert all(frames > 10 for _, frames in direct.values())
    # Slow enough for all of them to run side by side.
    simulator.speed(5)
    told = asyncio.run(all_at_once())
    assert len(told) == STREAMS
    for body, heard in zip(bodies, told, strict=True):
        assert heard == direct[_key(body)]
    assert gateway.spent(asker.workspace) == simulator.spent()
    lines = gateway.runs(asker.workspace)
    assert [line["outcome"] for line in lines] == ["ok"] * (STREAMS + 8)
    assert gateway.metric("merit_llm_in_flight") == 0
    assert gateway.metric("merit_llm_slots_in_use") == 0


def _key(body: dict[str, Any]) -> str:
    return f"{body['model']} {body['messages']}"


def test_a_new_configuration_drops_no_stream(gateway: Any, simulator: Any, providers_toml: Callable[..., str]) -> None:
    asker = gateway.asker()
    body = {"model": "simulated/medium", "messages": question(1), "max_tokens": 200, "stream": True}
    whole = asker.answer(**{**body, "stream": False})["choices"][0]["message"]["content"]
    simulator.speed(1)
    file = gateway.settings.root / "providers.toml"

    def change() -> None:
        # Its provider is no longer there, then the file is broken, then it is there again.
        text = providers_toml()
        start = text.index("[providers.simulated]\n")
        without = text[:start] + text[text.index("[providers.simulated-local]") :]
        begin = without.index('[models."simulated/nano"]')
        without = without[:begin] + without[without.index('[models."simulated-local/local-small"]') :]
        without = without.replace('[models."simulated/embed"]\nkind = "embeddings"\nprice = { input = 0.02 }\n', "")
        gateway.configure(without.replace("context = 8_192\n", "").partition("[ensembles.jury]")[0])
        assert asker.chat(model="simulated/medium").status_code == 404
        assert asker.chat(model="claude/small").status_code == 200
        file.write_text("[providers.simulated\n")
        refused = gateway.admin.post("/v1/llm/reload")
        assert refused.status_code == 409
        assert "TOML" in refused.json()["detail"]
        assert asker.chat(model="claude/small").status_code == 200
        health = gateway.admin.get("/readyz").json()
        assert "llm configuration" in json.dumps(health)
        gateway.configure(text)
        assert asker.chat(model="simulated/medium").status_code == 200

    async def streams() -> list[tuple[str, int]]:
        async with client(gateway, asker) as api:
            begun = asyncio.Event()
            running = [asyncio.create_task(listen(api, body, begun)) for _ in range(20)]
            await begun.wait()
            await asyncio.to_thread(change)
            return await asyncio.gather(*running)

    assert {text for text, _ in asyncio.run(streams())} == {whole}
    (standing,) = {line["outcome"] for line in gateway.runs(asker.workspace, model="simulated/medium")}
    assert standing == "ok"


def test_a_changed_file_is_found_without_being_told(
    gateway: Any, simulator: Any, providers_toml: Callable[..., str]
) -> None:
    asker = gateway.asker()
    (gateway.settings.root / "providers.toml").write_text(providers_toml(sections='[aliases]\nours = "claude/small"\n'))
    deadline = time.monotonic() + 15
    while (answer := asker.chat(model="ours")).status_code == 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.headers["x-merit-model"] == "claude/small"


def test_retries_do_not_become_a_storm(gateway: Any, simulator: Any, providers_toml: Callable[..., str]) -> None:
    asker = gateway.asker()
    # A provider that nobody has asked yet, all of whose models fail; their circuits open only later than this ends.
    names = ("nano", "small", "medium", "large", "coder")
    stormy = (
        f'[providers.stormy]\nkind = "openai"\nbase_url = "{simulator.openai}"\nlocal = true\nmodels = {list(names)}\n'
    )
    for name in names:
        stormy += f'[models."stormy/{name}"]\nprice = {{ input = 0.1, output = 0.1 }}\ncontext = 32_000\n'
        simulator.fault("status", status=500, model=f"simulated/{name}", calls=1_000)
    gateway.configure(providers_toml(sections=stormy).replace("retry_floor = 1000", "retry_floor = 3"))
    refused = gateway.metric("merit_llm_retries_refused_total", provider="stormy")
    merit = {"fallbacks": True, "providers": ["stormy"]}

    async def ask() -> list[int]:
        async with client(gateway, asker) as api:
            models = [f"stormy/{name}" for name in names]
            bodies = [{"model": model, "messages": question(1), "merit": merit} for model in models for _ in range(4)]
            answers = await asyncio.gather(*(api.post("/v1/chat/completions", json=body) for body in bodies))
            return [answer.status_code for answer in answers]

    begun = time.monotonic()
    statuses = asyncio.run(ask())
    took = time.monotonic() - begun
    asked = sum(1_000 - int(one["calls"]) for one in simulator._call("GET", "faults")["faults"])
    # 20 first attempts; beside them a tenth and the floor, which pay for half an attempt with another model each. The
    # floor comes back: half of one in every second that it takes.
    assert set(statuses) <= {502, 503}
    assert 20 <= asked <= 20 + 2 * (2 + 3) + 1 + took
    assert gateway.metric("merit_llm_retries_refused_total", provider="stormy") > refused
