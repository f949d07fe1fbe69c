"""Benchmarks over the API and by the command: money is told before and held to, numbers are kept, words are not."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from features.world.llm.task import drawn_from
from features.world.llm.tasks import draw
from gateway.money import nanos
from store.registry import Registry
from tests.integration.serving_llm.conftest import Api, Ran

ANALYST = "analyst@north"


def tasks(count: int, domain: str = "math") -> list[dict[str, Any]]:
    """Closed tasks with the right answers."""
    rng = drawn_from("benchmark", domain)
    drawn = [draw(rng, domain, "moderate") for _ in range(count)]
    return [{"id": f"t{place}", "prompt": one.prompt, "expected": one.right} for place, one in enumerate(drawn)]


def ended(api: Api, benchmark_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while (made := api.get(ANALYST, f"/v1/benchmarks/{benchmark_id}"))["finished_at"] is None:
        assert time.monotonic() < deadline, made
        time.sleep(0.05)
    return dict(made)


@pytest.fixture(scope="module")
def made(api: Api) -> dict[str, Any]:
    """A benchmark of two models, one of which is far better at sums."""
    body = {
        "name": "sums", "prompts": tasks(30), "models": ["simulated/nano", "simulated/thinker"], "repeats": 2,
        "max_cost": 0.5,
    }  # fmt: skip
    begun = api.post(ANALYST, "/v1/benchmarks", body)
    assert (begun["status"], begun["total"]) == ("running", 120)
    return ended(api, begun["id"])


def test_the_better_model_is_told_apart(api: Api, made: dict[str, Any]) -> None:
    assert (made["status"], made["done"], made["reason"]) == ("completed", 120, None)
    best, other = made["report"]["models"]
    assert (best["model"], other["model"]) == ("simulated/thinker", "simulated/nano")
    assert best["quality"]["low"] > other["quality"]["high"]
    assert best["cost"]["value"] > other["cost"]["value"]
    pairs = {one["measure"]: one for one in made["report"]["pairs"]}
    assert pairs["quality"]["significant"]
    assert pairs["quality"]["groups"] == 30
    # The ledger has every call, and their sum is what was spent.
    runs = api.get(ANALYST, "/v1/llm/runs", params={"limit": 1000})["runs"]
    of_this = [one for one in runs if f"benchmark:{made['id']}" in one["tags"]]
    assert len(of_this) == 120
    assert sum(nanos(one["cost"]) for one in of_this) == nanos(made["cost"])
    assert made["expected"]["expected"] < made["expected"]["most"]


def test_every_answer_is_there_as_json_and_csv(api: Api, made: dict[str, Any]) -> None:
    place = f"/v1/benchmarks/{made['id']}/results"
    rows = api.get(ANALYST, place)["results"]
    assert len(rows) == 120
    assert {one["scored_by"] for one in rows} == {"expected"}
    assert {one["quality"] for one in rows} == {0.0, 1.0}
    table = api.ask(ANALYST, "GET", place, params={"format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert len(list(csv.DictReader(io.StringIO(table.text)))) == 120
    assert "expected" in table.text
    assert tasks(1)[0]["prompt"] not in table.text
    listed = api.get(ANALYST, "/v1/benchmarks")["benchmarks"]
    assert made["id"] in {one["id"] for one in listed}
    assert api.ask("analyst@south", "GET", f"/v1/benchmarks/{made['id']}").status_code == 404


def test_mlflow_has_it_as_a_run(api: Api, made: dict[str, Any]) -> None:
    registry = Registry(api.settings)
    run = registry._client.get_run(made["mlflow_run"])
    registry.close()
    assert run.info.run_name == "sums"
    quality = made["report"]["models"][0]["quality"]
    assert run.data.metrics["quality/simulated/thinker"] == pytest.approx(quality["value"])
    assert run.data.params["prompts"] == "30"


def test_what_is_expected_to_cost_too_much_is_not_begun(api: Api) -> None:
    body = {"prompts": tasks(20), "models": ["simulated/large", "simulated/nano"], "max_cost": 0.0001}
    before = len(api.get(ANALYST, "/v1/benchmarks")["benchmarks"])
    planned = api.post(ANALYST, "/v1/benchmarks", {**body, "dry_run": True})
    assert planned["status"] == "planned"
    assert planned["expected"]["by_model"]["simulated/large"] > planned["expected"]["by_model"]["simulated/nano"]
    refused = api.ask(ANALYST, "POST", "/v1/benchmarks", json=body)
    assert refused.status_code == 402
    assert "is expected to cost" in refused.json()["detail"]
    assert len(api.get(ANALYST, "/v1/benchmarks")["benchmarks"]) == before


def test_it_stops_before_it_costs_more_than_it_may(api: Api) -> None:
    planned = api.post(
        ANALYST, "/v1/benchmarks", {"prompts": tasks(30), "models": ["simulated/thinker"], "dry_run": True}
    )["expected"]
    # Enough for what is expected, and not for what each may cost besides.
    limit = planned["expected"] * 1.01
    begun = api.post(
        ANALYST, "/v1/benchmarks", {"prompts": tasks(30), "models": ["simulated/thinker"], "max_cost": limit}
    )
    told = ended(api, begun["id"])
    assert told["cost"] <= limit
    if told["status"] == "stopped":
        assert "The rest may cost more" in told["reason"]
        assert told["done"] < 30
        assert told["report"]["models"][0]["answers"] == told["done"]
    else:
        assert told["done"] == 30


def test_a_budget_of_the_workspace_ends_it(api: Api) -> None:
    name = api.name("poor")
    key = api.post("admin", "/v1/keys", {"name": name, "role": "analyst", "workspace": name})["secret"]
    api.secrets[name] = key
    api.post("admin", "/v1/budgets", {"scope": "workspace", "subject": name, "amount": 0.002})
    begun = api.post(name, "/v1/benchmarks", {"prompts": tasks(40), "models": ["simulated/thinker"], "max_cost": 5})
    deadline = time.monotonic() + 120
    while (told := api.get(name, f"/v1/benchmarks/{begun['id']}"))["finished_at"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert told["status"] == "stopped"
    assert "budget" in told["reason"]
    assert told["cost"] <= 0.002


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"models": ["simulated/nobody"]}, 404, "model"),
        ({"models": ["simulated/nano", "simulated/nano"]}, 422, "models"),
        ({"prompts": [{"prompt": "a", "exp": "b"}]}, 422, "prompts.0.exp"),
        ({"prompts": []}, 422, "prompts"),
        ({"repeats": 0}, 422, "repeats"),
        ({"tempo": 1}, 422, "tempo"),
    ],
)
def test_what_is_wrong_is_named(api: Api, changes: dict[str, Any], status: int, field: str) -> None:
    body = {"prompts": tasks(1), "models": ["simulated/nano"], **changes}
    answer = api.ask(ANALYST, "POST", "/v1/benchmarks", json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_the_command_shows_costs_table_and_csv(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.bench_models._POLL_S", 0.05)
    file = tmp_path / "sums.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in tasks(12)))
    arguments = ["bench-models", "--prompts", str(file), "--models", "simulated/nano,simulated/thinker"]
    dry = command(ANALYST, *arguments, "--dry-run", "--json")
    assert dry.json["total"] == 24
    assert "24 calls, expected to cost $0.0" in dry.err
    done = command(ANALYST, *arguments, "--csv", str(tmp_path / "out.csv"), "--plot", str(tmp_path / "out.png"))
    assert done.code == 0, done.err
    assert "simulated/thinker" in done.out
    assert "p (Holm)" in done.out
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 25
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert command(ANALYST, *arguments, "--csv", str(tmp_path / "out.json")).code == 2
    shown = command(ANALYST, "bench-models", "--show", "list", "--json")
    assert "sums" in {one["name"] for one in shown.json}
    refused = command(ANALYST, *arguments, "--max-cost", "0")
    assert refused.code == 4
    assert "expected to cost" in refused.err
    file.write_text('{"prompt": "a"}\n{"prompts": "b"}')
    wrong = command(ANALYST, *arguments)
    assert (wrong.code, "Line 2" in wrong.err) == (2, True)
