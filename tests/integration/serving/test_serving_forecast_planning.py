"""Capacity, decompositions, regeneration and the filters of the list, over HTTP and from a real forecaster."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

from store import forecasts as stored
from store.forecasts import Forecast
from store.settings import Settings
from store.tables.base import utc_now

PATH = "/v1/forecasts"
CALLS, BASIC, PRO = "api_calls/total", "revenue/plan=basic", "revenue/plan=pro"


def test_when_a_threshold_is_crossed(client: TestClient) -> None:
    body = {"series": BASIC, "threshold": 205.0}
    answer = client.post(f"{PATH}/capacity", json=body)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["series"], found["direction"], found["version"]) == (BASIC, "above", 1)
    assert len(found["steps"]) == 14
    assert found["steps"][0]["ds"] == "2026-03-01"
    crossed = [step["crossed"] for step in found["steps"]]
    assert crossed == sorted(crossed)
    assert found["probability"] == crossed[-1] > 0.5
    assert all(step["beyond"] <= step["crossed"] for step in found["steps"])
    first = next(step["ds"] for step in found["steps"] if step["crossed"] >= 0.5)
    assert found["by_50"] == first
    assert first in found["summary"]
    assert client.post(f"{PATH}/capacity", json=body).json() == found  # the same question, the same numbers
    never = client.post(f"{PATH}/capacity", json={**body, "threshold": 1e6, "horizon": 3}).json()
    assert (never["by_50"], never["by_95"], len(never["steps"])) == (None, None, 3)
    assert never["summary"].startswith("Not within the horizon")
    already = client.post(f"{PATH}/capacity", json={**body, "threshold": 1e6, "direction": "below"}).json()
    assert already["already"]


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        ({"series": "revenue/plan=gold", "threshold": 1}, "series", 404),
        ({"series": BASIC, "threshold": "much"}, "threshold", 422),
        ({"series": BASIC}, "threshold", 422),
        ({"series": BASIC, "threshold": 1, "horizon": 15}, "horizon", 422),
        ({"series": BASIC, "threshold": 1, "direction": "up"}, "direction", 422),
        ({"series": BASIC, "threshold": 1, "model": "churn"}, "model", 422),
    ],
)
def test_what_cannot_be_planned_names_the_field(
    client: TestClient, body: dict[str, Any], field: str, status: int
) -> None:
    response = client.post(f"{PATH}/capacity", json=body)
    assert response.status_code == status
    assert response.json()["field"] == field


def test_which_series_there_are(client: TestClient) -> None:
    found = client.get(f"{PATH}/series", params={"limit": 2}).json()
    assert [one["unique_id"] for one in found["series"]] == [CALLS, BASIC]
    assert (found["horizon"], found["frequency"], found["exog"]) == (14, "D", [])
    assert found["series"][0]["length"] == 90
    rest = client.get(f"{PATH}/series", params={"limit": 2, "cursor": found["next_cursor"]}).json()
    assert [one["unique_id"] for one in rest["series"]] == [PRO]
    assert rest["next_cursor"] is None
    some = client.get(f"{PATH}/series", params={"prefix": "revenue/"}).json()["series"]
    assert [one["unique_id"] for one in some] == [BASIC, PRO]


def test_what_a_series_is_made_of(client: TestClient) -> None:
    found = client.get(f"{PATH}/series/{BASIC}/decomposition").json()
    assert found["findings"]["unique_id"] == BASIC
    assert found["findings"]["seasons"]["7"]["strength"] > 0.9
    assert found["findings"]["change_points"] == []
    assert found["components"] is None
    rows = pd.DataFrame(
        client.get(f"{PATH}/series/{BASIC}/decomposition", params={"components": True}).json()["components"]
    )
    assert len(rows) == 90
    assert rows["ds"].iloc[-1] == "2026-02-28"
    assert (rows["trend"] + rows["seasonal.7"] + rows["remainder"]).to_numpy() == pytest.approx(rows["y"].to_numpy())
    missing = client.get(f"{PATH}/series/nothing/decomposition")
    assert missing.status_code == 404
    assert missing.json()["field"] == "series"


def test_a_forecast_is_made_again_by_todays_champion(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    first = world.champion("forecaster", "forecasting")
    with open_client(world.settings) as client:
        old = client.post(PATH, json={"prefix": "revenue/", "horizon": 5, "levels": [50]}).json()
        second = world.champion("forecaster", "forecasting")
        eventually(lambda: client.post(PATH, json={"horizon": 1}).json()["version"] == second, 20)
        response = client.post(f"{PATH}/{old['id']}/regenerate")
        new = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == f"{PATH}/{new['id']}"
        assert (old["version"], new["version"]) == (first, second)
        assert new["regenerated_from"] == old["id"]
        assert old["regenerated_from"] is None
        for key in ("request", "horizon", "levels", "series", "rows"):
            assert new[key] == old[key]
        assert client.get(f"{PATH}/{old['id']}").json() == old
        assert client.post(f"{PATH}/{'0' * 32}/regenerate").status_code == 404


def test_values_of_the_future_are_refused_with_the_way(client: TestClient) -> None:
    response = client.post(PATH, json={"future": [{"temperature": 3}]})
    assert response.status_code == 422
    assert response.json()["field"] == "future"
    assert "uses no column known in advance" in response.json()["detail"]


def test_the_list_is_filtered_by_series_and_time(client: TestClient) -> None:
    before = pd.Timestamp.now("UTC")
    named = client.post(PATH, json={"series": [CALLS], "horizon": 1}).json()["id"]
    prefix = client.post(PATH, json={"prefix": "revenue/", "horizon": 1}).json()["id"]
    every = client.post(PATH, json={"horizon": 1}).json()["id"]

    def ids(**params: Any) -> list[str]:
        page = client.get(PATH, params={"since": before.isoformat(), **params}).json()
        return [one["id"] for one in page["forecasts"]]

    assert ids() == [every, prefix, named]
    assert ids(series=CALLS) == [every, named]
    assert ids(series=BASIC) == [every, prefix]
    assert ids(series="revenue/plan=gold") == []
    assert ids(series=BASIC, limit=1) == [every]
    assert ids(until=before.isoformat()) == []


def test_forecasts_of_a_series_on_either_database(on_both: Settings) -> None:
    odd = 'ä"%_\\x'
    content = pd.DataFrame({"unique_id": [odd, "b"]}).to_parquet(index=False)
    for request, held in (
        ({"series": [odd], "prefix": None}, True),
        ({"series": ["other"], "prefix": None}, False),
        ({"series": None, "prefix": None}, True),
        ({"series": None, "prefix": "ä"}, True),
        ({"series": None, "prefix": "zz"}, False),
    ):
        made = Forecast(model="m", version=1, request={**request, "held": held})
        stored.create(on_both, made, content)
    found = stored.page(on_both, series=odd)
    assert len(found.items) == 3
    assert all(one.request["held"] for one in found.items)
    first = stored.page(on_both, series=odd, limit=2)
    rest = stored.page(on_both, series=odd, limit=2, cursor=first.next_cursor)
    assert [len(first.items), len(rest.items), rest.next_cursor] == [2, 1, None]
    assert stored.page(on_both, until=utc_now() - timedelta(hours=1)).items == ()
