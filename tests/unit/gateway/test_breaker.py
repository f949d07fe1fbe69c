"""Circuit breakers: what opens one, what closes it, one probe at a time, and whose fault counts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.call.breaker import Breakers, BreakerState, Permit, Policy

MODEL, OTHER, ELSE = "acme/large", "acme/small", "umbrella/large"
POLICY = Policy(open_s=10.0, longest_open_s=100.0, jitter=0.0, consecutive=3, fewest_calls=10, window_s=60.0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(clock, POLICY)


def admitted(breakers: Breakers, model: str = MODEL) -> Permit:
    permit = breakers.admit(model)
    assert permit is not None, breakers.why_closed_to(model)
    return permit


def fail(
    breakers: Breakers, times: int = 1, model: str = MODEL, kind: Any = "server", after: float | None = None
) -> None:
    for _ in range(times):
        breakers.failed(admitted(breakers, model), kind, after)


def opened(breakers: Breakers, model: str = MODEL) -> None:
    fail(breakers, POLICY.consecutive, model)
    assert breakers.admit(model) is None


def test_consecutive_failures_open_and_one_success_in_between_does_not(breakers: Breakers) -> None:
    fail(breakers, 2)
    breakers.succeeded(admitted(breakers))
    fail(breakers, 2)
    assert breakers.why_closed_to(MODEL) is None
    fail(breakers)
    assert breakers.admit(MODEL) is None
    assert breakers.why_closed_to(MODEL) == "circuit open for another 10.0 s (last failure: server)"
    assert breakers.admit(OTHER) is not None


def test_twenty_five_failures_in_a_row_do_not_stay_in_rotation(breakers: Breakers) -> None:
    reached = 0
    for _ in range(25):
        permit = breakers.admit(MODEL)
        if permit is not None:
            reached += 1
            breakers.failed(permit, "server")
    assert reached == POLICY.consecutive


def test_the_share_of_failures_opens_only_with_enough_calls_in_the_window(breakers: Breakers, clock: Clock) -> None:
    for number in range(9):
        permit = admitted(breakers)
        if number % 2:
            breakers.failed(permit, "timeout")
        else:
            breakers.succeeded(permit)
    assert breakers.why_closed_to(MODEL) is None  # 4 of 9
    fail(breakers)  # 5 of 10
    assert breakers.admit(MODEL) is None
    breakers.reset(MODEL)
    for _ in range(3):
        breakers.succeeded(admitted(breakers))
        fail(breakers, 2)
        clock.now += 31.0  # Never ten calls within a minute.
        assert breakers.why_closed_to(MODEL) is None
    assert breakers.state(MODEL).calls == 3


def test_a_failed_probe_reopens_for_longer_each_time_up_to_a_cap(breakers: Breakers, clock: Clock) -> None:
    opened(breakers)
    spans = []
    for _ in range(6):
        waited = breakers.ready_in(MODEL)
        assert waited is not None
        spans.append(waited)
        clock.now += waited - 0.01
        assert breakers.admit(MODEL) is None
        clock.now += 0.02
        breakers.failed(admitted(breakers), "server")
    assert spans == pytest.approx([10, 20, 40, 80, 100, 100])
    assert breakers.state(MODEL).opens == 7


def test_what_flaps_keeps_its_long_openings_and_what_has_been_calm_is_forgiven(
    breakers: Breakers, clock: Clock
) -> None:
    opened(breakers)
    clock.now += 10
    breakers.succeeded(admitted(breakers))
    opened(breakers)
    assert breakers.ready_in(MODEL) == pytest.approx(20)
    clock.now += 20
    breakers.succeeded(admitted(breakers))
    clock.now += POLICY.forgiven_s + 1
    opened(breakers)
    assert breakers.ready_in(MODEL) == pytest.approx(10)


def test_jitter_takes_some_of_the_time_and_never_adds(clock: Clock) -> None:
    spans = set()
    for seed in range(20):
        one = Breakers(clock, Policy(open_s=10, jitter=0.2, consecutive=1), rng=random.Random(seed))
        fail(one)
        span = one.ready_in(MODEL)
        assert span is not None
        assert 8.0 <= span <= 10.0
        spans.add(span)
    assert len(spans) == 20


def test_half_open_lets_one_probe_through_and_its_success_closes(breakers: Breakers, clock: Clock) -> None:
    opened(breakers)
    clock.now += 10
    assert breakers.state(MODEL).state == "half_open"
    probe = admitted(breakers)
    assert probe.is_probe
    assert [breakers.admit(MODEL) for _ in range(50)] == [None] * 50
    assert breakers.why_closed_to(MODEL) == "half open, one probe is under way (last failure: server)"
    breakers.succeeded(probe)
    assert breakers.state(MODEL).state == "closed"
    assert not admitted(breakers).is_probe


def test_a_cancelled_probe_gives_its_place_back_and_judges_nothing(breakers: Breakers, clock: Clock) -> None:
    opened(breakers)
    clock.now += 10
    for end in ("abandoned", "refused", "too_long"):
        probe = admitted(breakers)
        if end == "abandoned":
            breakers.abandoned(probe)
        else:
            breakers.failed(probe, end)
        assert breakers.state(MODEL).state == "half_open"
        breakers.succeeded(probe)  # Told too late.
        assert breakers.state(MODEL).state == "half_open"
    assert admitted(breakers).is_probe
    assert breakers.state(MODEL).opens == 1


def test_a_probe_that_is_never_told_of_does_not_close_the_model_for_ever(breakers: Breakers, clock: Clock) -> None:
    opened(breakers)
    clock.now += 10
    lost = admitted(breakers)
    clock.now += POLICY.lease_s - 0.1
    assert breakers.admit(MODEL) is None
    clock.now += 0.2
    second = admitted(breakers)
    breakers.failed(lost, "server")  # Of no consequence any more.
    assert breakers.admit(MODEL) is None
    breakers.succeeded(second)
    assert breakers.why_closed_to(MODEL) is None


def test_calls_that_began_before_the_opening_do_not_count_after_it(breakers: Breakers, clock: Clock) -> None:
    early = [admitted(breakers) for _ in range(100)]
    for permit in early[:50]:
        breakers.failed(permit, "server")
    assert breakers.state(MODEL).opens == 1
    breakers.succeeded(early[50])  # A slow success from before closes nothing.
    assert breakers.admit(MODEL) is None
    clock.now += 10
    breakers.succeeded(admitted(breakers))
    for permit in early[51:]:
        breakers.failed(permit, "server")
    assert breakers.why_closed_to(MODEL) is None


@pytest.mark.parametrize("kind", ["refused", "too_long"])
def test_the_callers_faults_open_nothing(breakers: Breakers, kind: Any) -> None:
    fail(breakers, 100, kind=kind)
    assert breakers.state(MODEL).failures == 0
    assert breakers.why_closed_to(MODEL) is None


@pytest.mark.parametrize("kind", ["connect", "timeout", "stalled", "closed", "malformed", "server", "unknown_model"])
def test_the_models_faults_count(breakers: Breakers, kind: Any) -> None:
    fail(breakers, 3, kind=kind)
    assert breakers.admit(MODEL) is None
    assert breakers.state(MODEL).last_error == kind


def test_overloaded_with_a_time_sets_aside_without_counting(breakers: Breakers, clock: Clock) -> None:
    for _ in range(10):
        fail(breakers, kind="overloaded", after=7.0)
        assert breakers.admit(MODEL) is None
        assert breakers.ready_in(MODEL) == pytest.approx(7)
        assert breakers.why_closed_to(MODEL) == "the provider asked to be left alone for another 7.0 s"
        assert breakers.admit(OTHER) is not None
        clock.now += 7
    state = breakers.state(MODEL)
    assert (state.state, state.opens, state.failures) == ("closed", 0, 0)
    assert breakers.admit(MODEL) is not None


def test_overloaded_without_a_time_counts(breakers: Breakers) -> None:
    fail(breakers, 3, kind="overloaded")
    assert breakers.state(MODEL).state == "open"


def test_a_probe_that_is_asked_to_come_back_later_does(breakers: Breakers, clock: Clock) -> None:
    opened(breakers)
    clock.now += 10
    fail(breakers, kind="overloaded", after=30.0)
    assert breakers.ready_in(MODEL) == pytest.approx(30)
    clock.now += 30
    assert admitted(breakers).is_probe
    assert breakers.state(MODEL).opens == 1


def test_retry_after_lengthens_the_opening_and_is_believed_within_reason(breakers: Breakers) -> None:
    fail(breakers, 2)
    fail(breakers, kind="server", after=55.0)
    assert breakers.ready_in(MODEL) == pytest.approx(55)
    fail(breakers, model=OTHER, kind="server", after=4.0)
    assert breakers.ready_in(OTHER) == pytest.approx(4)
    fail(breakers, model=ELSE, kind="overloaded", after=1e9)
    assert breakers.ready_in(ELSE) == pytest.approx(POLICY.longest_aside_s)


def test_a_refused_key_closes_the_provider_at_once_and_one_success_opens_it(breakers: Breakers, clock: Clock) -> None:
    fail(breakers, kind="credentials")
    assert breakers.admit(OTHER) is None
    reason = breakers.why_closed_to(OTHER)
    assert reason == "the provider acme: circuit open for another 10.0 s (last failure: credentials)"
    assert breakers.admit(ELSE) is not None
    clock.now += 10
    probe = admitted(breakers, OTHER)
    assert breakers.admit(MODEL) is None
    breakers.succeeded(probe)
    assert breakers.state("acme").state == "closed"
    assert not admitted(breakers, OTHER).is_probe


def test_a_model_that_the_key_may_not_use_does_not_keep_its_provider_closed(breakers: Breakers, clock: Clock) -> None:
    fail(breakers, kind="credentials")
    clock.now += 10
    breakers.succeeded(admitted(breakers, OTHER))
    for _ in range(3):
        clock.now += 100
        fail(breakers, kind="credentials")
        assert breakers.admit(MODEL) is None
        assert breakers.admit(OTHER) is not None
    fail(breakers, kind="credentials", model=OTHER)  # Revoked after all.
    assert breakers.state("acme").state == "open"


def test_a_provider_that_is_probed_by_a_model_broken_itself_lets_another_try(breakers: Breakers, clock: Clock) -> None:
    fail(breakers, kind="credentials", model=ELSE)
    fail(breakers, kind="credentials")
    clock.now += 10
    fail(breakers, kind="server")
    assert breakers.admit(MODEL) is None
    breakers.succeeded(admitted(breakers, OTHER))
    assert breakers.state("acme").state == "closed"


def test_drained_is_closed_until_it_is_not(breakers: Breakers) -> None:
    under_way = admitted(breakers)
    breakers.drain(MODEL)
    assert breakers.admit(MODEL) is None
    assert breakers.why_closed_to(MODEL) == "drained by an operator"
    assert breakers.ready_in(MODEL) is None
    assert breakers.admit(OTHER) is not None
    breakers.succeeded(under_way)
    assert breakers.state(MODEL).calls == 1
    breakers.undrain(MODEL)
    breakers.drain("acme")
    assert breakers.admit(MODEL) is None
    assert breakers.admit("acme/new") is None
    assert breakers.why_closed_to(OTHER) == "the provider acme: drained by an operator"
    breakers.undrain("acme")
    assert breakers.admit(OTHER) is not None


def test_reset_closes_and_forgets(breakers: Breakers) -> None:
    opened(breakers)
    opened(breakers, OTHER)
    fail(breakers, kind="overloaded", after=100.0, model="acme/third")
    breakers.reset(MODEL)
    fail(breakers, 2)
    assert breakers.why_closed_to(MODEL) is None
    breakers.reset("acme")
    assert breakers.admit(OTHER) is not None
    assert breakers.admit("acme/third") is not None
    assert breakers.state(MODEL).failures == 0


def test_probes_beside_the_traffic(breakers: Breakers, clock: Clock) -> None:
    breakers.admit(MODEL)
    breakers.probed("acme", "timeout", 5)
    breakers.probed("acme", "connect", 1)
    assert breakers.admit(MODEL) is not None
    breakers.probed("acme", "connect", 2)
    assert breakers.admit(MODEL) is None
    breakers.probed("acme", None)
    assert breakers.admit(MODEL) is not None
    opened(breakers)
    breakers.probed("acme", None)
    assert breakers.state(MODEL).state == "half_open"  # That it lists its models does not say that this one answers.
    breakers.failed(admitted(breakers), "server")
    assert breakers.ready_in(MODEL) == pytest.approx(20)
    breakers.probed("umbrella", "credentials")
    assert breakers.admit(ELSE) is None


def test_changes_are_told_and_states_are_listed(clock: Clock) -> None:
    told: list[BreakerState] = []
    breakers = Breakers(clock, POLICY, on_change=told.append)
    opened(breakers)
    clock.now += 10
    breakers.succeeded(admitted(breakers))
    breakers.drain("acme")
    # What another gateway learned is told of there.
    breakers.adopt(MODEL, breakers.circuit(MODEL).learned())
    assert [(one.key, one.state, one.drained) for one in told] == [
        (MODEL, "open", False),
        (MODEL, "closed", False),
        ("acme", "closed", True),
    ]
    assert [one.key for one in breakers.states()] == ["acme", MODEL]
    shown = told[0].explain()
    assert (shown["state"], shown["last_error"], shown["opens"]) == ("open", "server", 1)
    assert shown["next_probe_at"].endswith("Z")
    assert told[0].next_probe_at is not None
    assert told[0].since is not None
    assert (told[0].next_probe_at - told[0].since).total_seconds() == pytest.approx(10, abs=0.1)


def test_models_that_a_new_configuration_lacks_are_forgotten(breakers: Breakers) -> None:
    opened(breakers)
    breakers.admit(OTHER)
    breakers.admit(ELSE)
    breakers.retain(frozenset({OTHER}))
    assert [one.key for one in breakers.states()] == ["acme", OTHER]
    assert breakers.admit(MODEL) is not None


class BreakerMachine(RuleBasedStateMachine):
    """Two models of one provider and one of another, called, failed, cancelled and left alone in any order."""

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        self.breakers = Breakers(
            self.clock, Policy(consecutive=2, fewest_calls=4, lease_s=10_000.0), rng=random.Random(0)
        )
        self.under_way: list[Permit] = []
        self.probes: list[Permit] = []
        # Circuits that were open and have not seen a successful probe since.
        self.broken: set[str] = set()

    @rule(model=st.sampled_from([MODEL, OTHER, ELSE]))
    def call(self, model: str) -> None:
        before = self.breakers.why_closed_to(model)
        permit = self.breakers.admit(model)
        assert (permit is None) == (before is not None)
        if permit is not None:
            assert permit.model == model
            self.under_way.append(permit)
            if permit.is_probe:
                self.probes.append(permit)

    @rule(index=st.integers(0, 50), kind=st.sampled_from(["server", "connect", "credentials", "overloaded", "refused"]),
          after=st.sampled_from([None, 0.0, 5.0, 300.0]))  # fmt: skip
    def fail(self, index: int, kind: Any, after: float | None) -> None:
        if self.under_way:
            permit = self.under_way.pop(index % len(self.under_way))
            self._ended(permit)
            self.breakers.failed(permit, kind, after)

    @rule(index=st.integers(0, 50))
    def succeed(self, index: int) -> None:
        if self.under_way:
            permit = self.under_way.pop(index % len(self.under_way))
            self._ended(permit)
            closes = {one.key for one in permit.probes}
            self.breakers.succeeded(permit)
            self.broken -= closes

    @rule(index=st.integers(0, 50))
    def cancel(self, index: int) -> None:
        if self.under_way:
            permit = self.under_way.pop(index % len(self.under_way))
            self._ended(permit)
            self.breakers.abandoned(permit)

    @rule(seconds=st.sampled_from([0.1, 5.0, 31.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    def _ended(self, permit: Permit) -> None:
        self.probes = [one for one in self.probes if one is not permit]

    @invariant()
    def never_two_probes_of_one_circuit(self) -> None:
        probed = [circuit.key for permit in self.probes for circuit in permit.probes]
        assert len(probed) == len(set(probed))

    @invariant()
    def closes_only_after_a_success(self) -> None:
        for state in self.breakers.states():
            if state.state == "closed":
                assert state.key not in self.broken
            else:
                self.broken.add(state.key)

    @invariant()
    def the_short_way_agrees_with_the_long_one(self) -> None:
        for key in (MODEL, OTHER, ELSE):
            circuit = self.breakers.circuit(key)
            provider = circuit.parent
            assert provider is not None
            if circuit.free is not None:
                assert (circuit.state, provider.state) == ("closed", "closed")
                assert circuit.aside_until == 0.0

    @invariant()
    def looking_changes_nothing(self) -> None:
        for key in (MODEL, OTHER, ELSE):
            circuit = self.breakers.circuit(key)
            assert circuit.seen(self.clock.now) == circuit.counts(self.clock.now)

    @invariant()
    def nobody_is_closed_for_ever(self) -> None:
        for key in (MODEL, OTHER, ELSE):
            waits = self.breakers.ready_in(key)
            assert waits is not None
            assert waits <= 3600.0


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_why_a_provider_gets_no_calls_is_told() -> None:
    breakers = Breakers()
    breakers.circuit("p/m")
    assert breakers.why_closed_to("p") is None
    breakers.drain("p")
    assert breakers.why_closed_to("p") == "drained by an operator"
    assert breakers.why_closed_to("p/m") == "the provider p: drained by an operator"
    breakers.undrain("p")
    assert breakers.why_closed_to("p") is breakers.why_closed_to("p/m") is None
