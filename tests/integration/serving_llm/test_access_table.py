"""Who may do what: every route of the app with every caller, and on another workspace's objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Route

from models.spend.recommending.advice import Advice, Interval
from models.spend.unusual.finding import Finding
from models.spend.unusual.keeping import keep
from serving import gateway_app
from serving.app import create_app
from store import insights, llm_benchmarks, llm_finetunes, spend_recommendations
from store.insights import Insight
from store.llm_benchmarks import Benchmark
from store.llm_finetunes import Finetune
from store.settings import Settings
from store.tables.base import new_id, utc_now
from tests.integration.serving_llm.access_table import ALLOWED, TABLE, Row
from tests.integration.serving_llm.conftest import CALLERS, ROLES, Api

RANKS = {"anybody": 0, **{role: number for number, role in enumerate(ROLES, 1)}, "other": 1}


def _budget(api: Api, workspace: str, scope: str, subject: str) -> str:
    body = {"scope": scope, "subject": subject, "amount": 5, "workspace": workspace}
    return str(api.post("admin", "/v1/budgets", body)["id"])


def _person(api: Api, workspace: str) -> str:
    name = api.name("ada")
    api.chat(f"application@{workspace}", user=name)
    return name


def _liking(api: Api, workspace: str) -> str:
    name = api.name("ada")
    api.told(api.ask(f"application@{workspace}", "PUT", f"/v1/llm/preferences/{name}", json={"tradeoff": 0.1}))
    return name


def _workspace(api: Api, workspace: str) -> str:
    name = api.name(workspace)
    api.told(api.ask("admin", "PUT", f"/v1/workspaces/{name}", json={}))
    return name


def _workspace_budget(api: Api, workspace: str) -> str:
    known = api.get("admin", "/v1/budgets", params={"workspace": workspace})["budgets"]
    found = [one["id"] for one in known if one["scope"] == "workspace" and one["period"] == "day"]
    body = {"scope": "workspace", "subject": workspace, "amount": 50, "period": "day"}
    return str(found[0] if found else api.post("admin", "/v1/budgets", body)["id"])


def _upload() -> dict[str, Any]:
    line = {
        "custom_id": "one",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "simulated/small", "messages": [{"role": "user", "content": "Hello"}]},
    }
    return {"files": {"file": ("lines.jsonl", json.dumps(line))}, "data": {"purpose": "batch"}}


def _file(api: Api, workspace: str) -> str:
    return str(api.told(api.ask(f"application@{workspace}", "POST", "/v1/files", **_upload()))["id"])


def _batch(api: Api, workspace: str) -> str:
    body = {
        "input_file_id": _file(api, workspace),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    return str(api.post(f"application@{workspace}", "/v1/batches", body)["id"])


def _anomaly(api: Api, workspace: str) -> str:
    """Something unusual that concerns a workspace, as the hourly flow leaves it."""
    start = utc_now()
    found = Finding(
        kind="runaway user", subject=f"user={workspace}/{api.name('ada')}", workspace=workspace, start=start, end=start,
        severity="high", score=0.9, value=5.0, expected=1.0, unit="dollars a day", words="A loop.",
    )  # fmt: skip
    (told,) = keep(api.settings, [found])
    return str(told["id"])


def _recommendation(api: Api, workspace: str) -> str:
    """A way to spend less that concerns a workspace, as the weekly flow leaves it."""
    found = Advice(
        kind="cache", workspace=workspace, subject=api.name("cache"), words="A cache.", saving=Interval(1.0, 0.5, 1.5),
        spent=9.0, scope={}, steps=("Accept it.",), setting={"cache": "exact"},
    )  # fmt: skip
    row = found.row()
    spend_recommendations.propose(api.settings, [row], workspace="of no look")
    return row.id


def _followed(api: Api, workspace: str) -> str:
    """One that is followed."""
    made = _recommendation(api, workspace)
    return spend_recommendations.accept(api.settings, made, by="ada").id


def _insight(api: Api, workspace: str) -> str:
    """A question about the rows of a workspace."""
    made = Insight(
        id=new_id(), at=utc_now(), workspace=workspace, asked_in=workspace, status="answered", kept=1, removed=0,
        rows_shown=1, agreement=1.0, cost=0, members=[], caller="ada",
    )  # fmt: skip
    insights.create(api.settings, made, None)
    return made.id


def _benchmark(api: Api, workspace: str) -> str:
    """One of a workspace that runs."""
    made = Benchmark(
        workspace=workspace, name="letters", models=["simulated/small"], prompts=1, repeats=1, total=1, expected=0,
        max_cost=0, details={"expected": {"expected": 0.0, "most": 0.0, "by_model": {}}},
    )  # fmt: skip
    llm_benchmarks.create(api.settings, made)
    return made.id


def _finetune(api: Api, workspace: str) -> str:
    """One of a workspace that is prepared."""
    made = Finetune(
        workspace=workspace, name="letters", base_model="simulated/nano", task="any", options={}, examples={},
        plan={"cost": {"training": 0.001}}, tenant={}, expected=1_000_000,
    )  # fmt: skip
    llm_finetunes.create(api.settings, made)
    return made.id


def _key(api: Api, workspace: str) -> str:
    body = {"name": api.name("temp"), "role": "application", "workspace": workspace}
    return str(api.post("admin", "/v1/keys", body)["id"])


# What a row's call is about, made in a workspace by an application of it, or set there by the platform.
MAKERS: Mapping[str | None, Callable[[Api, str], str]] = {
    None: lambda api, workspace: "",
    "name": lambda api, workspace: api.name("made"),
    "run": lambda api, workspace: api.chat(f"application@{workspace}"),
    "conversation": lambda api, workspace: str(api.post(f"application@{workspace}", "/v1/llm/conversations", {})["id"]),
    "budget": lambda api, workspace: _budget(api, workspace, "user", api.name("ada")),
    "workspace budget": _workspace_budget,
    "person": _person,
    "liking": _liking,
    "workspace": _workspace,
    "key": _key,
    "file": _file,
    "batch": _batch,
    "benchmark": _benchmark,
    "finetune": _finetune,
    "anomaly": _anomaly,
    "recommendation": _recommendation,
    "followed recommendation": _followed,
    "insight": _insight,
}


def expected(row: Row, caller: str | None, workspace: str | None) -> int:
    """The status that a caller gets for something of a workspace; None: for nothing of any."""
    if row.least == "anybody":
        return row.ok
    if caller is None:
        return 401
    name, _, own = caller.partition("@")
    if RANKS[name] < RANKS[row.least] or (row.platform and own):
        return 403
    if workspace is not None and (own or name == "application") and own != workspace:
        return row.foreign
    for one in (caller, f"{name}@" if own else caller):
        if one in row.but:
            return row.but[one]
    return row.ok if row.other is None or name != "other" else row.other


def routes(app: FastAPI) -> dict[str, Any]:
    """What answers each route of an app."""
    found: dict[str, Any] = {}
    for route in app.routes:
        if isinstance(route, APIWebSocketRoute):
            found[f"WS {route.path}"] = route.endpoint
        elif isinstance(route, Route | APIRoute):
            found |= {f"{method} {route.path}": route.endpoint for method in (route.methods or set()) - {"HEAD"}}
    return found


def test_every_route_is_in_the_table() -> None:
    assert set(routes(create_app(Settings()))) == {row.route for row in TABLE}


def test_a_gateway_alone_answers_with_the_same_routes() -> None:
    whole, alone = routes(create_app(Settings())), routes(gateway_app.create_app(Settings()))
    assert {route for route in alone if whole.get(route) is not alone[route]} <= {
        "GET /", "GET /docs", "GET /docs/oauth2-redirect", "GET /healthz", "GET /openapi.json", "GET /readyz",
        "GET /redoc",
    }  # fmt: skip
    assert {"POST /v1/chat/completions", "GET /v1/llm/runs", "DELETE /v1/budgets/{budget_id}"} <= set(alone)


# What a WebSocket is told, and is not, is tested with those of events.
ASKED = [row for row in TABLE if row.method != "WS"]


@pytest.mark.parametrize("row", ASKED, ids=lambda row: f"{row.route} {row.of or ''}".strip())
def test_every_route_with_every_caller(api: Api, row: Row) -> None:
    wrong = []
    for workspace in ("north", "south") if row.concerns else (None,):
        place, made = workspace or "north", None
        for caller in (None, *CALLERS):
            made = MAKERS[row.of](api, place) if made is None else made
            path, body = row.call(id=made, workspace=place)
            given: dict[str, Any] = _upload() if row.form else {} if body is None else {"json": body}
            answer = api.ask(caller, row.method, path, **given)
            if row.method != "GET" and answer.is_success:
                made = None  # it may be gone, or there now
            wanted = expected(row, caller, workspace)
            fits = answer.status_code not in (401, 403) if wanted == ALLOWED else answer.status_code == wanted
            if not fits:
                wrong.append(f"{caller} in {workspace}: {answer.status_code} {answer.text[:300]}, not {wanted}")
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert "merit keys create" in answer.json()["remedy"]
            assert all(secret not in answer.text for secret in api.secrets.values())
    assert wrong == []


def test_what_is_not_there_and_what_is_not_seen_are_told_alike(api: Api) -> None:
    """Whoever tries ids learns nothing from the answers."""
    for path, kind in (
        ("/v1/llm/runs/", "run"),
        ("/v1/budgets/", "budget"),
        ("/v1/llm/conversations/", "conversation"),
    ):
        theirs = MAKERS[kind](api, "south")
        absent = f"{int(theirs, 16) ^ 1:032x}"
        answers = [api.ask("admin@north", "GET", path + one).json() for one in (theirs, absent)]
        shown = [
            str({**one, "request_id": ""}).replace(number, "…")
            for one, number in zip(answers, (theirs, absent), strict=True)
        ]
        assert shown[0] == shown[1]


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("/v1/llm/runs", "application"),
        ("/v1/llm/feedback", "application"),
        ("/v1/llm/conversations", "application"),
        ("/v1/files", "application"),
        ("/v1/batches", "application"),
        ("/v1/usage?by=workspace,user,key", "application"),
        ("/v1/budgets", "analyst"),
        ("/v1/workspaces", "analyst"),
        ("/v1/keys", "admin"),
        ("/v1/audit", "admin"),
    ],
)
def test_lists_hold_nothing_of_another_workspace(api: Api, path: str, least: str) -> None:
    for workspace in ("north", "south"):
        who = f"application@{workspace}"
        call = api.chat(who, user=f"{workspace}-user")
        api.post(who, "/v1/llm/feedback", {"call": call, "thumb": "up", "comment": f"{workspace} likes it"})
        api.post(who, "/v1/llm/conversations", {"title": f"{workspace} speaks"})
        _budget(api, workspace, "user", api.name(f"{workspace}-user"))
        upload = {**_upload(), "files": {"file": (f"{workspace}.jsonl", "{}")}}
        file = api.told(api.ask(who, "POST", "/v1/files", **upload))["id"]
        body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        api.post(who, "/v1/batches", {**body, "metadata": {"of": workspace}})
    several = [role for role in ROLES if RANKS[role] >= RANKS[least]]
    for role in several:
        for own, foreign in (("north", "south"), ("south", "north")):
            text = api.ask(f"{role}@{own}", "GET", path).text
            assert own in text
            assert foreign not in text
    if "admin" in several and not path.endswith("conversations"):  # those are listed workspace by workspace
        text = api.ask("admin", "GET", path).text
        assert "north" in text
        assert "south" in text


def test_an_application_sees_its_own_calls_alone(api: Api) -> None:
    mine, theirs = api.chat("application@north"), api.chat("other@north")
    for path in ("/v1/llm/runs", "/v1/llm/runs?limit=1000"):
        shown = {one["id"] for one in api.get("application@north", path)["runs"]}
        assert mine in shown
        assert theirs not in shown
    assert {mine, theirs} <= {one["id"] for one in api.get("analyst@north", "/v1/llm/runs")["runs"]}
    key = next(one["id"] for one in api.get("admin", "/v1/keys")["keys"] if one["name"] == "other@north")
    for path in ("/v1/llm/runs", "/v1/usage"):
        assert api.ask("application@north", "GET", path, params={"key": key}).status_code == 403
    keys = {row["key_name"] for row in api.get("application@north", "/v1/usage?by=key")["rows"]}
    assert keys == {"application@north"}
