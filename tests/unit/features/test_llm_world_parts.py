"""Parts of the LLM world: who speaks, what happens, which model is drawn with which probability, who is content."""

from __future__ import annotations

from datetime import date
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.world.llm.feedback import judge
from features.world.llm.happenings import Happenings, happenings
from features.world.llm.ledger_rows import call_id, moment
from features.world.llm.logging_policy import CHAT, EXPLORE, choose
from features.world.llm.prompts import Speaker, system_prompt
from features.world.llm.tasks import COMPLEXITIES, DOMAINS, recognise
from features.world.llm.tokens import count
from features.world.llm.traffic import Traffic, traffic
from features.world.llm.workspaces import RUNAWAY_USER, RUNAWAY_WORKSPACE, WORKSPACES, user_name

START = date(2026, 8, 3)
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def happened() -> Happenings:
    return happenings(START, 90)


@pytest.fixture(scope="module")
def calls(happened: Happenings) -> Traffic:
    return traffic(START, 90, 300, happened.runaway, np.random.default_rng(1))


def test_habits_are_shares() -> None:
    assert sum(one.share for one in WORKSPACES) == pytest.approx(1.03, abs=0.05)
    for one in WORKSPACES:
        assert sum(one.tasks.values()) == pytest.approx(1)
        assert sum(one.complexity) == pytest.approx(1)
        assert set(one.tasks) <= set(DOMAINS)
        assert len(one.hours) == 24
    engineering = next(one for one in WORKSPACES if one.name == RUNAWAY_WORKSPACE)
    assert RUNAWAY_USER in {user_name(engineering, number) for number in range(engineering.users)}


def test_calls_come_in_order_within_the_period_and_as_many_as_asked(calls: Traffic) -> None:
    first = (START - date(1970, 1, 1)).days * DAY
    assert (np.diff(calls.at) >= 0).all()
    assert first <= calls.at[0] <= calls.at[-1] < first + 90 * DAY
    usual = int((~calls.runs_away).sum())
    assert abs(usual - 27_000) < 1_000
    day = (calls.at[~calls.runs_away] - first) // DAY
    by_day = np.bincount(day, minlength=90)
    weekend = np.isin(np.arange(90) % 7, (5, 6))
    assert by_day[weekend].mean() < 0.45 * by_day[~weekend].mean()
    assert by_day[-14:].sum() > 1.25 * by_day[:14].sum()


def test_the_runaway_user_calls_as_much_as_everybody_and_only_then(calls: Traffic, happened: Happenings) -> None:
    runaway = happened.runaway
    theirs = calls.at[calls.runs_away]
    assert (theirs >= runaway.begins).all()
    assert (theirs < runaway.ends).all()
    assert len(theirs) / ((runaway.ends - runaway.begins) / DAY) == pytest.approx(360, rel=0.15)
    assert set(calls.user[calls.runs_away]) == {RUNAWAY_USER}


def test_happenings_hold_as_long_as_they_are_said_to(happened: Happenings) -> None:
    for one in happened.listed:
        at = np.array([one.begins - 1, one.begins, one.ends - 1, one.ends])
        changed = {
            "price": happened.price(one.model, at) != 1,
            "slow": happened.slower(one.model, at) != 1,
            "quality": happened.shift(one.model, at) != 0,
            "outage": happened.failing(one.model, at, 0.0) > 0,
            "overload": happened.failing(one.model, at, 0.0) > 0,
        }[one.kind]
        assert list(changed[1:]) == [True, True, False]
    # The end of the period is a fair place to hold out: prices are those of the configuration, nobody is out.
    last = np.array([(START - date(1970, 1, 1)).days * DAY + 89 * DAY])
    for model in CHAT:
        assert happened.price(model.id, last) == happened.slower(model.id, last) == 1
        assert happened.shift(model.id, last) == 0


