"""Recommendations on the demo world's ledger: found, kept, followed, measured, taken back; by API and command."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from cli.main import app
from features.world.llm_calls import LlmTruth
from gateway.account.workspaces import Workspaces
from gateway.improve import following
from models.spend.recommending import KIND
from models.spend.recommending.advice import Advice, Interval
from models.spend.recommending.keeping import keep, measure_one
from models.spend.recommending.look import look
from store import events
from store import spend_recommendations as stored
from store.errors import StateConflict, UnknownEntity
from store.settings import Settings
from tests.integration.spend.conftest import END

_PATH = "/v1/costs/recommendations"


@pytest.fixture(scope="module")
def found(ledger: Settings, truth: LlmTruth) -> tuple[Advice, ...]:
    return look(ledger, END, following.means(ledger))


@pytest.fixture
def kept(own_ledger: Settings, found: tuple[Advice, ...]) -> dict[str, Any]:
    """The recommendation about those who wrote the dearest model into their code, kept with the others."""
    told = keep(own_ledger, found)
    return next(one for one in told if one["workspace"] == "marketing" and "substitutes" in (one["setting"] or {}))


def test_the_dearest_model_written_into_a_program_is_found_and_the_runaway_is_not(
    found: tuple[Advice, ...], truth: LlmTruth
) -> None:
    marketing = [one for one in found if one.workspace == "marketing" and one.kind == "cheaper model"]
    assert [one.subject for one in marketing] == ["simulated/large"]
    assert not any(one.workspace == "engineering" and one.subject == "simulated/large" for one in found)
    (advice,) = marketing
    # What the very calls would have cost is known.
    frame = truth.frame()
    mine = frame[(frame["workspace"] == "marketing") & (frame["at"] >= END - timedelta(days=28))]
    mine = mine[(mine["model"] == "simulated/large") & (mine["outcome"] == "ok")]
    most = float((mine["cost:simulated/large"] - mine[f"cost:{advice.scope['use']}"]).sum()) / 1e9 * 30 / 28
    assert 0 < advice.saving.low < advice.saving.value < most
    assert [one.saving.value for one in found] == sorted((one.saving.value for one in found), reverse=True)


def test_kept_twice_it_is_told_once_and_what_is_gone_expires(own_ledger: Settings, found: tuple[Advice, ...]) -> None:
    first = keep(own_ledger, found)
    assert len(first) == len(found)
    assert keep(own_ledger, found) == []
    assert len(events.recent(own_ledger, KIND)) == len(found)
    keep(own_ledger, found[1:])
    (gone,) = stored.page(own_ledger, states=("expired",)).items
    assert gone.id == first[0]["id"] or gone.advice["words"] == found[0].words
    # Turned down, it is not proposed again; expired, it is.
    again = keep(own_ledger, found)
    assert [one["words"] for one in again] == [found[0].words]
    stored.dismiss(own_ledger, again[0]["id"], by="ada", reason="no")
    assert keep(own_ledger, found) == []
    with pytest.raises(StateConflict, match="dismissed"):
        stored.accept(own_ledger, again[0]["id"], by="ada")


def test_accepted_by_the_api_it_counts_for_the_next_call_and_can_be_taken_back(
    api: TestClient, own_ledger: Settings, kept: dict[str, Any]
) -> None:
    listed = api.get(_PATH, params={"workspace": "marketing", "state": "proposed"}).json()["recommendations"]
    assert kept["id"] in [one["id"] for one in listed]
    body = {"reason": "let us try", "held_back": 0.0}
    accepted = api.post(f"{_PATH}/{kept['id']}/accept", json=body)
    assert accepted.status_code == 200, accepted.text
    told = accepted.json()
    assert (told["state"], told["accepted"]["reason"]) == ("accepted", "let us try")
    assert told["measured"] is None  # an estimate is no saving
    (rule,) = Workspaces(own_ledger).change("marketing", {}).substitutes
    assert (rule.asked, rule.use, rule.because) == ("simulated/large", kept["scope"]["use"], kept["id"])
    assert api.post(f"{_PATH}/{kept['id']}/accept", json={}).status_code == 409
    early = api.post(f"{_PATH}/{kept['id']}/measure").json()
    assert early["measured"]["saved"] is None
    assert "cannot be told" in early["measured"]["words"]
    reverted = api.post(f"{_PATH}/{kept['id']}/revert", json={"reason": "worse"}).json()
    assert reverted["state"] == "reverted"
    assert Workspaces(own_ledger).change("marketing", {}).substitutes == ()
    assert api.get(f"{_PATH}/{'0' * 32}").status_code == 404


def test_the_cache_is_turned_on_and_put_back_to_what_it_was(own_ledger: Settings) -> None:
    advice = Advice(
        kind="cache", workspace="support", subject="exact cache", words="", saving=Interval(1, 0.5, 2), spent=5.0,
        scope={}, steps=("…",), setting={"cache": "exact"},
    )  # fmt: skip
    (told,) = keep(own_ledger, [advice])
    workspaces = Workspaces(own_ledger)
    workspaces.change("support", {"cache": "semantic"})
    following.accept(own_ledger, workspaces, told["id"], by="ada")
    assert workspaces.get("support").cache == "exact"
    following.revert(own_ledger, workspaces, told["id"], by="ada")
    assert workspaces.get("support").cache == "semantic"


def test_what_cannot_be_set_is_open_again(own_ledger: Settings, kept: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="held_back"):
        following.accept(own_ledger, Workspaces(own_ledger), kept["id"], by="ada", held_back=0.9)
    assert stored.get(own_ledger, kept["id"]).state == "proposed"
    assert stored.get(own_ledger, kept["id"]).accepted is None
    with pytest.raises(UnknownEntity):
        stored.get(own_ledger, kept["id"], workspace="support")


def test_the_commands_find_follow_and_turn_down(
    own_ledger: Settings, truth: LlmTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MERIT_HOME", str(own_ledger.root))
    monkeypatch.setenv("MERIT_ACTOR", "ada")

    def merit(*arguments: str) -> Any:
        done = CliRunner().invoke(app, ["recommend", *arguments, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert merit("look", "--as-of", f"{END:%Y-%m-%d}", "--workspace", "marketing")["new"] >= 1
    rows = merit("list", "--state", "proposed")
    first = next(row for row in rows if row["kind"] == "cheaper model")
    assert first["workspace"] == "marketing"
    since = END - timedelta(days=20)
    told = merit("accept", first["id"], "--reason", "why not", "--since", f"{since:%Y-%m-%d}")
    assert (told["accepted"]["by"], told["accepted"]["since"]) == ("ada", f"{since.isoformat()}Z")
    # The ledger's calls went on as before: nothing was saved, and nothing is claimed.
    (measured,) = merit("measure", "--as-of", f"{END:%Y-%m-%d}")
    assert measured["measured"]["saved"] is None
    assert merit("show", first["id"])["state"] == "measured"
    others = [row for row in rows if row["id"] != first["id"]]
    for row in others:
        assert merit("dismiss", row["id"], "--reason", "no")["dismissed"]["by"] == "ada"


def test_news_of_what_was_measured_is_told_once(own_ledger: Settings, kept: dict[str, Any]) -> None:
    row = stored.accept(own_ledger, kept["id"], by="ada", since=END - timedelta(days=1))
    before = len(events.recent(own_ledger, KIND, limit=1_000))
    for _ in range(2):
        row = measure_one(own_ledger, row, datetime(2026, 11, 1))
    assert row.measured is not None
    assert len(events.recent(own_ledger, KIND, limit=1_000)) == before + 1  # it was too early, which is told
