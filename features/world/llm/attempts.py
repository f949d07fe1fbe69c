"""Whether the chosen model answered, who did when it failed, and how long that took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.world.business import Array
from features.world.llm.happenings import Happenings
from features.world.llm.logging_policy import CHAT, Choices
from features.world.llm.traffic import Traffic

MOST_ATTEMPTS = 3
CANCELLED = 0.008
"""Share of streams whose reader goes away."""

# Kinds of failure with their status, and how long each takes, in milliseconds.
_FAILURES: Sequence[tuple[str, int, float]] = (("overloaded", 429, 40.0), ("server", 503, 120.0), ("server", 500, 90.0))


@dataclass(frozen=True)
class Failure:
    """An attempt that failed: number into `CHAT`, kind and status, milliseconds that it took."""

    model: int
    kind: str
    status: int
    took_ms: float


@dataclass(frozen=True)
class Attempts:
    """One entry per call.

    Attributes
    ----------
    answered : number into `CHAT` of the model that answered, -1 where none did.
    failed : attempts before that.
    outcome : "ok", "failed", "cancelled" or "refused".
    slower, jitter : factors to the answering model's times.
    heard : share of the answer that was made before the reader went away; 1 mostly.
    """

    answered: Array
    failed: Sequence[tuple[Failure, ...]]
    outcome: Array
    slower: Array
    jitter: Array
    heard: Array


def attempts(
    calls: Traffic, choices: Choices, happened: Happenings, streamed: Array, refused: Array, rng: np.random.Generator
) -> Attempts:
    """Try the chosen model, then the next ones by score, as a gateway does; an explicit model stands alone."""
    count = len(calls)
    fails = np.stack([happened.failing(model.id, calls.at, model.failures) for model in CHAT], axis=1)
    answered = choices.chosen.copy()
    failed: list[tuple[Failure, ...]] = [()] * count
    struck = np.flatnonzero((rng.random(count) < fails[np.arange(count), choices.chosen]) & ~calls.embeds & ~refused)
    for row in struck:
        failed[row], answered[row] = _failover(int(row), calls, choices, fails[row], rng)
    outcome = np.full(count, "ok", dtype=object)
    outcome[answered < 0] = "failed"
    gone = streamed & (rng.random(count) < CANCELLED) & (answered >= 0)
    outcome[gone] = "cancelled"
    outcome[refused] = "refused"
    slow = np.stack([happened.slower(model.id, calls.at) for model in CHAT], axis=1)
    return Attempts(
        answered=np.where(refused, -1, answered),
        failed=failed,
        outcome=outcome,
        slower=slow[np.arange(count), np.maximum(answered, 0)],
        jitter=np.exp(rng.normal(0.0, 0.22, count)),
        heard=np.where(gone, rng.uniform(0.1, 0.9, count), 1.0),
    )


def _failover(
    row: int, calls: Traffic, choices: Choices, fails: Array, rng: np.random.Generator
) -> tuple[tuple[Failure, ...], int]:
    order = [int(choices.chosen[row])]
    if "/" not in calls.asked[row]:
        ranked = np.argsort(-choices.score[row], kind="stable")
        order += [int(one) for one in ranked if choices.allowed[row, one] and one != order[0]]
    failures: list[Failure] = []
    for number, model in enumerate(order[:MOST_ATTEMPTS]):
        # The first one is known to have failed.
        if number and rng.random() >= fails[model]:
            return tuple(failures), model
        kind, status, took = _FAILURES[int(rng.integers(len(_FAILURES)))]
        failures.append(Failure(model, kind, status, float(took * np.exp(rng.normal(0.0, 0.3)))))
    return tuple(failures), -1
