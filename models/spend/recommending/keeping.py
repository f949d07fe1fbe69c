"""What a look leaves behind: a row for each recommendation, an event for each new one and for what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models.spend.recommending import KIND
from models.spend.recommending.advice import NANOS, Advice
from models.spend.recommending.measuring import measure
from store import events
from store import spend_recommendations as stored
from store.settings import Settings
from store.spend_recommendations import SpendRecommendation


def keep(settings: Settings, found: Sequence[Advice], *, workspace: str | None = None) -> list[dict[str, Any]]:
    """Keep what a look found; those of earlier looks that were not found again expire.

    Returns
    -------
    What was told of: the payloads of the new ones.
    """
    told = []
    for row, new in stored.propose(settings, [one.row() for one in found], workspace=workspace):
        if new:
            told.append(payload_of(row))
            events.emit(settings, KIND, told[-1])
    return told


def measure_one(settings: Settings, row: SpendRecommendation, as_of: datetime, *, seed: int = 0) -> SpendRecommendation:
    """Measure what a recommendation saved, keep it, and tell of it when it is news: the first time, and when a warning
    is new or gone.

    Raises
    ------
    StateConflict : it is not in force.
    """
    before = row.measured
    row = stored.measured(settings, row.id, measure(settings, row, as_of, seed=seed))
    assert row.measured is not None
    first = before is None or before.get("saved") is None
    if (first and row.measured["saved"] is not None) or (before or {}).get("warnings") != row.measured["warnings"]:
        tell(settings, row)
    return row


def measure_all(settings: Settings, as_of: datetime, *, seed: int = 0) -> list[dict[str, Any]]:
    """Measure everything that is in force; the payloads."""
    told, cursor = [], None
    while True:
        page = stored.page(settings, states=stored.IN_FORCE, limit=1_000, cursor=cursor)
        told += [payload_of(measure_one(settings, row, as_of, seed=seed)) for row in page.items]
        if (cursor := page.next_cursor) is None:
            return told


def tell(settings: Settings, row: SpendRecommendation) -> None:
    """An event about one that was accepted, dismissed, measured or reverted."""
    events.emit(settings, KIND, payload_of(row))


def payload_of(row: SpendRecommendation) -> dict[str, Any]:
    """A row as it is told, JSON-ready; money in dollars."""
    return {
        "id": row.id,
        "workspace": row.workspace,
        "kind": row.kind,
        "state": row.state,
        "saving_estimated": row.saving / NANOS,
        **row.advice,
        "accepted": row.accepted,
        "dismissed": row.dismissed,
        "measured": row.measured,
        "reverted": row.reverted,
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
    }
