"""How good an answer is where something is known of the right one, and as far as its words tell where nothing is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.choose.answers import normalised
from gateway.improve.scoring import Scorer, Words
from models.quality.features import features

# A reference that comes down to so few characters is the answer itself, not one way among many of putting it.
CLOSED = 60
_WORD = re.compile(r"\w+")
_MOST_WORDS = 20_000


@dataclass(frozen=True, slots=True)
class Grade:
    """A score, 0 to 1, and by what: "expected", "reference", or the name of the scorer of words."""

    score: float
    by: str


def grade(
    asked: str,
    answer: str,
    finish_reason: str | None,
    *,
    expected: Sequence[str] = (),
    reference: str | None = None,
    response_format: Mapping[str, Any] | None = None,
    domain: str | None = None,
    complexity: str | None = None,
    scorer: Scorer | None = None,
) -> Grade:
    """Grade an answer.

    - With expected texts: 1 where it says one of them, else 0.
    - With a reference that is a short answer (a number, a choice, a name): 1 where both come down to the same, else 0.
    - With any other reference: half the score from words, half how many words both share (F1; Rajpurkar et al. 2016).
    - With neither: the score of the scorer.

    Parameters
    ----------
    asked : the last words of the user.
    scorer : for what its words tell; default: the one that needs no training.
    """
    scorer = scorer or Words()
    if expected:
        return Grade(float(any(says(answer, one) for one in expected)), "expected")
    if reference is not None and is_closed(reference):
        return Grade(float(says(answer, reference)), "reference")
    found = features(asked, answer, finish_reason, response_format)
    words = min(1.0, max(0.0, scorer.score(found, domain, complexity))) if answer.strip() else 0.0
    if reference is not None:
        return Grade(0.5 * words + 0.5 * shared_words(answer, reference), "reference")
    return Grade(words, scorer.name)


def is_closed(reference: str) -> bool:
    """Whether a reference is an answer that is right or wrong."""
    return len(normalised(reference)) <= CLOSED


def says(answer: str, wanted: str) -> bool:
    """Whether an answer comes down to a text, or the end of its last line, from a colon on, holds it as whole words."""
    key = normalised(wanted)
    if not key or normalised(answer) == key:
        return bool(key)
    last = next((line for line in reversed(answer.strip().splitlines()) if line.strip()), "").rpartition(": ")[2]
    plain = re.escape(" ".join(wanted.casefold().split()).rstrip(".!"))
    # 39 is not in 391, nor in 39.5.
    return bool(re.search(rf"(?<![\w.,-]){plain}(?![\w]|[.,]\d)", " ".join(last.casefold().split())))


def shared_words(answer: str, reference: str) -> float:
    """F1 of the words of two texts, counted with their repeats: 1 for the same words in any order, 0 for no common."""
    said, wanted = (Counter(_WORD.findall(text.casefold())[:_MOST_WORDS]) for text in (answer, reference))
    common = sum((said & wanted).values())
    if not common:
        return 0.0
    return 2.0 * common / (said.total() + wanted.total())
