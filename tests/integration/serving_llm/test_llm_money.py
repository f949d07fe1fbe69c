"""Budgets over HTTP, and what was used and spent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from store.tables.base import utc_now
from tests.integration.serving_llm.conftest import Api


def test_a_budget_is_set_changed_and_taken_away(api: Api) -> None:
    subject = api.name("ada")
    body = {"scope": "user", "subject": subject, "amount": 2.5, "workspace": "north", "period": "day"}
    answer = api.ask("admin", "POST", "/v1/budgets", json=body)
    made = api.told(answer)
    assert answer.headers["location"] == f"/v1/budgets/{made['id']}"
    assert (made["amount"], made["spent"], made["remaining"], made["action"]) == (2.5, 0.0, 2.5, "refuse")
    assert made["created_by"] == "admin"
    place = f"/v1/budgets/{made['id']}"
    changed = api.told(api.ask("admin@north", "PATCH", place, json={"amount": 3, "action": "alert"}))
    assert (changed["amount"], changed["action"]) == (3.0, "alert")
    assert [one["id"] for one in api.get("analyst@north", place)["budgets"]] == [made["id"]]
    assert made["id"] in {one["id"] for one in api.get("analyst@north", "/v1/budgets")["budgets"]}
    assert api.told(api.ask("admin@north", "DELETE", place))["id"] == made["id"]
    assert api.ask("admin@north", "GET", place).status_code == 404
    lines = api.get("admin@north", "/v1/audit", params={"subject": made["id"]})["lines"]
    assert [(one["action"], one["actor"]) for one in lines] == [
        ("budget.delete", "admin@north"),
        ("budget.change", "admin@north"),
        ("budget.create", "admin"),
    ]
    assert (lines[1]["before"]["amount"], lines[1]["after"]["amount"]) == (2.5, 3.0)


def test_a_budget_refuses_at_once_and_a_larger_one_lets_through(api: Api) -> None:
    user = api.name("spender")
    body = {"scope": "user", "subject": user, "amount": 0.0000001, "workspace": "north", "period": "day"}
    made = api.post("admin@north", "/v1/budgets", body)
    chat = {"model": "simulated/large", "user": user, "messages": [{"role": "user", "content": "Hello"}]}
    refused = api.ask("application@north", "POST", "/v1/chat/completions", json=chat)
    assert refused.status_code == 402
    api.told(api.ask("admin@north", "PATCH", f"/v1/budgets/{made['id']}", json={"amount": 1}))
    assert api.ask("application@north", "POST", "/v1/chat/completions", json=chat).status_code == 200
    shown = api.get("analyst@north", f"/v1/budgets/{made['id']}")["budgets"][0]
    assert shown["spent"] > 0
    assert shown["counted"] == user
    run = api.get("application@north", "/v1/llm/runs", params={"user": user, "outcome": "refused"})["runs"][0]
    assert run["error"] == "BudgetExceeded"


def test_a_named_model_is_replaced_by_a_cheaper_one_only_where_the_caller_lets_it(api: Api) -> None:
    user = api.name("saver")
    body = {"scope": "user", "subject": user, "amount": 0.0001, "workspace": "north", "action": "downgrade"}
    api.post("admin@north", "/v1/budgets", body)
    chat = {"model": "simulated/large", "user": user, "messages": [{"role": "user", "content": "Hello"}]}
    refused = api.ask("application@north", "POST", "/v1/chat/completions", json=chat)
    assert refused.status_code == 402
    assert refused.json()["remedy"].startswith("Let a cheaper model answer with merit.fallbacks = true.")
    answer = api.ask("application@north", "POST", "/v1/chat/completions", json={**chat, "merit": {"fallbacks": True}})
    assert "answers instead of simulated/large" in api.told(answer)["merit"]["downgraded"]
    # A strategy has other models anyway, and says nothing of the kind where none of them fits.
    poor = api.name("poor")
    api.post("admin@north", "/v1/budgets", {**body, "subject": poor, "amount": 0.000000001})
    strategy = {**chat, "user": poor, "model": "best", "merit": {"providers": ["simulated"]}}
    refused = api.ask("application@north", "POST", "/v1/chat/completions", json=strategy)
    assert refused.status_code == 402
    assert "fallbacks" not in refused.json()["remedy"]


def test_each_one_by_itself_and_the_alerts_it_gave(api: Api) -> None:
    workspace = api.name("alerts")
    api.join(workspace)
    body = {"scope": "user", "amount": 0.00002, "workspace": workspace, "period": "day", "action": "alert"}
    made = api.post("admin", "/v1/budgets", body)
    for user in ("ada", "bob"):
        api.chat(workspace, model="simulated/small", user=user)
    detail = api.get("admin", f"/v1/budgets/{made['id']}")
    assert {one["counted"] for one in detail["budgets"]} == {"ada", "bob"}
    assert len(api.get("admin", f"/v1/budgets/{made['id']}?subjects=1")["budgets"]) == 1


def test_a_key_is_named_only_within_the_own_workspace(api: Api) -> None:
    """Neither its name nor its id tells a workspace's admin that another's key exists."""
    ids = {one["name"]: one["id"] for one in api.get("admin", "/v1/keys")["keys"]}
    for subject in ("application@south", ids["application@south"], "nobody"):
        body = {"scope": "key", "subject": subject, "amount": 1}
        answer = api.ask("admin@north", "POST", "/v1/budgets", json=body)
        assert answer.status_code == 404
        assert answer.json()["detail"] == f"There is no API key {subject!r}."
    body = {"scope": "key", "subject": "application@north", "amount": 1}
    assert api.post("admin@north", "/v1/budgets", body)["subject"] == ids["application@north"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"scope": "user", "amount": 0}, 422, "amount"),
        ({"scope": "user", "amount": -1}, 422, "amount"),
        ({"scope": "user", "amount": 1e10}, 422, "amount"),
        ({"scope": "user", "amount": "inf"}, 422, "amount"),
        ({"scope": "user", "amount": 1e-12}, 422, "amount"),
        ({"scope": "planet", "amount": 1}, 422, "scope"),
        ({"scope": "user", "amount": 1, "period": "request"}, 422, "period"),
        ({"scope": "request", "amount": 1, "subject": "x"}, 422, "subject"),
        ({"scope": "organisation", "amount": 1, "workspace": "north"}, 422, "workspace"),
        ({"scope": "user", "amount": 1, "colour": "red"}, 422, "colour"),
        ({"scope": "key", "amount": 1, "subject": "nobody"}, 404, "subject"),
    ],
)
def test_a_budget_that_cannot_be_is_told(api: Api, body: dict[str, Any], status: int, field: str) -> None:
    answer = api.ask("admin", "POST", "/v1/budgets", json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_two_budgets_of_the_same_are_a_conflict(api: Api) -> None:
    body = {"scope": "project", "subject": api.name("p"), "amount": 1}
    api.post("admin", "/v1/budgets", body)
    assert api.ask("admin", "POST", "/v1/budgets", json=body).status_code == 409


def test_usage_is_what_the_provider_billed(api: Api, simulator_process: Any) -> None:
    simulator_process.reset()
    user, today = api.name("bill"), f"{utc_now():%Y-%m-%d}"
    for model in ("simulated/small", "simulated/large", "ensemble/majority"):
        api.chat("application@south", model=model, user=user)
    simulated = simulator_process.spent()
    rows = api.get("analyst@south", "/v1/usage", params={"by": "model", "user": user})["rows"]
    assert round(sum(row["cost"] for row in rows) * 1e9) == simulated
    whole = api.get("analyst@south", "/v1/usage", params={"by": "", "user": user})
    assert len(whole["rows"]) == 1
    assert (whole["rows"][0]["requests"], whole["complete"]) == (3, True)
    assert whole["rows"][0]["calls"] > 3
    days = api.get("analyst@south", "/v1/usage", params={"by": "day,task", "user": user})
    found = {row["day"] for row in days["rows"]}
    assert found in ({today}, {f"{utc_now():%Y-%m-%d}"}, {today, f"{utc_now():%Y-%m-%d}"})
    before = (utc_now() - timedelta(days=1)).isoformat()
    assert api.get("analyst@south", "/v1/usage", params={"user": user, "until": before})["rows"] == []


def test_usage_by_key_names_it(api: Api) -> None:
    api.chat("application@south")
    rows = api.get("admin@south", "/v1/usage?by=key,workspace")["rows"]
    assert {row["workspace"] for row in rows} == {"south"}
    assert "application@south" in {row["key_name"] for row in rows}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"by": "colour"}, "by"),
        ({"by": "day,month"}, "by"),
        ({"by": "model,model"}, "by"),
        ({"limit": 0}, "limit"),
        ({"worksapce": "north"}, "worksapce"),
        ({"since": "soon"}, "since"),
        ({"until": "0001-01-01"}, "until"),
        ({"since": "9999-12-31T23:59:59.5"}, "since"),
    ],
)
def test_a_wrong_question_of_usage_is_told(api: Api, query: dict[str, Any], field: str) -> None:
    answer = api.ask("analyst", "GET", "/v1/usage", params=query)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
