"""The flows `propose-savings` and `measure-savings` on a ledger."""

from __future__ import annotations

from datetime import date, datetime

from features.world.llm.adopted import Adopted
from features.world.llm_calls import build_llm_world
from flows.run import run_flow
from gateway.account.workspaces import Workspaces
from gateway.improve import following
from models.spend.recommending import KIND
from store import events
from store import spend_recommendations as stored
from store.settings import Settings

LAST, SINCE = date(2026, 10, 31), datetime(2026, 10, 16)
WORLD = {"days": 34, "calls_per_day": 70, "seed": 7, "end": LAST}


def test_what_is_proposed_and_followed_is_measured(flow_settings: Settings) -> None:
    build_llm_world(flow_settings, **WORLD, until=SINCE)
    proposed = run_flow(flow_settings, "propose-savings", {"as_of": SINCE.isoformat(), "tolerance": 0.3})
    advice = next(one for one in proposed if one["setting"] and one["subject"] == "simulated/large")
    assert {event.payload["id"] for event in events.recent(flow_settings, KIND)} == {one["id"] for one in proposed}
    following.accept(flow_settings, Workspaces(flow_settings), advice["id"], by="ada", since=SINCE)
    scope = advice["scope"]
    adopted = Adopted("marketing", scope["asked"], scope["use"], scope["complexities"], SINCE, 0.1, advice["id"])
    build_llm_world(flow_settings, **WORLD, adopted=adopted)
    # The world went on, and nothing that was set for its workspaces meanwhile is lost.
    assert len(Workspaces(flow_settings).change("marketing", {}).substitutes) == 1
    (measured,) = run_flow(flow_settings, "measure-savings", {"as_of": "2026-11-01T00:00:00"})
    told = measured["measured"]
    assert measured["state"] == "measured"
    assert 0 < told["saved"]["low"] < told["saved"]["value"] <= told["counterfactual"]
    assert told["spent"] + told["saved"]["value"] == told["counterfactual"]
    assert told["quality"] is None or told["quality"]["judged_after"] > 0
    row = stored.get(flow_settings, advice["id"])
    assert row.measured is not None
    assert events.recent(flow_settings, KIND)[-1].payload["measured"]["saved"] == row.measured["saved"]


def test_an_empty_ledger_is_nothing_to_fail_over(flow_settings: Settings) -> None:
    assert run_flow(flow_settings, "propose-savings") == []
    assert run_flow(flow_settings, "measure-savings") == []
