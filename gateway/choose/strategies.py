"""What each strategy orders by: one function each, from what is expected of the models to a score, higher first.

Scores live on the scale of quality, 0 to 1, where two numbers of other scales are brought to it:

| number | norm | meaning |
|---|---|---|
| cost c in dollars | log₂(1 + c / 0.0001) / 16 | 0 free, 1 at 6.55 dollars; a doubling of the price adds 1/16 |
| time t in ms | log₂(1 + t / 250) / 8 | 0 at once, 1 at a minute; a doubling of the time adds 1/8 |

On logarithms, so that what matters is how many times dearer or slower a model is: the order of two models does not
depend on which others there are, and hardly on how long the prompt is. Below a hundredth of a cent a call, price
matters less and less.

`auto` maximises

    quality(q) − λ · cost − μ · time − ½ · (1 − success)

with λ from the task's complexity: a doubling of the price must bring 0.04 of quality on a simple task and 0.004 on an
expert's. Quality beyond what the task needs counts a fifth (`ENOUGH`), so that nobody pays for brilliance where
ordinary will do. `cheapest`, `fastest` and `best` are its corners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log2

from gateway.choose.catalogue import CAPABILITIES, DOMAINS, Model
from gateway.choose.decision import Task
from gateway.choose.limits import Expected
from gateway.choose.preferences import INDIFFERENT

# λ: quality that a cost norm of 1 must bring.
COST_WEIGHT = {"simple": 0.64, "moderate": 0.32, "complex": 0.16, "expert": 0.064}
# μ
LATENCY_WEIGHT = 0.08
# Quality that a task needs, and what each point beyond it still counts.
ENOUGH = {"simple": 0.75, "moderate": 0.82, "complex": 0.90, "expert": 1.0}
BEYOND = 0.2
# Quality below which `cheapest` takes no model while another one reaches it.
FLOOR = {"simple": 0.60, "moderate": 0.60, "complex": 0.60, "expert": 0.65}
NEARLY = 0.05
# What a failed call costs, in quality.
FAILURE = 0.5
# What a user's liking of a model counts at most, half up and half down.
LIKING = 0.8
# Decides between equals, and nothing else.
_TRIFLE = 1e-6

_CHEAP = 1.0 / 100_000.0  # one over a hundredth of a cent, in nanos
# What a domain asks of a model beside what the request needs.
_ABILITIES = {"code": "code", "math": "reasoning", "reasoning": "reasoning"}
assert set(_ABILITIES) <= set(DOMAINS)
assert set(_ABILITIES.values()) <= set(CAPABILITIES)


def cost_norm(nanos: float) -> float:
    """Cost on the scale of quality; see the table above."""
    return log2(1.0 + nanos * _CHEAP) / 16.0


def time_norm(milliseconds: float) -> float:
    """Time on the scale of quality; see the table above."""
    return log2(1.0 + milliseconds / 250.0) / 8.0


def auto(expected: Expected, task: Task, tradeoff: float = 0.5) -> list[float]:
    """Balanced.

    Parameters
    ----------
    tradeoff : 0 wants quality at any price, 1 the lowest price; λ is multiplied by its odds, tradeoff / (1 − tradeoff).
    """
    cost_weight = COST_WEIGHT[task.complexity] / 16.0
    if tradeoff != 0.5:
        cost_weight *= tradeoff / max(1.0 - tradeoff, 1e-4)
    time_weight = LATENCY_WEIGHT / 8.0
    enough = ENOUGH[task.complexity]
    kept = enough * (1.0 - BEYOND)
    return [
        (quality if quality <= enough else kept + BEYOND * quality)
        - cost_weight * log2(1.0 + cost * _CHEAP)
        - time_weight * log2(1.0 + time * 0.004)
        - FAILURE * (1.0 - success)
        for quality, cost, time, success in zip(
            expected.quality, expected.cost, expected.latency_ms, expected.success, strict=True
        )
    ]


def cheapest(expected: Expected, task: Task, places: Sequence[int], min_quality: float | None) -> list[float]:
    """Lowest cost among those that are good enough: the caller's `min_quality`, or the task's `FLOOR`; where none
    reaches that, those within `NEARLY` of the best. The others follow, in the same order."""
    floor = FLOOR[task.complexity] if min_quality is None else min_quality
    quality = expected.quality
    best = max([quality[place] for place in places])
    if best < floor:
        floor = best - NEARLY
    return [
        (1.0 if good >= floor else 0.0) - log2(1.0 + cost * _CHEAP) / 16.0 - FAILURE * (1.0 - success) * _TRIFLE
        + good * _TRIFLE
        for good, cost, success in zip(quality, expected.cost, expected.success, strict=True)
    ]  # fmt: skip


def fastest(expected: Expected) -> list[float]:
    """Shortest time until the whole answer is there; one that fails costs its time once more."""
    return [
        1.0 - log2(1.0 + time * 0.004 * (2.0 - success)) / 8.0 + quality * _TRIFLE
        for time, success, quality in zip(expected.latency_ms, expected.success, expected.quality, strict=True)
    ]


def best(expected: Expected) -> list[float]:
    """Highest quality of an answer that does come; of equals the cheaper one."""
    return [
        quality - FAILURE * (1.0 - success) - log2(1.0 + cost * _CHEAP) * _TRIFLE
        for quality, success, cost in zip(expected.quality, expected.success, expected.cost, strict=True)
    ]


def capability(expected: Expected, task: Task, models: Sequence[Model]) -> list[float]:
    """Best match of the kind of task.

    Quality in the task's domain, ¼ for the ability that the domain asks for beside the request's own needs ("code" for
    code, "reasoning" for math and reasoning), and how far the domain is the model's own strength: its prior quality
    there over its mean of all domains. Cost decides between models of about the same match.
    """
    ability = _ABILITIES.get(task.domain)
    if ability is None and task.input_tokens > 32_000:
        ability = "long_context"
    return [
        quality
        + (0.25 if ability in model.capabilities else 0.0)
        + _strength(model, task.domain)
        - 0.05 * log2(1.0 + cost * _CHEAP) / 16.0
        - FAILURE * (1.0 - success)
        for quality, model, cost, success in zip(expected.quality, models, expected.cost, expected.success, strict=True)
    ]


def preferred(
    expected: Expected, task: Task, models: Sequence[Model], liking: Callable[[str, str], float], tradeoff: float
) -> list[float]:
    """As `auto`, moved by `LIKING` times how far the user's liking of a model in this domain is from indifference."""
    return [
        score + LIKING * (liking(model.id, task.domain) - INDIFFERENT)
        for score, model in zip(auto(expected, task, tradeoff), models, strict=True)
    ]


