"""How good the answers of an ensemble's members are, for "best-of-n": a model judges, or the gateway's own score."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.call.run import Run
from gateway.choose.ensemble import Ensemble
from gateway.choose.ensembles import Member
from gateway.choose.request import text_of
from gateway.prompt import Options, Prompt
from store.errors import GatewayError
from store.tables.base import new_id

# (what was asked, the answer) → 0 to 1.
Score = Callable[[str, str], float]
Ask = Callable[[Prompt], Awaitable[Mapping[str, Any]]]
_LONGEST = 6_000
_NUMBER = re.compile(r"\b(10|[0-9])(?:\.\d+)?\b")
_INSTRUCTIONS = (
    "You grade answers. Read the question and the numbered answers. For each answer give a whole number from 0 to 10 "
    "for how correct, complete and to the point it is; length by itself earns nothing. Reply with the numbers alone, "
    "in the order of the answers, separated by spaces."
)


class Judge:
    """Scores answers.

    Parameters
    ----------
    score : the gateway's own score.
    ask : the body of a whole answer to a prompt; the judge's call passes the gateway like every other.
    """

    def __init__(self, score: Score, ask: Ask) -> None:
        self.score = score
        self._ask = ask

    async def scores(self, run: Run, ensemble: Ensemble, members: Sequence[Member]) -> dict[int, float]:
        """Score by `id` of the member. A judge that does not answer, or not with a number for each, is not waited for
        again: the own score stands in, and the answer says so."""
        question = text_of(run.prompt.body)
        if ensemble.judge is not None:
            try:
                judged = await self._judged(run, ensemble.judge, question, members)
            except GatewayError as error:
                run.extra["judge"] = f"{ensemble.judge} did not judge: {error.message}"
            else:
                if judged is not None:
                    run.extra["judge"] = ensemble.judge
                    return judged
                run.extra["judge"] = f"{ensemble.judge} gave no numbers; the gateway's own score decided"
        return {id(one): self.score(question, one.text) for one in members}

    async def _judged(self, run: Run, judge: str, question: str, members: Sequence[Member]) -> dict[int, float] | None:
        told = "\n\n".join(f"Answer {place + 1}:\n{one.text[:_LONGEST]}" for place, one in enumerate(members))
        body = {
            "model": judge,
            "messages": [
                {"role": "system", "content": _INSTRUCTIONS},
                {"role": "user", "content": f"Question:\n{question[:_LONGEST]}\n\n{told}"},
            ],
            "temperature": 0,
            "max_tokens": 16 + 8 * len(members),
        }
        prompt = replace(
            run.prompt, id=new_id(), model=judge, body=body, stream=False, native=None, wire="openai",
            limits=run.prompt.limits.whereabouts(), options=Options(explore=False), stay=None,
        )  # fmt: skip
        answer = await self._ask(prompt)
        choices = answer.get("choices") or [{}]
        text = str((choices[0].get("message") or {}).get("content") or "")
        numbers = [float(one) / 10 for one in _NUMBER.findall(text)]
        if len(numbers) != len(members):
            return None
        return {id(member): number for member, number in zip(members, numbers, strict=True)}
