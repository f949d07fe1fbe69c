"""What a simulated model becomes when it is tuned: better at what its examples show, a little worse at all else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from features.world.llm.models import SimulatedModel, true_quality
from features.world.llm.task import COMPLEXITIES, drawn_from
from features.world.llm.tasks import DOMAINS, grade, recognise
from features.world.llm.tokens import count

# Dollars per million tokens of training; models that are not named cannot be tuned.
TRAINING_PRICES: Mapping[str, float] = {"nano": 1.5, "small": 3.0, "medium": 8.0, "coder": 6.0}
# A tuned model's tokens cost so many times those of its base.
DEARER = 1.5
# Logits that many perfect examples add, and how many are half of many.
GAIN, HALF = 1.8, 25.0
# What is not among the examples is forgotten a little, in logits.
_FORGOTTEN = (0.02, 0.12)
_PER_MESSAGE = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """What one example shows: how good its answer truly is, at which kind of task."""

    domain: str
    grade: float
    tokens: int


def shown(example: Mapping[str, Any]) -> Shown:
    """An example of OpenAI's chat format, judged by what is true of it."""
    messages = example["messages"]
    asked = next((str(one.get("content")) for one in reversed(messages[:-1]) if one.get("role") == "user"), "")
    task = recognise(asked)
    tokens = sum(count(str(one.get("content") or "")) + _PER_MESSAGE for one in messages)
    return Shown(task.domain, grade(task, str(messages[-1].get("content") or "")), tokens)


def shifts(base: SimulatedModel, examples: Sequence[Shown], epochs: int, seed: object) -> dict[str, float]:
    """Logits by which the skill in each domain changes.

    With n examples of a domain whose answers are right in a share g, where the base is right in a share b, the shift is
    GAIN · n / (n + HALF) · (g − b) / (1 − b), times min(1, epochs / 3), with a little chance: examples that are no
    better than what the model says anyway teach it nothing, and worse ones spoil it.
    """
    rng = drawn_from("tuned", seed, base.id)
    made: dict[str, float] = {}
    for domain in DOMAINS:
        grades = [one.grade for one in examples if one.domain == domain]
        low, high = _FORGOTTEN
        chance = rng.gauss(0.0, 0.08)
        if not grades:
            made[domain] = -rng.uniform(low, high)
            continue
        own = base.quality.get(domain, base.quality[""])
        room = max((sum(grades) / len(grades) - own) / max(1.0 - own, 0.05), -1.0)
        made[domain] = GAIN * len(grades) / (len(grades) + HALF) * room * min(1.0, epochs / 3) + chance
    return made


def tuned(base: SimulatedModel, name: str, shift: Mapping[str, float]) -> SimulatedModel:
    """The base with its skills shifted, under another name and at a tuned model's price."""

    def quality(domain: str) -> float:
        values = [true_quality(base, domain, one, shift.get(domain, 0.0)) for one in COMPLEXITIES]
        return min(max(sum(values) / len(values), 0.011), 0.989)

    return replace(
        base,
        name=name,
        quality={**base.quality, **{domain: quality(domain) for domain in DOMAINS}},
        input=base.input * DEARER,
        output=base.output * DEARER,
        cached=base.cached * DEARER,
        tier=None,
    )


def losses(examples: Iterable[Shown], steps: int, seed: object) -> list[float]:
    """Training loss at each step: it falls, unevenly, towards what is left of doubt in the examples."""
    rng = drawn_from("losses", seed)
    grades = [one.grade for one in examples]
    floor = 0.35 + 0.5 * (1.0 - sum(grades) / max(len(grades), 1))
    return [round(floor + 1.6 / (1 + 6.0 * step / steps) * rng.uniform(0.9, 1.1), 4) for step in range(1, steps + 1)]
