"""Calls that somebody judged: which model answered, what was expected of it, and what was thought of the answer."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import sqlalchemy as sa

from store.database import migrate, session
from store.llm_feedback import one_each
from store.settings import Settings
from store.tables.gateway import FeedbackRow, LlmCallRow

# Who asks for a model by name decides, not the gateway.
NOT_ROUTED = ("explicit", "ensemble")


def judged_calls(settings: Settings, since: datetime, until: datetime) -> pd.DataFrame:
    """Routed calls asked at or after the one moment and before the other, with the latest judgement known by then.

    Returns
    -------
    call, at, workspace, strategy, policy, model, expected (quality, 0 to 1, of the model that was chosen; NaN where
    another one answered in its stead), score (0 to 1), in the order of time.
    """
    migrate(settings)
    calls = LlmCallRow
    judged = one_each(FeedbackRow.at < until, FeedbackRow.at >= since)
    query = (
        sa.select(
            calls.id, calls.at, calls.workspace, calls.strategy, calls.policy, calls.model, calls.decision,
            judged.c.score,
        )
        .join(judged, judged.c.call_id == calls.id)
        .where(
            calls.at >= since, calls.at < until, calls.outcome == "ok", calls.strategy.not_in(NOT_ROUTED),
            calls.model.is_not(None),
        )
        .order_by(calls.at, calls.id)
        .execution_options(yield_per=2_000)
    )  # fmt: skip
    rows = []
    with session(settings, readonly=True) as opened:
        for call, at, workspace, strategy, policy, model, decision, score in opened.execute(query):
            first = ((decision or {}).get("candidates") or [{}])[0]
            expected = first.get("quality") if first.get("model") == model else None
            rows.append((call, at, workspace, strategy, policy, model, expected, score))
    names = ["call", "at", "workspace", "strategy", "policy", "model", "expected", "score"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.astype({"expected": "float64", "score": "float64"}).assign(at=pd.to_datetime(frame["at"]))
