"""Fine-tuning as a flow over the ledger of the demo, by a gateway of its own, killed at every step, and resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from features.world.llm_calls import build_llm_world
from flows.run import run_flow
from gateway.call.providers.http import Http
from gateway.call.providers.openai_tuning import OpenAITuning
from gateway.call.providers.wire import ProviderFailure
from gateway.improve.finetuning.job import Job, Tools
from gateway.improve.finetuning.planning import Wish, prepare
from gateway.improve.finetuning.standing_in import bring_to_its_end, configuration_of
from gateway.improve.finetuning.tasks import Selection
from gateway.improve.finetuning.working import Finetunes
from gateway.improve.scoring import Words
from gateway.money import dollars
from gateway.opening import OpenGateway
from gateway.prompt import Tenant
from store import llm_finetunes, tuned_models
from store.database import dispose, session
from store.errors import BudgetExceeded, InvalidValue
from store.llm_finetunes import Finetune
from store.settings import Settings
from store.tables.gateway import LlmCallRow

END = date.today() - timedelta(days=1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, simulator_process: Any) -> Iterator[Settings]:
    """Three weeks of the demo's calls, up to yesterday."""
    simulator_process.reset()
    home = tmp_path_factory.mktemp("tuned") / "home"
    settings = Settings(home=home, threads=1, simulator_port=simulator_process.port, finetune_poll_seconds=0.02)
    build_llm_world(settings, days=21, calls_per_day=60, seed=3, end=END)
    yield settings
    dispose(settings)


@pytest.fixture
def simulator(simulator_process: Any) -> Any:
    simulator_process.reset()
    return simulator_process


def test_the_flow_tunes_a_model_and_tells_what_came_of_it(world: Settings, simulator: Any, prefect_server: str) -> None:
    settings = world.model_copy(update={"prefect_api_url": prefect_server})
    told: list[str] = []
    made = run_flow(
        settings,
        "finetune",
        {"base_model": "simulated/nano", "task": "any", "most": 120, "max_cost": 0.5},
        progress=lambda label, done, total: told.append(label),
    )
    assert made["state"] in ("admitted", "rejected")
    assert made["model"].startswith("simulated/ft:nano:merit:any:")
    assert 0 < made["cost"] < 0.5
    assert "difference" in made["reason"]
    assert told
    found = llm_finetunes.get(settings, made["id"])
    assert len(found.plan["workspaces"]) > 1
    # Workspaces that keep nothing, or nothing outside, have given nothing.
    assert found.plan["workspaces_left_out"]
    assert not set(found.plan["workspaces_left_out"]) & set(found.plan["workspaces"])
    with pytest.raises(BudgetExceeded, match="expected to cost"):
        run_flow(settings, "finetune", {"base_model": "simulated/nano", "most": 120, "max_cost": 0.0001})
    with pytest.raises(InvalidValue, match="cannot be tuned"):
        run_flow(settings, "finetune", {"base_model": "simulated/large"})


def test_a_gateway_that_runs_does_it_for_the_flow(
    world: Settings, simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow's process opens no second gateway beside one that has the database."""
    monkeypatch.setattr("gateway.improve.finetuning.working._LOOK_S", 0.05)

    async def work() -> Finetune:

        running = OpenGateway(world)
        gateway = await running.open()
        working = Finetunes(world, gateway, running.reload, Words, alone=True)
        await working.start()
        try:
            return await bring_to_its_end(world, _prepared(world).id, max_cost=1.0, hours=1)
        finally:
            await working.close()
            await running.close()

    assert asyncio.run(work()).state in ("admitted", "rejected")


class Killed(BaseException):
    """As `kill -9` does it: nothing after it happens."""


def test_killed_at_every_step_it_submits_once_and_pays_once(
    world: Settings, simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    made = _prepared(world)
    llm_finetunes.submit(world, made.id, max_cost=None)
    real, died = llm_finetunes.change, set()

    def change(settings: Settings, finetune_id: str, owner: str, **values: Any) -> Any:
        """Dies once before, and once after, each kind of step is written down."""
        step = (values.get("state"), *sorted(values.get("upstream") or ()), bool(values.get("spent")))
        if ("before", step) not in died:
            died.add(("before", step))
            raise Killed
        changed = real(settings, finetune_id, owner, **values)
        if ("after", step) not in died:
            died.add(("after", step))
            raise Killed
        return changed

    monkeypatch.setattr(llm_finetunes, "change", change)

    async def work() -> int:
        running = OpenGateway(world)
        gateway = await running.open()
        http = Http()
        tools = Tools(world, gateway, OpenAITuning(http), running.reload, Words, 0.02)
        lives = 0
        try:
            while not (found := llm_finetunes.get(world, made.id)).ended:
                lives += 1
                assert lives < 60, found
                llm_finetunes.release(world, None)
                claimed = llm_finetunes.claim(world, f"life-{lives}", 60)
                assert claimed is not None
                try:
                    await Job(tools, claimed, f"life-{lives}").run()
                except Killed:
                    continue
            assert [one.reserved for one in await gateway.parts.budgets.status()] == []
        finally:
            await http.close()
            await running.close()
        return lives

    lives = asyncio.run(work())
    assert lives > 12
    ended = llm_finetunes.get(world, made.id)
    assert ended.state in ("admitted", "rejected"), ended.error
    # One job at the provider, charged once there and once here.
    jobs = simulator.client.get(f"{simulator.openai}/fine_tuning/jobs?limit=100").json()["data"]
    assert [job["id"] for job in jobs if (job["metadata"] or {}).get("merit_finetune") == made.id] == [
        ended.upstream["job"]
    ]
    charges = [one["cost"] for one in simulator.bill()["charges"] if one["call"] == made.id]
    with session(world, readonly=True) as opened:
        lines = opened.scalars(sa.select(LlmCallRow.cost).where(LlmCallRow.id == made.id)).all()
    assert charges == list(lines) != []
    assert ended.upstream["charged"] == dollars(charges[0])
    ids = [one["id"] for one in ended.events if one.get("id")]
    assert len(ids) == len(set(ids))
    assert simulator.client.get(f"{simulator.openai}/files").json()["data"] == []


def test_a_provider_that_is_down_is_waited_for(
    world: Settings, simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr("gateway.improve.finetuning.working._AGAIN_S", 0.05)
    monkeypatch.setattr("gateway.improve.finetuning.working._LOOK_S", 0.05)
    real: Callable[..., Any] = OpenAITuning.job
    failures = iter([True, True])

    async def job(self: OpenAITuning, *arguments: Any) -> Any:
        if next(failures, False):
            raise ProviderFailure("server", "simulated answered 503.", status=503)
        return await real(self, *arguments)

    monkeypatch.setattr(OpenAITuning, "job", job)
    ended = asyncio.run(bring_to_its_end(world, _prepared(world).id, max_cost=1.0, hours=1))
    assert ended.state in ("admitted", "rejected")
    tuned = {one.id for one in tuned_models.listed(world)}
    assert (ended.upstream["model"] in tuned) is (ended.state == "admitted")


def _prepared(settings: Settings) -> Finetune:
    wish = Wish(base_model="simulated/nano", workspace=None, selection=Selection(task="any", most=80))
    return prepare(settings, configuration_of(settings), wish, Tenant(), datetime.now())
