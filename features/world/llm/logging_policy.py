"""Which model was asked in the demo world's past: by a policy that explores, whose propensities are on record.

For `auto` and `private` the policy draws from

    p(m) = (1 − ε) · softmax(score(m) / τ) + ε / K,    score = prior quality − λ · dollars − μ · seconds,

over the K models that may answer, ε being `EXPLORE`. Every model that may answer is drawn with a probability of at
least ε / K, so that what another policy would have done can be told from the ledger (Horvitz and Thompson, 1952).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.world.business import Array
from features.world.llm.happenings import Happenings
from features.world.llm.models import SimulatedModel
from features.world.llm.offers import MODELS
from features.world.llm.task import COMPLEXITIES
from features.world.llm.tasks import DOMAINS
from features.world.llm.traffic import Traffic
from features.world.llm.workspaces import WORKSPACES

EXPLORE = 0.12
TEMPERATURE = 0.09
DOLLARS_WEIGHT = 45.0
SECONDS_WEIGHT = 0.012
NAME = "priors, exploring"

CHAT: Sequence[SimulatedModel] = tuple(one for one in MODELS.values() if one.kind == "chat")
"""Models that may answer, in the order of every array's last axis."""

# What was believed of a task before anything was measured.
_EXPECTED_TOKENS = np.array([40.0, 110.0, 230.0, 380.0])
_PRIOR_DIFFICULTY = np.array([-1.0, 0.0, 0.7, 1.4])
_THINKING = np.array([1.0, 1.25, 1.6, 2.0])

# How the words of a prompt mislead: what the task is → what it is taken for, and how often.
_TAKEN_FOR = {
    "knowledge": "conversation",
    "conversation": "knowledge",
    "analysis": "writing",
    "writing": "conversation",
    "reasoning": "math",
    "math": "reasoning",
    "summary": "writing",
    "extraction": "summary",
    "translation": "writing",
    "code": "reasoning",
}
_DOMAIN_MISTAKES, _COMPLEXITY_MISTAKES = 0.1, 0.2


@dataclass(frozen=True)
class Choices:
    """One entry per call; the last axis of what has two is `CHAT`.

    Attributes
    ----------
    domain, complexity : as they were taken to be when the model was chosen.
    quality, cost, latency_ms : expected then; cost in nanos.
    score : what the policy ordered by.
    allowed : which models might answer.
    chosen : number into `CHAT`; of calls for vectors it means nothing.
    propensity : probability with which it was chosen.
    explored : whether it was drawn to learn.
    """

    domain: Array
    complexity: Array
    quality: Array
    cost: Array
    latency_ms: Array
    score: Array
    allowed: Array
    chosen: Array
    propensity: Array
    explored: Array


def choose(calls: Traffic, input_tokens: Array, happened: Happenings, rng: np.random.Generator) -> Choices:
    """What was believed of each call, and which model it went to."""
    count = len(calls)
    domain, complexity = _seen(calls, rng)
    prior = np.array([[model.quality.get(name, model.quality[""]) for model in CHAT] for name in DOMAINS])[domain]
    log_odds = np.log(prior / (1 - prior)) - _PRIOR_DIFFICULTY[complexity][:, None]
    quality = 1 / (1 + np.exp(-log_odds))
    thinks = np.array([bool(model.thinking) for model in CHAT])
    tokens = _EXPECTED_TOKENS[complexity][:, None] * np.where(thinks, _THINKING[complexity][:, None], 1.0)
    cost = input_tokens[:, None] * np.array([m.input for m in CHAT]) + tokens * np.array([m.output for m in CHAT])
    cost = cost * np.stack([happened.price(model.id, calls.at) for model in CHAT], axis=1)
    latency = np.array([m.ttft_ms for m in CHAT]) + 1_000 * tokens / np.array([m.tokens_per_second for m in CHAT])
    score = quality - DOLLARS_WEIGHT * cost / 1e9 - SECONDS_WEIGHT * latency / 1_000
    local = np.array([model.provider == "simulated-local" for model in CHAT])
    private = np.array([one.local_only for one in WORKSPACES])[calls.workspace]
    allowed = np.where(private[:, None], local, True)

    odds = np.where(allowed, np.exp((score - score.max(axis=1, keepdims=True)) / TEMPERATURE), 0.0)
    exploit = odds / odds.sum(axis=1, keepdims=True)
    explores = rng.random(count) < EXPLORE
    uniform = allowed / allowed.sum(axis=1, keepdims=True)
    chance = (1 - EXPLORE) * exploit + EXPLORE * uniform
    drawn = _drawn(np.where(explores[:, None], uniform, exploit), rng)

    strategy = np.array([strategy_of(name) for name in calls.asked])
    draws = np.isin(strategy, ("auto", "private"))
    fixed = {
        "cheapest": np.where(quality >= 0.5, cost, np.inf).argmin(axis=1),
        "fastest": latency.argmin(axis=1),
        "best": quality.argmax(axis=1),
        "explicit": np.array([_NUMBER.get(name, 0) for name in calls.asked]),
    }
    chosen = np.where(draws, drawn, np.select([strategy == name for name in fixed], list(fixed.values()), 0))
    propensity = np.where(draws, chance[np.arange(count), chosen], 1.0)
    return Choices(
        domain, complexity, quality, cost, latency, score, allowed, chosen, propensity, explored=draws & explores
    )


def strategy_of(asked: str) -> str:
    """The strategy that a name in the field `model` stands for."""
    return "explicit" if "/" in asked else asked


_NUMBER: Mapping[str, int] = {model.id: number for number, model in enumerate(CHAT)}


def _seen(calls: Traffic, rng: np.random.Generator) -> tuple[Array, Array]:
    """What the tasks were taken for: mostly what they are."""
    count = len(calls)
    other = np.array([DOMAINS.index(_TAKEN_FOR[name]) for name in DOMAINS])
    domain = np.where(rng.random(count) < _DOMAIN_MISTAKES, other[calls.domain], calls.domain)
    step = np.where(rng.random(count) < 0.5, 1, -1) * (rng.random(count) < _COMPLEXITY_MISTAKES)
    return domain, np.clip(calls.complexity + step, 0, len(COMPLEXITIES) - 1)


def _drawn(chance: Array, rng: np.random.Generator) -> Array:
    """A number for each row, by the row's probabilities."""
    reached = chance.cumsum(axis=1) > rng.random((len(chance), 1)) * chance.sum(axis=1, keepdims=True)
    drawn: Array = reached.argmax(axis=1)
    return drawn
