"""What users thought of answers: more often well of good ones, by thumbs, stars, edits, or by asking again."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

# P(thumb up) of the worst and of the best answer: people err, and some are never content.
THUMB_UP = (0.07, 0.93)
_SOURCES, _WEIGHTS = ("thumb", "stars", "edit", "repeat"), (0.66, 0.2, 0.08, 0.06)
# Of a judging model: the name under which it reports, and the standard deviation of its grades.
JUDGE, GRADE_SPREAD = "simulated/large", 0.1
COMMENTS = {
    0: ("not what I asked", "wrong", "stops in the middle", "too vague"),
    1: ("thanks, exactly right", "good", "very helpful"),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgement: 0 to 1, where it came from, a comment now and then, and after how many seconds."""

    score: float
    source: str
    comment: str | None
    after: float


def judge(quality: float, strictness: float, rng: Random) -> Judged:
    """A user's judgement of an answer.

    Parameters
    ----------
    quality : of the answer, 0 to 1.
    strictness : of the user, subtracted from the chance of a good word.
    """
    source = rng.choices(_SOURCES, _WEIGHTS)[0]
    felt = min(max(quality - strictness, 0.0), 1.0)
    if source == "stars":
        score = round(min(max(felt + rng.gauss(0.0, 0.12), 0.0), 1.0) * 4) / 4
    elif source == "edit":
        score = round(min(max(felt + rng.gauss(0.0, 0.1), 0.0), 1.0), 2)
    elif source == "repeat" and quality >= 0.5:
        source, score = "thumb", 1.0
    elif source == "repeat":
        score = 0.0
    else:
        score = float(rng.random() < THUMB_UP[0] + (THUMB_UP[1] - THUMB_UP[0]) * felt)
    comment = rng.choice(COMMENTS[int(score >= 0.5)]) if rng.random() < 0.08 else None
    return Judged(score, source, comment, rng.expovariate(1 / 120) + 3)


def graded(quality: float, rng: Random) -> Judged:
    """A judging model's grade: a whole number of ten, a little off, at once and without a comment."""
    return Judged(round(min(max(quality + rng.gauss(0.0, GRADE_SPREAD), 0.0), 1.0) * 10) / 10, "judge", None, 1.0)
