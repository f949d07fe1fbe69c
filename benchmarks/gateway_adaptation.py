"""Online adaptation on simulated models: an outage, a slow-down, a price change, longer answers, worse answers.

    python -m benchmarks.gateway_adaptation --seeds 12 --report adaptation.json

An hour of traffic, two calls a second, on the hosted simulated models; what happens to the most used one begins after
twenty minutes and lasts twenty: 80 % of calls fail after six seconds, everything takes four times as long, the price is
four times as high, answers are three times as long, or the quality drops and nobody says so. The clock is simulated:
decisions, health, breakers, adaptation and scores are the gateway's own, upstream is a draw. Four deciders see the same
prompts:

- static: what it knew at the beginning, and nothing else; it calls another model only when one has failed
- live: health and breakers, no adaptation
- adaptive: the same with adaptation
- oracle: knows at each moment what every model would do

Utility of a call: quality to be expected − λ · cost − μ · time − ½ if nobody answered, weighed as `auto` does. Regret
is the oracle's utility less the decider's, summed over 1,000 calls. Time to react: from the beginning until calls of
the last minute go to the model half as often as before; time to return: from the end until three quarters as often.
Intervals are 95 % over seeds (Student's t), of times the middle half.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from scipy.stats import t as student

from features.world.llm.logging_policy import CHAT as ALL
from features.world.llm.models import SimulatedModel, true_quality
from features.world.llm.replies import reply_to
from features.world.llm.task import COMPLEXITIES, drawn_from
from features.world.llm.tasks import draw
from gateway.call.breaker import Breakers
from gateway.call.health import Health
from gateway.choose.catalogue import DOMAINS, Model, Price
from gateway.choose.chooser import Chooser
from gateway.choose.decision import Task
from gateway.choose.live import Unmeasured
from gateway.choose.policy import Estimates
from gateway.choose.strategies import BEYOND, COST_WEIGHT, ENOUGH, FAILURE, LATENCY_WEIGHT, cost_norm, time_norm
from gateway.improve.adaptation import TICK_S, Adaptation
from gateway.prompt import Prompt, Tenant
from models.quality.heuristic import score

RATE, MINUTES = 2.0, (20.0, 40.0, 60.0)
SCENARIOS: Mapping[str, float] = {"outage": 0.8, "slow": 4.0, "price": 4.0, "longer": 3.0, "quality": -1.8}
DECIDERS = ("static", "live", "adaptive")
MIX = (0.4, 0.32, 0.2, 0.08)
_POOL = 60
_FAILED_MS = 6_000.0
CHAT = tuple(one for one in ALL if one.provider == "simulated")
_BODY = {"messages": [{"role": "user", "content": "simulated"}]}


@dataclass(frozen=True)
class Happening:
    """What happens to one model, in seconds of the simulated clock."""

    kind: str
    model: str
    begins: float
    ends: float

    def of(self, model: str, now: float) -> str | None:
        return self.kind if model == self.model and self.begins <= now < self.ends else None


class TruePolicy:
    """What a perfect training would know of models as they were at the beginning."""

    name = "true"

    def estimate(self, text: str, task: Task, models: Sequence[Model]) -> Estimates:  # noqa: ARG002
        one = [_OF[model.id] for model in models]
        tokens = [tokens_of(model, task) for model in one]
        times = [
            model.ttft_ms + 1000 * count / model.tokens_per_second for model, count in zip(one, tokens, strict=True)
        ]
        return Estimates([_quality(model.id, task.domain, task.complexity, 0.0) for model in one], tokens, times)


_OF: Mapping[str, SimulatedModel] = {model.id: model for model in CHAT}
_known: dict[tuple[str, str, str, float], float] = {}


def _quality(model: str, domain: str, complexity: str, shift: float) -> float:
    key = model, domain, complexity, shift
    if key not in _known:
        _known[key] = true_quality(_OF[model], domain, complexity, shift)
    return _known[key]


def tokens_of(model: SimulatedModel, task: Task) -> float:
    """Expected tokens of an answer, thinking among them."""
    harder = {"simple": 0.5, "moderate": 1.0, "complex": 1.5, "expert": 2.5}[task.complexity]
    return task.output_tokens * model.wordiness * (1.0 + model.thinking * harder)


def catalogue(factor: float = 1.0, model: str = "") -> tuple[Model, ...]:
    """The simulated models as the gateway lists them; the price of one may be another."""
    return tuple(
        Model(
            one.id,
            one.provider,
            one.name,
            price=Price(
                one.input * (factor if one.id == model else 1.0), one.output * (factor if one.id == model else 1.0)
            ),
            latency_ms=one.ttft_ms,
            tokens_per_second=one.tokens_per_second,
            quality=one.quality,
        )
        for one in CHAT
    )


@dataclass(frozen=True)
class Asked:
    at: float
    task: Task
    luck: tuple[float, float, float]


def traffic(seed: int, seconds: float, rate: float) -> list[Asked]:
    """Prompts of an hour."""
    rng, now, made = Random(seed), 0.0, []
    while (now := now + rng.expovariate(rate)) < seconds:
        complexity = rng.choices(COMPLEXITIES, MIX)[0]
        tokens = rng.randint(60, 160) * {"simple": 1, "moderate": 2, "complex": 4, "expert": 7}[complexity]
        task = Task(complexity, rng.choice(DOMAINS), frozenset({"chat"}), rng.randint(80, 900), tokens, 4 * tokens, 0.9)
        made.append(Asked(now, task, (rng.random(), rng.gauss(0, 0.25), rng.random())))
    return made


class Scores:
    """Scores of answers that models would give, by the gateway's own scorer; drawn from answers made once."""

    def __init__(self, seed: int, shift: float, model: str) -> None:
        self._seed, self._shift, self._model = seed, shift, model
        self._pool: dict[tuple[str, str, bool], list[float]] = {}

    def draw(self, model: str, task: Task, shifted: bool, luck: float) -> float:
        key = model, task.domain, shifted
        pool = self._pool.get(key)
        if pool is None:
            pool = self._pool[key] = self._made(*key)
        return pool[int(luck * len(pool))]

    def _made(self, model: str, domain: str, shifted: bool) -> list[float]:
        rng, scores = drawn_from(self._seed, model, domain, shifted), []
        for number in range(_POOL):
            complexity = rng.choices(COMPLEXITIES, MIX)[0]
            task = draw(rng, domain, complexity)
            chance = _quality(model, domain, complexity, self._shift if shifted else 0.0)
            reply = reply_to(_OF[model], task, chance, self._seed, model, domain, number, shifted)
            scores.append(score(task.prompt, reply.text, "stop").score)
        return scores


