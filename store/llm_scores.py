"""Scores of answers: rows in, once for each call; scores out by call. Numbers alone, no words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from store.database import migrate, session
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import LlmScoreRow

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Score:
    """One answer's score.

    Attributes
    ----------
    at : of the call, naive UTC.
    score : 0 to 1.
    scorer : what scored it.
    features : what was read off the answer; see `models.quality.features`.
    """

    call_id: str
    at: datetime
    workspace: str
    score: float
    scorer: str
    features: Sequence[float | None]


def insert(settings: Settings, scores: Iterable[Score]) -> None:
    """Keep scores; of a call that has one already, the first stays."""
    rows = [
        {
            "call_id": one.call_id,
            "at": one.at,
            "workspace": storable(one.workspace),
            "score": one.score,
            "scorer": one.scorer,
            "features": list(one.features),
        }
        for one in scores
    ]
    if not rows:
        return
    migrate(settings)
    with session(settings) as opened:
        insert: Any = sqlite.insert if opened.get_bind().dialect.name == "sqlite" else postgresql.insert
        opened.execute(insert(LlmScoreRow).on_conflict_do_nothing(), rows)


def of(settings: Settings, calls: Sequence[str]) -> dict[str, Score]:
    """Scores by the id of their call, of those calls that have one."""
    migrate(settings)
    found: dict[str, Score] = {}
    with session(settings, readonly=True) as opened:
        for begin in range(0, len(calls), _AT_ONCE):
            ids = [storable(one) for one in calls[begin : begin + _AT_ONCE]]
            for row in opened.scalars(sa.select(LlmScoreRow).where(LlmScoreRow.call_id.in_(ids))):
                found[row.call_id] = _score(row)
    return found


def remove(settings: Settings, workspace: str, before: datetime, *, most: int = 5_000) -> int:
    """Remove scores of calls before a moment, `most` at a time; returns how many there were."""
    ids = sa.select(LlmScoreRow.call_id).where(LlmScoreRow.workspace == workspace, LlmScoreRow.at < before).limit(most)
    with session(settings) as opened:
        result: Any = opened.execute(
            sa.delete(LlmScoreRow).where(LlmScoreRow.call_id.in_(ids)),
            execution_options={"synchronize_session": False},
        )
        return int(result.rowcount)


def _score(row: LlmScoreRow) -> Score:
    return Score(row.call_id, row.at, row.workspace, row.score, row.scorer, tuple(row.features))
