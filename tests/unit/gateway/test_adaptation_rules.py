"""The rules of online adaptation: each begins late, holds on, stays within its bounds, and says why."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.improve.adaptation_rules import (
    FLOOR,
    LEFT_TO_SLOW,
    QUIET_S,
    RULES,
    STEP_DOWN,
    STEP_UP,
    Demand,
    Evidence,
    at_least,
    cost,
    errors,
    latency,
    load,
    lowered,
    quality,
    recovery,
)

HELD = Demand("any", 0.5, "held")

evidences = st.builds(
    Evidence,
    answered=st.floats(0, 1e5),
    failed=st.floats(0, 1e5),
    slower=st.none() | st.floats(0, 1e6),
    dearer=st.none() | st.floats(-3, 3),
    dearer_error=st.floats(0, 2),
    paid=st.floats(0, 100),
    busy=st.none() | st.floats(0, 100),
    drop=st.floats(0, 1),
)


@given(evidences, st.none() | st.just(HELD))
def test_what_a_rule_wants_lies_between_the_floor_and_all(evidence: Evidence, held: Demand | None) -> None:
    for name, rule in RULES.items():
        wanted = rule(evidence, held)
        if wanted is not None and wanted is not held:
            assert FLOOR <= wanted.share <= 1.0
            assert wanted.rule == name
            assert wanted.why[0].isupper() or wanted.why[0].isdigit()
            assert wanted.why.endswith(".")
            assert all(math.isfinite(number) for number in wanted.numbers.values())


@given(evidences)
def test_a_rule_that_begins_goes_on(evidence: Evidence) -> None:
    for rule in RULES.values():
        if (begun := rule(evidence, None)) is not None:
            assert rule(evidence, begun) == begun


@given(st.floats(FLOOR, 1.0), st.floats(FLOOR, 1.0))
def test_one_step_down_is_bounded_and_never_up(share: float, wanted: float) -> None:
    after = lowered(share, wanted)
    assert FLOOR <= after <= share
    assert share - after <= STEP_DOWN + 1e-3
    assert after >= wanted or after == share


def test_a_slow_model_is_held_until_it_is_nearly_as_fast_as_usual() -> None:
    assert latency(Evidence(answered=20, slower=2.4), None) is None
    begun = latency(Evidence(answered=20, slower=4.0), None)
    assert begun is not None
    assert begun.share == LEFT_TO_SLOW
    assert latency(Evidence(answered=20, slower=1.8), begun).share == 0.889  # type: ignore[union-attr]
    assert begun.numbers["slower"] == 4.0
    assert "4.0 times" in begun.why
    assert latency(Evidence(answered=20, slower=2.0), begun) is not None
    assert latency(Evidence(answered=20, slower=1.5), begun) is None
    # Too few calls begin nothing; where nothing new is known, it holds.
    assert latency(Evidence(answered=3, slower=9.0), None) is None
    assert latency(Evidence(), begun) is begun


def test_failures_have_to_be_more_than_chance() -> None:
    assert errors(Evidence(answered=8, failed=2), None) is None
    begun = errors(Evidence(answered=30, failed=10), None)
    assert begun is not None
    assert begun.share == pytest.approx(0.75**2, abs=1e-3)
    assert errors(Evidence(answered=93, failed=7), begun) is not None
    assert errors(Evidence(answered=97, failed=3), begun) is None
    assert errors(Evidence(answered=0, failed=40), None).share == FLOOR  # type: ignore[union-attr]
    assert errors(Evidence(), begun) is begun


def test_wilsons_bound_is_the_text_books() -> None:
    # 10 of 100: (0.1 + z²/200 ± …) / (1 + z²/100) with z = 1.645
    assert at_least(10, 100) == pytest.approx(0.0607, abs=1e-3)
    assert at_least(0, 50) == 0.0


def test_a_model_that_costs_more_than_expected_loses() -> None:
    assert cost(Evidence(dearer=math.log(1.3), paid=50), None) is None
    assert cost(Evidence(dearer=math.log(2.0), dearer_error=0.5, paid=50), None) is None, "that may be chance"
    begun = cost(Evidence(dearer=math.log(2.0), dearer_error=0.05, paid=50), None)
    assert begun is not None
    assert begun.share == pytest.approx(1.15 / 2.0, abs=1e-3)
    assert cost(Evidence(dearer=math.log(2.0), dearer_error=0.05, paid=5), None) is None
    assert cost(Evidence(dearer=math.log(1.2), paid=5), begun) is not None
    assert cost(Evidence(dearer=math.log(1.1), paid=50), begun) is None


def test_a_provider_without_a_free_slot_gets_less() -> None:
    assert load(Evidence(busy=0.9), None) is None
    begun = load(Evidence(busy=1.4), None)
    assert begun is not None
    assert begun.share == 0.5
    assert load(Evidence(busy=0.8), begun) is not None
    assert load(Evidence(busy=0.5), begun) is None
    assert load(Evidence(busy=None), begun) is None


def test_worse_answers_cost_a_share_by_how_much_worse_they_are() -> None:
    assert quality(Evidence(), None) is None
    assert quality(Evidence(drop=0.1), None).share == 0.7  # type: ignore[union-attr]
    assert quality(Evidence(drop=0.9), None).share == FLOOR  # type: ignore[union-attr]


def test_recovery_takes_its_time() -> None:
    assert recovery(0.4, QUIET_S - 1) is None
    assert recovery(0.4, QUIET_S).share == pytest.approx(0.4 + STEP_UP)  # type: ignore[union-attr]
    assert recovery(0.97, QUIET_S).share == 1.0  # type: ignore[union-attr]
    assert recovery(1.0, 1e9) is None
