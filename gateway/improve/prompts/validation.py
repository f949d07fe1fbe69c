"""Whether shorter prompts are answered as well: the same held-out prompts, both ways, through the same models.

Prompts that the optimiser does not change say nothing and are not asked. The difference of each pair is scored; its
mean and interval are those of a paired bootstrap over prompts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gateway.call.reading import text_of_answer
from gateway.choose.request import text_of
from gateway.improve.prompts.optimise import Optimised, Options, optimise
from models.quality.heuristic import score_text
from store.errors import InvalidValue

# (id of a model, body of a request) → the answer in OpenAI's shape.
Ask = Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
# (what was asked, answer) → 0 to 1.
Score = Callable[[str, str], float]
Verdict = Literal["no worse", "worse", "cannot tell"]

MARGIN = 0.02
"""A fall of the mean score that does not matter."""

_AT_ONCE = 8


@dataclass(frozen=True)
class Validated:
    """One model's answers, both ways.

    Attributes
    ----------
    prompts : pairs that were answered.
    tokens_before, tokens_after : of all prompts together.
    score_before, score_after : means.
    difference : after less before, with the interval at `level`.
    verdict : "no worse" where even the lower end is above -`MARGIN`, "worse" where the upper end is below 0.
    """

    model: str
    prompts: int
    tokens_before: int
    tokens_after: int
    score_before: float
    score_after: float
    difference: float
    low: float
    high: float
    level: float
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


async def validate(
    bodies: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    ask: Ask,
    *,
    options: Options | None = None,
    score: Score = score_text,
    level: float = 0.95,
    seed: int = 0,
) -> list[Validated]:
    """Ask each model every prompt both ways.

    Parameters
    ----------
    bodies : held-out requests of OpenAI's shape; the field `model` is replaced.
    score : of an answer, given what the user asked.

    Raises
    ------
    InvalidValue : fewer than two of the prompts become shorter, or no model is named.
    GatewayError : as `ask` raises it.
    """
    pairs = [(body, found) for body in bodies if (found := optimise(body, options)).changes]
    if len(pairs) < 2 or not models:
        raise InvalidValue(
            f"{len(pairs)} of {len(bodies)} prompts become shorter, {len(models)} models are named.",
            remedy="Give at least two prompts that the optimiser changes, and one model.",
            field="prompts",
            value=len(pairs),
        )
    gate = asyncio.Semaphore(_AT_ONCE)
    return [await _of_model(model, pairs, ask, score, gate, level, seed) for model in models]


async def _of_model(
    model: str,
    pairs: Sequence[tuple[Mapping[str, Any], Optimised]],
    ask: Ask,
    score: Score,
    gate: asyncio.Semaphore,
    level: float,
    seed: int,
) -> Validated:
    async def scored(body: Mapping[str, Any], question: str) -> float:
        async with gate:
            return score(question, text_of_answer(dict(await ask(model, {**body, "model": model}))))

    # What was asked is the same both ways, so that both answers are measured by it.
    asked = [scored(one, text_of(body)) for body, found in pairs for one in (body, found.body)]
    scores = await asyncio.gather(*asked)
    before, after = scores[0::2], scores[1::2]
    difference, low, high = _paired(before, after, level, seed)
    return Validated(
        model=model,
        prompts=len(pairs),
        tokens_before=sum(found.tokens_before for _, found in pairs),
        tokens_after=sum(found.tokens_after for _, found in pairs),
        score_before=sum(before) / len(before),
        score_after=sum(after) / len(after),
        difference=difference,
        low=low,
        high=high,
        level=level,
        verdict="no worse" if low > -MARGIN else "worse" if high < 0 else "cannot tell",
    )


def _paired(before: Sequence[float], after: Sequence[float], level: float, seed: int) -> tuple[float, float, float]:
    # Here, since it brings pandas along, which a gateway does without.
    import pandas as pd

    from models.lifecycle.statistics import paired_bootstrap

    differences = [new - old for old, new in zip(before, after, strict=True)]
    frame = pd.DataFrame({"difference": differences, "group": range(len(differences))})
    found = paired_bootstrap(frame, confidence=level, seed=seed)
    return found.difference, found.low, found.high
