"""Words that are to stay on the own machines, in a region, or with some providers stay there, whatever else is done
with them: substitutes, judges, training."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.account.contents import Contents
from gateway.gateway import Answered, Gateway
from gateway.improve.finetuning.examples import again, collect
from gateway.improve.finetuning.planning import contributing
from gateway.improve.finetuning.tasks import Selection
from gateway.opening import OpenGateway
from gateway.prompt import Limits, Options, Prompt, Tenant
from store import llm_calls, llm_feedback, workspaces
from store.database import session
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import LlmCallRow

LETTER = "Write a letter about heat pumps to the tenants of the old house."
ANYWHERE, LOCAL_ONLY = Limits(), Limits(local_only=True)


@pytest.fixture
def home(settings: Settings, simulator: Any) -> Settings:
    workspaces.put(settings, "kept", "default", {"keep": "plain"})
    return settings.model_copy(update={"simulator_port": simulator.port})


def running(settings: Settings, work: Callable[[OpenGateway], Awaitable[None]]) -> None:
    async def run() -> None:
        async with OpenGateway(settings) as opened:
            await work(opened)

    asyncio.run(run())


async def ask(gateway: Gateway, model: str, limits: Limits = ANYWHERE, **options: Any) -> Answered:
    body = {"model": model, "messages": [{"role": "user", "content": LETTER}]}
    prompt = Prompt(new_id(), Tenant("kept"), "chat", model, body, limits=limits, options=Options(**options))
    return await gateway.answer(prompt)


def test_private_is_a_limit_under_every_name_and_stands_in_the_ledger(home: Settings) -> None:
    async def work(opened: OpenGateway) -> None:
        gateway = opened.gateway
        gateway.parts.chooser.names._targets["hush"] = gateway.parts.chooser.names.parse("private")
        for name in ("private", "private:writing", "hush"):
            answered = await ask(gateway, name)
            assert answered.run.prompt.limits == LOCAL_ONLY
            assert answered.run.merit()["whereabouts"] == {"local_only": True}
        placed = await ask(gateway, "auto", Limits(regions=frozenset({"eu"}), providers=frozenset({"simulated"})))
        anywhere = await ask(gateway, "auto")
        await asyncio.to_thread(gateway.parts.ledger.flush)
        told = llm_calls.get(home, placed.run.prompt.id)["extra"]
        assert told["whereabouts"] == {"regions": ["eu"], "providers": ["simulated"]}
        assert "whereabouts" not in (llm_calls.get(home, anywhere.run.prompt.id)["extra"] or {})

    running(home, work)


def test_no_substitute_takes_private_words_away(home: Settings) -> None:
    rules = [{"asked": "private", "use": "simulated/small", "held_back": 0.0}]
    workspaces.put(home, "kept", "default", {"keep": "plain", "substitutes": rules})

    async def work(opened: OpenGateway) -> None:
        answered = await ask(opened.gateway, "private")
        run = answered.run
        assert run.current is not None
        assert run.current.model.local
        assert run.decision is not None
        assert all(one.model.local for one in run.decision.ranked)
        assert run.extra["substitution"]["part"] == "not possible"

    running(home, work)


@pytest.mark.parametrize(
    ("model", "limits"),
    [
        ("private", ANYWHERE),
        ("auto", LOCAL_ONLY),
        ("auto", Limits(providers=frozenset({"simulated-local"}))),
        ("auto", Limits(exclude=frozenset({"simulated"}))),
        ("auto", Limits(regions=frozenset({"mars", "eu"}), exclude=frozenset({"simulated/large"}))),
    ],
)
def test_a_sampled_judge_elsewhere_hears_nothing_of_them(home: Settings, model: str, limits: Limits) -> None:
    judged = home.model_copy(
        update={"quality_judge": "simulated/large", "quality_judge_share": 1.0, "quality_judge_dollars": 1.0}
    )

    async def work(opened: OpenGateway) -> None:
        judge = opened.improvement.judge
        assert judge is not None
        asked: list[Prompt] = []
        answer = judge._ask

        async def heard(prompt: Prompt) -> Any:
            asked.append(prompt)
            return await answer(prompt)

        judge._ask = heard
        await ask(opened.gateway, model, limits, explore=False)
        await judge.finished()
        (prompt,) = asked
        assert LETTER in prompt.body["messages"][1]["content"]
        # It was turned away before anything was sent.
        assert (judge.judged, judge.skipped, judge.spent) == (0, 1, 0)

    running(judged, work)


@pytest.mark.parametrize("limits", [LOCAL_ONLY, Limits(providers=frozenset({"simulated-local"}))])
def test_a_judge_of_an_ensemble_elsewhere_hears_nothing_of_them(home: Settings, simulator: Any, limits: Limits) -> None:
    async def work(opened: OpenGateway) -> None:
        answered = await ask(opened.gateway, "ensemble/best-of-n", limits, judge="simulated/large")
        assert "simulated/large did not judge" in answered.run.extra["judge"]

    running(home, work)
    assert all(name.startswith("simulated-local/") for name in simulator.bill()["by_model"])


def test_nothing_is_learned_from_them_elsewhere(home: Settings) -> None:
    async def work(opened: OpenGateway) -> None:
        gateway = opened.gateway
        limits = {
            "private": ("private", ANYWHERE),
            "local": ("auto", LOCAL_ONLY),
            "placed": ("auto", Limits(providers=frozenset({"simulated-local"}))),
            "free": ("auto", ANYWHERE),
            "old": ("private", ANYWHERE),
        }
        calls = {name: (await ask(gateway, *one, task="writing")).run.prompt.id for name, one in limits.items()}
        await asyncio.to_thread(gateway.parts.ledger.flush)
        with session(home) as changing:
            # As it was written before it said where words may go.
            changing.execute(sa.update(LlmCallRow).where(LlmCallRow.id == calls["old"]).values(extra=None))
        models = gateway.parts.configuration.models
        for call in calls.values():
            llm_feedback.add(home, call_id=call, workspace="kept", user=None, source="thumb", score=1.0)
        wanted = Selection(task="writing")
        read = Contents(home).read
        away, here = models["simulated/small"], models["simulated-local/small"]
        found = collect(home, wanted, ["kept"], away, utc_now(), read)
        assert [one.call for one in found.examples] == [calls["free"]]
        assert found.left_out["not for simulated, as who asked said"] == 4
        assert [one.call for one in again(home, list(calls.values()), ["kept"], away, read)] == [calls["free"]]
        assert {one.call for one in collect(home, wanted, ["kept"], here, utc_now(), read).examples} == {
            *calls.values()
        }

    running(home, work)


def test_limits_of_a_workspace_hold_for_training(home: Settings) -> None:
    async def work(opened: OpenGateway) -> None:
        model = opened.gateway.parts.configuration.models["simulated/small"]
        assert contributing(home, model, "kept") == (["kept"], {})
        workspaces.put(home, "kept", "default", {"keep": "plain", "limits": {"local_only": True}})
        assert contributing(home, model, "kept") == ([], {"kept": "has limits of its own: not local"})

    running(home, work)
