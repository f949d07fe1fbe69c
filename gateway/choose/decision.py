"""Which model was chosen, why, and what would have come next: told to the caller, stored with the call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.choose.catalogue import Model
from gateway.money import dollars

# Nobody changes what is decided. Not frozen all the same: making one would take ten times as long, and a call makes a
# dozen.


@dataclass(slots=True)
class Task:
    """What a prompt asks for.

    Attributes
    ----------
    complexity : "simple", "moderate", "complex" or "expert".
    domain : one of `gateway.choose.catalogue.DOMAINS`.
    needs : capabilities that the request cannot do without: tools in it need "tools", images "vision".
    input_tokens : of the prompt, counted offline.
    output_tokens : expected of the answer.
    most_output_tokens : bound of the answer that is reserved for: the caller's own maximum where there is one.
    confidence : 0 to 1.
    reasons : what in the prompt said so, in words.
    bounded : whether the caller set `most_output_tokens`, rather than the gateway.
    choices : answers wanted at once; the tokens above are those of all of them.
    hour_cache : whether a part of the prompt is to be cached for an hour, which makes it dearer.
    """

    complexity: str
    domain: str
    needs: frozenset[str]
    input_tokens: int
    output_tokens: int
    most_output_tokens: int
    confidence: float
    reasons: tuple[str, ...] = ()
    bounded: bool = False
    choices: int = 1
    hour_cache: bool = False

    def explain(self) -> dict[str, Any]:
        return {
            "complexity": self.complexity,
            "domain": self.domain,
            "needs": sorted(self.needs),
            "input_tokens": self.input_tokens,
            "expected_output_tokens": self.output_tokens,
            "confidence": round(self.confidence, 3),
            "reasons": list(self.reasons),
        }


@dataclass(slots=True)
class Ranked:
    """A model that may answer.

    Attributes
    ----------
    score : what the strategy orders by, higher first.
    quality : expected, 0 to 1.
    cost : expected nanos.
    reserve : nanos that the longest answer reserved for would cost.
    latency_ms : expected until the whole answer is there.
    """

    model: Model
    score: float
    quality: float
    cost: int
    reserve: int
    latency_ms: float

    def explain(self) -> dict[str, Any]:
        # Not rounded: it is written with every call, and rounding would be a tenth of a call's time.
        return {
            "model": self.model.id,
            "score": self.score,
            "quality": self.quality,
            "cost": dollars(self.cost),
            "latency_ms": self.latency_ms,
        }


@dataclass(slots=True)
class Decision:
    """The order in which models are tried, first the chosen one.

    Attributes
    ----------
    id : of the prompt.
    asked : the model field of the request.
    strategy : "auto", "cheapest", "fastest", "best", "round-robin", "capability", "preferred", "private", "explicit"
        or "ensemble".
    ranked : never empty; the chosen model, then its fallbacks.
    excluded : model id → the limit that excluded it, in words.
    confidence : 0 to 1 that the chosen one is the right one.
    policy : name and version of what predicted quality, cost and latency.
    propensity : probability with which the chosen model was chosen, for off-policy evaluation.
    explored : whether it was chosen to learn rather than for its score.
    reason : one sentence for people.
    """

    id: str
    asked: str
    strategy: str
    task: Task
    ranked: tuple[Ranked, ...]
    excluded: Mapping[str, str] = field(default_factory=dict)
    confidence: float = 1.0
    policy: str = "priors"
    propensity: float = 1.0
    explored: bool = False
    reason: str = ""

    @property
    def chosen(self) -> Ranked:
        return self.ranked[0]

    @property
    def fallbacks(self) -> Sequence[Ranked]:
        return self.ranked[1:]

    def explain(self) -> dict[str, Any]:
        """JSON of the whole decision."""
        return {
            "id": self.id,
            "asked": self.asked,
            "strategy": self.strategy,
            "model": self.chosen.model.id,
            "reason": self.reason,
            "confidence": round(self.confidence, 3),
            "policy": self.policy,
            "propensity": round(self.propensity, 6),
            "explored": self.explored,
            "task": self.task.explain(),
            "candidates": [one.explain() for one in self.ranked],
            "excluded": dict(self.excluded),
        }
