"""Online adaptation: between trainings, models that are slow, failing, dearer or worse lose traffic and regain it.

What a policy learned holds until the next training; what happens in between is seen here, every few seconds, from the
health of models and from the calls that ended. Each rule (`adaptation_rules`) wants a share of the traffic that would
be a model's own; the strongest decides, step by step. Decisions stay the chooser's: it offers a call to the best model
first, which takes it with the probability of its share, so that the probability of each choice stays on record.

Every gateway process adapts by what it sees itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import log
from typing import Any

from gateway.call.health import Health
from gateway.improve.adaptation_cost import Surprise
from gateway.improve.adaptation_drop import DropDetector
from gateway.improve.adaptation_rules import RULES, Demand, Evidence, lowered, recovery
from store.tables.base import utc_now

TICK_S = 5.0
# The usual time of a model follows what is measured to a half in so long, while nothing is wrong with it.
USUAL_HALF_LIFE_S = 1_800.0
# Times are compared for an answer of so many tokens.
_TOKENS = 200.0
# A model that nobody asked gets the next step of its share after so long.
SILENT_S = 300.0
_KEPT_SHIFTS = 200
_MOST_MODELS = 2_000

Tell = Callable[["Shift"], None]


@dataclass(frozen=True, slots=True)
class Shift:
    """A share that was shifted.

    Attributes
    ----------
    rule : that decided; "recovery" where the share grows.
    evidence : its numbers, JSON-ready.
    at : naive UTC.
    """

    model: str
    rule: str
    before: float
    after: float
    why: str
    evidence: Mapping[str, Any]
    at: datetime

    def explain(self) -> dict[str, Any]:
        """JSON of it."""
        return {
            "model": self.model,
            "rule": self.rule,
            "before": self.before,
            "after": self.after,
            "size": round(self.after - self.before, 3),
            "why": self.why,
            "evidence": dict(self.evidence),
        }


@dataclass(slots=True)
class _State:
    """What is known of one model.

    Attributes
    ----------
    demands : of the rules that hold, by name.
    quiet_since : moment of the clock from which nothing held it down, or of the last step up.
    usual_ms : its usual time for an answer of `_TOKENS` tokens.
    """

    share: float = 1.0
    demands: dict[str, Demand] = field(default_factory=dict)
    quiet_since: float = 0.0
    usual_ms: float | None = None
    now_ms: float | None = None
    surprise: Surprise = field(default_factory=Surprise)
    scores: DropDetector = field(default_factory=DropDetector)
    judgements: DropDetector = field(default_factory=DropDetector)


class Adaptation:
    """Shares of traffic. `share` is asked for every decision and waits for nothing; `tick` is called every few seconds
    from the event loop that owns `health`; the rest may be called from any thread.

    Parameters
    ----------
    busy : load of a model's provider: calls under way and waiting, over its slots; None: no bound.
    clock : seconds that never go back.
    tell : told of every shift; must not wait.
    """

    def __init__(
        self,
        health: Health,
        clock: Callable[[], float],
        *,
        busy: Callable[[str], float | None] = lambda _: None,
        tell: Tell = lambda _: None,
    ) -> None:
        self._health = health
        self._clock = clock
        self._busy = busy
        self._tell = tell
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}
        self._shares: dict[str, float] = {}
        self._ticked: float | None = None
        self.shifts: deque[Shift] = deque(maxlen=_KEPT_SHIFTS)

    def share(self, model_id: str) -> float:
        """What is left of the traffic that would be its own, `FLOOR` to 1; see `Health`."""
        return self._shares.get(model_id, 1.0)

    def paid(self, model_id: str, cost: float, expected: float) -> None:
        """A call ended: what it cost and what its decision expected, in nanos."""
        if cost > 0.0 and expected > 0.0:
            with self._lock:
                self._state(model_id).surprise.take(log(cost / expected), self._clock())

    def scored(self, model_id: str, kind: str, score: float) -> None:
        """An answer was scored, 0 to 1.

        Parameters
        ----------
        kind : of the task.
        """
        with self._lock:
            self._state(model_id).scores.take(kind, score)

    def judged(self, model_id: str, kind: str, score: float) -> None:
        """Somebody thought of an answer, 0 to 1."""
        with self._lock:
            self._state(model_id).judgements.take(kind, score)

    def tick(self) -> list[Shift]:
        """Look at every model and shift what has to be shifted; returns the shifts."""
        now = self._clock()
        passed = TICK_S if self._ticked is None else max(0.0, now - self._ticked)
        self._ticked = now
        made: list[Shift] = []
        with self._lock:
            for model in sorted({*self._health.models(), *self._states}):
                state = self._state(model)
                evidence = self._evidence(model, state, now, passed)
                shift = self._shift(model, state, evidence, now)
                if shift is not None:
                    made.append(shift)
        for shift in made:
            self.shifts.append(shift)
            self._tell(shift)
        return made

    def learned(self) -> None:
        """Another policy decides from now on: what it learned from, it knows; scores are compared anew."""
        with self._lock:
            for state in self._states.values():
                state.scores.forget()
                state.judgements.forget()
                state.surprise = Surprise()

    def rescored(self) -> None:
        """Scores come from another scorer from now on, which has another scale."""
        with self._lock:
            for state in self._states.values():
                state.scores.forget()

    def retain(self, models: frozenset[str]) -> None:
        """Forget the models that a new configuration no longer has."""
        with self._lock:
            for model in [model for model in self._states if model not in models]:
                del self._states[model]
                self._shares.pop(model, None)

    def beliefs(self) -> list[dict[str, Any]]:
        """What is believed of every model, JSON-ready: share, the rules that hold it down, and what they look at."""
        with self._lock:
            return [self._belief(model, state) for model, state in sorted(self._states.items())]

    def _belief(self, model: str, state: _State) -> dict[str, Any]:
        ratio, detector = state.surprise.ratio(self._clock()), state.scores
        return {
            "model": model,
            "share": state.share,
            "held_down_by": {name: demand.why for name, demand in state.demands.items()},
            "usual_ms": None if state.usual_ms is None else round(state.usual_ms, 1),
            "now_ms": None if state.now_ms is None else round(state.now_ms, 1),
            "cost_over_expected": None if ratio is None else round(ratio, 3),
            "usual_score": None if detector.usual is None else round(detector.usual, 4),
            "scores": detector.scores,
            "drop": round(max(detector.drop, state.judgements.drop), 4),
            "drop_evidence": round(max(detector.evidence, state.judgements.evidence), 2),
        }

    def _evidence(self, model: str, state: _State, now: float, passed: float) -> Evidence:
        answered, failed = self._health.lately(model)
        first, pace = self._health.latency_ms(model), self._health.tokens_per_second(model)
        state.now_ms = None if first is None or not pace else first + 1000.0 * _TOKENS / pace
        slower = None
        if state.now_ms is not None:
            if state.usual_ms is None:
                state.usual_ms = state.now_ms
            elif "latency" not in state.demands and state.now_ms < 1.5 * state.usual_ms:
                part = 1.0 - 0.5 ** (passed / USUAL_HALF_LIFE_S)
                state.usual_ms += part * (state.now_ms - state.usual_ms)
            slower = state.now_ms / max(state.usual_ms, 1.0)
        dearer, error, paid = state.surprise.look(now)
        return Evidence(
            answered,
            failed,
            slower,
            dearer,
            error,
            paid,
            self._busy(model),
            max(state.scores.drop, state.judgements.drop),
        )

    def _shift(self, model: str, state: _State, evidence: Evidence, now: float) -> Shift | None:
        state.demands = {
            name: demand
            for name, rule in RULES.items()
            if (demand := rule(evidence, state.demands.get(name))) is not None
        }
        before = state.share
        if state.demands:
            state.quiet_since = now
            strongest = min(state.demands.values(), key=lambda one: one.share)
            after, decided = lowered(before, strongest.share), strongest
        else:
            if not evidence.answered and now - state.quiet_since < SILENT_S:
                return None  # nothing speaks for it either
            grown = recovery(before, now - state.quiet_since)
            if grown is None:
                return None
            state.quiet_since = now
            after, decided = grown.share, grown
        if after == before:
            return None
        state.share = after
        if after >= 1.0:
            self._shares.pop(model, None)
        else:
            self._shares[model] = after
        return Shift(model, decided.rule, before, after, decided.why, decided.numbers, utc_now())

    def _state(self, model: str) -> _State:
        found = self._states.get(model)
        if found is None:
            if len(self._states) >= _MOST_MODELS:
                # One that nothing is held against; the rest of them are few.
                idle = next((one for one, state in self._states.items() if state.share >= 1.0), model)
                self._states.pop(idle, None)
            found = self._states[model] = _State(quiet_since=self._clock())
        return found


def explained(shifts: Sequence[Shift]) -> list[dict[str, Any]]:
    """Shifts for people, the newest first."""
    return [{"at": one.at.isoformat(timespec="milliseconds") + "Z", **one.explain()} for one in reversed(shifts)]
