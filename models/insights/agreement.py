"""One answer out of those of several models, after each was checked: whose words are taken, and who says the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from models.insights.checking import Checked, Verdict

MOST_SENTENCES = 12


@dataclass(frozen=True)
class Answered:
    """One model's answer and what the check made of it."""

    model: str
    verdict: Verdict


@dataclass(frozen=True)
class Sentence:
    """A sentence of the one answer.

    Attributes
    ----------
    models : those whose answers state all of its numbers, the one whose words these are first.
    """

    text: str
    rows: tuple[int, ...]
    models: tuple[str, ...]


@dataclass(frozen=True)
class Joint:
    """The one answer.

    Attributes
    ----------
    sentences : empty where no model's answer holds.
    agreement : mean share of the answering models that state a sentence's numbers, 0 to 1; models that were refused
        count as ones that do not.
    """

    sentences: tuple[Sentence, ...]
    agreement: float

    @property
    def text(self) -> str:
        return " ".join(one.text for one in self.sentences)


def join(answers: Sequence[Answered]) -> Joint:
    """Take the answer whose numbers most others state too, and add what at least two others say and it does not.

    Of equals the one from which less was taken out, then the shorter, then the first by name: the order in which models
    answered never matters.
    """
    used = sorted((one for one in answers if one.verdict.refused is None), key=lambda one: one.model)
    told = {one.model: frozenset(cell for kept in one.verdict.kept for cell in kept.cells) for one in used}
    support = Counter(cell for cells in told.values() for cell in cells)

    def standing(one: Answered) -> tuple[float, ...]:
        others = sum(support[cell] - 1 for cell in told[one.model])
        return -others, len(one.verdict.removed), sum(len(kept.text) for kept in one.verdict.kept)

    found: list[tuple[Checked, str]] = []
    covered: set[str] = set()
    for place, one in enumerate(sorted(used, key=standing)):
        for kept in one.verdict.kept:
            new = not kept.cells <= covered
            if new and (place == 0 or min(support[cell] for cell in kept.cells) >= 2):
                found.append((kept, one.model))
                covered |= kept.cells
    sentences = tuple(
        Sentence(
            kept.text,
            kept.rows,
            (model, *(name for name, cells in told.items() if name != model and kept.cells <= cells)),
        )
        for kept, model in found[:MOST_SENTENCES]
    )
    shares = [len(one.models) / len(answers) for one in sentences]
    return Joint(sentences, sum(shares) / len(shares) if shares else 0.0)
