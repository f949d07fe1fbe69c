"""What was planted in the demo world's ledger is found in it, by the command, over the API, and told of once."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from features.world.llm_calls import LlmTruth
from models.spend.unusual import KIND
from models.spend.unusual.finding import Finding
from models.spend.unusual.keeping import BUDGET_KIND, keep
from models.spend.unusual.look import findings_of, frames_of, look
from store import budgets, events, spend_anomalies
from store.budgets import NANOS
from store.settings import Settings
from tests.integration.spend.conftest import END
from tests.integration.spend.test_spend_bill import merit

EPOCH = datetime(1970, 1, 1)


@pytest.fixture(scope="module")
def found(ledger: Settings, truth: LlmTruth) -> list[Finding]:
    """All that is unusual in the last two months."""
    frames = frames_of(ledger, END, hours=24 * 90, days=90)
    return findings_of(frames, END, days=64)


def test_the_runaway_user_is_found_with_its_loop_and_model(found: list[Finding], truth: LlmTruth) -> None:
    (one,) = [one for one in found if one.kind == "runaway user"]
    run = truth.runaway
    assert one.subject == f"user={run.workspace}/{run.user}"
    assert one.workspace == run.workspace
    assert abs(one.start - (EPOCH + timedelta(microseconds=run.begins))) <= timedelta(hours=3)
    assert one.excess == pytest.approx(truth.spent_by_runaway / NANOS, rel=0.05)
    assert one.severity == "critical"
    assert one.causes[0]["value"] == run.model
    assert one.causes[0]["share"] > 0.95


def test_prices_outages_and_slow_models_are_found_and_nothing_is_made_up(found: list[Finding], truth: LlmTruth) -> None:
    kinds = {"price": "price", "outage": "errors", "overload": "errors", "slow": "latency"}
    wanted = {(kinds[one.kind], f"model={one.model}"): one for one in truth.happenings if one.kind in kinds}
    told = Counter((one.kind, one.subject) for one in found if one.kind != "runaway user")
    assert set(told) <= set(wanted)
    assert set(told.values()) == {1}
    # One of eleven calls that fail within ten hours is more than chance tells apart in so small a world.
    assert len(told) >= len(wanted) - 1
    changed = next(one for one in found if one.subject == "model=simulated/medium" and one.kind == "price")
    planted = wanted["price", "model=simulated/medium"]
    assert abs(changed.start - (EPOCH + timedelta(microseconds=planted.ends))) < timedelta(days=1)
    assert changed.value / changed.expected == pytest.approx(1 / planted.size, rel=0.02)


class _Hook(BaseHTTPRequestHandler):
    heard: list[Any] = []  # noqa: RUF012 - of the class on purpose: the server makes the handlers

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_each_is_told_once_by_event_and_webhook_and_a_budget_in_danger_as_well(own_ledger: Settings) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    Thread(target=server.serve_forever, daemon=True).start()
    settings = own_ledger.model_copy(update={"webhook_url": SecretStr(f"http://127.0.0.1:{server.server_port}/")})
    _Hook.heard.clear()
    budgets.create(settings, scope="workspace", subject="support", amount=NANOS // 2, period="month")
    as_of = datetime(2026, 10, 12, 12)
    seen = look(settings, as_of, days=14)
    told = keep(settings, seen)
    assert {one["kind"] for one in told} >= {"runaway user", "budget pace"}
    assert keep(settings, look(settings, as_of + timedelta(hours=1), days=14)) == []
    assert events.flush(60)
    server.shutdown()
    server.server_close()
    assert Counter(one["kind"] for one in _Hook.heard) == {KIND: len(told) - 1, BUDGET_KIND: 1}
    (budget,) = events.recent(settings, BUDGET_KIND)
    assert budget.payload["workspace"] == "support"
    assert "used up" in budget.payload["words"]
    heard = next(one for one in _Hook.heard if one["payload"]["kind"] == "runaway user")
    assert heard["payload"]["causes"][0]["value"] == "simulated/large"


def test_one_that_goes_on_is_one_row_and_a_dismissed_one_is_no_news(own_ledger: Settings, truth: LlmTruth) -> None:
    begin = EPOCH + timedelta(microseconds=truth.runaway.begins)
    moments = [begin + timedelta(hours=hours) for hours in (4, 20, 50)]
    first = [one for one in look(own_ledger, moments[0], budgets=False) if one.kind == "runaway user"]
    (told,) = keep(own_ledger, first)
    assert told["ongoing"]
    spend_anomalies.decide(own_ledger, told["id"], "dismissed", by="ada", reason="a load test")
    for moment in moments[1:]:
        later = [one for one in look(own_ledger, moment, budgets=False) if one.kind == "runaway user"]
        assert keep(own_ledger, later) == []
    (row,) = spend_anomalies.page(own_ledger, kind="runaway user").items
    assert row.id == told["id"]
    assert row.state == "dismissed"
    assert row.ended_at - row.started_at > timedelta(hours=40)
    assert row.excess > 5 * told["excess"] * NANOS


def test_over_the_api_and_what_people_say_of_them(api: TestClient, own_ledger: Settings) -> None:
    when = "2026-10-05T00:00:00Z"
    now = api.get("/v1/costs/anomalies/now", params={"as_of": when, "days": 10}).json()["anomalies"]
    assert "runaway user" in {one["kind"] for one in now}
    assert api.get("/v1/costs/anomalies").json()["anomalies"] == []  # nothing is kept by looking
    keep(own_ledger, look(own_ledger, datetime(2026, 10, 5), days=10, budgets=False))
    kept = api.get("/v1/costs/anomalies", params={"severity": "high", "kind": "runaway user"}).json()["anomalies"]
    (one,) = kept
    assert one["workspace"] == "engineering"
    assert api.get(f"/v1/costs/anomalies/{one['id']}").json() == one
    said = {"state": "confirmed", "reason": "a loop in the nightly build"}
    decided = api.post(f"/v1/costs/anomalies/{one['id']}/decision", json=said).json()
    assert decided["state"] == "confirmed"
    assert decided["decided"]["reason"] == said["reason"]
    assert [row["id"] for row in api.get("/v1/costs/anomalies", params={"state": "confirmed"}).json()["anomalies"]] == [
        one["id"]
    ]
    assert api.get("/v1/costs/anomalies", params={"workspace": "support"}).json()["anomalies"] == []
    assert api.get(f"/v1/costs/anomalies/{'0' * 16}").status_code == 404
    assert api.post(f"/v1/costs/anomalies/{one['id']}/decision", json={"state": "maybe"}).status_code == 422
    page = api.get("/v1/costs/anomalies", params={"limit": 1}).json()
    rest = api.get("/v1/costs/anomalies", params={"cursor": page["next_cursor"]}).json()["anomalies"]
    assert len({row["id"] for row in (*page["anomalies"], *rest)}) == 1 + len(rest)


def test_on_the_command_line(own_ledger: Settings, tmp_path: Path) -> None:
    picture = tmp_path / "unusual.png"
    asked = ("--days", "10", "--as-of", "2026-10-05")
    told = merit(own_ledger, "spend", "anomalies", *asked, "--keep", "--plot", str(picture))
    assert "engineering-user-07 in engineering spent" in told
    assert picture.read_bytes()[:4] == b"\x89PNG"
    same = json.loads(merit(own_ledger, "anomalies", "--ledger", "--last", "10", "--as-of", "2026-10-05", "--json"))
    (one,) = [one for one in same["anomalies"] if one["kind"] == "runaway user"]
    said = merit(own_ledger, "spend", "decide", one["id"], "confirmed", "--reason", "a loop")
    assert "is confirmed" in " ".join(said.split())
    assert spend_anomalies.get(own_ledger, one["id"]).state == "confirmed"