class Simulated:
    """One decider on one hour of traffic."""

    def __init__(self, decider: str, happening: Happening, scores: Scores | None, seed: int) -> None:
        self.now = 0.0
        self.happening, self.scores = happening, scores
        clock = lambda: self.now  # noqa: E731
        self.breakers = Breakers(clock, rng=Random(seed))
        self.health = Health(self.breakers, clock)
        self.adaptation = Adaptation(self.health, clock) if decider == "adaptive" else None
        if self.adaptation is not None:
            self.health.adaptation = self.adaptation.share
        self.live = Unmeasured() if decider == "static" else self.health
        self.decider = decider
        self.chooser = self._chooser(catalogue())
        self._dearer = self._chooser(catalogue(SCENARIOS["price"], happening.model))
        self._ticked = 0.0

    def _chooser(self, models: tuple[Model, ...]) -> Chooser:
        return Chooser(models, TruePolicy(), self.live, clock=lambda: self.now, seed="adaptation")

    def ask(self, asked: Asked, number: int) -> tuple[str, float]:
        """The model that was chosen, and the utility of what came of it."""
        self.now = asked.at
        if self.adaptation is not None and self.now - self._ticked >= TICK_S:
            self._ticked = self.now
            self.adaptation.tick()
        # A changed price is in the configuration, which all but the static decider read anew.
        dearer = self.happening.of(self.happening.model, self.now) == "price" and self.decider != "static"
        chooser = self._dearer if dearer else self.chooser
        decision = chooser.decide(Prompt(f"{number:032x}", Tenant(), "chat", "auto", _BODY), asked.task)
        spent = 0.0
        for place, choice in enumerate(decision.ranked[:3]):
            model = choice.model.id
            permit = self.breakers.admit(model)
            if permit is None and self.decider != "static":
                continue
            truth = true_of(model, asked.task, self.happening, self.now)
            jitter = math.exp(asked.luck[1])
            self.health.started(model)
            if (asked.luck[0] + 0.37 * place) % 1.0 < truth.failing:
                spent += _FAILED_MS
                self.health.failed(model, "server_error", _FAILED_MS)
                if permit is not None:
                    self.breakers.failed(permit, "server_error")
                continue
            took = truth.first_ms + 1000 * truth.tokens / truth.speed
            self.health.succeeded(model, truth.first_ms * jitter, took * jitter, round(truth.tokens))
            if permit is not None:
                self.breakers.succeeded(permit)
            if self.adaptation is not None:
                self.adaptation.paid(model, truth.cost * math.exp(0.3 * asked.luck[1]), float(choice.cost))
                if self.scores is not None:
                    worse = self.happening.of(model, self.now) == "quality"
                    self.adaptation.scored(
                        model, asked.task.domain, self.scores.draw(model, asked.task, worse, asked.luck[2])
                    )
            return decision.chosen.model.id, utility(asked.task, truth.quality, truth.cost, spent + took)
        return decision.chosen.model.id, -FAILURE - LATENCY_WEIGHT * time_norm(spent)


