"""Forecasts over HTTP, from a real forecaster in a real registry."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from fastapi.testclient import TestClient

PATH = "/v1/forecasts"
SERIES = ["api_calls/total", "revenue/plan=basic", "revenue/plan=pro"]


def numbers(client: TestClient, answer: Any) -> pd.DataFrame:
    return pd.DataFrame(client.get(answer["data"]["json"]).json()["rows"])


def test_everything_by_default(client: TestClient, shared: Any) -> None:
    response = client.post(PATH, json={})
    answer = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"{PATH}/{answer['id']}"
    assert (answer["model"], answer["version"], answer["series"]) == ("forecasting", 1, 3)
    assert (answer["rows"], answer["horizon"], answer["levels"]) == (42, 14, [80, 95])
    assert answer["run_id"] == shared.registry.version("forecasting", 1).run_id
    found = numbers(client, answer)
    assert list(found.columns) == ["unique_id", "ds", "model", "forecast", "lo-80", "hi-80", "lo-95", "hi-95"]
    assert sorted(set(found["unique_id"])) == SERIES
    assert found["ds"].iloc[0] == "2026-03-01"
    ordered = found[["lo-95", "lo-80", "forecast", "hi-80", "hi-95"]].diff(axis=1).iloc[:, 1:]
    assert (ordered > 0).all().all()


def test_by_series_prefix_horizon_and_levels(client: TestClient) -> None:
    answer = client.post(PATH, json={"prefix": "revenue/", "horizon": 3, "levels": [50, 97.5]}).json()
    found = numbers(client, answer)
    assert sorted(set(found["unique_id"])) == SERIES[1:]
    assert len(found) == 6
    assert list(found.columns[4:]) == ["lo-50", "hi-50", "lo-97.5", "hi-97.5"]
    answer = client.post(PATH, json={"series": [SERIES[2], SERIES[0], SERIES[2]], "horizon": 1}).json()
    assert list(numbers(client, answer)["unique_id"]) == [SERIES[2], SERIES[0]]
    assert client.post(PATH, json={"levels": []}).json()["levels"] == []


def test_the_same_numbers_in_every_format(client: TestClient) -> None:
    answer = client.post(PATH, json={"series": SERIES[:2]}).json()
    found = numbers(client, answer)
    csv = client.get(answer["data"]["csv"])
    parquet = client.get(answer["data"]["parquet"])
    json = client.get(f"{PATH}/{answer['id']}/data")
    assert csv.headers["content-type"] == "text/csv; charset=utf-8"
    assert parquet.headers["content-type"] == "application/vnd.apache.parquet"
    assert json.headers["content-type"] == "application/json"
    for response, suffix in ((csv, "csv"), (parquet, "parquet")):
        disposition = response.headers["content-disposition"]
        assert disposition.startswith('attachment; filename="forecasting-')
        assert disposition.endswith(f'.{suffix}"')
    for other in (pd.read_csv(io.StringIO(csv.text)), pd.read_parquet(io.BytesIO(parquet.content))):
        assert list(other.columns) == list(found.columns)
        assert list(pd.to_datetime(other["ds"])) == list(pd.to_datetime(found["ds"]))
        pd.testing.assert_series_equal(other["hi-95"], found["hi-95"], rtol=1e-9)
    assert client.get(f"{PATH}/{answer['id']}/data?format=xlsx").status_code == 422


@pytest.mark.parametrize(
    ("body", "field", "status"),
    [
        ({"series": ["revenue/plan=gold"]}, "series", 404),
        ({"prefix": "costs/"}, "prefix", 404),
        ({"series": []}, "series", 422),
        ({"series": ["api_calls/total"], "prefix": "api"}, "prefix", 422),
        ({"horizon": 15}, "horizon", 422),
        ({"horizon": 0}, "horizon", 422),
        ({"horizon": "long"}, "horizon", 422),
        ({"levels": [100]}, "levels.0", 422),
        ({"levels": ["80%"]}, "levels.0", 422),
        ({"horizons": 3}, "horizons", 422),
        ({"model": "sales"}, "model", 404),
        ({"model": "churn"}, "model", 422),
    ],
)
def test_what_cannot_be_forecast_names_the_field(
    client: TestClient, body: dict[str, Any], field: str, status: int
) -> None:
    response = client.post(PATH, json=body)
    assert response.status_code == status
    assert response.json()["field"] == field
    assert response.json()["remedy"]


def test_listing_and_reading(client: TestClient) -> None:
    made = [client.post(PATH, json={"horizon": steps}).json() for steps in (1, 2, 3)]
    first = client.get(PATH, params={"limit": 2}).json()
    assert [one["id"] for one in first["forecasts"]] == [made[2]["id"], made[1]["id"]]
    rest = client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert rest["forecasts"][0]["id"] == made[0]["id"]
    assert client.get(f"{PATH}/{made[0]['id']}").json() == made[0]
    assert client.get(PATH, params={"version": 9}).json() == {"forecasts": [], "next_cursor": None}
    missing = client.get(f"{PATH}/{'0' * 32}/data")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"


def test_without_a_champion_it_is_503_with_what_to_run(world: Any, open_client: Callable[..., Any]) -> None:
    with open_client(world.settings) as client:
        response = client.post(PATH, json={})
    assert response.status_code == 503
    assert "`merit train forecasting`" in response.json()["remedy"]
