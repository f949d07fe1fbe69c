"""What is believed before the call: the quality, length and time of each model's answer to this prompt.

A `Policy` predicts, a strategy decides. The promoted routing model is a policy; until one is promoted, and for models
that it has never seen, `PriorPolicy` believes the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gateway.choose.catalogue import Model
from gateway.choose.decision import Task

COMPLEXITIES = ("simple", "moderate", "complex", "expert")

# Difficulty of a task on the scale of log-odds. The catalogue's qualities are those on moderate tasks.
DIFFICULTY = {"simple": -1.0, "moderate": 0.0, "complex": 0.7, "expert": 1.4}
# A model that thinks before it answers writes more than it shows: so many times as much.
THINKING = {"simple": 1.0, "moderate": 1.25, "complex": 1.6, "expert": 2.0}
_MOST_GROUPS = 256

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class Estimates:
    """Predictions for the models in the order in which they were given.

    Attributes
    ----------
    quality : 0 to 1.
    output_tokens : all that are paid for, thinking included.
    latency_ms : until the whole answer is there, with no other calls in the way.
    """

    quality: Sequence[float]
    output_tokens: Sequence[float]
    latency_ms: Sequence[float]


class Policy(Protocol):
    """Predicts quality, length and time from the prompt alone.

    Attributes
    ----------
    name : with the version, as decisions and the ledger show it.
    """

    name: str

    def estimate(self, text: str, task: Task, models: Sequence[Model]) -> Estimates:
        """Predict for each of `models`.

        Called for every decision, with at most a few hundred models, and always with the same object for the same
        group of models, which is never changed: what depends on them alone can be kept by its identity.

        Parameters
        ----------
        text : the last words of the user, head and tail where they are long; see `gateway.choose.request.text_of`.
        """


class PriorPolicy:
    """The catalogue's priors, moved by how hard the task is.

    A model's prior quality q in the task's domain is its chance on a moderate task. On another it is
    σ(logit q − d), d being the task's `DIFFICULTY`: the one-parameter logistic model of Rasch (1960), in which an
    able model loses little on a hard task and a weak one much. So a simple question is answered well by almost any
    model, and the models come apart where it is hard.

    Output tokens are the task's own, times `THINKING` for models that reason; time is the prior time to the first
    token plus those tokens at the prior speed.
    """

    name = "priors"

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str, str], tuple[Sequence[Model], list[float], list[float]]] = {}
        self._speeds: dict[int, tuple[Sequence[Model], list[float], list[float]]] = {}

    def estimate(self, text: str, task: Task, models: Sequence[Model]) -> Estimates:  # noqa: ARG002
        key = (id(models), task.domain, task.complexity)
        found = self._groups.get(key)
        # The group is held on to, so that no other group can come by its id.
        if found is None or found[0] is not models:
            found = _keep(self._groups, key, _believed(models, task.domain, task.complexity))
        speeds = self._speeds.get(key[0])
        if speeds is None or speeds[0] is not models:
            first = [model.latency_ms for model in models]
            per_token = [1000.0 / max(model.tokens_per_second, 1e-3) for model in models]
            speeds = _keep(self._speeds, key[0], (models, first, per_token))
        length = float(task.output_tokens)
        tokens = [length * factor for factor in found[2]]
        time = [first + each * written for first, each, written in zip(speeds[1], speeds[2], tokens, strict=True)]
        return Estimates(found[1], tokens, time)


def on_task(quality: float, complexity: str) -> float:
    """Expected quality on a task of this complexity, from the one on moderate tasks."""
    bounded = min(0.99, max(0.01, quality))
    return 1.0 / (1.0 + (1.0 - bounded) / bounded * math.exp(DIFFICULTY.get(complexity, 0.0)))


def _believed(
    models: Sequence[Model], domain: str, complexity: str
) -> tuple[Sequence[Model], list[float], list[float]]:
    quality = [on_task(model.expected_quality(domain), complexity) for model in models]
    thinking = THINKING.get(complexity, 1.0)
    return models, quality, [thinking if "reasoning" in model.capabilities else 1.0 for model in models]


def _keep(kept: dict[K, V], key: K, value: V) -> V:
    if len(kept) >= _MOST_GROUPS:
        del kept[next(iter(kept))]
    kept[key] = value
    return value
