"""A budget that downgrades finds the cheapest model that fits, also one that a decision does not tell of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.opening import OpenGateway
from gateway.prompt import Prompt, Tenant
from store import budgets
from store.errors import BudgetExceeded
from store.settings import Settings
from store.tables.base import new_id

NEAR = ("nano", "small", "medium", "coder", "vision", "thinker")
FAR = """
[providers.far]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
local = true
models = ["large"]

[models."far/large"]
price = {{ input = 30, output = 150 }}
quality = {{ default = 0.01 }}
"""


def test_a_provider_without_money_left_is_left_for_another(settings: Settings, simulator: Any) -> None:
    """The six best, and the cheapest of all, are of a provider whose budget is used up."""
    near = f'[providers.near]\nkind = "simulated"\nmodels = {list(NEAR)}\n'
    prices = "".join(f'[models."near/{name}"]\nprice = {{ input = 1, output = 2 }}\n' for name in NEAR)
    (settings.root / "providers.toml").write_text(near + prices + FAR.format(port=simulator.port))
    home = settings.model_copy(update={"simulator_port": simulator.port})
    budgets.create(home, scope="provider", subject="near", amount=1, action="downgrade")

    async def work(opened: OpenGateway) -> None:
        gateway = opened.gateway
        body = {"model": "best", "messages": [{"role": "user", "content": "What is 17 * 23?"}], "max_tokens": 50}
        prompt = Prompt(new_id(), Tenant(), "chat", "best", body)
        assert all(one.model.provider == "near" for one in gateway.decide(prompt).ranked)
        answered = await gateway.answer(prompt)
        assert answered.run.current is not None
        assert answered.run.current.model.id == "far/large"
        assert "far/large answers instead of near/" in answered.run.extra["downgraded"]
        # A model that is named stays the only one.
        with pytest.raises(BudgetExceeded):
            await gateway.answer(Prompt(new_id(), Tenant(), "chat", "near/small", {**body, "model": "near/small"}))
        for status in await gateway.parts.budgets.status():
            assert status.reserved == 0

    async def run() -> None:
        async with OpenGateway(home) as opened:
            await work(opened)

    asyncio.run(run())
