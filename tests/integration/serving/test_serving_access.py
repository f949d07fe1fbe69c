"""Keys in both headers, revocation, what callers see, the open API, its description. Who may do what is one table:
`tests/integration/serving_llm/access_table.py`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from flows.run import FLOWS
from serving import access, flow_runs
from serving.app import create_app
from store import feature_rows, keys
from store.tables.base import utc_now

GATEWAY = {"LLM gateway", "Money", "Workspaces", "Operation", "Files and batches"}
ROLES = ("anybody", "application", "analyst", "admin")


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def secrets_by_role(
    tmp_path_factory: pytest.TempPathFactory, folders: Any, mlflow_template: Any, make_world: Callable[..., Any]
) -> Iterator[tuple[TestClient, dict[str, str], Any]]:
    """An API with keys: the client, a secret of every role, and the world."""
    with make_world(tmp_path_factory.mktemp("keys") / "home", folders, mlflow_template) as world:
        world.champion("logistic")
        world.champion("forecaster", "forecasting")
        world.champion("segments", "segmentation")
        world.champion("pricing", "pricing")
        world.publish()
        world.publish_segments()
        secrets = {role: keys.create(world.settings, role, role)[1] for role in ROLES[1:]}
        app = create_app(world.settings)
        # From another machine: with keys, the address does not matter.
        with TestClient(app, base_url="http://api.example", client=("203.0.113.7", 40_000)) as client:
            while not app.state.services.champions.looked:
                time.sleep(0.05)
            yield client, secrets, world


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_needs_nothing_from_the_internet(secrets_by_role: Any, page: str) -> None:
    client, _, _ = secrets_by_role
    text = client.get(page).text
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", text)
    assert addresses
    for address in addresses:
        assert address.startswith(("/", "#", "data:")), address
        if address.endswith((".js", ".css")):
            assert client.get(address).status_code == 200


def test_a_refused_caller_learns_nothing_of_the_body(secrets_by_role: Any) -> None:
    client, _, _ = secrets_by_role
    for body in (b"{", b'{"nonsense": 1}', b""):
        assert client.post("/v1/churn/predictions", content=body).status_code == 401


def test_keys_in_either_header_and_only_right_ones(secrets_by_role: Any) -> None:
    client, secrets, _ = secrets_by_role
    secret = secrets["analyst"]
    assert client.get("/v1/registry/models", headers={"X-API-Key": secret}).status_code == 200
    assert client.get("/v1/registry/models", headers={"Authorization": f"bearer  {secret}"}).status_code == 200
    for wrong in (secret[:-1], secret + "0", "merit_", "", "x" * 5_000, secret.upper()):
        assert client.get("/v1/registry/models", headers={"X-API-Key": wrong}).status_code == 401
    assert client.get("/v1/registry/models", headers={"Authorization": f"Basic {secret}"}).status_code == 401


def test_a_revoked_key_is_refused_within_seconds(secrets_by_role: Any) -> None:
    client, secrets, world = secrets_by_role
    info, secret = keys.create(world.settings, "leaver", "application")
    assert client.get("/v1/forecasts", headers=bearer(secret)).status_code == 200
    # Revoked by another process: remembered for a little.
    keys.revoke(world.settings, info.id)
    revoked = sent = time.monotonic()
    while client.get("/v1/forecasts", headers=bearer(secret)).status_code != 401:
        assert sent < revoked + access.REMEMBER_SECONDS
        time.sleep(0.05)
        sent = time.monotonic()
    # Revoked here: at once.
    made = client.post("/v1/keys", json={"name": "temp", "role": "analyst"}, headers=bearer(secrets["admin"])).json()
    assert client.get("/v1/registry/models", headers=bearer(made["secret"])).status_code == 200
    assert client.delete(f"/v1/keys/{made['id']}", headers=bearer(secrets["admin"])).status_code == 200
    assert client.get("/v1/registry/models", headers=bearer(made["secret"])).status_code == 401


def test_keys_are_listed_without_their_secrets(secrets_by_role: Any) -> None:
    client, secrets, _ = secrets_by_role
    admin = bearer(secrets["admin"])
    made = client.post("/v1/keys", json={"name": "shop", "role": "application"}, headers=admin)
    assert made.status_code == 201
    listed = client.get("/v1/keys", headers=admin)
    assert made.json()["secret"] not in listed.text
    shop = next(key for key in listed.json()["keys"] if key["name"] == "shop")
    assert (shop["role"], shop["revoked_at"]) == ("application", None)
    for body, field in (
        ({"name": "shop", "role": "application"}, "name"),
        ({"name": "x", "role": "owner"}, "role"),
        ({"role": "admin"}, "name"),
    ):
        response = client.post("/v1/keys", json=body, headers=admin)
        assert response.status_code == 422
        assert response.json()["field"] == field


def test_an_expired_key_is_refused(secrets_by_role: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _, world = secrets_by_role
    soon: datetime = utc_now() + timedelta(hours=1)
    _, secret = keys.create(world.settings, "brief", "application", soon)
    assert client.get("/v1/forecasts", headers=bearer(secret)).status_code == 200
    monkeypatch.setattr(keys, "utc_now", lambda: soon)  # its last moment has come
    expired = sent = time.monotonic()
    while client.get("/v1/forecasts", headers=bearer(secret)).status_code != 401:
        assert sent < expired + access.REMEMBER_SECONDS
        time.sleep(0.05)
        sent = time.monotonic()


def test_an_application_sees_what_it_asked_for_and_nothing_else(secrets_by_role: Any) -> None:
    client, secrets, world = secrets_by_role
    other = keys.create(world.settings, "other", "application")[1]
    body = {"customer_id": "c000001"}
    mine = client.post("/v1/churn/predictions", json=body, headers=bearer(secrets["application"])).json()["id"]
    theirs = client.post("/v1/churn/predictions", json=body, headers=bearer(other)).json()["id"]
    listed = client.get("/v1/churn/predictions", headers=bearer(other)).json()["predictions"]
    assert [one["id"] for one in listed] == [theirs]
    assert client.get(f"/v1/churn/predictions/{mine}", headers=bearer(other)).status_code == 404
    report = client.put(f"/v1/churn/predictions/{mine}/actual", json={"churned": True}, headers=bearer(other))
    assert report.status_code == 404
    everything = client.get("/v1/churn/predictions", headers=bearer(secrets["analyst"])).json()["predictions"]
    assert {mine, theirs} <= {one["id"] for one in everything}
    forecast = client.post("/v1/forecasts", json={"horizon": 1}, headers=bearer(other)).json()["id"]
    for path in ("", "/data"):
        place = f"/v1/forecasts/{forecast}{path}"
        assert client.get(place, headers=bearer(other)).status_code == 200
        assert client.get(place, headers=bearer(secrets["application"])).status_code == 404
        assert client.get(place, headers=bearer(secrets["analyst"])).status_code == 200


def test_an_open_api_answers_this_machine_alone(shared: Any) -> None:
    app = create_app(shared.settings)
    cases = (
        ("http://127.0.0.1:8000", "127.0.0.1", 200),
        ("http://localhost:8000", "127.0.0.1", 200),
        ("http://[::1]:8000", "::1", 200),
        ("http://127.0.0.1:8000", "192.0.2.1", 401),
        ("http://attacker.example", "127.0.0.1", 401),
    )
    for base, address, status in cases:
        with TestClient(app, base_url=base, client=(address, 1)) as client:
            assert client.get("/v1/forecasts").status_code == status
            assert client.get("/healthz").status_code == 200


def test_the_first_key_closes_an_open_api(world: Any, open_client: Callable[..., Any]) -> None:
    with open_client(world.settings) as client:
        assert client.get("/v1/forecasts").status_code == 200
        made = client.post("/v1/keys", json={"name": "ops", "role": "admin"}).json()
        assert client.get("/v1/forecasts").status_code == 401
        assert client.get("/v1/forecasts", headers=bearer(made["secret"])).status_code == 200
        client.delete("/v1/keys/ops", headers=bearer(made["secret"]))
        assert client.get("/v1/forecasts").status_code == 401


def test_documented_examples_work_when_pasted(client: TestClient) -> None:
    """Every example of a request body in the OpenAPI description is accepted by the demo; those of the gateway, which
    ask a provider, are pasted in `tests/integration/serving_llm`."""
    described = client.get("/openapi.json").json()
    assert len(json.dumps(described)) < 500_000
    sent = 0
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"]
            assert operation["tags"]
            assert "HTTPValidationError" not in json.dumps(operation)
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                if "{" not in path and not GATEWAY.intersection(operation["tags"]):
                    response = client.request(method, path, json=example["value"])
                    assert response.status_code in (200, 201), response.text
                    sent += 1
    assert sent >= 4


def test_documented_examples_of_what_became_of_an_answer_work_when_pasted(
    world: Any, open_client: Callable[..., Any]
) -> None:
    """Those whose address holds what was made before, in the order in which they are used."""
    world.champion("logistic")
    world.register("catboost")
    world.registry.set_alias("churn", "challenger", 2)
    world.champion("pricing", "pricing")
    world.publish()
    with open_client(world.settings) as client:
        described = client.get("/openapi.json").json()["paths"]
        recommended = "/v1/pricing/recommendations"
        made = [client.post(recommended, json={"product": "salt"}).json()["id"] for _ in range(2)]
        predicted = client.post("/v1/churn/predictions", json={"customer_id": "c000001"}).json()
        for method, path, name in (
            ("post", f"{recommended}/{{recommendation_id}}/implemented", made[0]),
            ("post", f"{recommended}/{{recommendation_id}}/outcome", made[0]),
            ("post", f"{recommended}/{{recommendation_id}}/dismissed", made[1]),
            ("put", "/v1/churn/predictions/{prediction_id}/actual", predicted["id"]),
            ("put", "/v1/registry/models/{name}/shadow", "churn"),
            ("post", "/v1/registry/models/{name}/promote", "churn"),
            ("post", "/v1/registry/models/{name}/rollback", "churn"),
        ):
            examples = described[path][method]["requestBody"]["content"]["application/json"]["examples"]
            assert examples
            for example in examples.values():
                response = client.request(method, re.sub(r"\{.*\}", name, path), json=example["value"])
                assert response.status_code == 200, f"{path}: {response.text}"


def test_every_number_of_an_address_has_an_end(client: TestClient) -> None:
    """What no integer column can hold is the caller's error, not the database's."""
    described = client.get("/openapi.json").json()
    endless = [
        (path, one["name"])
        for path, methods in described["paths"].items()
        for operation in methods.values()
        for one in operation.get("parameters", [])
        for kind in one["schema"].get("anyOf", [one["schema"]])
        if kind.get("type") == "integer" and "maximum" not in kind
    ]
    assert endless == []
    answer = client.get("/v1/registry/models/churn/monitoring", params={"version": 10**20})
    assert (answer.status_code, answer.json()["field"]) == (422, "version")
    answer = client.put("/v1/registry/models/churn/shadow", json={"version": 10**20})
    assert (answer.status_code, answer.json()["field"]) == (422, "version")


def test_documentation_shows_customers_only_while_the_api_is_open(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("logistic")
    rows = world.frame.drop(columns="churned").set_index("customer_id").rename(lambda name: f"secret-{name}")
    feature_rows.publish(world.settings, "churn", rows, datetime(2026, 1, 1))
    with open_client(world.settings) as client:
        assert "secret-c000001" in client.get("/openapi.json").text
        keys.create(world.settings, "ops", "admin")
        assert "secret-" not in client.get("/openapi.json").text


def test_flows_without_a_prefect_server_say_how_to_start_one(client: TestClient) -> None:
    response = client.post("/v1/flows/train-churn/runs", json={"parameters": {}})
    assert response.status_code == 503
    assert "merit up" in response.json()["remedy"]
    assert client.get("/v1/flows/runs/not-a-run").status_code == 422


def test_an_unknown_flow_is_so_without_a_prefect_server_too(client: TestClient) -> None:
    for name in ("train-chrun", "..%2Fadmin", "a b"):
        response = client.post(f"/v1/flows/{name}/runs", json={"parameters": {}})
        assert response.status_code == 404
    assert response.json()["field"] == "name"
    assert response.json()["value"] == "a b"
    assert response.json()["remedy"] == f"Use one of: {', '.join(sorted(FLOWS))}."


def test_the_flows_of_the_project_are_those_it_deploys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deployed = yaml.safe_load(flow_runs.DEPLOYMENTS.read_text(encoding="utf-8"))["deployments"]
    assert flow_runs.project_flows() == sorted(one["name"] for one in deployed)
    monkeypatch.setattr(flow_runs, "DEPLOYMENTS", tmp_path / "prefect.yaml")
    assert flow_runs.project_flows() == []
