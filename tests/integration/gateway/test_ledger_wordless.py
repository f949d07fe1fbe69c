"""The ledger has no words of a workspace that does not keep them plain: not what members of an ensemble answered, and
not what a provider wrote, which may quote the prompt. Whoever asked is told all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from gateway.account.record import Attempt
from gateway.gateway import Gateway
from gateway.opening import OpenGateway
from gateway.prompt import Prompt, Tenant
from store import llm_calls, workspaces
from store.errors import UpstreamRefused
from store.settings import Settings
from store.tables.base import new_id

KEY = SecretStr("c" * 43 + "=")


@pytest.fixture(params=["nothing", "encrypted", "plain"])
def home(request: pytest.FixtureRequest, settings: Settings, simulator: Any) -> Settings:
    workspaces.put(settings, "w", "default", {"keep": request.param})
    return settings.model_copy(update={"simulator_port": simulator.port, "data_key": KEY})


def running(settings: Settings, work: Callable[[Gateway], Awaitable[None]]) -> None:
    async def run() -> None:
        async with OpenGateway(settings) as opened:
            await work(opened.gateway)

    asyncio.run(run())


def prompt(model: str) -> Prompt:
    body = {"model": model, "messages": [{"role": "user", "content": "What is 17 * 23?"}]}
    return Prompt(new_id(), Tenant("w"), "chat", model, body)


def test_what_members_answered_is_told_and_not_kept(home: Settings) -> None:
    async def work(gateway: Gateway) -> None:
        asked = prompt("ensemble/majority")
        answered = await gateway.answer(asked)
        told = answered.run.merit()["ensemble"]["votes"]
        assert told[0]["answer"]
        await asyncio.to_thread(gateway.parts.ledger.flush)
        kept = llm_calls.get(home, asked.id)["extra"]["ensemble"]
        plain = gateway.parts.workspaces.get("w").keep == "plain"
        without = [{name: one for name, one in vote.items() if name != "answer"} for vote in told]
        assert kept["votes"] == (told if plain else without)
        assert kept["rule"] == "majority"

    running(home, work)


def test_what_a_provider_wrote_is_told_and_not_kept(home: Settings, simulator: Any) -> None:
    simulator.fault("status", status=400, model="simulated/nano")

    async def work(gateway: Gateway) -> None:
        asked = prompt("simulated/nano")
        with pytest.raises(UpstreamRefused) as refused:
            await gateway.answer(asked)
        told = refused.value.details["attempts"][0]["message"]
        assert told.startswith("simulated answered 400: ")
        await asyncio.to_thread(gateway.parts.ledger.flush)
        (kept,) = llm_calls.get(home, asked.id)["attempts"]
        assert (kept["failure"], kept["status"]) == ("refused", 400)
        plain = gateway.parts.workspaces.get("w").keep == "plain"
        assert kept["message"] == (told if plain else "simulated answered 400.")

    running(home, work)


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (None, None),
        ("x did not finish within the time given.", "x did not finish within the time given."),
        ("x answered 400: no: 'Anna'.", "x answered 400."),
        ("x sent an error instead of an answer: Anna: no.", "x sent an error instead of an answer."),
    ],
)
def test_a_message_without_what_was_written(message: str | None, left: str | None) -> None:
    assert Attempt("x/1", 0, 1, message=message).wordless().message == left
