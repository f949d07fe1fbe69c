"""Calls that nobody seems to wait for, summed up by day: not streamed, in no conversation, at night."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from store.database import migrate, session
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import LlmCallRow

KEYS = ("day", "workspace", "asked", "kind", "provider")
SUMS = ("calls", "streamed", "talked", "nightly", "cost")
NIGHT = (20, 6)
"""From which hour to which, UTC: as early as midnight in Europe, as late as midnight in America."""


def waiting_cells(
    settings: Settings, since: datetime, until: datetime, *, workspace: str | None = None
) -> pd.DataFrame:
    """Answered calls asked at or after the one moment and before the other that are in no batch.

    Returns
    -------
    One row for each combination of `KEYS`, and of its calls: calls, streamed, talked (part of a conversation), nightly
    (asked within `NIGHT`), cost in dollars. float64.
    """
    migrate(settings)
    call = LlmCallRow
    with session(settings, readonly=True) as opened:
        sqlite = opened.get_bind().dialect.name == "sqlite"
        day: Any = sa.func.substr(call.at, 1, 10) if sqlite else sa.func.to_char(call.at, sa.text("'YYYY-MM-DD'"))
        hour: Any = sa.func.substr(call.at, 12, 2) if sqlite else sa.func.to_char(call.at, sa.text("'HH24'"))
        inner = (
            sa.select(
                day.label("day"), call.workspace, call.asked, call.kind, call.provider,
                sa.literal_column("1").label("calls"),
                sa.case((call.stream, 1), else_=0).label("streamed"),
                sa.case((call.conversation.is_not(None), 1), else_=0).label("talked"),
                sa.case((sa.or_(hour >= f"{NIGHT[0]:02d}", hour < f"{NIGHT[1]:02d}"), 1), else_=0).label("nightly"),
                call.cost,
            )
            .where(
                call.at >= since,
                call.at < until,
                call.outcome == "ok",
                call.parent.is_(None),
                call.batch.is_(None),
                call.model.is_not(None),
            )
        )  # fmt: skip
        if workspace is not None:
            inner = inner.where(call.workspace == storable(workspace))
        cells = inner.subquery()
        groups = [cells.c[name] for name in KEYS]
        query = sa.select(*groups, *(sa.func.sum(cells.c[name]) for name in SUMS)).group_by(*groups)
        rows = opened.execute(query).all()
    frame = pd.DataFrame([tuple(row) for row in rows], columns=[*KEYS, *SUMS])
    frame["day"] = pd.to_datetime(frame["day"], format="%Y-%m-%d")
    frame[list(SUMS)] = frame[list(SUMS)].astype("float64")
    frame["cost"] /= 1e9
    return frame.sort_values(list(KEYS), ignore_index=True)
