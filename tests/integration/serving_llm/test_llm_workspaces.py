"""Workspaces, people's rights, keys in the audit log, metrics, readiness."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from store.settings import Settings
from tests.integration.serving_llm.conftest import Api, Run


def test_a_workspace_is_made_changed_and_forgotten(api: Api) -> None:
    name = api.name("shop")
    assert api.ask("admin", "GET", f"/v1/workspaces/{name}").status_code == 404
    made = api.told(api.ask("admin", "PUT", f"/v1/workspaces/{name}", json={"keep": "plain", "organisation": "acme"}))
    assert made["settings"]["organisation"] == "acme"
    changed = api.told(api.ask("admin", "PATCH", f"/v1/workspaces/{name}", json={"filters": {"secrets": True}}))
    assert changed["settings"]["filters"] == {"secrets": True, "personal_data": False, "mode": "mask"}
    assert changed["settings"]["keep"] == "plain"
    assert changed == api.get("analyst", f"/v1/workspaces/{name}")
    assert name in {one["name"] for one in api.get("analyst", "/v1/workspaces")["workspaces"]}
    gone = api.told(api.ask("admin", "DELETE", f"/v1/workspaces/{name}"))
    assert gone["settings"]["keep"] == "plain"
    assert api.ask("admin", "GET", f"/v1/workspaces/{name}").status_code == 404
    lines = api.get("admin", "/v1/audit", params={"workspace": name})["lines"]
    assert [one["action"] for one in lines] == ["workspace.delete", "workspace.change", "workspace.change"]
    assert lines[1]["before"]["filters"]["secrets"] is False
    assert lines[1]["after"]["filters"]["secrets"] is True


def test_what_is_set_counts_for_the_next_call(api: Api) -> None:
    api.told(api.ask("admin@north", "PATCH", "/v1/workspaces/north", json={"limits": {"max_cost": 0.0}}))
    body = {"model": "simulated/large", "messages": [{"role": "user", "content": "Hello"}]}
    assert api.ask("application@north", "POST", "/v1/chat/completions", json=body).status_code == 422
    api.told(api.ask("admin@north", "PATCH", "/v1/workspaces/north", json={"limits": {"max_cost": None}}))
    assert api.ask("application@north", "POST", "/v1/chat/completions", json=body).status_code == 200


def test_an_organisation_counts_for_the_next_call(api: Api) -> None:
    """A caller is remembered with its organisation: a change must not spend from the old one's budget."""
    name = api.name("moved")
    api.secrets[name] = api.post("admin", "/v1/keys", {"name": name, "role": "application", "workspace": name})[
        "secret"
    ]
    for organisation in ("first", "second"):
        api.told(api.ask("admin", "PUT", f"/v1/workspaces/{name}", json={"organisation": organisation}))
        call = api.chat(name)
        assert api.get(name, f"/v1/llm/runs/{call}")["organisation"] == organisation


def test_who_pays_and_where_data_may_go_is_not_the_workspaces_own_to_say(api: Api) -> None:
    for change in (
        {"organisation": "elsewhere"},
        {"allowed_models": ["simulated/*"]},
        {"regions": ["us"]},
        {"local_only": True},
        {"requests_per_minute": 5},
        {"tokens_per_minute": 5},
        {"concurrent": 5},
        {"calls_days": 5},
    ):
        for method in ("PATCH", "PUT"):
            answer = api.ask("admin@south", method, "/v1/workspaces/south", json={"keep": "plain", **change})
            assert (answer.status_code, answer.json()["field"]) == (403, next(iter(change)))
    same = api.get("admin@south", "/v1/workspaces/south")["settings"]
    assert api.ask("admin@south", "PUT", "/v1/workspaces/south", json=same).status_code == 200


