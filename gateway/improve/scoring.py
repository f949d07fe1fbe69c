"""Scores of answers, told after the call by what their words tell, or by the promoted scorer where there is one.

What is read off an answer is kept as numbers with the score, so that a scorer can be learned from feedback also where a
workspace keeps no words.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.call.reading import Reading
from gateway.improve.scoring_queue import EndedCall
from models.quality.features import Features, answer_of, features
from models.quality.heuristic import VERSION
from store import llm_scores
from store.llm_scores import Score
from store.settings import Settings

log = logging.getLogger("merit.gateway")

AT_ONCE, SECONDS = 100, 2.0
# Scores that could not be written are kept for another try, so many at most.
_MOST_UNWRITTEN = 2_000


class Scorer(Protocol):
    """Scores what was read off an answer.

    Attributes
    ----------
    name : with the version.
    """

    @property
    def name(self) -> str: ...

    def score(self, found: Features, domain: str | None, complexity: str | None) -> float:
        """0 to 1."""


class Words:
    """The heuristic, which needs no training."""

    name = VERSION

    def score(self, found: Features, domain: str | None, complexity: str | None) -> float:  # noqa: ARG002
        return found.scored.score


class Scoring:
    """A step of `EndedCalls`.

    Parameters
    ----------
    told : model, kind of task, score.
    """

    def __init__(
        self,
        settings: Settings,
        told: Callable[[str, str, float], None] = lambda *_: None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._told = told
        self._clock = clock
        self._rows: list[Score] = []
        self._written = clock()
        self.scorer: Scorer = Words()
        self.scored = 0

    def __call__(self, ended: EndedCall) -> None:
        """Score an answer that a model gave to a chat."""
        record = ended.record
        if record.kind != "chat" or record.outcome != "ok" or record.model is None or record.strategy == "ensemble":
            return
        said = text_of_answer(ended.answer)
        if said is None:
            return
        text, finish = said
        found = features(ended.prompt, text, finish or record.finish_reason, ended.response_format)
        scorer = self.scorer
        value = min(1.0, max(0.0, scorer.score(found, record.domain, record.complexity)))
        self.scored += 1
        self._told(record.model, record.domain or "", value)
        self._rows.append(Score(record.id, record.at, record.tenant.workspace, value, scorer.name, found.numbers))
        if len(self._rows) >= AT_ONCE:
            self.flush()

    def idle(self) -> None:
        """Write what waits, every other second."""
        if self._rows and self._clock() - self._written >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises
        ------
        ServiceUnavailable : the database does not answer; what waits goes on waiting.
        """
        rows, self._written = self._rows, self._clock()
        if not rows:
            return
        del rows[:-_MOST_UNWRITTEN]
        llm_scores.insert(self._settings, rows)
        self._rows = []


def text_of_answer(answer: Mapping[str, Any] | Reading | None) -> tuple[str, str | None] | None:
    """Text and finish reason of the first choice; None where it says nothing, as one that calls a tool does."""
    if answer is None:
        return None
    if isinstance(answer, Reading):
        text = answer.text
        # An empty stream is no answer; one that called a tool is none to be read.
        return (text, answer.finish_reason) if text or answer.finish_reason not in ("tool_calls", None) else None
    return answer_of(answer)
