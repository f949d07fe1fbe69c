"""What was spent, beside the period before and taken apart; and the platform's own scorecard."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from features.views.llm_judged import judged_calls
from features.world.llm_calls import LlmTruth
from gateway.account.retention import enforce
from gateway.account.workspaces import Workspaces
from models.spend import telling
from models.spend.analytics import DIMENSIONS, Analytics, analytics, kept
from models.spend.scorecard import MEASURES, TOLD, scorecard
from store import events, scorecards, spend_recommendations
from store.budgets import NANOS
from store.errors import InvalidValue
from store.llm_usage import usage
from store.scorecards import Score
from store.settings import Settings
from store.spend_recommendations import SpendRecommendation
from tests.integration.spend.conftest import END
from tests.integration.spend.test_spend_bill import merit

SINCE = END - timedelta(days=30)


def costs(found: Analytics, by: str) -> dict[str, float]:
    return {"/".join(one.names.values()): one.cost for one in found.groups[by]}


def test_every_way_of_telling_it_adds_up_to_the_whole(ledger: Settings, truth: LlmTruth) -> None:
    found = analytics(ledger, SINCE, END, top=3)
    (whole,) = usage(ledger, since=SINCE, until=END)
    assert found.total.cost == pytest.approx(whole["cost"] / NANOS)
    for by in DIMENSIONS:
        groups, (count, rest) = found.groups[by], found.others[by]
        assert sum(one.cost for one in groups) + rest == pytest.approx(found.total.cost)
        assert len(groups) == 3 or by in ("day", "provider")
        assert sum(one.share for one in groups) <= 1.0 + 1e-9
        assert (count == 0) == (by in ("day", "provider"))
    assert [one.names["day"] for one in found.groups["day"]] == sorted(one.names["day"] for one in found.groups["day"])
    # All users of a name apart, since a name is one of a workspace.
    assert all(set(one.names) == {"workspace", "user"} for one in found.groups["user"])


def test_the_change_is_taken_apart_to_the_last_digit(ledger: Settings, truth: LlmTruth) -> None:
    begin, end = END - timedelta(days=35), END - timedelta(days=21)
    found = analytics(ledger, begin, end, by=("workspace", "user"))
    assert found.before == begin - timedelta(days=14)
    assert 14 * sum(found.change.values()) == pytest.approx(found.total.cost - (found.total.cost_before or 0.0))
    # A program of engineering ran away in the later one.
    engineering = next(one for one in found.groups["workspace"] if one.names["workspace"] == "engineering")
    assert engineering.cost > 5 * (engineering.cost_before or 0.0)
    assert found.groups["user"][0].names["user"] == "engineering-user-07"
    assert found.change["volume"] > 0


def test_what_retention_summed_up_is_told_alike(own_ledger: Settings) -> None:
    before = analytics(own_ledger, SINCE, END)
    workspaces = Workspaces(own_ledger)
    workspaces.refresh()
    for name in workspaces.every():
        workspaces.change(name, {"calls_days": 10})
    assert kept(own_ledger).days == 0
    enforce(own_ledger, END)
    after = analytics(own_ledger, SINCE, END)
    for by in DIMENSIONS:
        assert costs(after, by) == pytest.approx(costs(before, by))
    assert after.change == pytest.approx(before.change)
    there = kept(own_ledger)
    assert there.calls_since is not None
    assert there.calls_since >= END - timedelta(days=10)
    assert there.days > 0
    assert kept(own_ledger, "nobody").calls == 0


def test_what_cannot_be_told_is_refused(ledger: Settings, truth: LlmTruth) -> None:
    with pytest.raises(InvalidValue, match="not told by 'colour'"):
        analytics(ledger, SINCE, END, by=("colour",))
    with pytest.raises(InvalidValue, match="is not before"):
        analytics(ledger, END, SINCE)
    with pytest.raises(InvalidValue, match="no period as long"):
        analytics(ledger, datetime(2, 1, 1), datetime(9000, 1, 1))


def scores(found: list[Score]) -> dict[str, Score]:
    return {one.measure: one for one in found}


def advice(number: int, saved: float | None = None) -> SpendRecommendation:
    measured = None if saved is None else {
        "saved_a_month": {"value": saved, "low": saved - 1, "high": saved + 1}, "estimated_a_month": 2 * saved,
    }  # fmt: skip
    return SpendRecommendation(
        fingerprint=f"{number:032x}", workspace="support", kind="cache", saving=NANOS, advice={}, measured=measured,
    )  # fmt: skip


def test_the_scorecard_measures_routing_and_forecasts_by_what_came(ledger: Settings, truth: LlmTruth) -> None:
    found = scores(scorecard(ledger, END))
    assert set(found) == {*MEASURES, TOLD}
    assert {one.day for one in found.values()} == {"2026-10-31"}
    routing = found["routing accuracy"]
    judged = judged_calls(ledger, END - timedelta(days=28), END)
    assert "explicit" not in set(judged["strategy"])
    assert routing.count == len(judged) > 300
    assert routing.value == pytest.approx((judged["score"] >= 0.5).mean())
    assert routing.low is not None
    assert routing.high is not None
    assert routing.low < (routing.value or 0) < routing.high
    # People are stricter than the truth of the world, and not by much.
    frame = truth.frame().set_index("id")
    assert routing.detail["mean_score"] == pytest.approx(frame.loc[judged["call"], "realised"].mean(), abs=0.12)
    assert 0.7 < (found["forecast accuracy"].value or 0) < 1.0
    assert 0.6 < (found["forecast coverage"].value or 0) < 1.0
    assert abs(found["forecast accuracy"].detail["error_of_the_sum"]) < 0.25
    for name in ("anomaly precision", "savings", "adoption"):
        assert found[name].value is None
        assert found[name].detail["why"]


def test_a_forecast_is_judged_by_what_was_told_and_not_by_hindsight(own_ledger: Settings) -> None:
    begin = END - timedelta(days=14)
    days = [["total", f"{begin + timedelta(days=k):%Y-%m-%d}", 0.0, -1.0, 1e-9] for k in range(14)]
    wrong = Score(day=f"{begin - timedelta(days=1):%Y-%m-%d}", measure=TOLD, value=0.0, detail={"days": days})
    scorecards.put(own_ledger, [wrong])
    found = scores(scorecard(own_ledger, END))
    assert found["forecast accuracy"].value == pytest.approx(0.0)
    assert found["forecast accuracy"].detail["forecast"] == "as told"
    assert found["forecast coverage"].value == 0.0


def test_a_forecast_is_told_once_a_day_with_its_parts(own_ledger: Settings) -> None:
    for _ in range(2):  # worked out again, it is no news
        telling.keep(own_ledger, scorecard(own_ledger, END))
    (event,) = events.recent(own_ledger, "spend_forecast")
    told = event.payload
    assert (told["day"], told["days"], told["level"], told["version"]) == ("2026-10-31", 14, 80, None)
    assert 0 < told["low"] < told["expected"] < told["high"]
    for kind in ("workspace", "model"):
        assert sum(told["by"][kind].values()) == pytest.approx(told["expected"])
    telling.keep(own_ledger, scorecard(own_ledger, END + timedelta(days=1)))
    assert [one.payload["day"] for one in events.recent(own_ledger, "spend_forecast")] == ["2026-10-31", "2026-11-01"]
    # Of a ledger that tells of nothing, nothing is told.
    telling.keep(own_ledger, scorecard(own_ledger, datetime(2025, 1, 1)))
    assert len(events.recent(own_ledger, "spend_forecast")) == 2


def test_what_people_decide_and_what_was_saved_count(own_ledger: Settings) -> None:
    from models.spend.unusual.keeping import keep
    from models.spend.unusual.look import look
    from store import spend_anomalies

    told = keep(own_ledger, look(own_ledger, END, days=35, budgets=False))
    assert len(told) >= 3
    for one, state in zip(told, ("confirmed", "confirmed", "dismissed"), strict=False):
        spend_anomalies.decide(own_ledger, one["id"], state, by="ada")  # type: ignore[arg-type]
    made = [one for one, _ in spend_recommendations.propose(own_ledger, [advice(n) for n in range(3)])]
    spend_recommendations.accept(own_ledger, made[0].id, by="ada")
    spend_recommendations.measured(own_ledger, made[0].id, advice(0, 5.0).measured or {})
    spend_recommendations.dismiss(own_ledger, made[1].id, by="ada")
    found = scores(scorecard(own_ledger, END))
    precision = found["anomaly precision"]
    assert (precision.value, precision.count) == (pytest.approx(2 / 3), 3)
    assert precision.detail["open"] == len(told) - 3
    assert (found["savings"].value, found["savings"].low, found["savings"].high) == (5.0, 4.0, 6.0)
    assert found["savings"].detail["estimated"] == 10.0
    assert (found["adoption"].value, found["adoption"].count) == (0.5, 2)
    assert found["adoption"].detail["by_state"] == {"measured": 1, "dismissed": 1, "proposed": 1}


def test_a_day_that_is_measured_again_is_the_same_rows(settings: Settings) -> None:
    for value in (0.5, 0.75):
        scorecards.put(settings, [Score(day="2026-10-31", measure="adoption", value=value, count=4)])
    scorecards.put(settings, [Score(day="2026-10-30", measure="adoption", value=0.25, count=4)])
    assert [one.value for one in scorecards.history(settings)] == [0.25, 0.75]
    assert [one.value for one in scorecards.history(settings, since="2026-10-31")] == [0.75]
    assert scorecards.get(settings, "2026-10-31", "savings") is None
    (empty, *_) = scorecard(settings, datetime(2026, 10, 31))
    assert empty.value is None


def test_over_the_api(api: TestClient, own_ledger: Settings) -> None:
    scorecards.put(own_ledger, [Score(day=day, measure="adoption", value=0.5, count=2, detail={"days": 90})
                                for day in ("2026-09-01", "2026-10-30", "2026-10-31")])  # fmt: skip
    scorecards.put(own_ledger, [Score(day="2026-10-31", measure=TOLD, value=1.0, detail={"days": []})])
    told: Any = api.get("/v1/costs/analytics", params={"since": SINCE.isoformat(), "top": 2}).json()
    assert told["until"].startswith("2026-11-01T00:00:00")
    assert set(told["by"]) == set(DIMENSIONS)
    assert [len(told["by"][name]) for name in ("workspace", "user", "day")] == [2, 2, 30]
    assert told["by"]["day"][0]["cost_before"] is None
    assert told["retention"]["calls_since"].startswith("2026-08-03")
    assert told["retention"]["policies"]["support"] == {"calls_days": None, "contents_days": 365}
    assert [(one["day"], one["measure"]) for one in told["scorecard"]] == [("2026-10-31", "adoption")]
    own = api.get("/v1/costs/analytics", params={"by": "model", "workspace": "support", "task": "summary"}).json()
    assert set(own["by"]) == {"model"}
    assert own["scorecard"] == []
    assert set(own["retention"]["policies"]) == {"support"}
    month = api.get("/v1/costs/scorecard", params={"days": 30}).json()["scores"]
    assert [one["day"] for one in month] == ["2026-10-30", "2026-10-31"]
    assert api.get("/v1/costs/scorecard", params={"measure": "savings"}).json() == {"scores": []}
    for wrong in ({"by": "colour"}, {"since": "2026-11-02T00:00:00", "until": "2026-11-01T00:00:00"}, {"top": 0}):
        assert api.get("/v1/costs/analytics", params=wrong).status_code == 422


def test_on_the_command_line(own_ledger: Settings) -> None:
    told = merit(own_ledger, "spend", "analytics", "--by", "workspace,user,day", "--days", "14", "--top", "2")
    assert "What moved it, in dollars" in told
    assert re.search(r"(\w+)/\1-user-\d\d ", told)
    assert "Kept: " in told
    shown = merit(own_ledger, "spend", "scorecard", "--keep")
    assert "routing accuracy" in shown
    assert "no recommendation in force has been measured" in shown
    kept_now = json.loads(merit(own_ledger, "spend", "scorecard", "--json"))["scores"]
    assert {one["measure"] for one in kept_now} == set(MEASURES)
    assert scorecards.get(own_ledger, "2026-10-31", TOLD) is not None
