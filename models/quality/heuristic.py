"""How good an answer is as far as its words tell: relevance, coherence, completeness and form, put together.

The score is the weighted geometric mean of the parts, so that no part makes up for one that is missing:

    score = Π max(part, 0.02) ^ (weight / Σ weights)        over the parts that the prompt asks for

What is credited is credited to sentences that speak of what was asked: by one that does not, in whatever words, nothing
gets better. Whether something is true it cannot tell: of two answers of the same build, the wrong one scores as well as
the right one. What it is worth against people's feedback is measured by `models.quality.family`, which learns from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

from models.quality.coherence import coherence
from models.quality.completeness import completeness
from models.quality.form import form
from models.quality.relevance import relevance
from models.quality.shown import Shown, read
from models.quality.wanted import Wanted, wanted

VERSION = "words v2"
WEIGHTS: Mapping[str, float] = {"relevance": 0.35, "completeness": 0.35, "coherence": 0.15, "form": 0.15}
_LEAST = 0.02


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer's score.

    Attributes
    ----------
    score : 0 to 1.
    form : None where no form was asked for.
    """

    score: float
    relevance: float
    coherence: float
    completeness: float
    form: float | None

    def parts(self) -> dict[str, float | None]:
        """JSON of the parts."""
        return {
            "relevance": round(self.relevance, 4),
            "coherence": round(self.coherence, 4),
            "completeness": round(self.completeness, 4),
            "form": None if self.form is None else round(self.form, 4),
        }


NOTHING = Scored(0.0, 0.0, 0.0, 0.0, None)


def score(
    prompt: str, answer: str, finish_reason: str | None = None, response_format: Mapping[str, Any] | None = None
) -> Scored:
    """Score an answer.

    Parameters
    ----------
    prompt : the last words of the user.
    finish_reason : as OpenAI says it; None: not known.
    response_format : of the request, as OpenAI has it.
    """
    return judged(wanted(prompt, response_format), read(answer), finish_reason)


def judged(asked: Wanted, shown: Shown, finish_reason: str | None = None) -> Scored:
    """As `score`, of what was read already."""
    if not shown.text:
        return NOTHING
    made = Scored(
        0.0,
        relevance(asked, shown),
        coherence(asked, shown),
        completeness(asked, shown, finish_reason),
        form(asked, shown),
    )
    total = weight = 0.0
    for name, share in WEIGHTS.items():
        part = getattr(made, name)
        if part is not None:
            total += share * log(max(part, _LEAST))
            weight += share
    return Scored(exp(total / weight), made.relevance, made.coherence, made.completeness, made.form)


def score_text(question: str, answer: str) -> float:
    """The score alone, of a question and an answer; for `gateway.call.judging`."""
    return score(question, answer).score