@pytest.mark.parametrize(
    ("name", "body", "status", "field"),
    [
        ("x", {"keep": "everything"}, 422, "keep"),
        ("x", {"kept": "plain"}, 422, "kept"),
        ("x", {"limits": {"max_cots": 1}}, 422, "limits.max_cots"),
        ("x", {"limits": {"capabilities": ["flying"]}}, 422, "limits.capabilities"),
        ("x", {"semantic_threshold": 2}, 422, "semantic_threshold"),
        ("x", {"keep": "encrypted"}, 409, "keep"),
        ("spaced out", {}, 422, "workspace"),
        ("é", {}, 422, "workspace"),
    ],
)
def test_what_cannot_be_set_is_told(api: Api, name: str, body: dict[str, Any], status: int, field: str) -> None:
    answer = api.ask("admin", "PUT", f"/v1/workspaces/{name}", json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_the_default_workspace_is_always_there(api: Api) -> None:
    assert api.ask("admin", "DELETE", "/v1/workspaces/default").status_code == 409
    assert api.get("admin", "/v1/workspaces/default")["name"] == "default"


def test_a_person_is_told_of_and_erased_also_from_the_cache(api: Api) -> None:
    user, words = api.name("erin"), "My dog is called Waldi."
    api.told(api.ask("admin@north", "PATCH", "/v1/workspaces/north", json={"cache": "exact"}))
    first, call = (api.chat("application@north", words, user=user) for _ in range(2))
    assert api.get("application@north", f"/v1/llm/runs/{call}")["outcome"] == "cached"
    api.post("application@north", "/v1/llm/feedback", {"call": first, "thumb": "up", "comment": "Good dog."})
    place = f"/v1/workspaces/north/people/{user}"
    told = api.get("admin@north", place)
    assert [one["id"] for one in told["calls"]][-1] == call
    assert words in str(told)
    assert told["preferences"][0]["preferences"]["seen"]
    erased = api.told(api.ask("admin@north", "DELETE", place))
    assert (erased["calls"], erased["contents"], erased["cached"], erased["feedback"]) == (2, 2, 1, 1)
    left = api.get("admin@north", place)
    assert left["calls"] == left["feedback"] == left["preferences"] == []
    assert api.get("application@north", f"/v1/llm/preferences/{user}")["models"] == []
    # Nobody is given what was kept of them, and the money is still there.
    again = api.chat("application@north", words, user=user)
    api.told(api.ask("admin@north", "PATCH", "/v1/workspaces/north", json={"cache": "off"}))
    assert api.get("application@north", f"/v1/llm/runs/{again}")["outcome"] == "ok"
    found = api.get("analyst@north", "/v1/usage", params={"by": "user", "user": erased["pseudonym"]})["rows"]
    assert found[0]["cost"] > 0
    # What is seen of a call after it has ended is seen before they are erased again.
    assert api.client.app.state.services.llm.opened.improvement.queue.drain(60)  # type: ignore[attr-defined]
    api.told(api.ask("admin@north", "DELETE", place))
    with closing(sqlite3.connect(api.settings.root / "merit.db")) as database:
        everything = "\n".join(database.iterdump())
    assert user not in everything
    assert "Waldi" not in everything


def test_a_person_whose_name_is_a_path(api: Api) -> None:
    user = f"team/{api.name('eve')}"
    api.chat("application@north", user=user)
    assert len(api.get("admin@north", f"/v1/workspaces/north/people/{user}")["calls"]) == 1
    api.told(api.ask("application@north", "PUT", f"/v1/llm/preferences/{user}", json={"tradeoff": 0.7}))
    assert api.get("application@north", f"/v1/llm/preferences/{user}")["tradeoff"] == 0.7


def test_keys_stand_in_the_audit_log_without_their_secrets(api: Api) -> None:
    name = api.name("spy")
    made = api.post("admin@north", "/v1/keys", {"name": name, "role": "application"})
    api.told(api.ask("admin@north", "DELETE", f"/v1/keys/{made['id']}"))
    answer = api.ask("admin@north", "GET", "/v1/audit", params={"action": "key.", "subject": name})
    assert [(one["action"], one["workspace"]) for one in answer.json()["lines"]] == [
        ("key.revoke", "north"),
        ("key.create", "north"),
    ]
    assert made["secret"] not in answer.text
    assert answer.json()["lines"][0]["request_id"]


def test_the_audit_log_comes_in_pages(api: Api) -> None:
    names = [api.name("page") for _ in range(3)]
    for name in names:
        api.told(api.ask("admin", "PUT", f"/v1/workspaces/{name}", json={}))
    first = api.get("admin", "/v1/audit", params={"action": "workspace.change", "limit": 2})
    second = api.get(
        "admin", "/v1/audit", params={"action": "workspace.change", "limit": 1, "cursor": first["next_cursor"]}
    )
    assert [one["subject"] for one in (*first["lines"], *second["lines"])] == names[::-1]
    assert api.ask("admin", "GET", "/v1/audit?cursor=x").status_code == 422


def test_metrics_are_open_to_this_machine_and_to_analysts(api: Api) -> None:
    api.chat("application@north")
    assert api.ask(None, "GET", "/metrics").status_code == 401
    assert api.ask("analyst@north", "GET", "/metrics").status_code == 403
    answer = api.ask("analyst", "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    calls = {tuple(sample.labels.values()): sample.value for sample in families["merit_llm_calls"].samples}
    assert calls["simulated/small", "ok"] >= 1
    assert families["merit_llm_gateway_up"].samples[0].value == 1
    assert families["merit_llm_ledger_failing"].samples[0].value == 0
    assert families["merit_predictions_written"].samples[0].value == 0
    assert "merit_champion_ready" in families
    assert "process_resident_memory_bytes" in families
    for caller in ("north", "south", "ada", "application"):
        assert caller not in answer.text
    local = TestClient(api.client.app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 1))
    assert local.get("/metrics").status_code == 200
    assert local.get("/metrics", headers={"host": "metrics.example"}).status_code == 401


def test_readiness_tells_of_the_gateway(make_home: Callable[..., Settings], run: Run) -> None:
    with run(make_home()) as api:
        answer = api.ask(None, "GET", "/readyz", params={"gateway": True})
        assert answer.status_code == 200
        checks = {one["name"]: one for one in answer.json()["checks"]}
        assert {"database", "registry", "prediction log", "llm gateway", "llm ledger"} == set(checks)
        assert "10 models of 2 providers, 0 of them" in checks["llm gateway"]["detail"]
        # Nobody has promoted anything: as before, that is not ready unless the gateway alone is asked for.
        assert api.ask(None, "GET", "/readyz").status_code == 503
        models = api.ask(None, "GET", "/readyz", params={"gateway": True, "models": ["churn"]})
        assert models.status_code == 503


def test_readiness_tells_of_redis(make_home: Callable[..., Settings], run: Run, redis_url: str) -> None:
    from pydantic import SecretStr

    with run(make_home(redis_url=SecretStr(redis_url))) as api:
        checks = {one["name"]: one for one in api.ask(None, "GET", "/readyz").json()["checks"]}
        assert checks["redis"] == {
            "name": "redis", "ok": True, "required": True, "detail": "Redis answers.", "remedy": "",
        }  # fmt: skip


def test_a_ledger_that_cannot_be_written_is_not_ready(make_home: Callable[..., Settings], run: Run) -> None:
    settings = make_home()
    with run(settings) as api, closing(sqlite3.connect(settings.root / "merit.db", isolation_level=None)) as other:
        other.execute("ALTER TABLE llm_calls RENAME TO llm_calls_away")
        assert api.ask(
            None,
            "POST",
            "/v1/chat/completions",
            json={"model": "simulated/small", "messages": [{"role": "user", "content": "Hello"}]},
        ).status_code == 200  # fmt: skip
        ledger = api.client.app.state.services.gateway.parts.ledger  # type: ignore[attr-defined]
        assert not ledger.flush(1.0)
        answer = api.ask(None, "GET", "/readyz", params={"gateway": True})
        assert answer.status_code == 503
        check = next(one for one in answer.json()["checks"] if one["name"] == "llm ledger")
        assert "kept in the journal" in check["detail"]
        other.execute("ALTER TABLE llm_calls_away RENAME TO llm_calls")
        assert ledger.flush(10.0)
        assert api.ask(None, "GET", "/readyz", params={"gateway": True}).status_code == 200
        assert len(api.get(None, "/v1/llm/runs")["runs"]) == 1


def test_an_api_without_a_gateway_tells_so_and_serves_the_rest(make_home: Callable[..., Settings], run: Run) -> None:
    settings = make_home()
    (settings.root / "providers.toml").write_text("[providers.simulated]\nkind = 7\n")
    with run(settings) as api:
        for path in ("/v1/models", "/v1/llm/providers", "/v1/llm/health", "/v1/llm/ensembles", "/v1/budgets"):
            assert api.ask(None, "GET", path).status_code == 503
        # What is stored is told all the same.
        for path in ("/v1/llm/runs", "/v1/usage", "/v1/workspaces", "/v1/audit", "/v1/llm/feedback", "/v1/keys"):
            assert api.ask(None, "GET", path).status_code == 200
        assert "merit_llm_gateway_up 0.0" in api.ask(None, "GET", "/metrics").text


def test_a_workspace_lets_another_model_answer_what_is_simple(api: Api) -> None:
    rule = {"asked": "simulated/large", "use": "simulated/nano", "complexities": ["simple"], "because": "rec-1"}
    told = api.ask("admin@north", "PATCH", "/v1/workspaces/north", json={"substitutes": [{**rule, "held_back": 0.0}]})
    assert told.status_code == 200, told.text
    run = api.chat("application@north", "What is 2 + 2?", model="simulated/large")
    line = api.get("application@north", f"/v1/llm/runs/{run}")
    shown = line.get("run", line)
    assert (shown["asked"], shown["model"]) == ("simulated/large", "simulated/nano")
    assert "simulated/nano answer simple tasks that ask for simulated/large" in shown["decision"]["reason"]
    body = {"model": "simulated/large", "messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    answer = api.post("application@north", "/v1/chat/completions", body)
    assert answer["merit"]["substitution"] == {"use": "simulated/nano", "part": "used", "because": "rec-1"}
    # Other workspaces, and other models, are as they were.
    for who, model in (("application@south", "simulated/large"), ("application@north", "simulated/small")):
        told = api.post(who, "/v1/chat/completions", {**body, "model": model})
        assert told["merit"]["model"] == model
    # A model that the workspace may not use changes nothing.
    api.ask("admin", "PATCH", "/v1/workspaces/north", json={"allowed_models": ["simulated/large"]})
    told = api.post("application@north", "/v1/chat/completions", body)
    assert told["merit"]["model"] == "simulated/large"
    assert told["merit"]["substitution"]["part"] == "not possible"
    api.ask("admin", "PATCH", "/v1/workspaces/north", json={"allowed_models": [], "substitutes": []})
