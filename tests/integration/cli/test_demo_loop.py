"""The closing part of the demo on a small world: what it claims is measured against what was planted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import demo_loop
from cli.demo_loop import LoopStory, Past
from cli.demo_policy import held_out
from features.snapshot import read_dataset
from features.views import llm_calls
from models.routing.family import RoutingFamily, RoutingOptions
from store.database import dispose
from store.settings import Settings

END = date(2026, 10, 31)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = Settings(home=tmp_path_factory.mktemp("loop") / "home", threads=1)
    yield made
    dispose(made)


@pytest.fixture(scope="module")
def past(settings: Settings) -> Past:
    return demo_loop.live(settings, 60, 0.8, END)


def test_the_runaway_that_was_planted_is_found_and_attributed(settings: Settings, past: Past) -> None:
    story = LoopStory()
    demo_loop.find_runaway(settings, past.truth, story)
    (row,) = story.rows
    assert row["holds"], row
    assert f"{past.truth.runaway.user} on {past.truth.runaway.model}" in row["what"]
    # Of a truth in which somebody else ran away, nothing holds.
    other = SimpleNamespace(**{**vars(past.truth.runaway), "user": "engineering-user-01"})
    wrong = SimpleNamespace(runaway=other, spent_by_runaway=past.truth.spent_by_runaway)
    demo_loop.find_runaway(settings, wrong, story)  # type: ignore[arg-type]
    assert story.rows[-1]["number"] == "not found"


def test_the_forecast_of_the_fortnight_covers_about_what_it_states(settings: Settings, past: Past) -> None:
    story = LoopStory()
    demo_loop.forecast_fortnight(settings, past.end, story)
    (row,) = story.rows
    share = int(row["number"].partition("%")[0])
    assert 55 <= share <= 100
    assert "80 % stated" in row["against"]


def test_a_followed_recommendation_is_measured_and_found_again_by_a_second_demo(settings: Settings, past: Past) -> None:
    followed = past.followed
    assert followed is not None
    assert followed.accepted is not None
    story = LoopStory()
    demo_loop.measure_saving(settings, past, story)
    (row,) = story.rows
    assert row["holds"], row
    assert "saved $" in row["number"]
    again = demo_loop.recommend(settings, past.end)
    assert again is not None
    assert again.id == followed.id


def test_a_policy_is_judged_by_the_truth_on_calls_that_it_has_not_seen(
    settings: Settings, past: Past, tmp_path: Path
) -> None:
    family = RoutingFamily(RoutingOptions(trees=0, folds=3, dimensions=16, replicates=50, days=demo_loop.DAYS))
    ref = family.dataset(llm_calls.take(settings, past.end), tmp_path / "data")
    split = family.split(read_dataset(ref), ref.roles)
    model = family.fit(family.candidates()[-1], split.train, ref.roles, {})
    model.save(tmp_path / "policy")
    found = held_out(settings, tmp_path / "policy", past.truth, past.end, demo_loop.DAYS)
    assert found.calls == len(split.holdout)
    assert [one["against"] for one in found.others] == [
        "blind", "length", "task_mean", "random", "cheapest", "best single",
    ]  # fmt: skip
    ahead = {one["against"]: one["ahead"] for one in found.others}
    assert ahead["random"]["low"] > 0
    assert ahead["best single"]["value"] > 0
    assert found.ahead_of_all == all(one["low"] > 0 for one in ahead.values())


def test_without_a_champion_the_gateway_goes_on_as_before(settings: Settings) -> None:
    story = LoopStory()
    trained = SimpleNamespace(model="routing", version=1, champion=None, verdict="keep", reason="too little")
    demo_loop.follow(settings, "http://127.0.0.1:9", trained, story)
    assert story.rows == [
        {"what": "the gateway's next call", "number": "as before", "against": "nothing was promoted", "holds": False}
    ]
