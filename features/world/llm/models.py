"""The simulated models: what each costs, how fast it is, and how good it truly is at what.

Quality follows an item-response model (Rasch, 1960): the logit of a right answer is the model's skill in the domain
less the difficulty of the task, and every prompt has a difficulty of its own beside that of its complexity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, pi, sqrt
from statistics import NormalDist

from features.world.llm.task import COMPLEXITIES, fraction

DIFFICULTY: Mapping[str, float] = {"simple": -2.3, "moderate": -0.8, "complex": 0.9, "expert": 2.3}

# Standard deviation of a prompt's own difficulty: nothing in its words tells it.
ITEM_SPREAD = 0.5

# Logits of the mean prompt, by the probit approximation of a logistic over a normal (MacKay, 1992).
_SHRINK = 1 / sqrt(1.0 + pi * ITEM_SPREAD**2 / 8.0)
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Tier:
    """Prices of prompts longer than `above` tokens."""

    above: int
    input: float
    output: float
    cached: float
    cache_write: float


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """One simulated model. Prices are nanos (billionths of a dollar) a token.

    Attributes
    ----------
    provider : "simulated", or "simulated-local" for those that run on the own machines.
    cached, cache_write : prices of tokens read from, and written to, the prompt cache.
    quality : share of answers that are right, over the four complexities alike, by domain; "" for every other.
    ttft_ms : milliseconds to the first token, `tokens_per_second` after it.
    thinking : reasoning tokens for every token shown.
    wordiness : length of its answers, 1 being what was asked for.
    failures : share of calls that fail when nothing is wrong.
    """

    provider: str
    name: str
    input: float
    output: float
    cached: float
    quality: Mapping[str, float]
    ttft_ms: float
    tokens_per_second: float
    context: int
    max_output: int
    capabilities: frozenset[str]
    cache_write: float | None = None
    tier: Tier | None = None
    thinking: float = 0.0
    wordiness: float = 1.0
    failures: float = 0.002
    kind: str = "chat"

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.name}"

    def skill(self, domain: str) -> float:
        """Logits in a domain."""
        return _skill(self.quality.get(domain, self.quality[""]))

    def cost(self, input_tokens: int, output_tokens: int, cached: int = 0, written: int = 0) -> int:
        """Nanos, rounded once; `cached` and `written` are parts of the input, reasoning is part of the output."""
        price: SimulatedModel | Tier = self
        if self.tier is not None and input_tokens > self.tier.above:
            price = self.tier
        writing = price.input if price.cache_write is None else price.cache_write
        amount = (input_tokens - cached - written) * price.input + cached * price.cached + written * writing
        return round(amount + output_tokens * price.output)


def chance(logit: float) -> float:
    """The logistic function, within what a model can reach: nobody is always right."""
    return 0.01 + 0.98 / (1.0 + exp(-logit))


def item_effect(seed: int, prompt: str) -> float:
    """How much harder than others of its kind a prompt is, in logits: the same for every model."""
    return ITEM_SPREAD * _NORMAL.inv_cdf(min(max(fraction(seed, "item", prompt), 1e-9), 1 - 1e-9))


def logit(model: SimulatedModel, domain: str, complexity: str, shift: float = 0.0) -> float:
    """Skill less difficulty; `shift` is what was added to the skill for a while."""
    return model.skill(domain) + shift - DIFFICULTY[complexity]


def true_quality(model: SimulatedModel, domain: str, complexity: str, shift: float = 0.0) -> float:
    """Expected quality, 0 to 1, over all prompts of a domain and complexity."""
    return chance(logit(model, domain, complexity, shift) * _SHRINK)


@lru_cache(maxsize=1_024)
def _skill(quality: float) -> float:
    """The skill whose mean quality over the complexities is this one."""
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = sum(chance((middle - DIFFICULTY[one]) * _SHRINK) for one in COMPLEXITIES) / len(COMPLEXITIES)
        low, high = (middle, high) if mean < quality else (low, middle)
    return low
