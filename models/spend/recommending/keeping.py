"""What a look leaves behind: a row for each recommendation, an event for each new one and for what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.spend.recommending import KIND
from models.spend.recommending.advice import NANOS, Advice
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
