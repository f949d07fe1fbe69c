"""Anomalies over HTTP: values checked as they come, and what was found in the platform's series."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from features.frequency import Grid
from models.anomaly.keeping import keep
from models.anomaly.watch import WatchOptions, watch
from serving.app import create_app
from serving.routes.anomalies import EXAMPLES
from store import events

DAY = 86_400 * 10**9
FIRST = 19_723  # 2024-01-01


def values(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    index = np.arange(120)
    return 1000 * np.exp(0.2 * np.sin(2 * np.pi * index / 7) + 0.03 * rng.standard_normal(120))


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path, make_world: Callable[..., Any]
) -> Iterator[TestClient]:
    """An API whose flow `anomalies` has looked at three series on 2024-04-30: the south broke down on two days."""
    south, north = values(0), values(1)
    south[110:112] /= 3
    stamps = (FIRST + np.arange(120)) * DAY
    series = [("api_calls/region=south", stamps, south), ("api_calls/region=north", stamps, north),
              ("api_calls/total", stamps, south + north)]  # fmt: skip
    with make_world(tmp_path_factory.mktemp("anomalies") / "home", {}, mlflow_template) as world:
        found = watch(series, Grid("fixed", DAY), WatchOptions())
        assert len(keep(world.settings, found, datetime(2024, 4, 30), 30)) == 2
        with TestClient(create_app(world.settings), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
            yield client


def check(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/anomalies/check", json=body)


def test_the_examples_work_when_pasted(client: TestClient) -> None:
    for name, example in EXAMPLES.items():
        answer = check(client, **example["value"])
        assert answer.status_code == 200, name
    own = check(client, **EXAMPLES["own history"]["value"]).json()["checks"]
    assert [one["status"] for one in own] == ["normal", "anomaly"]
    assert own[1]["kind"] == "spike"


def test_a_series_of_the_platform_goes_on_from_the_last_look(client: TestClient) -> None:
    answer = check(
        client, series="api_calls/region=south",
        values=[{"at": "2024-04-30", "value": 1050}, {"value": 300}, {"at": "2024-04-30", "value": 1}, {"value": None}],
    ).json()  # fmt: skip
    assert answer["history_until"] == "2024-04-29T00:00:00Z"
    assert answer["state"] is None
    first, second, late, missing = answer["checks"]
    assert (first["status"], first["at"]) == ("normal", "2024-04-30T00:00:00Z")
    assert first["low"] < 1050 < first["high"]
    assert (second["kind"], second["at"]) == ("dip", "2024-05-01T00:00:00Z")
    assert second["severity"] in ("medium", "high", "critical")
    assert set(second["detectors"]) == {"zscore", "iqr", "seasonal", "shift", "forest"}
    assert (late["status"], missing["status"]) == ("late", "missing")
    # Nothing was kept: the same question has the same answer.
    again = check(client, series="api_calls/region=south", values=[{"at": "2024-04-30", "value": 1050}]).json()
    assert again["checks"][0] == first
    shown = client.get("/openapi.json").json()["paths"]["/v1/anomalies/check"]["post"]["requestBody"]["content"]
    example = shown["application/json"]["examples"]["series of the platform"]["value"]
    assert check(client, **example).status_code == 200


def test_a_stream_of_ones_own_goes_on_with_its_state(client: TestClient) -> None:
    series = values(3).tolist()
    days = [f"2024-{1 + k // 28:02d}-{1 + k % 28:02d}" for k in range(56)]
    history = [{"value": value} for value in series[:60]]
    whole = check(client, history=history, season=7, values=[{"value": v} for v in series[60:70]]).json()["checks"]
    first = check(
        client, history=history, season=7, values=[{"value": v} for v in series[60:65]], keep_state=True
    ).json()
    second = check(client, state=first["state"], values=[{"value": v} for v in series[65:70]]).json()
    assert first["checks"] + second["checks"] == whole
    dated = [{"at": day, "value": 1.0 + k % 7} for k, day in enumerate(days[:28])]
    answer = check(client, history=dated, values=[{"value": 1.0}], rules=["above 0.5"], holidays=["DE"]).json()
    assert answer["checks"][0]["rules"] == ["1 is above 0.5"]
    assert answer["checks"][0]["at"] == "2024-01-29T00:00:00Z"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"values": [{"value": 1}]}, 422, "series"),
        ({"series": "x", "history": [{"value": 1}], "values": [{"value": 1}]}, 422, "history"),
        ({"series": "nobody", "values": [{"value": 1}]}, 404, "series"),
        ({"series": "api_calls/total", "season": 3, "values": [{"value": 1}]}, 422, "season"),
        ({"series": "api_calls/total", "values": [{"at": "2024-05-01T07:00", "value": 1}]}, 422, "at"),
        ({"history": [{"value": 1}], "values": [{"at": "2024-05-01", "value": 1}]}, 422, "at"),
        ({"history": [{"value": 1}, {"at": "2024-05-01", "value": 1}], "values": [{"value": 1}]}, 422, "history"),
        ({"history": [{"at": "2024-05-01", "value": 1}], "values": [{"value": 1}]}, 422, "freq"),
        ({"history": [{"value": 1}], "values": [{"value": 1}], "rules": ["less 3"]}, 422, "rules"),
        ({"history": [{"at": "2024-05-01", "value": 1}, {"at": "2024-05-02", "value": 1}], "freq": "D",
          "values": [{"value": 1}], "holidays": ["XX"]}, 422, "holidays"),
        ({"state": {"format": 1}, "values": [{"value": 1}]}, 422, "state"),
        ({"history": [{"value": 1}], "values": []}, 422, "values"),
        ({"history": [{"value": "x"}], "values": [{"value": 1}]}, 422, "history"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(client: TestClient, body: dict[str, Any], status: int, field: str) -> None:
    answer = check(client, **body)
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert field in str(problem.get("field") or problem.get("errors"))
    assert problem["detail"]


def test_numbers_that_json_has_not_are_refused(client: TestClient) -> None:
    content = json.dumps({"history": [{"value": 1}], "values": [{"value": float("nan")}]})
    answer = client.post("/v1/anomalies/check", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)


def test_anomalies_are_listed_with_filters_and_pages(client: TestClient) -> None:
    everything = client.get("/v1/anomalies").json()["anomalies"]
    assert {one["series"] for one in everything} == {"api_calls/region=south", "api_calls/total"}
    total = next(one for one in everything if one["series"] == "api_calls/total")
    assert (total["start"], total["end"], total["kind"]) == ("2024-04-20", "2024-04-21", "dip")
    assert total["causes"][0]["series"] == "api_calls/region=south"
    assert total["causes"][0]["share"] > 0.8

    def listed(query: str) -> list[str]:
        return [one["series"] for one in client.get(f"/v1/anomalies?{query}").json()["anomalies"]]

    assert listed("series=api_calls/total") == ["api_calls/total"]
    assert listed("kind=spike") == []
    assert len(listed("since=2024-04-21")) == 2
    assert listed("since=2024-04-22") == []
    assert len(listed("severity=low")) == 2
    page = client.get("/v1/anomalies?limit=1").json()
    rest = client.get(f"/v1/anomalies?limit=1&cursor={page['next_cursor']}").json()
    assert {page["anomalies"][0]["id"], rest["anomalies"][0]["id"]} == {one["id"] for one in everything}
    assert rest["next_cursor"] is None
    assert client.get("/v1/anomalies?severity=terrible").status_code == 422


def test_the_series_that_are_watched(client: TestClient) -> None:
    answer = client.get("/v1/anomalies/series").json()
    assert answer == {
        "series": ["api_calls/region=north", "api_calls/region=south", "api_calls/total"],
        "as_of": "2024-04-30T00:00:00Z",
    }


def test_one_that_grew_is_shown_once_as_it_is_now(client: TestClient) -> None:
    settings = client.app.state.services.settings  # type: ignore[attr-defined]
    before = client.get("/v1/anomalies").json()["anomalies"]
    row = next(dict(e.payload) for e in events.recent(settings, "anomaly") if e.payload["series"] == "api_calls/total")
    events.emit(settings, "anomaly", row | {"severity": "critical"})
    after = client.get("/v1/anomalies").json()["anomalies"]
    assert len(after) == len(before)
    assert after[0]["severity"] == "critical"