def test_every_model_that_may_answer_is_drawn_with_a_known_probability(calls: Traffic, happened: Happenings) -> None:
    choices = choose(calls, np.full(len(calls), 200), happened, np.random.default_rng(2))
    draws = np.isin(calls.asked.astype(str), ("auto", "private"))
    rows = np.arange(len(calls))
    assert choices.allowed[rows, choices.chosen][draws].all()
    least = EXPLORE / choices.allowed.sum(axis=1)
    assert (choices.propensity[draws] >= least[draws] - 1e-12).all()
    assert (choices.propensity[~draws] == 1).all()
    # Inverse propensities of those drawn sum up to the number of draws for each model that was always allowed.
    auto = calls.asked == "auto"
    for number, model in enumerate(CHAT):
        weights = np.where(choices.chosen[auto] == number, 1 / choices.propensity[auto], 0)
        error = weights.std() / np.sqrt(auto.sum())
        assert abs(weights.mean() - 1) < 5 * error, model.id
    private = calls.asked == "private"
    assert {CHAT[number].provider for number in choices.chosen[private]} == {"simulated-local"}


def test_what_tasks_are_taken_for_is_mostly_right(calls: Traffic, happened: Happenings) -> None:
    choices = choose(calls, np.full(len(calls), 200), happened, np.random.default_rng(2))
    assert 0.85 < (choices.domain == calls.domain).mean() < 0.95
    assert 0.75 < (choices.complexity == calls.complexity).mean() < 0.9


@given(st.integers(0, 2**32), st.sampled_from(WORKSPACES), st.sampled_from(COMPLEXITIES))
def test_the_words_state_the_task_whatever_is_around_them(seed: int, habits: object, complexity: str) -> None:
    from features.world.llm.workspaces import Habits

    assert isinstance(habits, Habits)
    speaker = Speaker(habits, Random(seed))
    for domain in habits.tasks:
        said = speaker.say(domain, complexity)
        messages, before, _ = speaker.messages("somebody", said, f"{seed:032x}")
        assert recognise(messages[-1]["content"]) == said.task
        assert said.tokens == sum(count(one["content"]) + 4 for one in (messages[0], messages[-1]))
        assert before == sum(count(one["content"]) + 4 for one in messages[1:-1])
        speaker.hear("somebody", said, "Yes.")


def test_conversations_go_on_in_turns_and_end() -> None:
    speaker = Speaker(WORKSPACES[0], Random(5))
    lengths, names = set(), []
    for number in range(60):
        said = speaker.say("conversation", "simple")
        messages, _, conversation = speaker.messages("anna", said, f"{number:032x}")
        speaker.hear("anna", said, f"Answer {number}")
        if conversation is None:
            continue
        roles = [message["role"] for message in messages]
        assert roles == ["system", *["user", "assistant"] * ((len(roles) - 2) // 2), "user"]
        lengths.add(len(roles))
        names.append(conversation)
    assert len(lengths) > 2
    assert max(lengths) <= 10
    assert 1 < len(set(names)) < len(names)


def test_a_long_system_prompt_says_the_same_again() -> None:
    legal = next(one for one in WORKSPACES if one.name == "legal")
    lines = system_prompt(legal).splitlines()
    assert len(lines) > 2 * len(set(lines))
    assert count(system_prompt(legal)) > 1_024


def test_good_answers_please_more_often() -> None:
    rng = Random(4)
    means = [sum(judge(quality, 0.04, rng).score for _ in range(2_000)) / 2_000 for quality in (0, 0.3, 0.6, 1)]
    assert means == sorted(means)
    assert means[0] < 0.15
    assert means[-1] > 0.8
    assert all(0 <= judge(rng.random(), 0.0, rng).score <= 1 for _ in range(500))


@given(st.integers(0, 2**41 * 1000), st.integers(0, 2**41 * 1000), st.integers(0, 10**6))
def test_ids_sort_by_time_and_are_what_the_ledger_holds(at: int, other: int, number: int) -> None:
    first, second = call_id(7, at, number), call_id(7, other, number + 1)
    assert len(first) == 32
    assert int(first, 16) >= 0
    if at // 1000 < other // 1000:
        assert first < second
    assert moment(at).startswith("20") or moment(at)[4] == "-"
