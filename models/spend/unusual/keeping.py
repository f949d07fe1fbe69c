"""What a look at the ledger leaves behind: a row for each finding, and an event where it is news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from models.spend.unusual import KIND
from models.spend.unusual.finding import Finding
from store import events
from store import spend_anomalies as stored
from store.budgets import NANOS
from store.settings import Settings
from store.spend_anomalies import SpendAnomaly
from store.tables.base import utc_now

BUDGET_KIND = "budget_forecast"
"""Kind of the event that tells of a budget that will probably be used up."""


def keep(settings: Settings, found: Sequence[Finding]) -> list[dict[str, Any]]:
    """Keep findings and tell of those that are new, or more severe than when they were told; looking twice tells once.

    Returns
    -------
    What was told: the payloads of the events.
    """
    now = utc_now()
    told = []
    for row, news in stored.keep(settings, [_row(one, now) for one in found]):
        if not news:
            continue
        payload = payload_of(row)
        events.emit(settings, BUDGET_KIND if row.kind == "budget pace" else KIND, payload)
        told.append(payload)
    return told


def payload_of(row: SpendAnomaly) -> dict[str, Any]:
    """A row as it is told, JSON-ready; money in dollars."""
    return {
        "id": row.id,
        "workspace": row.workspace,
        "kind": row.kind,
        "subject": row.subject,
        "severity": row.severity,
        "score": round(row.score, 4),
        "start": row.started_at.isoformat(),
        "end": row.ended_at.isoformat(),
        "ongoing": row.ongoing,
        "excess": row.excess / NANOS,
        **row.report,
        "state": row.state,
        "decided": row.decided,
    }


def _row(one: Finding, now: datetime) -> SpendAnomaly:
    return SpendAnomaly(
        id=one.id,
        workspace=one.workspace,
        kind=one.kind,
        subject=one.subject,
        severity=one.severity,
        score=one.score,
        started_at=one.start,
        ended_at=one.end,
        ongoing=one.ongoing,
        excess=round(one.excess * NANOS),
        report=one.report(),
        found_at=now,
        updated_at=now,
    )