@dataclass(frozen=True)
class Truth:
    """What a model would do with a task at a moment."""

    quality: float
    tokens: float
    cost: float
    first_ms: float
    speed: float
    failing: float


def true_of(model: str, task: Task, happening: Happening, now: float) -> Truth:
    """What is true of a model now."""
    one, kind = _OF[model], happening.of(model, now)
    size = SCENARIOS.get(kind, 1.0) if kind is not None else 1.0
    tokens = tokens_of(one, task) * (size if kind == "longer" else 1.0)
    price = size if kind == "price" else 1.0
    slow = size if kind == "slow" else 1.0
    return Truth(
        _quality(model, task.domain, task.complexity, size if kind == "quality" else 0.0),
        tokens,
        (task.input_tokens * one.input + tokens * one.output) * price,
        one.ttft_ms * slow,
        one.tokens_per_second / slow,
        size if kind == "outage" else one.failures,
    )


def utility(task: Task, quality: float, cost: float, ms: float) -> float:
    """What a call was worth; see `gateway.choose.strategies.auto`."""
    enough = ENOUGH[task.complexity]
    counted = quality if quality <= enough else enough * (1 - BEYOND) + BEYOND * quality
    return counted - COST_WEIGHT[task.complexity] * cost_norm(cost) - LATENCY_WEIGHT * time_norm(ms)


def oracle(asked: Asked, happening: Happening) -> float:
    """The best expected utility of any model, the best of the others standing in where it fails."""
    task, values = asked.task, []
    for model in _OF:
        truth = true_of(model, task, happening, asked.at)
        took = truth.first_ms + 1000 * truth.tokens / truth.speed
        late = utility(task, truth.quality, truth.cost, took + _FAILED_MS)
        values.append((utility(task, truth.quality, truth.cost, took), late, truth.failing))
    return max(
        (1 - failing) * value + failing * max(late for other, (_, late, _) in enumerate(values) if other != place)
        for place, (value, _, failing) in enumerate(values)
    )


@dataclass(frozen=True)
class Outcome:
    """One decider on one hour: regret over 1,000 calls while it happened and after, seconds, and shifts by rule."""

    during: float
    after: float
    react_s: float | None
    return_s: float | None
    shifts: Mapping[str, int]


