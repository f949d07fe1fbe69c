"""Shares of traffic between trainings, on a clock of the test's own and on the benchmark's simulated models."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from benchmarks.gateway_adaptation import Outcome, Scores, run
from gateway.call.health import Health
from gateway.improve.adaptation import TICK_S, Adaptation, Shift, explained
from gateway.improve.adaptation_rules import FLOOR, LEFT_TO_SLOW, QUIET_S


class World:
    """One model, its health, and time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.busy: float | None = None
        self.told: list[Shift] = []
        self.health = Health(None, lambda: self.now)
        self.adaptation = Adaptation(self.health, lambda: self.now, busy=lambda _: self.busy, tell=self.told.append)
        self.health.adaptation = self.adaptation.share

    def pass_by(self, seconds: float, ms: float = 500.0, failing: float = 0.0, calls: float = 1.0) -> Iterator[float]:
        """Traffic for a while; the share after every tick."""
        rng = Random(7)
        for _ in range(round(seconds / TICK_S)):
            for _ in range(round(calls * TICK_S)):
                self.now += 1.0 / calls
                self.health.started("a/x")
                if rng.random() < failing:
                    self.health.failed("a/x", "server_error", 100.0)
                else:
                    self.health.succeeded("a/x", ms / 5, ms, 100)
            self.adaptation.tick()
            yield self.health.share("a/x")


def test_a_healthy_model_keeps_everything() -> None:
    world = World()
    assert set(world.pass_by(600)) == {1.0}
    assert world.told == []


def test_a_slow_model_loses_step_by_step_and_comes_back_step_by_step() -> None:
    world = World()
    list(world.pass_by(300))
    down = list(world.pass_by(180, ms=2_500.0))
    assert down == sorted(down, reverse=True)
    assert FLOOR <= down[-1] <= 0.8
    up = list(world.pass_by(600))
    lowest = up.index(min(up))
    assert up[lowest:] == sorted(up[lowest:])
    assert up[-1] == 1.0
    # Not before its time, and not at once.
    assert sum(share < 1.0 for share in up) * TICK_S > 4 * QUIET_S
    rules = [shift.rule for shift in world.told]
    assert rules[0] == "latency"
    assert rules[-1] == "recovery"
    assert set(rules) == {"latency", "recovery"}
    for shift in world.told:
        assert abs(shift.after - shift.before) <= 0.3 + 1e-9
    first = explained(world.told)[-1]
    assert first["evidence"]["slower"] > 2.5
    assert (first["model"], first["before"]) == ("a/x", 1.0)
    assert first["at"].endswith("Z")


def test_what_is_usual_is_not_learned_from_what_is_wrong() -> None:
    world = World()
    list(world.pass_by(300))
    usual = world.adaptation.beliefs()[0]["usual_ms"]
    list(world.pass_by(3_600, ms=3_000.0, calls=0.4))
    belief = world.adaptation.beliefs()[0]
    assert belief["usual_ms"] == pytest.approx(usual, rel=0.05)
    assert belief["share"] == LEFT_TO_SLOW
    assert "latency" in belief["held_down_by"]


def test_a_failing_model_is_asked_a_little_so_that_it_can_come_back() -> None:
    world = World()
    list(world.pass_by(120))
    assert list(world.pass_by(120, failing=0.9))[-1] == FLOOR
    assert list(world.pass_by(600))[-1] == 1.0


def test_a_model_that_nobody_asks_is_not_taken_for_well() -> None:
    world = World()
    list(world.pass_by(120))
    list(world.pass_by(120, failing=0.9))
    for _ in range(24):
        world.now += TICK_S
        world.adaptation.tick()
    assert world.health.share("a/x") == FLOOR


def test_calls_that_cost_more_than_expected_and_a_busy_provider_lower_the_share() -> None:
    world = World()
    list(world.pass_by(60))
    for _ in range(40):
        world.adaptation.paid("a/x", 3_000.0, 1_000.0)
    assert world.adaptation.tick()[0].rule == "cost"
    assert world.adaptation.beliefs()[0]["cost_over_expected"] == pytest.approx(3.0)

    other = World()
    list(other.pass_by(60))
    other.busy = 2.0
    assert [shift.rule for shift in other.adaptation.tick()] == ["load"]


def test_worse_scores_lower_the_share_until_a_policy_has_learned_of_them() -> None:
    world, rng = World(), Random(3)
    list(world.pass_by(60))
    for _ in range(200):
        world.adaptation.scored("a/x", "code", min(1.0, rng.gauss(0.85, 0.1)))
    assert world.adaptation.tick() == []
    for _ in range(100):
        world.adaptation.scored("a/x", "code", max(0.0, rng.gauss(0.55, 0.1)))
    assert [shift.rule for shift in world.adaptation.tick()] == ["quality"]
    assert world.adaptation.beliefs()[0]["drop"] > 0.15
    world.adaptation.learned()
    assert list(world.pass_by(300))[-1] == 1.0


def test_people_who_think_less_of_answers_count_as_scores_do() -> None:
    world, rng = World(), Random(4)
    list(world.pass_by(60))
    for chance, count in ((0.9, 150), (0.4, 120)):
        for _ in range(count):
            world.adaptation.judged("a/x", "code", float(rng.random() < chance))
    assert [shift.rule for shift in world.adaptation.tick()] == ["quality"]


def test_models_that_are_gone_are_forgotten() -> None:
    world = World()
    list(world.pass_by(60))
    list(world.pass_by(120, failing=0.9))
    world.adaptation.retain(frozenset({"b/y"}))
    assert world.adaptation.beliefs() == []
    assert world.adaptation.share("a/x") == 1.0


MINUTES = (8.0, 16.0, 20.0)


def simulated(kind: str, decider: str) -> Outcome:
    return run(kind, decider, 5, minutes=MINUTES, rate=1.5)


def test_in_an_outage_calls_go_elsewhere_and_come_back() -> None:
    static, adaptive = simulated("outage", "static"), simulated("outage", "adaptive")
    assert static.react_s is None
    assert adaptive.react_s is not None
    assert adaptive.react_s < 120
    assert adaptive.during < static.during
    assert adaptive.shifts["errors"] >= 1
    assert adaptive.shifts["recovery"] >= 1


def test_a_silent_drop_of_quality_is_noticed_by_scores_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Scores as a good scorer gives them: making and scoring a thousand answers is for the benchmark.
    monkeypatch.setattr(Scores, "_made", lambda self, model, domain, shifted: [0.55, 0.7] if shifted else [0.8, 0.95])
    live, adaptive = simulated("quality", "live"), simulated("quality", "adaptive")
    assert live.react_s is None
    assert adaptive.react_s is not None
    assert adaptive.shifts["quality"] >= 1
    assert adaptive.during < 0.8 * live.during
