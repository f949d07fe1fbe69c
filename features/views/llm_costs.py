"""What calls cost and how good their answers were, by day and kind of task: what advice on spending is drawn from.

Sums, never single calls: the cells of a month are a few thousand rows whatever the traffic, and a day is the unit that
intervals are drawn over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from store.database import migrate, session
from store.llm_feedback import one_each
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import FeedbackRow, LlmCallRow, LlmScoreRow

NANOS = 1e9
KEYS = ("day", "workspace", "asked", "strategy", "kind", "model", "provider", "domain", "complexity", "batch", "part")
SUMS = (
    "calls", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "cost", "latency_ms",
    "judged", "judgement", "scored", "score",
)  # fmt: skip


def cost_cells(settings: Settings, since: datetime, until: datetime, *, workspace: str | None = None) -> pd.DataFrame:
    """Answered calls asked at or after the one moment and before the other, summed up.

    Members of ensembles and answers from the cache are left out: nobody chose their model for what they cost.

    Returns
    -------
    One row for each combination of `KEYS`: day (midnight), workspace, asked (the field `model` of the request),
    strategy, kind (chat or embeddings), model, provider, domain, complexity, batch (part of one), part ("used" or "held
    back" where the workspace has another model answer such calls, "" elsewhere); and of its calls the sums `SUMS`:
    calls, tokens by kind, cost in dollars, latency_ms, judged and judgement (number and sum of what people and judges
    said, 0 to 1 each, the latest word on an answer known at `until`), scored and score (the same of the scores from
    words). float64.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        sqlite = opened.get_bind().dialect.name == "sqlite"
        rows = opened.execute(_query(sqlite, since, until, workspace)).all()
    return _frame(rows)


def cached_cells(settings: Settings, since: datetime, until: datetime, workspace: str) -> pd.DataFrame:
    """Calls of a workspace that the cache answered: day, asked, domain, complexity, calls."""
    migrate(settings)
    call = LlmCallRow
    with session(settings, readonly=True) as opened:
        sqlite = opened.get_bind().dialect.name == "sqlite"
        inner = (
            sa.select(
                _day(sqlite).label("day"),
                call.asked,
                sa.func.coalesce(call.domain, "").label("domain"),
                sa.func.coalesce(call.complexity, "").label("complexity"),
            )
            .where(call.at >= since, call.at < until, call.outcome == "cached", call.workspace == storable(workspace))
            .subquery()
        )
        groups = [inner.c[name] for name in ("day", "asked", "domain", "complexity")]
        rows = opened.execute(sa.select(*groups, sa.func.count()).group_by(*groups)).all()
    frame = pd.DataFrame([tuple(row) for row in rows], columns=["day", "asked", "domain", "complexity", "calls"])
    frame["day"] = pd.to_datetime(frame["day"], format="%Y-%m-%d")
    return frame.astype({"calls": "float64"})


def _day(sqlite: bool) -> Any:
    if sqlite:  # moments are texts there
        return sa.func.substr(LlmCallRow.at, 1, 10)
    return sa.func.to_char(LlmCallRow.at, sa.text("'YYYY-MM-DD'"))


def _query(sqlite: bool, since: datetime, until: datetime, workspace: str | None) -> sa.Select[Any]:
    call = LlmCallRow
    judged = one_each(FeedbackRow.at < until, FeedbackRow.at >= since)
    judgement = sa.func.coalesce(judged.c.score, call.quality)
    # Named apart from its table: Postgres groups by what is selected only where it is the same expression.
    keys = [
        _day(sqlite).label("day"), call.workspace, call.asked, call.strategy, call.kind, call.model, call.provider,
        sa.func.coalesce(call.domain, "").label("domain"), sa.func.coalesce(call.complexity, "").label("complexity"),
        sa.case((call.batch.is_not(None), 1), else_=0).label("batch"),
        sa.func.coalesce(call.extra["substitution"]["part"].as_string(), "").label("part"),
    ]  # fmt: skip
    cells = (
        sa.select(
            *keys,
            sa.literal_column("1").label("calls"),
            *(getattr(call, name) for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")),
            call.cost,
            call.latency_ms,
            sa.case((judgement.is_not(None), 1), else_=0).label("judged"),
            sa.func.coalesce(judgement, 0.0).label("judgement"),
            sa.case((LlmScoreRow.score.is_not(None), 1), else_=0).label("scored"),
            sa.func.coalesce(LlmScoreRow.score, 0.0).label("score"),
        )
        .outerjoin(judged, judged.c.call_id == call.id)
        .outerjoin(LlmScoreRow, LlmScoreRow.call_id == call.id)
        .where(
            call.at >= since,
            call.at < until,
            call.outcome == "ok",
            call.parent.is_(None),
            call.model.is_not(None),
            call.strategy != "ensemble",
        )
    )
    if workspace is not None:
        cells = cells.where(call.workspace == storable(workspace))
    inner = cells.subquery()
    groups = [inner.c[name] for name in KEYS]
    return sa.select(*groups, *(sa.func.sum(inner.c[name]).label(name) for name in SUMS)).group_by(*groups)


def _frame(rows: Sequence[sa.Row[Any]]) -> pd.DataFrame:
    frame = pd.DataFrame([tuple(row) for row in rows], columns=[*KEYS, *SUMS])
    frame["day"] = pd.to_datetime(frame["day"], format="%Y-%m-%d")
    frame["batch"] = frame["batch"].astype(bool)
    # Postgres sums integers to decimals.
    frame[list(SUMS)] = frame[list(SUMS)].astype("float64")
    frame["cost"] /= NANOS
    return frame.sort_values(list(KEYS), ignore_index=True)
