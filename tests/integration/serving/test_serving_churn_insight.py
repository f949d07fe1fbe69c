"""Churn beyond the single prediction: reasons, analytics, importance, and plans within a budget."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from cli.main import app
from store import keys, retention_plans
from store.errors import UnknownEntity
from store.predictions import Prediction, outcomes, page, report, write
from store.retention_plans import RetentionPlanRecord
from store.tables.base import utc_now

PATH = "/v1/churn/predictions"
PLANS = "/v1/churn/retention-plans"
OFFERS = [
    {"name": "call", "cost": 8, "success": 0.3},
    {"name": "discount", "cost": 20, "success": 0.6, "eligible": "band = high and plan = basic|plus"},
]


def test_reasons_come_when_asked_for_and_add_up(client: TestClient, shared: Any) -> None:
    plain = client.post(PATH, json={"customer_id": "c000001"}).json()
    assert "reasons" not in plain
    told = client.post(PATH, json={"customer_id": "c000001", "explain": True}).json()
    assert told["probability"] == plain["probability"]
    reasons = told["reasons"]
    assert 0 < len(reasons["raises"]) + len(reasons["lowers"]) <= 6
    assert all(one["effect"] > 0 for one in reasons["raises"])
    assert all(one["effect"] < 0 for one in reasons["lowers"])
    features = shared.features(0)
    for one in (*reasons["raises"], *reasons["lowers"]):
        assert one["text"].startswith(f"{one['column']} is ")
        assert one["value"] == features[one["column"]]
    # The same from the address, from features, in a batch, and in what is kept.
    assert client.post(f"{PATH}?explain=true", json={"features": features}).json()["reasons"] == reasons
    batch = client.post(PATH, json={"customer_ids": ["c000001", "c000002"], "explain": True}).json()
    assert batch["predictions"][0]["reasons"] == reasons
    assert client.get(f"{PATH}/{told['id']}").json()["reasons"] == reasons
    assert client.get(f"{PATH}/{plain['id']}").json()["reasons"] is None
    assert client.get(f"{PATH}/{plain['id']}?explain=true").json()["reasons"] == reasons


@pytest.mark.parametrize("value", ["yes please", "", "2"])
def test_explain_is_true_or_false(client: TestClient, value: str) -> None:
    response = client.post(PATH, params={"explain": value}, json={"customer_id": "c000001"})
    assert response.status_code == 422
    assert response.json()["field"] == "explain"
    assert client.post(PATH, json={"customer_id": "c000001", "explain": "yes"}).status_code == 422


def test_reasons_of_another_version_are_not_made_up(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("logistic")
    world.publish()
    with open_client(world.settings) as client:
        made = client.post(PATH, json={"customer_id": "c000001"}).json()
    world.champion("catboost")
    with open_client(world.settings) as client:
        response = client.get(f"{PATH}/{made['id']}?explain=true")
    assert response.status_code == 422
    assert "version 2 is served" in response.json()["detail"]


def test_filters_by_probability_and_outcome(client: TestClient) -> None:
    begin = datetime.now(UTC).isoformat()
    made = [client.post(PATH, json={"customer_id": f"c{number:06d}"}).json() for number in range(30, 50)]
    client.put(f"{PATH}/{made[3]['id']}/actual", json={"churned": True})

    def ids(**parameters: Any) -> set[str]:
        found = client.get(PATH, params={"since": begin, **parameters}).json()
        return {one["id"] for one in found["predictions"]}

    middle = sorted(one["probability"] for one in made)[10]
    assert ids(min_probability=middle) == {one["id"] for one in made if one["probability"] >= middle}
    assert ids(max_probability=middle) == {one["id"] for one in made if one["probability"] <= middle}
    assert ids(has_actual=True) == {made[3]["id"]}
    assert ids(has_actual=False) == {one["id"] for one in made} - {made[3]["id"]}
    assert client.get(PATH, params={"min_probability": 1.5}).status_code == 422


def _past(
    world: Any, days_ago: int, probability: float, actual: bool | None, customer: str | None, **more: Any
) -> None:
    """One prediction as it was made some days ago."""
    moment = utc_now().replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
    milliseconds = int(moment.replace(tzinfo=UTC).timestamp() * 1000)
    one = Prediction(
        id=f"{milliseconds:012x}{len(page(world.settings, limit=1000).items):020x}",
        model="churn",
        version=1,
        entity_id=customer,
        features={"monthly_price": 10.0},
        output={"probability": probability, "band": "high" if probability > 0.5 else "low", "decision": "offer"},
        created_at=moment,
        **more,
    )
    write(world.settings, [one])
    if actual is not None:
        report(world.settings, one.id, not actual)
        report(world.settings, one.id, actual)  # a correction: the latest counts


def test_analytics_by_day_and_band(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("logistic")
    for number in range(20):
        _past(world, 3, 0.8, number < 15, f"c{number}")
    for number in range(10):
        _past(world, 2, 0.1, None if number else False, "c1" if number < 5 else None)
    for _ in range(4):
        _past(world, 1, 0.7, True, "again")
    _past(world, 60, 0.9, True, "old")
    with open_client(world.settings) as client:
        body = client.get("/v1/churn/analytics").json()
        assert [(row["band"], row["predictions"]) for row in body["rows"]] == [("high", 20), ("low", 10), ("high", 4)]
        high, low, again = body["rows"]
        assert high["mean_probability"]["value"] == pytest.approx(0.8)
        assert high["observed"]["value"] == 0.75
        assert high["observed"]["low"] < 0.6
        assert high["observed"]["high"] > 0.85
        assert high["calibration_gap"]["value"] == pytest.approx(0.05)
        assert high["calibration_gap"]["low"] < 0 < high["calibration_gap"]["high"]
        assert (low["actuals"], low["observed"]["value"], low["customers"]) == (1, 0.0, 1)
        assert (low["calibration_gap"]["low"], low["calibration_gap"]["high"]) == pytest.approx(
            (0.1 - 0.793, 0.1), abs=1e-3
        )
        # Four predictions of one customer tell no more of what happens than one does: Wilson's interval of 1 in 1.
        assert (again["actuals"], again["customers"]) == (4, 1)
        assert again["observed"]["low"] == pytest.approx(0.2065, abs=1e-4)
        assert again["calibration_gap"]["high"] == pytest.approx(0.7 - 0.2065, abs=1e-4)
        # The period of this model is 30 days: a kept customer stays 12 months at 1 − p each. c1 counts once a day.
        worth = 10 * (1 - 0.2**12) / 0.8
        assert high["revenue_at_risk"]["value"] == pytest.approx(20 * 0.8 * worth)
        assert low["revenue_at_risk"]["value"] == pytest.approx(6 * 0.1 * 10 * (1 - 0.9**12) / 0.1)
        assert high["revenue_at_risk"]["low"] < high["revenue_at_risk"]["value"] < high["revenue_at_risk"]["high"]
        assert body["total"]["predictions"] == 34
        assert [one["band"] for one in body["bands"]] == ["high", "low"]
        since = (datetime.now(UTC) - timedelta(days=90)).isoformat()
        assert client.get("/v1/churn/analytics", params={"since": since}).json()["total"]["predictions"] == 35
        nothing = client.get("/v1/churn/analytics", params={"version": 7}).json()
        assert (nothing["rows"], nothing["total"]) == ([], None)
        turned = {"since": "2026-02-01", "until": "2026-01-01"}
        assert client.get("/v1/churn/analytics", params=turned).json()["field"] == "since"
        assert client.get("/v1/churn/analytics", params={"since": "1999-01-01"}).status_code == 422
        assert client.get("/v1/churn/analytics", params={"model": "nobody"}).status_code == 404


def test_importance_of_the_champion(client: TestClient) -> None:
    body = client.get("/v1/churn/importance").json()
    assert (body["model"], body["version"], body["customers"]) == ("churn", 1, 600)
    assert body["columns"][0]["column"] in ("tickets", "tenure")
    assert sum(one["share"] for one in body["columns"]) == pytest.approx(1)
    for one in body["columns"]:
        assert one["low"] <= one["value"] <= one["high"]
    assert client.get("/v1/churn/importance").json() == body


def test_importance_without_customers_says_what_to_run(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("logistic")
    with open_client(world.settings) as client:
        response = client.get("/v1/churn/importance")
        assert response.status_code == 422
        assert "merit train churn" in response.json()["remedy"]
        assert client.post(PLANS, json={"offers": OFFERS}).status_code == 422


def test_a_plan_is_made_kept_and_exported(client: TestClient, shared: Any) -> None:
    response = client.post(PLANS, json={"offers": OFFERS, "budget": 300}, headers={"X-Request-ID": "plan-1"})
    assert response.status_code == 201, response.text
    made = response.json()
    assert response.headers["location"] == f"{PLANS}/{made['id']}"
    summary = made["summary"]
    assert summary["customers"] == 600
    assert 0 < summary["spend"] <= 300
    assert summary["optimal"]["exact"]
    assert summary["net"]["value"] >= summary["instead"]["by_risk"]["net"]
    assert summary["net"]["low"] < summary["net"]["value"] < summary["net"]["high"]
    assert set(summary["revenue_at_risk"]["bands"]) <= {"low", "medium", "high"}
    assert (made["version"], made["dataset_digest"], made["request_id"]) == (1, "d" * 64, "plan-1")
    assert client.get(f"{PLANS}/{made['id']}").json() == made

    seen: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        parameters = {"limit": 7, **({"cursor": cursor} if cursor else {})}
        body = client.get(made["assignments"]["json"], params=parameters).json()
        seen += body["assignments"]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert [one["rank"] for one in seen] == list(range(1, summary["offers_made"] + 1))
    assert sum(one["cost"] for one in seen) == pytest.approx(summary["spend"])
    frame = shared.frame.set_index("customer_id")
    for one in seen:
        if one["offer"] == "discount":
            assert one["band"] == "high"
            assert frame.loc[one["customer"], "plan"] in ("basic", "plus")
    exported = client.get(made["assignments"]["csv"])
    assert exported.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(exported.text)))
    assert [row["customer"] for row in rows] == [one["customer"] for one in seen]
    only = client.get(made["assignments"]["json"], params={"offer": "discount"}).json()["assignments"]
    assert only == [one for one in seen if one["offer"] == "discount"][:100]
    listed = client.get(PLANS, params={"limit": 1}).json()
    assert listed["retention_plans"] == [made]


def test_a_plan_for_some_customers_without_a_budget(client: TestClient) -> None:
    body = {"offers": OFFERS[:1], "customer_ids": ["c000003", "c000001", "c000003"]}
    made = client.post(PLANS, json=body).json()
    assert made["summary"]["customers"] == 2
    assert made["summary"]["instead"] == {}
    unknown = client.post(PLANS, json={"offers": OFFERS[:1], "customer_ids": ["nobody", "c000001"]})
    assert unknown.status_code == 404
    assert unknown.json()["value"] == ["nobody"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "offers"),
        ({"offers": []}, "offers"),
        ({"offers": [{"name": "a", "cost": -1, "success": 0.1}]}, "offers.0.cost"),
        ({"offers": [{"name": "a", "cost": 1}]}, "success"),
        ({"offers": [{"name": "a", "cost": 1, "success": 0.1, "effect": 0.1}]}, "success"),
        ({"offers": [{"name": "a", "cost": 1, "success": 0.1}] * 2}, "name"),
        ({"offers": [{"name": "a", "cost": 1, "success": 0.1, "eligible": "nice"}]}, "eligible"),
        ({"offers": [{"name": "a", "cost": 1, "success": 0.1, "eligible": "colour = red"}]}, "colour"),
        ({"offers": OFFERS, "budget": -5}, "budget"),
        ({"offers": OFFERS, "customer_ids": []}, "customer_ids"),
        ({"offers": OFFERS, "months": 0}, "months"),
        ({"offers": OFFERS, "budgt": 5}, "budgt"),
    ],
)
def test_a_request_that_does_not_fit_names_the_field(client: TestClient, body: dict[str, Any], field: str) -> None:
    response = client.post(PLANS, json=body)
    assert response.status_code == 422
    assert response.json()["field"] == field
    assert response.json()["remedy"]


def test_an_application_sees_its_own_plans_alone(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("logistic")
    world.publish()
    mine, theirs = (keys.create(world.settings, name, "application")[1] for name in ("mine", "theirs"))
    analyst = keys.create(world.settings, "ann", "analyst")[1]
    with open_client(world.settings) as client:
        made = client.post(PLANS, json={"offers": OFFERS, "budget": 50}, headers={"X-API-Key": mine}).json()
        place = f"{PLANS}/{made['id']}"
        for path in (place, f"{place}/assignments"):
            assert client.get(path, headers={"X-API-Key": mine}).status_code == 200
            assert client.get(path, headers={"X-API-Key": theirs}).status_code == 404
            assert client.get(path, headers={"X-API-Key": analyst}).status_code == 200
        assert client.get(PLANS, headers={"X-API-Key": theirs}).json()["retention_plans"] == []
        client.post(PATH, json={"customer_id": "c000001"}, headers={"X-API-Key": mine})
        assert client.get("/v1/churn/analytics", headers={"X-API-Key": mine}).json()["total"]["predictions"] == 1
        assert client.get("/v1/churn/analytics", headers={"X-API-Key": theirs}).json()["total"] is None


def test_plans_and_outcomes_on_both_databases(on_both: Any) -> None:
    record = RetentionPlanRecord(
        model="churn", version=2, request={"budget": 5}, summary={"spend": 4.0}, caller="ü\x00"
    )
    retention_plans.create(on_both, record, b"rows")
    found = retention_plans.get(on_both, record.id)
    assert (found.summary, found.request, found.created_at) == ({"spend": 4.0}, {"budget": 5}, record.created_at)
    assert retention_plans.result(on_both, record.id) == b"rows"
    assert retention_plans.page(on_both, model="churn", version=2, limit=1).items == (found,)
    assert retention_plans.page(on_both, caller="somebody").items == ()
    for reader in (retention_plans.get, retention_plans.result):
        with pytest.raises(UnknownEntity):
            reader(on_both, "f" * 32)
    made = [
        Prediction(
            model="churn", version=1, features={"fee": fee}, output={"probability": p, "band": "high"}, entity_id="a"
        )
        for p, fee in ((0.25, 2.5), (0.75, None))
    ]
    write(on_both, made)
    report(on_both, made[1].id, True)
    span = {"since": utc_now() - timedelta(hours=1), "until": utc_now() + timedelta(hours=1)}
    told = outcomes(on_both, model="churn", feature="fee", **span)
    assert [(one.probability, one.actual, one.feature) for one in told] == [(0.25, None, 2.5), (0.75, True, None)]
    assert [one.id for one in page(on_both, min_probability=0.5, has_actual=True).items] == [made[1].id]
    assert [one.id for one in page(on_both, max_probability=0.5, has_actual=False).items] == [made[0].id]


def test_the_prompt_plans_for_the_same_customers(client: TestClient, shared: Any, tmp_path: Path) -> None:
    """`merit retain` without --data and the API say the same of the platform's customers."""
    (tmp_path / "offers.csv").write_text("name,cost,success\ncall,8,0.3\n")
    done = CliRunner(env={"MERIT_HOME": str(shared.settings.home)}).invoke(
        app, ["retain", "--offers", str(tmp_path / "offers.csv"), "--budget", "300", "--json"]
    )
    assert done.exit_code == 0, done.exception
    body = json.loads(done.output)
    assert body["source"] == "churn v1"
    made = client.post(PLANS, json={"offers": OFFERS[:1], "budget": 300}).json()
    for name in ("spend", "offers_made", "net", "revenue_at_risk", "not_offered"):
        assert body[name] == made["summary"][name]
    kept = client.get(made["assignments"]["json"], params={"limit": 1000}).json()["assignments"]
    assert [one["customer"] for one in kept] == [one["customer"] for one in body["assignments"]]
