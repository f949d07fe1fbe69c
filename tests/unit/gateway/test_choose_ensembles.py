"""Votes: what counts as the same answer, who wins, and what no order of members and no failure may change."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.choose.answers import alike, groups_of, normalised
from gateway.choose.ensemble import RULES, Ensemble
from gateway.choose.ensembles import TIE_RULE, Member, Verdict, combine, confidence_of, stated_confidence
from store.errors import InvalidValue, NoConsensus, UpstreamFailed


def member(model: str, text: str, **more: object) -> Member:
    return Member(f"p/{model}", text, **more)  # type: ignore[arg-type]


def decide(rule: str, members: list[Member], failed: tuple[str, ...] = ()) -> Verdict:
    return combine(rule, members, failed, scorer=lambda one: len(one.text), threshold=0.51)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("1,000", "1000.0"),
        ("1 000", "1000"),
        ("$1,000", "1000"),
        ("**42**", "42."),
        ("The answer is 42", "42"),
        ("Answer: 42", "After some thought: 40 + 2.\n\nFinal answer: **42**"),
        ("Let us see.\n#### 42", "\\boxed{42}"),
        ("answer: 42. Because 6 × 7 = 42.", "42"),
        ("Die Antwort lautet: 42", "42.0"),
        ("Réponse : Paris", "paris"),
        ("(B)", "Option B"),
        ("B.", "b"),
        ("The Eiffel Tower", "eiffel tower."),
        ("Paris\nConfidence: 90%", "Paris"),
        ('{"a": 1, "b": [2.0]}', '```json\n{"b": [2], "a": 1.0}\n```'),
        ("```python\nx = 1  \n\ny = 2\n```", "Here:\n```py\nx = 1\ny = 2\n```"),
        ("50%", "50 %"),
        ("-3", "−3"),
    ],
)
def test_the_same_answer_in_other_clothes(first: str, second: str) -> None:
    assert normalised(first) == normalised(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("42", "43"),
        ("42", "42%"),
        ("1.5", "15"),
        ("Answer: Dr. Smith", "Answer: Dr. Jones"),
        ("A", "B"),
        ('{"a": 1}', '{"a": 2}'),
        ("```\nx = 1\n```", "```\nX = 1\n```"),
        ("yes", "no"),
    ],
)
def test_other_answers(first: str, second: str) -> None:
    assert normalised(first) != normalised(second)


def test_free_texts_are_alike_by_their_words_but_not_past_their_numbers_or_a_denial() -> None:
    text = "The delivery was late because the supplier in Lyon had no trucks left on Friday"
    other = "The delivery was late since the supplier in Lyon had no trucks left on the Friday"
    assert alike(text, other) > 0.6
    assert alike(text, "Our new office has a wonderful view over the river and the old bridge") < 0.3
    assert alike(f"{text}, 42 in all", f"{text}, 43 in all") == 0.0
    assert alike("The contract may be ended by either side within the first month",
                 "The contract may not be ended by either side within the first month") == 0.0  # fmt: skip
    assert groups_of([text, "42", other, "42.0"]) == [[1, 3], [0, 2]]


def test_the_majority_wins() -> None:
    verdict = decide("majority", [member("a", "42"), member("b", "41"), member("c", "Answer: 42.0")])
    assert verdict.winner in (0, 2)
    assert verdict.agreement == pytest.approx(2 / 3)
    assert verdict.tie_rule is None
    assert "2 of 3" in verdict.reason


def test_a_tie_goes_to_quality_then_price_then_name() -> None:
    verdict = decide("majority", [member("a", "1", quality=0.5), member("b", "2", quality=0.9)])
    assert (verdict.winner, verdict.tie_rule) == (1, TIE_RULE)
    verdict = decide("majority", [member("a", "1", quality=0.5, cost=9), member("b", "2", quality=0.5, cost=3)])
    assert verdict.winner == 1
    assert decide("majority", [member("b", "1"), member("a", "2")]).winner == 1


def test_weights_decide_where_they_are_given() -> None:
    members = [member("a", "1", weight=3.0), member("b", "2"), member("c", "2")]
    assert decide("weighted", members).winner == 0
    assert decide("majority", members).winner != 0
    without = [member("a", "1", weight=0.0), member("b", "2", weight=0.0), member("c", "2", weight=0.0)]
    assert decide("weighted", without).winner != 0


def test_sums_that_differ_in_their_last_digit_are_equal() -> None:
    parts = [member("a", "1", weight=0.1, quality=0.2), member("b", "1", weight=0.2, quality=0.2)]
    verdict = decide("weighted", [*parts, member("c", "2", weight=0.3, quality=0.9)])
    assert (verdict.winner, verdict.tie_rule) == (2, TIE_RULE)


def test_confidence_comes_from_probabilities_then_words_then_quality() -> None:
    sure = [member("a", "1", confidence=0.99), member("b", "2", confidence=0.4), member("c", "2", confidence=0.4)]
    assert decide("confidence", sure).winner == 0
    told = [
        member("a", "Answer: 1\nConfidence: 95%"),
        member("b", "Answer: 2\nConfidence: 3/10"),
        member("c", "2", quality=0.2),
    ]
    assert decide("confidence", told).winner == 0
    assert confidence_of([math.log(0.5), math.log(0.5)]) == pytest.approx(0.5)
    assert confidence_of([]) is None
    assert [stated_confidence(f"confidence: {one}") for one in ("85%", "0.85", "8/10", "850%", "high")] == [
        0.85, 0.85, 0.8, None, None,
    ]  # fmt: skip


def test_best_of_n_takes_the_highest_score_and_nan_is_none() -> None:
    scores = {"p/a": float("nan"), "p/b": 0.2, "p/c": 0.9}
    members = [member("a", "x"), member("b", "y"), member("c", "z")]
    assert combine("best-of-n", members, scorer=lambda one: scores[one.model]).winner == 2
    with pytest.raises(InvalidValue, match="scorer"):
        combine("best-of-n", members)


def test_consensus_says_when_there_is_none() -> None:
    members = [member("a", "1"), member("b", "2"), member("c", "3")]
    with pytest.raises(NoConsensus, match="do not agree") as caught:
        combine("consensus", members)
    assert len(caught.value.details["votes"]) == 3
    assert combine("consensus", [*members[:1], member("b", "1.0"), member("c", "3")], threshold=0.6).winner in (0, 1)
    with pytest.raises(NoConsensus, match="Only 1 of 3"):
        combine("consensus", members[:1], ["p/b", "p/c"])


def test_members_that_failed_or_said_nothing_have_no_vote() -> None:
    members = [member("a", "  "), member("b", "2", finish="content_filter"), member("c", "3")]
    verdict = decide("majority", members, ("p/d",))
    assert verdict.winner == 2
    assert "3 of 4 did not answer" in verdict.reason
    with pytest.raises(UpstreamFailed, match="None of the 2"):
        combine("majority", [member("a", "")], ["p/b"])


def test_what_an_ensemble_may_be() -> None:
    for wrong in (
        {"rule": "loudest"},
        {"members": ("a",)},
        {"size": 1},
        {"threshold": 0.5},
        {"weights": {"a": float("nan")}},
    ):
        with pytest.raises(InvalidValue):
            Ensemble(**{"rule": "majority", **wrong})  # type: ignore[arg-type]
    assert Ensemble("consensus", size=5).least == 3
    assert Ensemble("majority", size=5).least == 1


texts = st.one_of(
    st.sampled_from(["42", "42.0", "Answer: 42", "41", "B", "(b)", '{"a":1}', '{"a": 1.0}', " ", "```\nx\n```"]),
    st.text(max_size=60),
    st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "red", "mat", "in", "our", "house", "not", "3", "7"]),
             min_size=6, max_size=14).map(" ".join),
)  # fmt: skip
members_ = st.lists(
    st.builds(
        Member,
        st.sampled_from(["p/a", "p/b", "q/c", "q/d"]),
        texts,
        st.sampled_from([None, "stop", "length", "content_filter"]),
        st.none() | st.floats(0, 1),
        st.none() | st.floats(0, 1),
        st.floats(0, 5),
        st.integers(0, 10**9),
    ),
    min_size=1,
    max_size=7,
)


@given(members_, st.sampled_from(RULES), st.lists(st.just("p/z"), max_size=3), st.integers(0, 10**6))
def test_the_order_of_members_does_not_matter(members: list[Member], rule: str, failed: list[str], seed: int) -> None:
    def outcome(some: list[Member]) -> object:
        try:
            verdict = combine(rule, some, failed, scorer=lambda one: len(one.text) % 3, threshold=0.6)
        except (NoConsensus, UpstreamFailed) as error:
            return type(error), error.message
        won = some[verdict.winner]
        return won.model, won.text, round(verdict.agreement, 9), verdict.reason, verdict.tie_rule

    shuffled = list(members)
    random.Random(seed).shuffle(shuffled)
    assert outcome(shuffled) == outcome(members)


@given(members_, st.sampled_from([rule for rule in RULES if rule != "consensus"]))
def test_votes_add_up_and_no_member_without_an_answer_wins(members: list[Member], rule: str) -> None:
    answered = [n for n, one in enumerate(members) if one.text.strip() and one.finish != "content_filter"]
    if not answered:
        with pytest.raises(UpstreamFailed):
            decide(rule, members)
        return
    verdict = decide(rule, members)
    assert verdict.winner in answered
    assert sorted(place for vote in verdict.votes for place in vote.members) == answered
    assert verdict.winner in verdict.votes[0].members
    assert 0.0 <= verdict.agreement <= 1.0 + 1e-9
    if rule == "majority":
        assert sum(vote.weight for vote in verdict.votes) == len(answered)
        assert len(verdict.votes[0].members) == max(len(vote.members) for vote in verdict.votes)


@given(st.text(max_size=300))
def test_normalising_never_raises_and_is_the_same_for_what_it_made(text: str) -> None:
    assert normalised(text) == normalised(f"  {text}\n")
    assert isinstance(normalised(text), str)
