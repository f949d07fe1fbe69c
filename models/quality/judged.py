"""Answers that somebody has judged, as a frame of numbers: what was read off each answer, the judgement, and by whom.

Words that are kept are read anew and are not in the frame; where they are not kept, the numbers that were written down
with the score stand in. Persons have numbers in place of names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from features.snapshot import utc
from models.quality.features import NAMES, answer_of, features, prompt_of
from store.database import migrate, session
from store.errors import EmptyData, InvalidValue, MeritError
from store.llm_feedback import one_each
from store.settings import Settings
from store.tables.gateway import FeedbackRow, LlmCallRow, LlmContentRow, LlmScoreRow

log = logging.getLogger("merit.models")

ROLES: Mapping[str, str] = {
    "row": "call",
    "time": "at",
    "target": "score",
    "entity": "person",
    "domain": "domain",
    "complexity": "complexity",
}
# (workspace, id of the row, id of the key or None, stored bytes) → the words as they were.
Read = Callable[[str, str, str | None, bytes], bytes]

FEWEST, FEWEST_OF_EACH, FEWEST_PERSONS = 200, 40, 5
_PAGE = 2_000


def judged_answers(
    settings: Settings, *, as_of: datetime | None = None, days: int = 180, read: Read | None = None
) -> pd.DataFrame:
    """One row per answer that was judged until `as_of`, of calls of the last days.

    Parameters
    ----------
    read : opens words that are kept encrypted; None: those count as not kept.

    Returns
    -------
    `call, at, person, workspace, model, domain, complexity, source, score` (0 to 1) and one column for each of
    `models.quality.features.NAMES`, NaN where it does not apply.

    Raises
    ------
    EmptyData : nobody has judged anything.
    """
    migrate(settings)
    moment = utc(as_of)
    persons: dict[tuple[str, str], str] = {}
    rows = [
        made
        for page in _pages(settings, moment, moment - timedelta(days=days))
        for row in page
        if (made := _row(row, read, persons)) is not None
    ]
    if not rows:
        raise EmptyData(
            f"No answer of the {days} days before {moment:%Y-%m-%d %H:%M} was judged.",
            remedy="Report feedback with `POST /v1/llm/feedback` or `merit feedback`, and let workspaces keep words or "
            "the gateway score answers.",
        )
    return pd.DataFrame(rows, columns=[*_FIRST, *NAMES])


_FIRST = ("call", "at", "person", "workspace", "model", "domain", "complexity", "source", "score")


def check_enough(frame: pd.DataFrame) -> None:
    """Whether there is enough feedback to learn from.

    Raises
    ------
    InvalidValue : too little; the message says what is missing.
    """
    good = int((frame["score"] >= 0.5).sum())
    counts = {
        "judged answers": (len(frame), FEWEST),
        "good ones": (good, FEWEST_OF_EACH),
        "bad ones": (len(frame) - good, FEWEST_OF_EACH),
        "persons who judged": (int(frame["person"].nunique()), FEWEST_PERSONS),
    }
    lacking = [f"{have} {name}, {need} are needed" for name, (have, need) in counts.items() if have < need]
    if lacking:
        raise InvalidValue(
            f"There is too little feedback to learn a scorer: {'; '.join(lacking)}.",
            remedy="Collect more with `POST /v1/llm/feedback`; until then the score from words is used.",
            field="feedback",
            value=len(frame),
        )


def _pages(settings: Settings, moment: datetime, since: datetime) -> Iterator[list[sa.Row[Any]]]:
    calls, words, scores = LlmCallRow, LlmContentRow, LlmScoreRow
    judged = one_each(FeedbackRow.at <= moment)
    query = (
        sa.select(
            calls.seq, calls.id, calls.at, calls.workspace, calls.user, calls.key_name, calls.model, calls.domain,
            calls.complexity, calls.finish_reason, judged.c.score, judged.c.source, words.key_id, words.prompt,
            words.answer, scores.features,
        )
        .join(judged, judged.c.call_id == calls.id)
        .outerjoin(words, words.id == calls.id)
        .outerjoin(scores, scores.call_id == calls.id)
        .where(calls.at <= moment, calls.at > since, calls.kind == "chat", calls.outcome.in_(("ok", "broken")))
        .order_by(calls.seq)
        .limit(_PAGE)
    )  # fmt: skip
    seq = 0
    with session(settings, readonly=True) as opened:
        while rows := list(opened.execute(query.where(calls.seq > seq)).all()):
            seq = rows[-1].seq
            yield rows


def _row(row: sa.Row[Any], read: Read | None, persons: dict[tuple[str, str], str]) -> tuple[Any, ...] | None:
    numbers = _numbers(row, read)
    if numbers is None:
        return None
    person = persons.setdefault((row.workspace, row.user or f"key:{row.key_name}"), f"p{len(persons) + 1:05}")
    told = tuple(np.nan if one is None else float(one) for one in numbers)
    return (
        row.id, row.at, person, row.workspace, row.model, row.domain, row.complexity, row.source,
        min(1.0, max(0.0, float(row.score))), *told,
    )  # fmt: skip


def _numbers(row: sa.Row[Any], read: Read | None) -> Sequence[float | None] | None:
    if row.prompt is not None and row.answer is not None and (row.key_id is None or read is not None):
        try:
            asked, answered = (
                json.loads(part if read is None or row.key_id is None else read(row.workspace, name, row.key_id, part))
                # The answer is sealed under a name of its own; see `gateway.account.contents.answer_row`.
                for name, part in ((row.id, row.prompt), (f"{row.id}/answer", row.answer))
            )
        except (MeritError, ValueError) as error:
            # The key is gone, or the row was changed: what was written down with the score is left.
            log.warning("The words of the call %s cannot be read: %s", row.id, type(error).__name__)
        else:
            said = answer_of(answered) if isinstance(answered, Mapping) else None
            if said is not None and isinstance(asked, Mapping):
                wanted = asked.get("response_format")
                text, finish = said
                form = wanted if isinstance(wanted, Mapping) else None
                return features(prompt_of(asked), text, finish or row.finish_reason, form).numbers
    stored = row.features
    return stored if isinstance(stored, list) and len(stored) == len(NAMES) else None