def run(
    kind: str, decider: str, seed: int, *, minutes: tuple[float, float, float] = MINUTES, rate: float = RATE
) -> Outcome:
    """Simulate one hour."""
    begins, ends, last = (60 * one for one in minutes)
    asked = traffic(seed, last, rate)
    quiet = Happening("none", "", 0, 0)
    model = _most_used(asked[: int(rate * begins / 4)], quiet)
    happening = Happening(kind, model, begins, ends)
    scores = Scores(1, SCENARIOS["quality"], model) if kind == "quality" and decider == "adaptive" else None
    world = Simulated(decider, happening, scores, seed)
    lost: list[tuple[float, float]] = []
    recent: deque[tuple[float, bool]] = deque()
    before: list[bool] = []
    react = back = None
    for number, one in enumerate(asked):
        chosen, value = world.ask(one, number)
        lost.append((one.at, oracle(one, happening) - value))
        recent.append((one.at, chosen == model))
        while recent[0][0] < one.at - 60:
            recent.popleft()
        share = sum(hit for _, hit in recent) / len(recent)
        if begins / 2 < one.at < begins:
            before.append(chosen == model)
        usual = sum(before) / max(1, len(before))
        if react is None and begins + 10 < one.at < ends and share < 0.5 * usual:
            react = one.at - begins
        if back is None and one.at > ends + 5 and share >= 0.75 * usual:
            back = one.at - ends
    shifts: dict[str, int] = {}
    for shift in world.adaptation.shifts if world.adaptation is not None else ():
        if shift.model == model:
            shifts[shift.rule] = shifts.get(shift.rule, 0) + 1
    during = [gap for at, gap in lost if begins <= at < ends]
    after = [gap for at, gap in lost if at >= ends]
    return Outcome(1000 * float(np.mean(during)), 1000 * float(np.mean(after)), react, back, shifts)


def _most_used(asked: Sequence[Asked], quiet: Happening) -> str:
    world = Simulated("static", quiet, None, 0)
    chosen = [world.ask(one, number)[0] for number, one in enumerate(asked)]
    return max(sorted(set(chosen)), key=chosen.count)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval."""
    mean, count = float(np.mean(values)), len(values)
    half = float(student.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count)) if count > 1 else 0.0
    return mean, mean - half, mean + half


def table(seeds: int) -> list[dict[str, Any]]:
    """Every scenario and decider."""
    rows = []
    for kind in SCENARIOS:
        outcomes = {one: [run(kind, one, seed) for seed in range(seeds)] for one in DECIDERS}
        for decider, found in outcomes.items():
            saved = [live.during - own.during for live, own in zip(outcomes["live"], found, strict=True)]
            row: dict[str, Any] = {
                "scenario": kind,
                "decider": decider,
                "regret": interval([one.during for one in found]),
            }
            row["less_than_live"] = interval(saved)
            row["after"] = interval([one.after for one in found])
            for name in ("react_s", "return_s"):
                known = [value for one in found if (value := getattr(one, name)) is not None]
                row[name] = [float(np.quantile(known, q)) for q in (0.5, 0.25, 0.75)] if known else None
                row[f"{name}_of"] = len(known)
            rows.append(row)
            print(line(row, seeds), flush=True)
    return rows


def line(row: Mapping[str, Any], seeds: int) -> str:
    """One row for people."""

    def seconds(name: str) -> str:
        found = row[name]
        return (
            "never"
            if found is None
            else f"{found[0]:.0f} s [{found[1]:.0f}, {found[2]:.0f}] {row[f'{name}_of']}/{seeds}"
        )

    regret, saved, after = (tuple(round(one, 1) for one in row[name]) for name in ("regret", "less_than_live", "after"))
    return (
        f"{row['scenario']:8} {row['decider']:9} regret {regret[0]:6} [{regret[1]}, {regret[2]}]  "
        f"less than live {saved[0]:6} [{saved[1]}, {saved[2]}]  after {after[0]:5}  "
        f"react {seconds('react_s'):>24}  return {seconds('return_s'):>24}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    rows = table(given.seeds)
    if given.report:
        given.report.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
