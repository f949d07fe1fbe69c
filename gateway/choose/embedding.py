"""Which model embeds: the same one at every moment, since vectors of different models do not compare.

The strategies order by stated quality, price and time alone, for a text of one fixed length: no live numbers, no
learning, no exploration, no other model when the first one fails. Who wants one all the same says `fallbacks`.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.choose import strategies
from gateway.choose.candidates import Candidates, ranked_of
from gateway.choose.decision import Decision, Task
from gateway.choose.exclusion import no_candidate
from gateway.choose.limits import Expected, Group, Roster, admitted, priced
from gateway.choose.live import Live
from gateway.choose.outlook import Measured
from gateway.choose.policy import PriorPolicy
from gateway.choose.sentence import reason_of
from gateway.choose.virtual import Asked, Strategy
from gateway.prompt import Prompt
from store.errors import InvalidValue

_FIXED = Task("simple", "knowledge", frozenset(), 1_000, 0, 0, 1.0)
_PRIORS = PriorPolicy()
_UNMEASURED = Measured(0.0, (), (), (), (), (), any=False, lowered=False)
_SCORES: dict[Strategy, Callable[[Expected], list[float]]] = {
    Strategy.CHEAPEST: lambda expected: strategies.cheapest(expected, _FIXED, range(len(expected.quality)), None),
    Strategy.FASTEST: strategies.fastest,
    Strategy.BEST: strategies.best,
}


def decide(
    roster: Roster, live: Live, asked: Asked, prompt: Prompt, task: Task, allowed: frozenset[str] | None, most: int
) -> Decision:
    """Choose a model for embeddings; see `gateway.choose.chooser.Chooser.decide`."""
    if asked.ensemble is not None:
        raise InvalidValue(
            f"{prompt.model!r} is an ensemble, and embeddings have nothing to vote on.",
            remedy="Ask for auto or for one model.",
            field="model",
            value=prompt.model,
        )
    group = roster.group(
        "embeddings",
        task.needs,
        prompt.limits,
        local_only=asked.strategy is Strategy.PRIVATE,
        allowed=allowed,
        only=None if prompt.options.fallbacks else asked.model,
    )
    if not group.models:
        raise no_candidate(prompt.model, "embeddings", group.excluded)
    fixed = _expected(group, _FIXED)
    score = _SCORES.get(asked.strategy)
    scores = score(fixed) if score is not None else strategies.auto(fixed, _FIXED)
    order = sorted(range(len(group.models)), key=lambda place: (-scores[place], group.ids[place]))
    if asked.model is not None:
        if asked.model not in group.ids:
            why = group.excluded.get(asked.model, "not for embeddings")
            raise no_candidate(prompt.model, "embeddings", {asked.model: why})
        first = group.ids.index(asked.model)
        order.remove(first)
        order.insert(0, first)
    if not prompt.options.fallbacks:
        order = order[:1]
    expected = _expected(group, task)
    places, excluded = admitted(group, task, prompt.limits, live, expected)
    left = [place for place in order if place in places]
    if not left:
        raise no_candidate(
            prompt.model, "embeddings", {group.ids[place]: excluded[group.ids[place]] for place in order}
        )
    candidates = Candidates(group, expected, _UNMEASURED, _PRIORS.name, left, excluded)
    ranked = ranked_of(candidates, left, scores, most)
    return Decision(
        prompt.id,
        prompt.model,
        asked.strategy.value,
        task,
        ranked,
        excluded,
        1.0,
        _PRIORS.name,
        reason=reason_of(asked.strategy, task, ranked, explored=False, stays=False),
    )


def _expected(group: Group, task: Task) -> Expected:
    estimates = _PRIORS.estimate("", task, group.models)
    cost, reserve = priced(group, task, estimates.output_tokens)
    ones = [1.0] * len(group.models)
    return Expected(estimates.quality, cost, reserve, estimates.latency_ms, ones, ones)
