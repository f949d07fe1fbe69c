"""Models that may answer a prompt, with what is expected of each, and how their order is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

from gateway.choose.decision import Ranked, Task
from gateway.choose.limits import Expected, Group
from gateway.choose.outlook import Measured

# Scores this near are close enough for another provider to come first among the fallbacks.
CLOSE = 0.05
# How far off the difference of two scores may be: the scale of its error.
_DOUBT = 0.05


@dataclass(slots=True)
class Candidates:
    """The models of a group that the limits leave.

    Attributes
    ----------
    policy : name of what predicted.
    places : in the group, of those that may answer; never empty.
    excluded : id → why it may not.
    """

    group: Group
    expected: Expected
    measured: Measured
    policy: str
    places: Sequence[int]
    excluded: Mapping[str, str]

    def place_of(self, model_id: str) -> int | None:
        """Place of a model that may answer; None for every other."""
        ids = self.group.ids
        if model_id not in ids:
            return None
        place = ids.index(model_id)
        return place if place in self.places else None


def ranked_of(
    candidates: Candidates, order: Sequence[int], scores: Sequence[float] | Mapping[int, float], most: int
) -> tuple[Ranked, ...]:
    """The first `most` of an order, and the one with the least reservation if it is not among them: a budget that is
    nearly spent asks for it."""
    shown = order[:most]
    reserves = candidates.expected.reserve
    if len(order) > most:
        cheapest = min(order[most:], key=reserves.__getitem__)
        if reserves[cheapest] < min([reserves[place] for place in shown]):
            shown = [*shown, cheapest]
    models, expected = candidates.group.models, candidates.expected
    quality, cost, latency = expected.quality, expected.cost, expected.latency_ms
    return tuple(
        [
            Ranked(models[one], scores[one], quality[one], round(cost[one]), round(reserves[one]), latency[one])
            for one in shown
        ]
    )


def confidence_of(order: Sequence[int], scores: Sequence[float], task: Task) -> float:
    """How sure it is that the first is the right one, 0 to 1.

    σ(lead / 0.05): the probability that the lead over the best of the others is real if its error is logistic with that
    scale, so ½ where two are equal. It is halved at most where the task itself was unclear. 1 where there is no other.

    Parameters
    ----------
    order : the chosen one, then the others, the best first.
    """
    if len(order) < 2:
        return 1.0
    lead = (scores[order[0]] - scores[order[1]]) / _DOUBT
    sure = 1.0 / (1.0 + exp(-min(40.0, max(-40.0, lead))))
    return sure * (0.5 + 0.5 * task.confidence)


def with_other_provider_next(group: Group, order: list[int], scores: Sequence[float]) -> list[int]:
    """The same order, but with a model of another provider as the first fallback where one is about as good: when a
    model fails, others of its provider may well fail too."""
    if len(order) < 3:
        return order
    models = group.models
    own = models[order[0]].provider
    if models[order[1]].provider != own:
        return order
    enough = scores[order[1]] - CLOSE
    for step in range(2, len(order)):
        place = order[step]
        if scores[place] < enough:
            break
        if models[place].provider != own:
            order.insert(1, order.pop(step))
            break
    return order
