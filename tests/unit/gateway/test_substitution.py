"""A workspace lets a cheaper model answer what is simple: which calls, which share, and what the decision says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.account.workspace_settings import as_json, parse
from gateway.choose.decision import Decision
from gateway.choose.substitution import Substitute, Substitution, substituted, substitution
from gateway.prompt import Prompt
from store.errors import InvalidValue
from tests.unit.gateway.test_choose_decisions import LARGE, LOCAL, MIDDLE, SMALL, chooser, prompt, task

RULE = Substitute(LARGE.id, SMALL.id, ("simple", "moderate"), 0.2, "rec-1")


def decided(found: Substitution, asked: Prompt, complexity: str = "simple") -> tuple[Decision, Substitution]:
    made = chooser()
    what = task(complexity)
    instead = made.decide(replace(asked, model=found.rule.use), what)
    return substituted(found, made.decide(asked, what), instead)


def test_only_calls_that_ask_for_it_and_are_simple_enough_go_to_another_model() -> None:
    simple, hard = task("simple"), task("complex")
    assert substitution((RULE,), prompt(LARGE.id), simple) is not None
    assert substitution((RULE,), prompt(LARGE.id), hard) is None
    assert substitution((RULE,), prompt(MIDDLE.id), simple) is None
    assert substitution((RULE,), prompt("auto"), simple) is None
    assert substitution((), prompt(LARGE.id), simple) is None
    assert substitution((RULE,), prompt(LARGE.id, kind="embeddings", body={"input": "x"}), simple) is None


def test_what_a_conversation_is_in_the_middle_of_stays_with_its_model() -> None:
    tool = {"messages": [{"role": "user", "content": "Hi"}, {"role": "tool", "content": "7", "tool_call_id": "1"}]}
    assert substitution((RULE,), prompt(LARGE.id, body=tool), task("simple")) is None
    assert substitution((RULE,), replace(prompt(LARGE.id), stay=LARGE.id), task("simple")) is None


def test_a_share_is_held_back_by_chance_and_the_same_call_is_always_drawn_alike() -> None:
    found = [substitution((RULE,), prompt(LARGE.id, number=n), task("simple")) for n in range(3_000)]
    held = [one is not None and one.part == "held back" for one in found]
    assert 0.17 < sum(held) / len(held) < 0.23
    assert found == [substitution((RULE,), prompt(LARGE.id, number=n), task("simple")) for n in range(3_000)]
    never = replace(RULE, held_back=0.0)
    assert all(substitution((never,), prompt(LARGE.id, number=n), task("simple")).part == "used" for n in range(200))  # type: ignore[union-attr]


def test_the_decision_says_so_and_falls_back_to_what_was_asked_for() -> None:
    decision, found = decided(Substitution(RULE, "used"), prompt(LARGE.id))
    assert [one.model.id for one in decision.ranked][:2] == [SMALL.id, LARGE.id]
    assert decision.asked == LARGE.id
    assert decision.strategy == "explicit"
    assert decision.propensity == pytest.approx(0.8)
    assert "a/small answer simple tasks that ask for c/large (recommendation rec-1)" in decision.reason
    assert found.explain() == {"use": SMALL.id, "part": "used", "because": "rec-1"}


def test_a_call_that_is_held_back_is_decided_as_before() -> None:
    decision, _ = decided(Substitution(RULE, "held back"), prompt(LARGE.id))
    assert decision.chosen.model.id == LARGE.id
    assert decision.propensity == pytest.approx(0.2)
    assert "Held back" in decision.reason


def test_a_model_that_may_not_answer_changes_nothing() -> None:
    as_asked = chooser().decide(prompt(LARGE.id), task("simple"))
    decision, found = substituted(Substitution(RULE, "used"), as_asked, None)
    assert decision.ranked == as_asked.ranked
    assert decision.propensity == as_asked.propensity
    assert found.part == "not possible"


def test_settings_keep_rules_in_their_order_and_refuse_one_in_place_of_itself() -> None:
    rules = [
        {"asked": "z/z", "use": "a/a", "complexities": ["simple"]},
        {"asked": "b/b", "use": LOCAL.id, "held_back": 0.0, "because": "rec-2"},
    ]
    made = parse({"substitutes": rules})
    assert [one.asked for one in made.substitutes] == ["z/z", "b/b"]
    assert parse(as_json(made)) == made
    with pytest.raises(InvalidValue, match=r"substitutes\.0"):
        parse({"substitutes": [{"asked": "a/a", "use": "a/a"}]})
    with pytest.raises(InvalidValue, match="held_back"):
        parse({"substitutes": [{"asked": "a/a", "use": "b/b", "held_back": 0.9}]})
