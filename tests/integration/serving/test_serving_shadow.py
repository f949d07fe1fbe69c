"""A challenger that answers silently, and a champion that fails while it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from serving.guard import Guard
from serving.shadow import Shadows
from serving.vitals import Vitals
from store import events, feature_rows, monitor_reports, shadows
from store.monitor_reports import MonitorRecord
from store.predictions import Prediction
from store.promotions import history

PATH = "/v1/registry/models/churn"


@pytest.fixture
def beside(world: Any) -> Any:
    """Churn version 1 (logistic) is champion, version 2 (catboost) its challenger."""
    world.champion("logistic")
    world.register("catboost")
    world.registry.set_alias("churn", "challenger", 2)
    world.publish()
    return world


def ask(client: Any, world: Any, rows: range) -> list[dict[str, Any]]:
    ids = [f"c{row + 1:06d}" for row in rows]
    made: list[dict[str, Any]] = client.post("/v1/churn/predictions", json={"customer_ids": ids}).json()["predictions"]
    return made


def test_a_challenger_answers_silently_and_is_compared(
    beside: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    with open_client(beside.settings) as client:
        nothing = client.get(f"{PATH}/shadow").json()
        assert (nothing["version"], nothing["running"], nothing["comparison"]) == (None, None, None)
        ask(client, beside, range(3))  # before anybody stood there
        assert len(client.get("/v1/churn/predictions").json()["predictions"]) == 3  # and they are written
        started = client.put(f"{PATH}/shadow", json={})
        assert started.status_code == 200
        assert started.json()["running"] == 2
        eventually(lambda: (client.get(f"{PATH}/shadow").json()["here"] or {}).get("ready"))
        assert client.put(f"{PATH}/shadow", json={"version": 1}).status_code == 422
        assert client.put(f"{PATH}/shadow", json={"version": 9}).status_code == 404
        made = ask(client, beside, range(40))
        eventually(lambda: client.get(f"{PATH}/shadow").json()["answers"].get("2") == 40)
        # What the customer did is reported for some: those whom the champion calls safe leave.
        for one in made[:30]:
            outcome = {"churned": one["probability"] < 0.5}
            assert client.put(f"/v1/churn/predictions/{one['id']}/actual", json=outcome).status_code == 200

        found = client.get(f"{PATH}/shadow").json()
        assert (found["version"], found["running"], found["here"]["dropped"]) == (2, 2, 0)
        compared = found["comparison"]
        assert (compared["asked"], compared["failed"], compared["champions"]) == (40, 0, [1])
        expected = [beside.probability(row, "catboost") - beside.probability(row, "logistic") for row in range(40)]
        assert compared["difference"]["mean"]["value"] == pytest.approx(np.mean(expected), abs=1e-9)
        assert compared["difference"]["largest"] == pytest.approx(max(expected, key=abs), abs=1e-9)
        assert sum(bin["answers"] for bin in compared["difference"]["histogram"]) == 40
        agreement = compared["agreement"]["decision"]
        assert agreement["low"] <= agreement["value"] <= agreement["high"]
        assert compared["latency_ms"]["median"] > 0
        outcomes = compared["outcomes"]
        assert outcomes["rows"] == 30
        loss = outcomes["log_loss"]
        assert outcomes["difference"]["value"] == pytest.approx(loss["champion"] - loss["shadow"])
        assert outcomes["difference"]["low"] < outcomes["difference"]["value"] < outcomes["difference"]["high"]

        stopped = client.delete(f"{PATH}/shadow").json()
        assert (stopped["running"], stopped["version"]) == (None, 2)
        eventually(lambda: client.get(f"{PATH}/shadow").json()["here"] is None)
        ask(client, beside, range(5))
        assert client.get(f"{PATH}/shadow").json()["answers"] == {"2": 40}
        assert [event.payload["state"] for event in events.recent(beside.settings, "shadow")] == ["started", "stopped"]


def test_a_setting_asks_for_the_challenger_and_promotion_ends_it(
    beside: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    settings = beside.settings.model_copy(update={"shadow": "other, churn"})
    with open_client(settings) as client:
        eventually(lambda: (client.get(f"{PATH}/shadow").json()["here"] or {}).get("ready"))
        beside.promote(2)
        eventually(lambda: client.get(PATH).json()["served"]["version"] == 2)
        assert client.get(f"{PATH}/shadow").json()["running"] is None


def predictions(world: Any, count: int, **changes: Any) -> list[Prediction]:
    made = Prediction(model="churn", version=1, features=world.features(0), output={"probability": 0.5})
    return [replace(made, id=f"{number:032x}", **changes) for number in range(count)]


def test_under_pressure_questions_are_dropped_and_counted(beside: Any) -> None:
    made = Shadows(beside.settings.model_copy(update={"shadow_share": 0.05}), beside.registry, capacity=100)
    made.follow({"churn": (2, "churn")})
    state = made.state("churn")
    assert state is not None
    # Nobody answers yet: what does not fit is gone, and nobody waits for room.
    made.offer(predictions(beside, 1_000))
    assert (state.taken, state.dropped) == (100, 900)
    made.start()
    assert made.flush(120)
    made.close()
    assert (state.answered, state.failed) == (100, 0)
    assert shadows.counts(beside.settings, "churn") == {2: 100}


def test_a_slow_and_failing_shadow_touches_no_answer(
    beside: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    with open_client(beside.settings.model_copy(update={"shadow": "all"})) as client:
        services = client.app.state.services
        services.champions.look()
        state = services.shadows.state("churn")
        assert state is not None

        go_on = threading.Event()

        def stuck(records: Any) -> Any:
            go_on.wait(60)
            raise RuntimeError("the library gave up")

        state.scorer = replace(state.scorer, predict_records=stuck)
        for _ in range(30):
            assert client.post("/v1/churn/predictions", json={"features": beside.features()}).status_code == 201
        services.predictions.flush()
        # All were answered while the shadow had not got through its first question.
        assert (state.answered, state.failed) == (0, 0)
        go_on.set()
        eventually(lambda: state.failed >= 1)
        assert state.answered == 0


def test_what_only_the_shadow_reads_is_looked_up(beside: Any) -> None:
    made = Shadows(beside.settings, beside.registry)
    made.follow({"churn": (2, "churn"), "forecasting": (1, "forecasting")})
    assert "UnknownModel" not in made.state("forecasting").problem  # type: ignore[union-attr]
    assert "no model 'forecasting'" in made.state("forecasting").problem  # type: ignore[union-attr]
    feature_rows.publish(
        beside.settings,
        "churn",
        beside.frame.drop(columns="churned").set_index("customer_id"),
        datetime(2026, 2, 1),
    )
    few = {name: value for name, value in beside.features(0).items() if name != "tenure"}
    made.start()
    made.offer(predictions(beside, 1, features=few, entity_id="c000001"))
    made.offer([replace(predictions(beside, 1, features=few)[0], id="f" * 32)])
    assert made.flush(60)
    made.close()
    state = made.state("churn")
    assert state is not None
    assert (state.answered, state.failed) == (1, 1)


def test_a_forecaster_cannot_be_a_shadow(beside: Any) -> None:
    beside.champion("forecaster", "forecasting")
    made = Shadows(beside.settings, beside.registry)
    made.follow({"forecasting": (1, "forecasting")})
    state = made.state("forecasting")
    assert state is not None
    assert "not asked row by row" in state.problem
    made.offer(predictions(beside, 1, model="forecasting"))
    assert state.taken == 0


def test_a_champion_that_fails_is_rolled_back_and_the_old_one_answers(
    beside: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    beside.promote(2)
    with open_client(beside.settings) as client:
        champions = client.app.state.services.champions
        broken = champions._champions["churn"]
        assert broken.version == 2

        def nonsense(records: Any) -> Any:
            return np.full(len(records), np.nan)

        failing = replace(broken, scorer=replace(broken.scorer, predict_records=nonsense))
        champions._champions = {**champions._champions, "churn": failing}
        statuses = [
            client.post("/v1/churn/predictions", json={"features": beside.features()}).status_code for _ in range(5)
        ]
        assert set(statuses) <= {503, 201}
        assert statuses[0] == 503
        eventually(lambda: champions._champions["churn"].version == 1)
        assert client.post("/v1/churn/predictions", json={"features": beside.features()}).status_code == 201
    line = history(beside.settings, "churn")[-1]
    assert (line.kind, line.state, line.from_version, line.to_version, line.actor) == (
        "rollback",
        "done",
        2,
        1,
        "guard",
    )
    assert "5 of 5 requests failed, 5 of them with an answer that is no probability" in line.reason
    assert [event.payload["to_version"] for event in events.recent(beside.settings, "rollback")] == [1]


def test_a_guard_that_may_not_act_tells_once(beside: Any) -> None:
    guard = Guard(beside.settings, beside.registry)
    vitals = Vitals()
    for _ in range(5):
        vitals.fail()
    assert not guard.look("churn", 1, vitals)  # nobody before it
    assert not guard.look("churn", 1, vitals)
    (told,) = events.recent(beside.settings, "guard_broken")
    assert told.payload["reason"] == "5 of 5 requests failed"
    assert "no predecessor" in told.payload["stays_because"]
    assert beside.registry.alias("churn", "champion") == 1

    beside.promote(2)
    patient = Guard(beside.settings.model_copy(update={"guard_hours": 0.0}), beside.registry)
    assert not patient.look("churn", 2, replace(vitals, told=False))
    assert "more than 0 hours ago" in events.recent(beside.settings, "guard_broken")[-1].payload["stays_because"]
    # A process that still holds another version leaves the champion alone.
    assert not guard.look("churn", 1, replace(vitals, told=False))
    assert beside.registry.alias("churn", "champion") == 2
    assert guard.look("churn", 2, replace(vitals, told=False))
    # Brought back by a rollback, it is not rolled back again.
    assert not guard.look("churn", 1, replace(vitals, told=False))
    assert beside.registry.alias("churn", "champion") == 1
    # Nor is what somebody put in its place a moment ago, before the ledger knows of it.
    beside.promote(beside.register("catboost"))
    beside.registry.set_alias("churn", "champion", 2)
    assert not guard.look("churn", 3, replace(vitals, told=False))
    assert beside.registry.alias("churn", "champion") == 2


def test_vitals_break_on_failures_and_on_time() -> None:
    vitals = Vitals()
    for _ in range(95):
        vitals.answer(0.001, 1)
    for _ in range(5):
        vitals.fail()
    assert vitals.broken(250) == ""
    vitals.fail(invalid=True)
    assert vitals.broken(250).startswith("6 of 101 requests failed, 1 of them")
    slow = Vitals()
    for number in range(100):
        slow.answer(0.3 if number >= 94 else 0.001, 1)
        slow.answer(9.0, 5_000)  # large batches may take their time
    assert slow.broken(250) == "a prediction takes 300 ms at the 95th percentile, the limit is 250 ms"
    assert slow.broken(400) == ""
    assert Vitals(took=slow.took.__class__([9.0] * 49)).broken(250) == ""


def test_reports_of_monitoring_over_http(beside: Any, open_client: Callable[..., Any]) -> None:
    for number in range(3):
        report = {"headline": f"look {number}", "alarms": [], "repeated": False}
        record = MonitorRecord(model="churn", version=1, as_of=datetime(2026, 1, 1), verdict="ok", report=report)
        monitor_reports.write(beside.settings, record)
    with open_client(beside.settings) as client:
        page = client.get(f"{PATH}/monitoring", params={"limit": 2}).json()
        assert [line["headline"] for line in page["reports"]] == ["look 2", "look 1"]
        rest = client.get(f"{PATH}/monitoring", params={"cursor": page["next_cursor"]}).json()
        assert [line["headline"] for line in rest["reports"]] == ["look 0"]
        whole = client.get(f"{PATH}/monitoring/{record.id}").json()
        assert (whole["report"]["headline"], whole["as_of"]) == ("look 2", "2026-01-01T00:00:00Z")
        assert client.get(f"/v1/registry/models/other/monitoring/{record.id}").status_code == 404
        assert client.get("/v1/registry/models/telco/monitoring").json()["field"] == "name"
        assert client.get("/v1/registry/models/telco/shadow").status_code == 404
