"""Fine-tuning from the first good answer to calls that a tuned model answers, and whatever may come between."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from features.world.llm.task import drawn_from
from features.world.llm.tasks import draw
from gateway.money import dollars, nanos
from gateway.opening import OpenGateway
from store import events, llm_finetunes
from store.database import session
from store.settings import Settings
from store.tables.gateway import LlmCallRow
from tests.integration.serving_llm.conftest import Api, Ran, Run

ADMIN = "admin@north"
PLACE = "/v1/finetunes"


@pytest.fixture(scope="module")
def slow_reload() -> Iterator[None]:
    """A gateway that needs a moment to take over a model: nothing may be told before it did."""
    taken_over = OpenGateway.reload

    async def slow(opened: OpenGateway) -> Any:
        await asyncio.sleep(0.3)
        return await taken_over(opened)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OpenGateway, "reload", slow)
        yield


@pytest.fixture(scope="module")
def api(make_home: Callable[..., Settings], closed: Run, simulator_process: Any, slow_reload: None) -> Iterator[Api]:
    """Workspaces that keep words, and in north good answers of a strong model that people liked."""
    simulator_process.reset()
    with closed(make_home(finetune_poll_seconds=0.05)) as made:
        rng = drawn_from("liked", 1)
        for number in range(100):
            task = draw(rng, "writing", "complex")
            prompt = f"My name is Zora Quist. {task.prompt}"
            tags = {"merit": {"task": "writing", "tags": ["letters"]}}
            call = made.chat("application@north", prompt, model="simulated/large", user=f"u{number % 25}", **tags)
            made.post("application@north", "/v1/llm/feedback", {"call": call, "thumb": "up"})
        for number in range(5):
            call = made.chat("application@north", f"What is {number} + 1?", model="simulated/nano", user="u1")
            made.post("application@north", "/v1/llm/feedback", {"call": call, "thumb": "down"})
        yield made


@pytest.fixture
def prepared(api: Api) -> dict[str, Any]:
    body = {"base_model": "simulated/nano", "task": "creative", "name": "letters"}
    return dict(api.post(ADMIN, PLACE, body))


def ended(api: Api, finetune_id: str, *states: str) -> dict[str, Any]:
    """The fine-tune once it is in one of the states, or has ended."""
    deadline = time.monotonic() + 60
    while (made := api.get(ADMIN, f"{PLACE}/{finetune_id}"))["state"] not in states:
        assert made["finished_at"] is None, made
        assert time.monotonic() < deadline, made
        time.sleep(0.05)
    return dict(made)


def test_the_loop_closes(
    api: Api, prepared: dict[str, Any], simulator_process: Any, command: Callable[..., Ran]
) -> None:
    plan = prepared["plan"]
    assert prepared["state"] == "prepared"
    assert plan["found"] == 100
    assert plan["left_out"]["another kind of task"] == 5
    assert plan["training"]["by_domain"] == {"writing": plan["training"]["examples"]}
    assert plan["training"]["by_source"] == {"thumb": plan["training"]["examples"]}
    assert plan["kept_apart_by"] == "persons and conversations"
    assert plan["personal_data_removed"]["name"] >= 100
    assert plan["workspaces"] == ["north"]
    assert plan["tokens_billed"] == plan["training"]["tokens"] * plan["epochs"]
    # 1.5 dollars per million tokens.
    assert nanos(plan["cost"]["training"]) == plan["tokens_billed"] * 1_500
    assert prepared["expected"] == pytest.approx(plan["cost"]["training"] + plan["cost"]["evaluation"])

    api.post(ADMIN, f"{PLACE}/{prepared['id']}/submit", {"max_cost": 1.0})
    made = ended(api, prepared["id"], "admitted")
    assert made["report"]["verdict"] == "promote", made["report"]["reason"]
    base, tuned = made["report"]["base"], made["report"]["tuned"]
    assert tuned["quality"]["value"] > base["quality"]["value"]
    test = made["report"]["gate"]["test"]
    assert 0 < test["low"] < test["difference"] < test["high"]
    told = [one["message"] for one in made["events"]]
    assert "Fine-tuning job started" in told
    assert any(one.startswith("Step ") for one in told)
    assert len([one["id"] for one in made["events"] if one.get("id")]) == len(
        {one.get("id") for one in made["events"]} - {None}
    )
    assert [one["step"] for one in made["provider"]["checkpoints"]] == sorted(
        (one["step"] for one in made["provider"]["checkpoints"]), reverse=True
    )

    # Words were sent without the name, and nothing of them is left at the provider.
    assert simulator_process.client.get(f"{simulator_process.openai}/files").json()["data"] == []
    # It answers in its own workspace, is routed to where it is the best for the money, and nobody else knows of it.
    model = made["model"]
    assert model.startswith("simulated/ft:nano:merit:letters:")
    call = api.chat("application@north", "Write a letter about heat pumps.", model=model)
    assert api.get("analyst@north", f"/v1/llm/runs/{call}")["model"] == model
    assert model in {one["id"] for one in api.get("application@north", "/v1/models")["data"]}
    assert model not in {one["id"] for one in api.get("application@south", "/v1/models")["data"]}
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    refused = api.ask("application@south", "POST", "/v1/chat/completions", json=body)
    assert refused.status_code in (400, 404, 422)
    task = draw(drawn_from("new", 2), "writing", "complex").prompt
    others = [f"simulated/{one}" for one in ("small", "medium", "large", "coder", "thinker", "vision")]
    limits = {"task": "writing", "providers": ["simulated"], "exclude": others, "explore": False}
    asked = {"model": "best", "messages": [{"role": "user", "content": task}], "merit": limits}
    chosen = {who: api.post(f"application@{who}", "/v1/llm/route", asked) for who in ("north", "south")}
    assert chosen["north"]["model"] == model
    assert chosen["south"]["model"] == "simulated/nano"
    assert model not in json.dumps(chosen["south"])

    # The money is in the ledger once, training and evaluation, and is what the provider billed.
    with session(api.settings, readonly=True) as opened:
        lines = opened.execute(sa.select(LlmCallRow.kind, LlmCallRow.cost, LlmCallRow.tags)).all()
    mine = [line for line in lines if f"finetune:{made['id']}" in line.tags]
    assert sum(line.cost for line in mine) == nanos(made["cost"])
    (training,) = [line.cost for line in mine if line.kind == "finetune"]
    charges = simulator_process.bill()["charges"]
    assert [one["cost"] for one in charges if one["call"] == made["id"]] == [training]
    assert events.recent(api.settings, "finetune_finished")[-1].payload["model"] == model

    # What was asked to evaluate it is no example for the next one.
    again = api.post(ADMIN, PLACE, {"base_model": "simulated/nano", "task": "creative"})
    assert again["plan"]["found"] == 100

    shown = command(ADMIN, "finetune", "show", made["id"])
    assert "admitted" in shown.out
    assert model in shown.out
    gone = command(ADMIN, "finetune", "withdraw", made["id"])
    assert gone.code == 0, gone.err
    deadline = time.monotonic() + 10
    while model in {one["id"] for one in api.get("application@north", "/v1/models")["data"]}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert api.ask(ADMIN, "POST", f"{PLACE}/{made['id']}/withdraw").status_code == 409


def test_examples_that_teach_nothing_make_a_model_that_is_not_admitted(api: Api, simulator_process: Any) -> None:
    # What nano says, and worse than it is: nothing to learn from for medium.
    simulator_process.adjust("simulated/nano", quality=-12)
    for number in range(60):
        task = draw(drawn_from("own", number), "conversation", "simple")
        call = api.chat("application@south", task.prompt, model="simulated/nano", user=f"s{number % 30}",
                        merit={"task": "conversation"})  # fmt: skip
        api.post("application@south", "/v1/llm/feedback", {"call": call, "stars": 5})
    simulator_process.adjust("simulated/nano", quality=0)
    made = api.post("admin@south", PLACE, {"base_model": "simulated/medium", "task": "conversational"})
    api.post("admin@south", f"{PLACE}/{made['id']}/submit", {})
    deadline = time.monotonic() + 60
    while (told := api.get("admin@south", f"{PLACE}/{made['id']}"))["finished_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert told["state"] == "rejected", told["report"]["reason"]
    assert told["model"] not in {one["id"] for one in api.get("application@south", "/v1/models")["data"]}


def test_it_is_refused_where_it_costs_too_much(api: Api, prepared: dict[str, Any]) -> None:
    place = f"{PLACE}/{prepared['id']}/submit"
    dear = api.ask(ADMIN, "POST", place, json={"max_cost": prepared["expected"] * 0.99})
    assert (dear.status_code, dear.json()["field"]) == (402, "max_cost")
    spent = api.get(ADMIN, "/v1/usage?by=workspace")["rows"][0]["cost"]
    budget = api.post("admin", "/v1/budgets", {"scope": "workspace", "subject": "north", "amount": spent + 0.0001})
    try:
        refused = api.ask(ADMIN, "POST", place, json={})
        assert refused.status_code == 402
        assert "budget" in refused.json()["detail"]
    finally:
        assert api.ask("admin", "DELETE", f"/v1/budgets/{budget['id']}").status_code == 200
    assert api.get(ADMIN, f"{PLACE}/{prepared['id']}")["state"] == "prepared"


def test_one_that_is_cancelled_ends_at_the_provider_too(
    api: Api, prepared: dict[str, Any], simulator_process: Any
) -> None:
    simulator_process.speed(0.01)
    api.post(ADMIN, f"{PLACE}/{prepared['id']}/submit", {})
    made = ended(api, prepared["id"], "running")
    api.post(ADMIN, f"{PLACE}/{prepared['id']}/cancel", {})
    made = ended(api, prepared["id"], "cancelled")
    place = f"{simulator_process.openai}/fine_tuning/jobs/{made['provider']['job']}"
    assert simulator_process.client.get(place).json()["status"] == "cancelled"
    assert made["cost"] == 0
    assert api.ask(ADMIN, "POST", f"{PLACE}/{prepared['id']}/submit", json={}).status_code == 409
    simulator_process.speed(0)


def test_what_fails_at_the_provider_is_told(api: Api, prepared: dict[str, Any], simulator_process: Any) -> None:
    with session(api.settings) as opened:  # its calls are erased meanwhile
        kept = llm_finetunes.get(api.settings, prepared["id"])
        row = opened.get(llm_finetunes.FinetuneRow, prepared["id"])
        assert row is not None
        row.examples = {**kept.examples, "train": list(kept.examples["train"])[:5]}
    api.post(ADMIN, f"{PLACE}/{prepared['id']}/submit", {})
    made = ended(api, prepared["id"], "failed")
    assert "There are 5 examples to learn from, 10 are the fewest" in made["error"]
    assert "job" not in made["provider"]


@pytest.mark.parametrize(
    ("who", "body", "status", "field"),
    [
        (ADMIN, {"base_model": "simulated/large"}, 422, "base_model"),
        (ADMIN, {"base_model": "simulated/nobody"}, 404, "base_model"),
        (ADMIN, {"base_model": "simulated/nano", "task": "creativ"}, 422, "task"),
        (ADMIN, {"base_model": "simulated/nano", "task": "tag:unused"}, 422, "examples"),
        (ADMIN, {"base_model": "simulated/nano", "workspace": "south"}, 403, "workspace"),
        ("admin", {"base_model": "simulated/nano", "workspace": "nowhere"}, 422, "workspace"),
        (ADMIN, {"base_model": "simulated/nano", "epoch": 3}, 422, "epoch"),
    ],
)
def test_what_is_wrong_is_named(api: Api, who: str, body: dict[str, Any], status: int, field: str) -> None:
    answer = api.ask(who, "POST", PLACE, json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text


def test_a_workspace_that_keeps_nothing_gives_nothing(api: Api) -> None:
    name = api.name("silent")
    api.told(api.ask("admin", "PUT", f"/v1/workspaces/{name}", json={"keep": "nothing"}))
    answer = api.ask("admin", "POST", PLACE, json={"base_model": "simulated/nano", "workspace": name})
    assert answer.status_code == 422
    assert f"{name} keeps no words" in answer.json()["detail"]
    # Who let words be kept and has chosen otherwise since is not learned from, though they are there yet.
    api.told(api.ask("admin", "PATCH", "/v1/workspaces/north", json={"keep": "nothing"}))
    try:
        made = api.ask("admin", "POST", PLACE, json={"base_model": "simulated/nano", "workspace": "north"})
        assert "north keeps no words" in made.json()["detail"]
    finally:
        api.told(api.ask("admin", "PATCH", "/v1/workspaces/north", json={"keep": "plain"}))
    api.told(api.ask("admin", "PATCH", "/v1/workspaces/north", json={"local_only": True}))
    try:
        made = api.ask("admin", "POST", PLACE, json={"base_model": "simulated/nano", "workspace": "north"})
        assert "lets no words leave the own machines" in made.json()["detail"]
    finally:
        api.told(api.ask("admin", "PATCH", "/v1/workspaces/north", json={"local_only": False}))


def test_the_command_prepares_shows_the_cost_and_follows(
    api: Api, command: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.finetune._POLL_S", 0.05)
    arguments = ("finetune", "start", "--base", "simulated/small", "--task", "tag:letters")
    dry = command(ADMIN, *arguments, "--dry-run")
    assert "expected to cost $" in dry.err
    dear = command(ADMIN, *arguments, "--max-cost", "0.0001")
    assert (dear.code, "expected to cost" in dear.err) == (4, True)
    unasked = command(ADMIN, *arguments)
    assert (unasked.code, "nobody is at a terminal" in " ".join(unasked.err.split())) == (2, True)
    done = command(ADMIN, *arguments, "--max-cost", "2", "--yes", "--json")
    assert done.json["state"] in ("admitted", "rejected"), done.err
    listed = command(ADMIN, "finetune", "list", "--json").json
    assert done.json["id"] in {one["id"] for one in listed}
    assert dollars(nanos(done.json["cost"])) > 0
