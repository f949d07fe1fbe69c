"""The closing part of the demo on its own world: what it claims is measured against what was planted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import demo_follow, demo_loop
from cli.demo_follow import Call
from cli.demo_loop import Past
from cli.demo_policy import held_out
from cli.demo_story import FIGURES, LoopStory
from features.snapshot import read_dataset
from features.views import llm_calls
from models.lifecycle.gate import decide
from models.routing.family import RoutingFamily, RoutingOptions
from store.database import dispose
from store.settings import Settings

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    made = Settings(home=tmp_path_factory.mktemp("loop") / "home", threads=1)
    yield made
    dispose(made)


@pytest.fixture(scope="module")
def past(settings: Settings) -> Past:
    return demo_loop.live(settings, demo_loop.CALLS_PER_DAY, demo_loop.JUDGE, demo_loop.LAST)


def test_the_runaway_that_was_planted_is_found_and_attributed(settings: Settings, past: Past) -> None:
    story = LoopStory()
    demo_loop.find_runaway(settings, past.truth, story)
    (row,) = story.rows
    assert row["holds"], row
    assert f"{past.truth.runaway.user} on {past.truth.runaway.model}" in row["what"]
    assert story.figures["runaway"].read_bytes()[:4] == PNG
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
    assert story.figures["forecast"].read_bytes()[:4] == PNG


def test_a_followed_recommendation_is_measured_and_found_again_by_a_second_demo(settings: Settings, past: Past) -> None:
    followed = past.followed
    assert followed is not None
    assert followed.accepted is not None
    story = LoopStory()
    demo_loop.measure_saving(settings, past, story)
    (row,) = story.rows
    assert row["holds"], row
    assert "saved $" in row["number"]
    assert story.figures["saving"].read_bytes()[:4] == PNG
    again = demo_loop.recommend(settings, past.end)
    assert again is not None
    assert again.id == followed.id


def test_the_policy_beats_every_baseline_on_calls_that_it_has_not_seen_and_is_promoted(
    settings: Settings, past: Past, tmp_path: Path
) -> None:
    # The demo's own world and holdout; a smaller space and fewer folds, so that it takes seconds.
    family = RoutingFamily(RoutingOptions(trees=0, folds=3, dimensions=16, replicates=100, days=demo_loop.DAYS))
    ref = family.dataset(llm_calls.take(settings, past.end), tmp_path / "data")
    split = family.split(read_dataset(ref), ref.roles)
    first, *_, last = family.candidates()
    blind, blend = (family.fit(one, split.train, ref.roles, {}) for one in (first, last))
    told = [family.evaluate(one, split.holdout, split.train, ref.roles) for one in (blend, blind)]
    report = decide(told[0], baseline=told[1], metric=family.primary, comparison=family.comparison)
    assert report.verdict == "promote", report.reason

    blend.save(tmp_path / "policy")
    found = held_out(settings, tmp_path / "policy", past.truth, past.end, demo_loop.DAYS)
    assert found.calls == len(split.holdout) > 3_000
    ahead = {one["against"]: one["ahead"]["low"] for one in found.others}
    assert set(ahead) == {"blind", "length", "task_mean", "random", "cheapest", "best single"}
    assert min(ahead.values()) > 0, ahead
    assert found.ahead_of_all
    assert found.figure[:4] == PNG
    # In workspaces that it has not seen it is told apart, and worth less.
    unseen = told[0].details["unseen_groups"]
    assert unseen["groups"] == 8
    assert "of 8 workspaces" in unseen["rule"]
    assert unseen["metrics"]["aiq"]["value"] < told[0].metrics["aiq"].value


def test_the_next_calls_are_compared_with_the_same_ones_before(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (Call("priors", "simulated/large", 0.9, 0.002), Call("priors", "simulated/small", 0.5, 0.001))
    after = (Call("routing v1", "simulated/coder", 0.95, 0.001), Call("routing v1", "simulated/small", 0.5, 0.001))
    monkeypatch.setattr(demo_follow, "_wait", lambda *_: None)
    trained = SimpleNamespace(model="routing", champion=1)
    story = LoopStory()
    for calls in (after, (after[0], before[1])):
        monkeypatch.setattr(demo_follow, "ask_all", lambda _, calls=calls: calls)
        demo_follow.follow(settings, "", trained, before, story)
    followed, half = story.rows
    assert followed["holds"]
    assert followed["number"] == "2 by routing v1; true quality 0.725, $1.000 a 1,000"
    assert followed["against"].endswith("by priors: true quality 0.700, $1.500 a 1,000; 1 go to another model")
    # One call that the old policy decided is one too many.
    assert not half["holds"]
    assert half["number"].startswith("1 by routing v1")
    assert story.figures["next-calls"].read_bytes()[:4] == PNG


def test_every_kind_of_task_is_asked_about_once_and_always_the_same() -> None:
    asked = demo_follow.prompts()
    assert len({(domain, complexity) for domain, complexity, _ in asked}) == len(asked) == 40
    assert asked == demo_follow.prompts()


def test_without_a_champion_the_gateway_goes_on_as_before(settings: Settings) -> None:
    story = LoopStory()
    trained = SimpleNamespace(model="routing", version=1, champion=None, verdict="keep", reason="too little")
    demo_follow.follow(settings, "http://127.0.0.1:9", trained, (), story)
    assert story.rows == [
        {"what": "the gateway's next calls", "number": "as before", "against": "nothing was promoted", "holds": False}
    ]


def test_the_documentation_shows_a_figure_of_every_promise() -> None:
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "loop.md").read_text(encoding="utf-8")
    for name in FIGURES:
        assert f"(figures/loop-{name}.png)" in page
        assert (docs / "figures" / f"loop-{name}.png").read_bytes()[:4] == PNG
