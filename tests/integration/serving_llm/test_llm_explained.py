"""A decision without the call, the calls that were made, what they said, providers, health, ensembles."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from store.settings import Settings
from store.tables.base import utc_now
from tests.integration.serving_llm.conftest import Api, Run

HELLO = [{"role": "user", "content": "What is 17 * 23?"}]


def test_a_decision_is_told_without_a_call(api: Api, simulator_process: Any) -> None:
    billed = simulator_process.bill()["count"]
    before = len(api.get("admin", "/v1/llm/runs?limit=1000")["runs"])
    told = api.post("application", "/v1/llm/route", {"model": "cheapest", "messages": HELLO})
    assert told["strategy"] == "cheapest"
    assert told["model"] == told["candidates"][0]["model"]
    assert told["task"]["domain"] == "math"
    assert told["reason"]
    # A second look finds the same: it took no turn.
    again = api.post("application", "/v1/llm/route", {"model": "cheapest", "messages": HELLO})
    assert {**told, "id": ""} == {**again, "id": ""}
    assert simulator_process.bill()["count"] == billed
    assert len(api.get("admin", "/v1/llm/runs?limit=1000")["runs"]) == before


def test_a_decision_for_texts_to_embed(api: Api) -> None:
    told = api.post("application", "/v1/llm/route", {"model": "auto", "input": ["a river"]})
    assert told["model"] == "simulated/embed"


def test_limits_that_exclude_every_model_are_named(api: Api) -> None:
    body = {"model": "auto", "messages": HELLO, "merit": {"regions": ["mars"]}}
    answer = api.ask("application", "POST", "/v1/llm/route", json=body)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:merit:problem:no-candidate"
    answer = api.ask("application", "POST", "/v1/llm/route", json={**body, "merit": {"max_cots": 1}})
    assert (answer.status_code, answer.json()["field"]) == (422, "merit.max_cots")


def test_everything_about_a_call_is_told(api: Api) -> None:
    call = api.chat("application@north", user="ada", model="auto", merit={"tags": ["t1"]})
    found = api.get("application@north", f"/v1/llm/runs/{call}")
    assert (found["id"], found["outcome"], found["user"]) == (call, "ok", "ada")
    assert (found["workspace"], found["key_name"], found["tags"]) == ("north", "application@north", ["t1"])
    assert found["decision"]["model"] == found["model"]
    assert [one["model"] for one in found["attempts"]] == [found["model"]]
    assert found["tokens"]["output"] > 0
    assert found["words"]["prompt"]["messages"] == HELLO
    assert found["words"]["answer"]["choices"][0]["message"]["content"]
    assert found["words_missing"] is None
    assert found["feedback"] == found["members"] == []


def test_words_are_for_who_said_them_and_for_admins(api: Api) -> None:
    call = api.chat("application@north")
    for who, shown in (("application@north", True), ("admin@north", True), ("admin", True), ("analyst@north", False)):
        found = api.get(who, f"/v1/llm/runs/{call}")
        assert (found["words"] is not None) is shown
        assert (found["words_missing"] is None) is shown


def test_a_workspace_that_keeps_nothing_has_no_words(api: Api) -> None:
    name = api.name("silent")
    api.join(name)
    call = api.chat(name)
    found = api.get(name, f"/v1/llm/runs/{call}")
    assert found["words"] is None
    assert "not kept" in found["words_missing"]
    assert found["cost"] > 0


def test_an_ensemble_tells_its_members(api: Api) -> None:
    body = {"model": "ensemble/majority", "messages": HELLO}
    answer = api.ask("application@north", "POST", "/v1/chat/completions", json=body)
    told = api.told(answer)["merit"]
    call = told["id"]
    found = api.get("application@north", f"/v1/llm/runs/{call}")
    assert told["attempts"] == int(answer.headers["x-merit-attempts"]) == len(found["members"])
    assert answer.headers["x-merit-cache"] == "off"
    assert found["strategy"] == "ensemble"
    assert len(found["members"]) >= 2
    assert {one["parent"] for one in found["members"]} == {call}
    assert found["extra"]
    listed = api.get("application@north", f"/v1/llm/runs?parent={call}")["runs"]
    assert {one["id"] for one in listed} == {one["id"] for one in found["members"]}


def test_calls_are_listed_in_pages_and_filtered(api: Api) -> None:
    user = api.name("pages")
    calls = [api.chat("application@south", user=user) for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"user": user, "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = api.get("application@south", "/v1/llm/runs", params=query)
        seen += [one["id"] for one in page["runs"]]
        assert page["complete"] is True
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == calls[::-1]
    base = {"user": user}
    for query, count in (
        ({"model": "simulated/small"}, 5),
        ({"model": "simulated/large"}, 0),
        ({"provider": "simulated"}, 5),
        ({"outcome": "ok"}, 5),
        ({"outcome": "failed"}, 0),
        ({"strategy": "explicit"}, 5),
        ({"task": "math"}, 5),
        ({"since": (utc_now() - timedelta(hours=1)).isoformat() + "Z"}, 5),
        ({"until": (utc_now() - timedelta(hours=1)).isoformat() + "Z"}, 0),
    ):
        assert len(api.get("analyst@south", "/v1/llm/runs", params={**base, **query})["runs"]) == count, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"cursor": "nonsense"}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"outcome": "fine"}, "outcome"),
        ({"since": "yesterday"}, "since"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
    ],
)
def test_a_wrong_query_is_told(api: Api, query: dict[str, Any], field: str) -> None:
    answer = api.ask("analyst", "GET", "/v1/llm/runs", params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_call_that_failed_tells_every_attempt(api: Api, simulator_process: Any) -> None:
    simulator_process.fault("status", status=500, calls=9, model="simulated/vision")
    body = {"model": "simulated/vision", "messages": HELLO}
    answer = api.ask("application@north", "POST", "/v1/chat/completions", json=body)
    simulator_process.reset()
    api.ask("admin", "POST", "/v1/llm/models/simulated/vision/reset")
    assert answer.status_code in (502, 503)
    found = api.get("application@north", "/v1/llm/runs?outcome=failed&limit=1")["runs"][0]
    detail = api.get("application@north", f"/v1/llm/runs/{found['id']}")
    assert [one["failure"] for one in detail["attempts"]] == ["server"] * len(detail["attempts"])
    assert detail["attempts"][0]["status"] == 500


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("asked", [{}, {"stream": True}, {"merit": {"max_cost": 1e-9}}])
def test_an_error_leads_to_its_line(api: Api, simulator_process: Any, path: str, asked: dict[str, Any]) -> None:
    simulator_process.fault("status", status=500, calls=5, model="simulated/coder")
    body = {"model": "simulated/coder", "max_tokens": 20, "messages": HELLO, **asked}
    answer = api.ask("application@north", "POST", path, json=body)
    assert answer.status_code in (422, 502)
    told = answer.json()["merit"]
    assert answer.headers["x-merit-id"] == told["id"]
    line = api.get("application@north", f"/v1/llm/runs/{told['id']}")
    assert line["outcome"] == ("failed" if answer.status_code == 502 else "refused")
    assert (told["model"], told["attempts"], told["cost"]) == (line["model"], len(line["attempts"]), line["cost"])
    simulator_process.faults()
    api.ask("admin", "POST", "/v1/llm/models/simulated/coder/reset")


@pytest.mark.parametrize("model", ["simulated/small", "simulated/large", "ensemble/majority"])
@pytest.mark.parametrize("asks", [True, False])
def test_the_last_frame_of_a_stream_tells_all_of_it(api: Api, model: str, asks: bool) -> None:
    body = {"model": model, "stream": True, "messages": HELLO}
    body |= {"stream_options": {"include_usage": True}} if asks else {}
    answer = api.ask("application@north", "POST", "/v1/chat/completions", json=body)
    frames = [json.loads(one.removeprefix("data: ")) for one in answer.text.split("\n\n")[:-2]]
    assert frames[0]["merit"]["id"] == answer.headers["x-merit-id"]
    told = frames[-1]["merit"]
    line = api.get("application@north", f"/v1/llm/runs/{told['id']}")
    cost = sum(one["cost"] for one in line["members"]) if line["members"] else line["cost"]
    assert told["cost"] == pytest.approx(cost, abs=1e-12)
    assert cost > 0
    assert told["attempts"] == (len(line["members"]) or 1)
    reasons = [choice["finish_reason"] for one in frames for choice in one["choices"] if choice["finish_reason"]]
    assert reasons == ["stop"]
    assert bool(frames[-1]["choices"]) is not asks
    assert all("usage" not in one for one in frames) is not asks


def test_what_has_no_line_leads_nowhere(api: Api) -> None:
    body = {"model": "simulated/there-is-none", "messages": HELLO}
    answer = api.ask("application@north", "POST", "/v1/chat/completions", json=body)
    assert answer.status_code == 404
    assert "merit" not in answer.json()
    assert "x-merit-id" not in answer.headers


def test_providers_health_and_ensembles(api: Api) -> None:
    api.chat("application@north")
    told = api.get("analyst", "/v1/llm/providers")
    shown = {one["name"]: one for one in told["providers"]}
    assert set(shown) == {"simulated", "simulated-local"}
    assert shown["simulated"]["address"] == f"http://127.0.0.1:{api.settings.simulator_port}"
    assert "simulated/small" in shown["simulated"]["models"]
    assert shown["simulated"]["health"]["samples"] >= 1
    assert told["error"] is None
    assert len(told["digest"]) == 64
    models = {one["model"]: one for one in api.get("analyst", "/v1/llm/health")["models"]}
    assert models["simulated/small"]["samples"] >= 1
    assert models["simulated/small"]["breaker"]["state"] == "closed"
    assert models["simulated/small"]["unavailable"] is None
    ensembles = {one["name"]: one for one in api.get("application", "/v1/llm/ensembles")["ensembles"]}
    assert {"majority", "weighted", "confidence", "best-of-n", "consensus"} <= set(ensembles)
    assert all(one["description"] for one in ensembles.values())


def test_conversations_are_begun_continued_read_and_forgotten(api: Api) -> None:
    who = "application@north"
    begun = {"title": "Rivers", "messages": [{"role": "system", "content": "Answer briefly."}], "user": "ada"}
    made = api.post(who, "/v1/llm/conversations", begun)
    place = f"/v1/llm/conversations/{made['id']}"
    assert (made["title"], made["turns"], made["user"]) == ("Rivers", 0, "ada")
    api.chat(who, user="ada", merit={"conversation": made["id"]})
    found = api.get(who, place)
    assert [one["message"]["role"] for one in found["messages"]] == ["system", "user", "assistant"]
    assert (found["turns"], found["model"]) == (1, "simulated/small")
    assert made["id"] in {one["id"] for one in api.get(who, "/v1/llm/conversations?user=ada")["conversations"]}
    assert api.get(who, "/v1/llm/conversations?user=nobody")["conversations"] == []
    assert api.told(api.ask(who, "DELETE", place))["id"] == made["id"]
    assert api.ask(who, "GET", place).status_code == 404
    answer = api.ask(who, "POST", "/v1/llm/conversations", json={"messages": [{"role": "nobody"}]})
    assert answer.status_code == 422


@pytest.fixture(scope="module")
def sealed(make_home: Callable[..., Settings], run: Run) -> Iterator[Api]:
    """An open API whose default workspace keeps words encrypted."""
    key = SecretStr(base64.b64encode(bytes(range(32))).decode())
    with run(make_home(data_key=key)) as made:
        made.told(made.ask(None, "PUT", "/v1/workspaces/default", json={"keep": "encrypted"}))
        yield made


def test_a_conversation_that_was_private_stays_so(api: Api, simulator_process: Any) -> None:
    who = "application@north"
    thread = {"merit": {"conversation": api.post(who, "/v1/llm/conversations", {})["id"]}}
    place = f"/v1/llm/conversations/{thread['merit']['conversation']}"
    api.chat(who, "Hello", **thread)
    asked = {"model": "simulated/large", "messages": HELLO, **thread}
    assert api.post(who, "/v1/llm/route", asked)["model"] == "simulated/large"
    api.chat(who, "My secret is 17.", model="private", **thread)
    simulator_process.reset()
    later = api.get(who, f"/v1/llm/runs/{api.chat(who, 'And now?', model='auto', **thread)}")
    assert later["model"].startswith("simulated-local/")
    assert all(name.startswith("simulated-local/") for name in simulator_process.bill()["by_model"])
    said = api.get(who, place)["messages"]
    assert [one["local_only"] for one in said] == [False, False, True, True, True, True]
    # A model elsewhere that is named gets nothing of it, and the dry run knows as well.
    for path in ("/v1/chat/completions", "/v1/llm/route"):
        answer = api.ask(who, "POST", path, json=asked)
        assert answer.status_code == 422
        assert "not local" in answer.json()["detail"]
        assert "another conversation" in answer.json()["remedy"]
    assert len(api.get(who, place)["messages"]) == len(said)


def test_the_dry_run_knows_the_conversation(api: Api) -> None:
    who = "application@north"
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
    made = api.post(who, "/v1/llm/conversations", {})["id"]
    body = {"tools": [tool], "merit": {"conversation": made}}
    asked = {"model": "simulated/large", "messages": [{"role": "user", "content": "The weather?"}], **body}
    answer = api.told(api.ask(who, "POST", "/v1/chat/completions", json={**asked, "tool_choice": "required"}))
    call = answer["choices"][0]["message"]["tool_calls"][0]["id"]
    result = [{"role": "tool", "tool_call_id": call, "content": "mild"}]
    told = api.post(who, "/v1/llm/route", {"model": "cheapest", "messages": result, **body})
    assert told["model"] == "simulated/large"
    wrong = api.ask(
        who, "POST", "/v1/llm/route", json={"model": "auto", "messages": HELLO, "merit": {"conversation": "x"}}
    )
    assert wrong.status_code == 404


def test_encrypted_words_are_shown_to_whom_they_belong(sealed: Api) -> None:
    call = sealed.chat(None, "The password is swordfish.")
    found = sealed.get(None, f"/v1/llm/runs/{call}")
    assert found["words"]["prompt"]["messages"][0]["content"] == "The password is swordfish."
    database = sealed.settings.root / "merit.db"
    stored = b"".join(path.read_bytes() for path in database.parent.glob("merit.db*") if path.is_file())
    assert b"swordfish" not in stored
    conversation = sealed.post(None, "/v1/llm/conversations", {"title": "Fishing"})
    assert conversation["encrypted"] is True
    assert conversation["title"] == "Fishing"


def test_the_examples_work_when_pasted(sealed: Api) -> None:
    """Every example of a gateway request in the OpenAPI description that names nothing made before."""
    described = sealed.get(None, "/openapi.json")
    sent = 0
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"]
            assert operation.get("description"), f"{method} {path}"
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                made_before = "{" in path or "0" * 32 in json.dumps(example)
                if path.startswith(("/v1/chat", "/v1/embed", "/v1/mess", "/v1/llm", "/v1/budgets")) and not made_before:
                    answer = sealed.ask(None, method, path, json=example["value"])
                    assert answer.status_code in (200, 201), f"{method} {path}: {answer.text}"
                    sent += 1
    assert sent >= 10


def test_examples_that_name_something_work_with_it(sealed: Api) -> None:
    described = sealed.get(None, "/openapi.json")["paths"]

    def pasted(path: str, method: str) -> list[dict[str, Any]]:
        content = described[path][method]["requestBody"]["content"]["application/json"]
        return [example["value"] for example in content["examples"].values()]

    call = sealed.chat(None, user="ada")
    for value in pasted("/v1/llm/feedback", "post"):
        sealed.post(None, "/v1/llm/feedback", {**value, "call": call})
    for value in pasted("/v1/llm/preferences/{user}", "put"):
        sealed.told(sealed.ask(None, "PUT", "/v1/llm/preferences/ada", json=value))
    budget = sealed.post(None, "/v1/budgets", {"scope": "project", "amount": 5})["id"]
    for value in pasted("/v1/budgets/{budget_id}", "patch"):
        sealed.told(sealed.ask(None, "PATCH", f"/v1/budgets/{budget}", json=value))
    for method in ("put", "patch"):
        for value in pasted("/v1/workspaces/{name}", method):
            sealed.told(sealed.ask(None, method.upper(), "/v1/workspaces/shop", json=value))
