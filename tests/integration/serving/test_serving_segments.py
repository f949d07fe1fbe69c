"""Segments over HTTP: what they are, who is in them, where a customer belongs, and who went where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from models.segmentation.model import SegmentationModel
from store import feature_rows, scores

PATH = "/v1/segments"
EARLY, LATE = datetime(2025, 10, 3), datetime(2026, 1, 1)


@pytest.fixture(scope="module")
def model(segment_folders: Any) -> SegmentationModel:
    return SegmentationModel.load(segment_folders["segments"])


@pytest.fixture(scope="module")
def published(shared: Any) -> dict[str, dict[str, Any]]:
    """Published behaviour by customer."""
    ids = feature_rows.entities(shared.settings, "segmentation", limit=1000)
    return feature_rows.lookup(shared.settings, "segmentation", ids)


@pytest.fixture(scope="module")
def earlier(model: SegmentationModel, published: dict[str, Any]) -> pd.DataFrame:
    """Scores of the moment before: three were in another segment, one was not there yet, one still was."""
    now = model.score(pd.DataFrame.from_dict(published, orient="index"))
    before = now.drop(index=now.index[0]).copy()
    small = before.index[before["label"] == "3"][:3]
    before.loc[small, ["label", "name"]] = ["1", model.segment(1).name]
    before.loc["leaver"] = before.iloc[0]
    return before


@pytest.fixture(scope="module")
def scored(
    shared: Any, model: SegmentationModel, published: dict[str, Any], earlier: pd.DataFrame, client: TestClient
) -> TestClient:
    """The API after everybody was scored at two moments."""
    assert client.get(PATH).json()["as_of"] is None
    scores.write(shared.settings, "segmentation", 1, EARLY, earlier)
    scores.write(
        shared.settings, "segmentation", 1, LATE, model.score(pd.DataFrame.from_dict(published, orient="index"))
    )
    return client


def test_before_anybody_was_scored_the_customers_it_was_made_with_count(
    served: tuple[Any, TestClient], model: SegmentationModel
) -> None:
    _, client = served
    made_with = [one.rows for one in sorted(model.segments, key=lambda one: one.id)]
    assert [one["customers"] for one in client.get(PATH).json()["segments"]] == made_with
    for path in ("/1/members", "/movements", "/analytics"):
        response = client.get(PATH + path)
        assert response.status_code == 404
        assert response.json()["remedy"] == "Run `merit score segmentation`."


def test_segments_in_words_with_size_and_value(scored: TestClient, model: SegmentationModel, published: Any) -> None:
    body = scored.get(PATH).json()
    assert (body["model"], body["version"], body["value_days"]) == ("segmentation", 1, 1095)
    assert [one["id"] for one in body["segments"]] == [1, 2, 3]
    assert body["customers"] == len(published) == sum(one["customers"] for one in body["segments"])
    assert sum(one["share"] for one in body["segments"]) == pytest.approx(1)
    assert len({one["name"] for one in body["segments"]}) == 3
    # Ids follow worth: the first is the large and busy one.
    assert "large" in body["segments"][0]["name"]
    assert body["segments"][0]["mean_value"] > 5 * body["segments"][2]["mean_value"]
    assert body["segments"][0]["total_value"] == pytest.approx(
        body["segments"][0]["mean_value"] * body["segments"][0]["customers"]
    )
    one = scored.get(f"{PATH}/1").json()
    assert one["name"] == body["segments"][0]["name"]
    assert one["typical"]["monthly_price"]["segment"] > 4 * one["typical"]["monthly_price"]["all"]
    assert one["next_period"]["monthly_price"] > 100
    assert one["sides"]["size"] > 1
    assert one["horizon_days"] == 90


def test_members_in_pages(scored: TestClient, model: SegmentationModel, published: Any, earlier: pd.DataFrame) -> None:
    expected = model.score(pd.DataFrame.from_dict(published, orient="index"))
    mine = expected[expected["label"] == "2"].sort_values("value", ascending=False)
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        given = {"limit": 60} | ({"cursor": cursor} if cursor else {})
        page = scored.get(f"{PATH}/2/members", params=given).json()
        found += page["members"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert {one["customer_id"] for one in found} == set(mine.index)
    assert [one["value"] for one in found] == mine["value"].tolist()
    assert all(one["value_low"] < one["value"] < one["value_high"] for one in found)
    assert all(0 <= one["p_alive"] <= 1 for one in found)
    by_id = scored.get(f"{PATH}/2/members", params={"order": "customer", "limit": 3}).json()["members"]
    assert [one["customer_id"] for one in by_id] == sorted(mine.index)[:3]
    then = scored.get(f"{PATH}/1/members", params={"as_of": "2025-12-01", "limit": 1000}).json()
    assert then["as_of"].startswith("2025-10-03")
    assert {one["customer_id"] for one in then["members"]} == set(earlier.index[earlier["label"] == "1"])


def test_assignment_by_id_and_by_features_agree(scored: TestClient, model: SegmentationModel, published: Any) -> None:
    ids = list(published)[:5]
    by_id = scored.post(f"{PATH}/assign", json={"customer_ids": ids}).json()
    assert [one["customer_id"] for one in by_id["assignments"]] == ids
    rows = [{**published[one], "customer_id": one} for one in ids]
    by_rows = scored.post(f"{PATH}/assign", json={"rows": rows}).json()
    assert by_rows["assignments"] == by_id["assignments"]
    assert "observed_days" in by_rows["ignored"]
    assert "monthly_price" not in by_rows["ignored"]
    assert (by_id["version"], by_id["dataset_digest"]) == (1, "d" * 64)
    expected = model.score(pd.DataFrame.from_dict({one: published[one] for one in ids}, orient="index"))
    for one, (_, row) in zip(by_id["assignments"], expected.iterrows(), strict=True):
        assert (str(one["segment"]), one["name"]) == (row["label"], row["name"])
        assert one["value"] == pytest.approx(row["value"], abs=1e-5)
        assert one["missing"] == []
    alone = scored.post(f"{PATH}/assign", json={"customer_id": ids[3]}).json()["assignments"]
    assert alone == [by_id["assignments"][3]]


def test_a_new_customer_of_whom_little_is_known(scored: TestClient, model: SegmentationModel) -> None:
    features = dict.fromkeys(model.columns) | {"monthly_price": 320, "billed_90d": "960", "api_calls_28d": 900.0}
    made = scored.post(f"{PATH}/assign", json={"features": {**features, "shoe_size": 44}}).json()
    assert made["ignored"] == ["shoe_size"]
    one = made["assignments"][0]
    assert one["segment"] == 1
    assert one["customer_id"] is None
    assert "logins_28d" in one["missing"]
    assert "monthly_price" not in one["missing"]
    assert one["value"] > 0
    # Without what only the value needs there is a segment and no value.
    traits = dict.fromkeys(model.scaler.columns, 1.0)
    bare = scored.post(f"{PATH}/assign", json={"features": traits}).json()["assignments"][0]
    assert bare["segment"] in (1, 2, 3)
    assert (bare["value"], bare["p_alive"]) == (None, None)
    assert set(bare["value_lacks"]) == set(model.columns) - set(model.scaler.columns) != set()
    whole = scored.post(f"{PATH}/assign", json={"features": {**traits, **dict.fromkeys(bare["value_lacks"])}}).json()
    assert whole["assignments"][0]["value"] > 0
    assert whole["assignments"][0]["value_lacks"] == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "customer_id"),
        ({"customer_id": "c000001", "rows": []}, 422, "rows"),
        ({"rows": []}, 422, "rows"),
        ({"customer_id": "nobody"}, 404, "customer_id"),
        ({"features": {"monthly_price": 1}}, 422, "features.billed_90d"),
        ({"features": "x"}, 422, "features"),
        ({"customer_id": "c000001", "model": "churn"}, 422, "model"),
        ({"customer_id": "c000001", "model": "nothing"}, 404, "model"),
        ({"customer": "c000001"}, 422, "customer"),
    ],
)
def test_what_cannot_be_assigned_says_why(scored: TestClient, body: Any, status: int, field: str) -> None:
    response = scored.post(f"{PATH}/assign", json=body)
    assert response.status_code == status, response.text
    assert response.json()["field"] == field
    assert response.json()["remedy"]


def test_a_value_that_is_no_number_is_named_with_its_place(scored: TestClient, model: SegmentationModel) -> None:
    good = dict.fromkeys(model.columns, 1.0)
    response = scored.post(f"{PATH}/assign", json={"rows": [good, {**good, "logins_28d": "many"}]})
    assert response.status_code == 422
    assert response.json()["field"] == "rows[1].logins_28d"
    assert "'many' is no number" in response.json()["detail"]
    response = scored.post(f"{PATH}/assign", json={"features": {**good, "contract_months": [12]}})
    assert response.status_code == 422
    assert response.json()["field"] == "features.contract_months"
    for much in ("1e400", 10**400):
        response = scored.post(f"{PATH}/assign", json={"features": {**good, "monthly_price": much}})
        assert (response.status_code, response.json()["field"]) == (422, "features.monthly_price")


def test_movements_between_two_moments(scored: TestClient, published: Any) -> None:
    body = scored.get(f"{PATH}/movements").json()
    assert (body["before"][:10], body["after"][:10]) == ("2025-10-03", "2026-01-01")
    assert body["segments"] == [1, 2, 3]
    assert body["matrix"][0][2] == 3
    assert (body["moved"], body["came"], body["left"]) == (3, 1, 1)
    assert sum(map(sum, body["matrix"])) == body["stayed"] + body["moved"] == len(published) - 1
    assert {name: body["flows"][0][name] for name in ("before", "after", "customers")} == {
        "before": 1,
        "after": 3,
        "customers": 3,
    }
    assert {(one["before"] is None, one["after"] is None) for one in body["flows"][1:]} == {
        (True, False),
        (False, True),
    }
    response = scored.get(f"{PATH}/movements", params={"before": "2020-01-01"})
    assert response.status_code == 404
    assert response.json()["field"] == "before"


def test_sizes_and_values_over_time_and_of_one_customer(scored: TestClient, published: Any) -> None:
    body = scored.get(f"{PATH}/analytics").json()
    assert [one["as_of"][:10] for one in body["moments"]] == ["2026-01-01", "2025-10-03"]
    assert [one["customers"] for one in body["moments"]] == [len(published), len(published)]
    for moment in body["moments"]:
        assert sum(one["share"] for one in moment["segments"]) == pytest.approx(1)
        assert sum(one["total_value"] for one in moment["segments"]) == pytest.approx(moment["total_value"])
    mover = scored.get(f"{PATH}/1/members", params={"as_of": "2025-10-03", "order": "customer", "limit": 1000}).json()
    moved = [one["customer_id"] for one in mover["members"]]
    now = {one["customer_id"] for one in scored.get(f"{PATH}/1/members", params={"limit": 1000}).json()["members"]}
    one = next(name for name in moved if name not in now and name != "leaver")
    entries = scored.get(f"{PATH}/customers/{one}/history").json()["history"]
    assert [(entry["as_of"][:10], entry["segment"]) for entry in entries] == [("2026-01-01", 3), ("2025-10-03", 1)]
    assert scored.get(f"{PATH}/customers/nobody/history").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/99", 404, "segment"),
        ("/0", 422, "segment_id"),
        ("/99/members", 404, "segment_id"),
        ("/1/members?cursor=nonsense", 422, "cursor"),
        ("/1/members?as_of=2001-01-01", 404, "as_of"),
        ("/1/members?limit=0", 422, "limit"),
        ("?model=nothing", 404, "model"),
        ("/analytics?model=nothing", 404, "model"),
    ],
)
def test_what_is_not_there_is_a_problem(scored: TestClient, path: str, status: int, field: str) -> None:
    response = scored.get(PATH + path)
    assert response.status_code == status, response.text
    assert response.json()["field"] == field
    assert response.json()["remedy"] or status == 422


@pytest.fixture
def served(world: Any, open_client: Callable[..., Any]) -> Iterator[tuple[Any, TestClient]]:
    """A home of its own in which segments were promoted."""
    world.champion("segments", "segmentation")
    world.publish_segments()
    with open_client(world.settings) as client:
        yield world, client


def test_a_new_version_keeps_the_ids_and_is_served_without_a_restart(
    served: tuple[Any, TestClient], eventually: Callable[..., None]
) -> None:
    world, client = served
    before = {one["id"]: one["name"] for one in client.get(PATH).json()["segments"]}
    world.champion("more segments", "segmentation")
    eventually(lambda: client.get(PATH).json()["version"] == 2)
    after = {one["id"]: one["name"] for one in client.get(PATH).json()["segments"]}
    # One kind was divided: three ids go on, the fourth is new.
    assert set(before) == {1, 2, 3}
    assert set(after) == {1, 2, 3, 4}
    assert "large" in before[1]
    assert "large" in after[1]
    assert client.get(f"{PATH}/4").json()["version"] == 2