class RoundRobin:
    """Smooth weighted round-robin: turns are spread evenly, in proportion to the weights, without bursts.

    Each time, every candidate gains its weight, the one with most is chosen and gives back the sum of all weights: the
    rule of nginx. A weight is the model's share of traffic over 1 + its calls in flight, so that a busy model gets
    fewer. Models that may not answer neither gain nor give.
    """

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def weights(self, share: Sequence[float], in_flight: Sequence[int]) -> list[float]:
        """Weight of each candidate, above 0."""
        return [max(part, 1e-3) / (1.0 + waiting) for part, waiting in zip(share, in_flight, strict=True)]

    def turn(self, ids: Sequence[str], weights: Sequence[float], *, dry: bool = False) -> list[float]:
        """Credit of each candidate, the highest being the one whose turn it is.

        Parameters
        ----------
        dry : only look; otherwise it counts as chosen.
        """
        credit = self._credit
        gained = [credit.get(id_, 0.0) + weight for id_, weight in zip(ids, weights, strict=True)]
        if dry:
            return gained
        chosen = gained.index(max(gained))
        for id_, amount in zip(ids, gained, strict=True):
            credit[id_] = amount
        credit[ids[chosen]] -= sum(weights)
        return gained


def _strength(model: Model, domain: str) -> float:
    priors: Mapping[str, float] = model.quality
    return priors.get(domain, 0.0) - sum(priors.values()) / len(priors) if domain in priors else 0.0
