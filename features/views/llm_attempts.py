"""Attempts that failed, by hour and model: also those behind a call that another model then answered."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from store.database import migrate, session
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import LlmCallRow

_FAILED = ("failed", "broken", "unknown")
# Nobody's fault: the caller went away.
_NO_FAILURE = ("cancelled", None, "")
_AT_ONCE = 5_000


def failed_attempts(
    settings: Settings, since: datetime, until: datetime, *, workspace: str | None = None
) -> pd.DataFrame:
    """Failures from one moment to another: hour, model, failure (of which kind), failed (how many).

    What retention has summed up by day is not known any more.
    """
    migrate(settings)
    several = sa.func.json_array_length(LlmCallRow.attempts) > 1
    query = (
        sa.select(LlmCallRow.at, LlmCallRow.attempts)
        .where(LlmCallRow.at >= since, LlmCallRow.at < until, sa.or_(several, LlmCallRow.outcome.in_(_FAILED)))
        .execution_options(yield_per=_AT_ONCE)
    )
    if workspace is not None:
        query = query.where(LlmCallRow.workspace == storable(workspace))
    counts: Counter[tuple[datetime, str, str]] = Counter()
    with session(settings, readonly=True) as opened:
        for at, attempts in opened.execute(query):
            hour = at.replace(minute=0, second=0, microsecond=0)
            for one in attempts or ():
                kind = one.get("failure")
                if kind not in _NO_FAILURE and one.get("model"):
                    counts[hour, str(one["model"]), str(kind)] += 1
    rows = [(*key, count) for key, count in sorted(counts.items())]
    frame = pd.DataFrame(rows, columns=["hour", "model", "failure", "failed"])
    frame["hour"] = pd.to_datetime(frame["hour"])
    return frame
