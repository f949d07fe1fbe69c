"""What is learned of a user's liking, how far, and that it is kept."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.account.preference_store import FRESH_S, PreferenceStore, subject_of
from gateway.choose.catalogue import DOMAINS
from gateway.choose.preferences import HALF_LIFE_DAYS, INDIFFERENT, Preferences, asked_again, part_kept
from gateway.prompt import Tenant
from store.errors import InvalidValue
from store.settings import Settings

NOW = datetime(2026, 11, 30, 12)
SIGNS = st.tuples(
    st.sampled_from(["a/x", "a/y", "b/z"]),
    st.sampled_from([*DOMAINS, "cooking"]),
    st.sampled_from(["thumb", "stars", "edit", "repeat"]),
    st.floats(0, 1),
    st.integers(0, 400),
)


def taught(*signs: tuple[str, str, str, float], at: datetime = NOW) -> Preferences:
    made = Preferences()
    for model, domain, source, score in signs:
        made.learn(model, domain, source, score, at)
    return made


def test_nothing_known_is_indifference() -> None:
    assert Preferences().liking("a/x", "code") == INDIFFERENT
    assert Preferences().rank(["b", "a"], "code") == [("a", INDIFFERENT), ("b", INDIFFERENT)]


def test_a_few_signs_move_a_little_and_many_a_lot() -> None:
    likings = [taught(*[("a/x", "code", "thumb", 1.0)] * count).liking("a/x", "code") for count in (0, 1, 4, 40)]
    assert likings == sorted(likings)
    assert likings[1] < 0.7
    assert likings[3] > 0.9
    assert taught(("a/x", "code", "thumb", 0.0)).liking("a/x", "code") < 0.5


def test_what_was_seen_in_one_domain_counts_less_in_another() -> None:
    made = taught(*[("a/x", "code", "stars", 1.0)] * 6, *[("a/x", "writing", "stars", 0.0)] * 2)
    assert made.liking("a/x", "code") > made.liking("a/x", "math") > made.liking("a/x", "writing")
    assert made.liking("a/x", "math") > 0.5


def test_an_edit_and_a_repeat_weigh_half() -> None:
    whole, half = (taught(("a/x", "code", source, 0.0)).liking("a/x", "code") for source in ("thumb", "repeat"))
    assert whole < half < 0.5


def test_old_signs_fade() -> None:
    made = taught(*[("a/x", "code", "thumb", 0.0)] * 8)
    before = made.liking("a/x", "code")
    made.learn("b/z", "code", "thumb", 1.0, NOW + timedelta(days=10 * HALF_LIFE_DAYS))
    assert before < 0.3
    assert made.liking("a/x", "code") == pytest.approx(0.5, abs=0.01)


def test_what_is_said_wins_until_it_is_taken_back() -> None:
    made = taught(*[("a/x", "code", "thumb", 0.0)] * 8)
    made.say("a/x", 0.9)
    assert made.liking("a/x", "code") == 0.9
    made.say("a/x", None)
    assert made.liking("a/x", "code") < 0.3
    made.say("b/z", 0.8)
    made.forget()
    assert (made.liking("a/x", "code"), made.liking("b/z", "code")) == (0.5, 0.8)


@given(st.lists(SIGNS, max_size=30), st.randoms(use_true_random=False))
def test_signs_may_come_in_any_order_and_likings_stay_likings(signs: list[Any], random: Any) -> None:
    shuffled = list(signs)
    random.shuffle(shuffled)
    first, second = Preferences(), Preferences()
    for some, made in ((signs, first), (shuffled, second)):
        for model, domain, source, score, day in some:
            made.learn(model, domain, source, score, NOW + timedelta(days=day))
    for model in ("a/x", "a/y", "b/z"):
        for domain in DOMAINS:
            assert 0.0 < first.liking(model, domain) < 1.0
            assert first.liking(model, domain) == pytest.approx(second.liking(model, domain), abs=1e-9)


@given(st.lists(SIGNS, max_size=12), st.dictionaries(st.sampled_from(["a/x", "q/r"]), st.floats(0, 1)), st.floats(0, 1))
def test_what_is_written_is_read_again(signs: list[Any], said: dict[str, float], tradeoff: float) -> None:
    made = Preferences(said, tradeoff)
    for model, domain, source, score, day in signs:
        made.learn(model, domain, source, score, NOW + timedelta(days=day))
    again = Preferences.from_dict(orjson.loads(orjson.dumps(made.as_dict())))
    assert again.as_dict() == made.as_dict()
    assert [one["model"] for one in again.explain()] == [one["model"] for one in made.explain()]


def test_evidence_is_bounded() -> None:
    made = Preferences()
    for number in range(700):
        made.learn(f"p/m{number}", "code", "thumb", 1.0, NOW)
    assert len(made.as_dict()["seen"]) == 500


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.learn("a/x", "code", "shout", 1.0, NOW),
        lambda made: made.learn("a/x", "code", "thumb", 1.1, NOW),
        lambda made: made.learn("a/x", "code", "thumb", float("nan"), NOW),
        lambda made: made.say("a/x", -0.1),
        lambda made: made.trade(2.0),
    ],
)
def test_numbers_that_are_none_are_refused(change: Any) -> None:
    with pytest.raises(InvalidValue):
        change(Preferences())


def test_asking_the_same_again_soon_is_a_sign() -> None:
    question = "How do I undo the last commit in git without losing my changes?"
    assert asked_again(question, question.upper(), 60)
    assert asked_again(question, "How do I undo the last commit in git, without losing changes?", 60)
    assert not asked_again(question, question, 3_600)
    assert not asked_again(question, "How do I rename a branch in git?", 60)
    assert not asked_again("", "", 1)


def test_the_part_of_an_answer_that_was_kept() -> None:
    assert part_kept("one two three four", "one two three four") == 1.0
    assert part_kept("one two three four", "one two") == 0.5
    assert part_kept("one two", "three") == 0.0
    assert part_kept("", "") == 1.0


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "postgres":
        return Settings(home=settings.home, threads=1, database_url=request.getfixturevalue("migrated_postgres_url"))
    return settings


def test_preferences_are_kept_for_each_user_of_each_workspace(home: Settings) -> None:
    store = PreferenceStore(home)
    kim = Tenant(workspace="w", user="kim")
    assert store.of(kim) is None
    store.learn("w", "kim", "a/x", "code", "thumb", 1.0)
    found = store.of(kim)
    assert found is not None
    assert found.liking("a/x", "code") > 0.5
    assert store.of(Tenant(workspace="v", user="kim")) is None
    assert PreferenceStore(home).get("w", "kim").as_dict() == found.as_dict()
    edited = store.edit("w", "kim", said={"b/z": 0.2}, tradeoff=0.9, forget=True)
    assert (edited.liking("a/x", "code"), edited.said, edited.tradeoff) == (0.5, {"b/z": 0.2}, 0.9)
    assert store.edit("w", "kim", said={"b/z": None}).said == {}
    assert (store.erase("w", "kim"), store.erase("w", "kim")) == (True, False)
    assert store.of(kim) is None


def test_a_change_that_is_refused_changes_nothing(home: Settings) -> None:
    store = PreferenceStore(home)
    store.edit("w", "kim", said={"a/x": 0.3})
    with pytest.raises(InvalidValue):
        store.edit("w", "kim", said={"a/x": 0.9, "b/z": 7.0})
    assert store.get("w", "kim").said == {"a/x": 0.3}
    assert store.of(Tenant(workspace="w", user="kim")).said == {"a/x": 0.3}  # type: ignore[union-attr]


def test_signs_that_come_at_once_are_all_counted(home: Settings) -> None:
    PreferenceStore(home)

    def learn() -> None:
        store = PreferenceStore(home)
        for _ in range(5):
            store.learn("w", "kim", "a/x", "code", "thumb", 1.0, NOW)

    threads = [threading.Thread(target=learn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert PreferenceStore(home).get("w", "kim").explain()[0]["answers"] == 20


def test_another_process_sees_a_change_after_a_while(settings: Settings) -> None:
    now = [0.0]
    store, other = PreferenceStore(settings, lambda: now[0]), PreferenceStore(settings)
    tenant = Tenant(workspace="w", key_name="batch")
    assert subject_of(tenant) == "key:batch"
    assert store.of(tenant) is None
    other.edit("w", "key:batch", said={"a/x": 1.0})
    assert store.of(tenant) is None
    now[0] += FRESH_S + 0.1
    assert store.of(tenant).said == {"a/x": 1.0}  # type: ignore[union-attr]


def test_users_are_not_kept_in_memory_without_bound(settings: Settings) -> None:
    store = PreferenceStore(settings)
    for number in range(2_100):
        store._remember(("w", str(number)), None)
    assert len(store._known) == 2_000
