"""Which of several judgements of an answer counts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from store import llm_feedback
from store.database import session
from store.settings import Settings
from store.tables.gateway import FeedbackRow

NOON = datetime(2026, 11, 1, 12)


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ([("thumb", 0.0), ("stars", 0.75)], ("stars", 0.75)),
        ([("stars", 0.75), ("thumb", 0.0)], ("thumb", 0.0)),
        ([("thumb", 1.0), ("edit", 0.4), ("repeat", 0.2), ("judge", 0.3)], ("thumb", 1.0)),
        ([("judge", 0.9), ("repeat", 0.2), ("edit", 0.4)], ("edit", 0.4)),
        ([("repeat", 0.2), ("judge", 0.9)], ("repeat", 0.2)),
        ([("judge", 0.9), ("judge", 0.1)], ("judge", 0.1)),
    ],
)
def test_what_says_most_counts_and_then_the_latest(
    settings: Settings, given: list[tuple[str, float]], counts: tuple[str, float]
) -> None:
    ids = [
        llm_feedback.add(settings, call_id="c", workspace="default", user=None, score=score, source=source).id
        for source, score in given
    ]
    llm_feedback.add(settings, call_id="other", workspace="default", user=None, score=0.5, source="score")
    with session(settings) as opened:
        for minute, one in enumerate(ids):
            at = NOON + timedelta(minutes=minute)
            opened.execute(sa.update(FeedbackRow).where(FeedbackRow.id == one).values(at=at))
    judged = llm_feedback.one_each(FeedbackRow.at < datetime(2026, 11, 2))
    with session(settings, readonly=True) as opened:
        assert [tuple(row) for row in opened.execute(sa.select(judged))] == [("c", counts[1], counts[0])]
        # What was not known then does not count.
        first = llm_feedback.one_each(FeedbackRow.at <= NOON)
        assert opened.execute(sa.select(first.c.source)).scalar_one() == given[0][0]
