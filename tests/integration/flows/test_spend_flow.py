"""The flows on the bill on a server: a promoted forecast of it, what is unusual in it, and the scorecard of the day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from flows.run import run_flow
from models.forecasting.model import ForecastModel
from models.spend import NAME
from models.spend.bill import bill_of
from models.spend.scorecard import MEASURES, TOLD
from models.spend.unusual import KIND
from store import events, llm_calls, scorecards, spend_anomalies
from store.database import migrate
from store.registry import Registry
from store.settings import Settings

WEEK = (1.0, 1.1, 1.0, 1.0, 0.9, 0.15, 0.1)
FIRST = datetime(2026, 6, 1)
DAYS = 70


def fill(settings: Settings) -> None:
    """A call a day of each of two models, for two workspaces; on one day a program of `north` ran away."""
    migrate(settings)
    rng = np.random.default_rng(3)
    rows = []
    for day in range(DAYS):
        for place, (workspace, model) in enumerate((("north", "a/big"), ("north", "a/small"), ("south", "a/big"))):
            cost = 1e9 * (10, 3, 6)[place] * WEEK[day % 7] * float(np.exp(rng.normal(0, 0.1)))
            cost = 300e9 if (day, place) == (40, 0) else cost
            at = FIRST + timedelta(days=day, hours=9 + place)
            values: dict[str, Any] = {
                "id": f"{day:016x}{place:016x}", "at": at.isoformat(" ", "microseconds"), "organisation": "default",
                "workspace": workspace, "kind": "chat", "asked": model, "strategy": "explicit", "outcome": "ok",
                "model": model, "provider": "a", "estimated": False, "cost": round(cost), "reserved": round(cost),
                "latency_ms": 500.0, "stream": False, "propensity": 1.0, "explored": False, "tags": "[]",
                "attempts": "[]",
            }  # fmt: skip
            rows.append([values.get(name, 0 if name.endswith("_tokens") else None) for name in llm_calls.COLUMNS])
    llm_calls.insert(settings, rows)


def test_the_bill_is_trained_judged_and_promoted(flow_settings: Settings) -> None:
    fill(flow_settings)
    as_of = FIRST + timedelta(days=DAYS, hours=6)
    trained = run_flow(flow_settings, "train-spend", {"as_of": as_of.isoformat(), "horizon": 60})
    assert trained.verdict == "promote"
    assert trained.as_of == FIRST + timedelta(days=DAYS)
    assert trained.report["split"].startswith("the last 14 steps")
    registry = Registry(flow_settings)
    version = registry.alias(NAME, "champion")
    assert version == trained.version
    assert registry.version(NAME, version).tags["family"] == "forecasting"
    model = ForecastModel.load(registry.fetch(NAME, version))
    assert set(model.ids) == {"total", "workspace=north", "workspace=south", "model=a/big", "model=a/small"}
    bill = bill_of(flow_settings, as_of + timedelta(days=2), 45, champion=(model, version))
    assert bill.outlook.version == version
    # The day that ran away is not expected again.
    assert bill.outlook.forecast(["total"], 45)["hi-95"].max() < 60
    registry.close()


def test_the_ledger_is_watched_and_each_thing_told_once(flow_settings: Settings) -> None:
    assert run_flow(flow_settings, "watch-spend") == []  # nobody has called yet
    fill(flow_settings)
    asked = {"as_of": (FIRST + timedelta(days=41, hours=6)).isoformat()}
    (told,) = run_flow(flow_settings, "watch-spend", asked)
    assert (told["kind"], told["workspace"], told["severity"]) == ("runaway user", "north", "critical")
    assert told["causes"][0]["value"] == "a/big"
    assert run_flow(flow_settings, "watch-spend", asked) == []
    assert [one.id for one in spend_anomalies.page(flow_settings).items] == [told["id"]]
    assert [one.payload["id"] for one in events.recent(flow_settings, KIND)] == [told["id"]]


def test_the_scorecard_of_a_day_is_kept(flow_settings: Settings) -> None:
    assert run_flow(flow_settings, "scorecard") == []
    fill(flow_settings)
    begin, end = FIRST + timedelta(days=DAYS - 14), FIRST + timedelta(days=DAYS)
    run_flow(flow_settings, "scorecard", {"as_of": begin.isoformat()})
    told = scorecards.get(flow_settings, f"{begin - timedelta(days=1):%Y-%m-%d}", TOLD)
    assert told is not None
    assert told.value == pytest.approx(14 / 7 * 18 * sum(WEEK), rel=0.15)
    (event,) = events.recent(flow_settings, "spend_forecast")
    assert event.payload["expected"] == told.value
    rows = {one["measure"]: one for one in run_flow(flow_settings, "scorecard", {"as_of": end.isoformat()})}
    assert set(rows) == set(MEASURES)
    assert rows["forecast accuracy"]["value"] > 0.8
    kept = scorecards.get(flow_settings, f"{end - timedelta(days=1):%Y-%m-%d}", "forecast accuracy")
    assert kept is not None
    assert kept.detail["forecast"] == "as told"
