"""A gateway that runs holds the money of a call for as long as the call lasts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway import opening
from gateway.opening import OpenGateway
from gateway.prompt import Prompt, Tenant
from store import budgets
from store.settings import Settings
from store.tables.base import new_id


def test_a_stream_that_goes_on_keeps_its_money(
    settings: Settings, simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "TOUCH_SECONDS", 0.01)
    budgets.create(settings, scope="organisation", amount=10**9)
    home = settings.model_copy(update={"simulator_port": simulator.port})

    async def work(opened: OpenGateway) -> None:
        body = {"model": "simulated/medium", "messages": [{"role": "user", "content": "Describe the sea."}]}
        streamed = await opened.gateway.stream(Prompt(new_id(), Tenant(), "chat", body["model"], body, stream=True))
        pieces = streamed.pieces()
        await anext(pieces)
        held = streamed.run.reservation
        assert held is not None
        first = held.expires
        async with asyncio.timeout(30):
            while held.expires == first:
                await asyncio.sleep(0.01)
        await pieces.aclose()
        assert held.state == "settled"

    async def run() -> None:
        async with OpenGateway(home) as opened:
            await work(opened)

    asyncio.run(run())
