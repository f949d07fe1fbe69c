"""What the demo asks the API: one question per family, as an application would."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import httpx

from store.errors import ServiceUnavailable
from store.feature_rows import entities
from store.settings import Settings

TIMED_REQUESTS = 30


def ask_all(settings: Settings, base: str, champions: Sequence[str]) -> list[dict[str, Any]]:
    """Ask each family whose model the gate let through.

    Returns
    -------
    One entry per question: `request`, `answer` (for people), `model` with version, `median ms`.

    Raises
    ------
    ServiceUnavailable : the API answered with an error.
    """
    questions: Mapping[str, Callable[[httpx.Client], dict[str, Any]]] = {
        "churn": lambda client: _churn(client, entities(settings, "churn", limit=1)[0]),
        "forecasting": _forecast,
        "segmentation": lambda client: _segment(client, entities(settings, "segmentation", limit=1)[0]),
        "pricing": _price,
    }
    with httpx.Client(base_url=base, timeout=30) as client:
        return [ask(client) for name, ask in questions.items() if name in champions]


def _churn(client: httpx.Client, customer: str) -> dict[str, Any]:
    body = {"customer_id": customer}
    churn, took = _timed(client, "/v1/churn/predictions", body)
    return {
        "request": f"POST /v1/churn/predictions {json.dumps(body)}",
        "answer": f"probability {churn['probability']:.3f}, {churn['band']} ({churn['decision']})",
        "model": f"{churn['model']} v{churn['version']}",
        "median ms": took,
    }


def _forecast(client: httpx.Client) -> dict[str, Any]:
    body = {"prefix": "revenue/", "horizon": 90}
    made, took = _timed(client, "/v1/forecasts", body)
    rows = client.get(f"/v1/forecasts/{made['id']}/data").raise_for_status().json()["rows"]
    total = next((row for row in reversed(rows) if "total" in row["unique_id"]), rows[-1])
    return {
        "request": f"POST /v1/forecasts {json.dumps(body)}",
        "answer": f"{made['series']} series; {total['unique_id']} on {str(total['ds'])[:10]}: "
        f"{total['forecast']:.0f} [{total['lo-80']:.0f}, {total['hi-80']:.0f}] at 80 %",
        "model": f"{made['model']} v{made['version']}",
        "median ms": took,
    }


def _segment(client: httpx.Client, customer: str) -> dict[str, Any]:
    body = {"customer_id": customer}
    answer, took = _timed(client, "/v1/segments/assign", body)
    found = answer["assignments"][0]
    worth = f", worth {found['value']:,.0f} EUR" if found["value"] is not None else ""
    return {
        "request": f"POST /v1/segments/assign {json.dumps(body)}",
        "answer": f"segment {found['segment']}, {found['name']}{worth}",
        "model": f"{answer['model']} v{answer['version']}",
        "median ms": took,
    }


def _price(client: httpx.Client) -> dict[str, Any]:
    """A product for which a price is advised, if there is one; else why not."""
    every, _ = _timed(client, "/v1/pricing/recommendations", {}, times=1)
    found = every["recommendations"]
    body = {"product": next((one for one in found if one["advised"]), found[0])["product"]}
    answer, took = _timed(client, "/v1/pricing/recommendations", body)
    advice = answer["recommendations"][0] if "recommendations" in answer else answer
    if advice["advised"]:
        gain, elasticity = advice["gain_margin"], advice["elasticity"]
        said = (
            f"{advice['current_price']:.2f} → {advice['price']:.2f} EUR, margin {gain['value']:+,.0f} "
            f"[{gain['low']:+,.0f}, {gain['high']:+,.0f}] in {advice['question']['horizon_days']} days; elasticity "
            f"{elasticity['value']:.2f} [{elasticity['low']:.2f}, {elasticity['high']:.2f}]"
        )
    else:
        said = advice["reason"]
    return {
        "request": f"POST /v1/pricing/recommendations {json.dumps(body)}",
        "answer": said,
        "model": f"{answer['model']} v{answer['version']}",
        "median ms": took,
    }


def _timed(
    client: httpx.Client, path: str, body: Mapping[str, Any], times: int = TIMED_REQUESTS
) -> tuple[dict[str, Any], float]:
    """The last answer and the median time of several, in milliseconds."""
    took = []
    answer: dict[str, Any] = {}
    for _ in range(times):
        start = time.perf_counter()
        response = client.post(path, json=dict(body))
        took.append(1000 * (time.perf_counter() - start))
        if response.status_code >= 300:
            raise ServiceUnavailable(f"POST {path} answered {response.status_code}: {response.text}")
        answer = response.json()
    return answer, round(median(took), 2)
