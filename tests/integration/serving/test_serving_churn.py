"""Churn predictions over HTTP, against a real model in a real registry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

PATH = "/v1/churn/predictions"


def test_by_features(client: TestClient, shared: Any) -> None:
    response = client.post(PATH, json={"features": shared.features(3)})
    body = response.json()
    assert response.status_code == 201
    assert body["probability"] == pytest.approx(shared.probability(3))
    assert (body["model"], body["version"], body["dataset_digest"]) == ("churn", 1, "d" * 64)
    assert body["band"] in ("low", "medium", "high")
    assert body["decision"] == ("offer" if body["probability"] >= body["threshold"] else "no_offer")
    assert response.headers["location"] == f"{PATH}/{body['id']}"


def test_by_id_gives_what_its_features_give(client: TestClient, shared: Any) -> None:
    for _ in range(2):  # the second is answered from memory
        body = client.post(PATH, json={"customer_id": "c000004"}).json()
        assert body["customer_id"] == "c000004"
        assert body["probability"] == pytest.approx(shared.probability(3))


def test_batches_keep_their_order(client: TestClient, shared: Any) -> None:
    ids = ["c000009", "c000001", "c000009"]
    body = client.post(PATH, json={"customer_ids": ids}).json()
    assert [one["customer_id"] for one in body["predictions"]] == ids
    assert [one["probability"] for one in body["predictions"]] == pytest.approx(
        [shared.probability(row) for row in (8, 0, 8)]
    )
    assert len({one["id"] for one in body["predictions"]}) == 3
    rows = [{**shared.features(row), "customer_id": f"x{row}"} for row in range(40)]
    body = client.post(PATH, json={"rows": rows}).json()
    assert [one["customer_id"] for one in body["predictions"]] == [f"x{row}" for row in range(40)]
    assert body["predictions"][7]["probability"] == pytest.approx(shared.probability(7))


def test_names_the_model_does_not_read_are_told(client: TestClient, shared: Any) -> None:
    body = client.post(PATH, json={"features": {**shared.features(), "shoe_size": 43, "customer_id": "x"}}).json()
    assert body["ignored"] == ["shoe_size"]
    assert body["customer_id"] == "x"


@pytest.mark.parametrize(
    ("change", "field", "status"),
    [
        ({"tenure": "long"}, "features.tenure", 422),
        ({"auto_pay": "perhaps"}, "features.auto_pay", 422),
        ({"plan": ["basic"]}, "features.plan", 422),
    ],
)
def test_a_wrong_type_names_field_and_value(
    client: TestClient, shared: Any, change: dict[str, Any], field: str, status: int
) -> None:
    response = client.post(PATH, json={"features": {**shared.features(), **change}})
    body = response.json()
    assert response.status_code == status
    assert body["field"] == field
    assert body["value"] == next(iter(change.values()))
    assert body["remedy"]


def test_a_missing_feature_is_an_error_an_unknown_value_is_not(client: TestClient, shared: Any) -> None:
    features = shared.features()
    assert client.post(PATH, json={"features": {**features, "tenure": None}}).status_code == 201
    del features["tenure"]
    response = client.post(PATH, json={"features": features})
    assert response.status_code == 422
    assert response.json()["field"] == "features.tenure"


def test_an_error_in_a_batch_names_the_row(client: TestClient, shared: Any) -> None:
    for count in (3, 40):
        rows = [shared.features(row) for row in range(count)]
        rows[2]["price"] = "dear"
        response = client.post(PATH, json={"rows": rows})
        assert response.status_code == 422
        assert response.json()["field"] == "rows[2].price"


def test_unknown_customers_are_404_and_all_listed(client: TestClient) -> None:
    response = client.post(PATH, json={"customer_id": "nobody"})
    assert response.status_code == 404
    assert "'nobody'" in response.json()["detail"]
    response = client.post(PATH, json={"customer_ids": ["c000001", "u1", "u2"]})
    assert response.status_code == 404
    assert response.json()["value"] == ["u1", "u2"]
    assert client.get(PATH, params={"customer": "u1"}).json()["predictions"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "customer_id"),
        ({"customer_id": "a", "features": {}}, "features"),
        ({"customer_id": 12}, "customer_id"),
        ({"customer_ids": ["a", 3]}, "customer_ids.1"),
        ({"customer_ids": []}, "customer_ids"),
        ({"rows": []}, "rows"),
        ({"customer": "a"}, "customer"),
        ({"customer_id": "a\x00b"}, "customer_id"),
        ({"customer_id": ""}, "customer_id"),
        ({"rows": [{"customer_id": 7}]}, "rows[0].customer_id"),
        ({"features": [1, 2]}, "features"),
    ],
)
def test_a_body_that_does_not_fit_names_the_field(client: TestClient, body: dict[str, Any], field: str) -> None:
    response = client.post(PATH, json=body)
    assert response.status_code == 422
    assert response.json()["field"] == field


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"features": {"tenure": NaN}}', "application/json", 400),
        (b'{"customer_id": "\\ud800"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b'{"customer_id": "c000001"}', "text/plain", 422),
    ],
)
def test_a_body_that_is_no_json_object(client: TestClient, content: bytes, kind: str, status: int) -> None:
    response = client.post(PATH, content=content, headers={"Content-Type": kind})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["remedy"]


def test_a_batch_above_the_limit(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion()
    with open_client(world.settings.model_copy(update={"max_batch": 5})) as client:
        response = client.post(PATH, json={"rows": [world.features()] * 6})
    assert response.status_code == 422
    assert "limit is 5" in response.json()["detail"]


def test_without_a_champion_it_is_503_with_what_to_run(world: Any, open_client: Callable[..., Any]) -> None:
    with open_client(world.settings) as client:
        response = client.post(PATH, json={"customer_id": "c000001"})
        assert response.status_code == 503
        assert "`merit train churn`" in response.json()["remedy"]
        response = client.post(PATH, json={"customer_id": "c000001", "model": "telco"})
        assert response.status_code == 404
        response = client.post(PATH, json={"customer_id": "c000001", "model": "forecasting"})
        assert response.status_code == 422


def test_a_model_of_another_name(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("logistic")
    world.champion("catboost", name="telco")
    with open_client(world.settings) as client:
        body = client.post(PATH, json={"features": world.features(), "model": "telco"}).json()
        assert body["model"] == "telco"
        assert body["probability"] == pytest.approx(world.probability(0, "catboost"))
        assert client.get("/readyz").json()["checks"][-1]["name"] == "model telco"


def test_lineage_features_and_actual(client: TestClient, shared: Any) -> None:
    made = client.post(PATH, json={"customer_id": "c000002"}, headers={"X-Request-ID": "r-1"}).json()
    found = client.get(f"{PATH}/{made['id']}").json()
    info = shared.registry.version("churn", 1)
    assert found["run_id"] == info.run_id
    assert found["git_commit"] == "a" * 40
    assert found["dataset_digest"] == "d" * 64
    assert found["features"] == shared.features(1)
    assert found["probability"] == made["probability"]
    assert found["request_id"] == "r-1"
    assert found["created_at"].endswith("Z")
    assert found["actual"] is None

    first = client.put(f"{PATH}/{made['id']}/actual", json={"churned": True}).json()
    again = client.put(f"{PATH}/{made['id']}/actual", json={"churned": True}).json()
    assert first == again
    corrected = client.put(f"{PATH}/{made['id']}/actual", json={"churned": False}).json()
    assert corrected["churned"] is False
    assert client.get(f"{PATH}/{made['id']}").json()["actual"] == corrected
    assert client.put(f"{PATH}/{made['id']}/actual", json={"churned": "yes"}).status_code == 422
    assert client.put(f"{PATH}/{'0' * 32}/actual", json={"churned": True}).status_code == 404
    assert client.get(f"{PATH}/{'0' * 32}").status_code == 404
    assert client.get(f"{PATH}/xyz").status_code == 422


def test_listing_pages_and_filters(client: TestClient) -> None:
    begin = datetime.now(UTC).isoformat()
    made = [client.post(PATH, json={"customer_id": f"c{number:06d}"}).json() for number in range(1, 26)]
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get(PATH, params={"limit": 10, "since": begin, **({"cursor": cursor} if cursor else {})}).json()
        seen += [one["id"] for one in page["predictions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [one["id"] for one in reversed(made)]

    def ids(**parameters: Any) -> set[str]:
        found = client.get(PATH, params={"since": begin, **parameters}).json()
        return {one["id"] for one in found["predictions"]}

    assert ids(customer="c000003") == {made[2]["id"]}
    for band in ("low", "medium", "high"):
        assert ids(band=band) == {one["id"] for one in made if one["band"] == band}
    assert ids(version=2) == set()
    assert len(ids(version=1, model="churn")) == 25
    middle = client.get(f"{PATH}/{made[12]['id']}").json()["created_at"]
    assert ids(since=middle) == {one["id"] for one in made[12:]}
    assert ids(until=middle) == {one["id"] for one in made[:12]}
    assert client.get(PATH, params={"band": "huge"}).status_code == 422
    assert client.get(PATH, params={"limit": 0}).status_code == 422
