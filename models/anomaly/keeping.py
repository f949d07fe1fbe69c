"""What a look at the platform's series leaves behind: detectors for serving, and an event for each new anomaly."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from models.anomaly import KIND, VIEW
from models.anomaly.checks import SEVERITIES
from models.anomaly.report import event_rows
from models.anomaly.watch import Watched
from store import events, feature_rows
from store.settings import Settings

_TOLD = 10_000  # newest events that are looked through for what was told before


def keep(settings: Settings, found: Watched, as_of: datetime, days: int) -> list[dict[str, Any]]:
    """Publish the detectors, and tell of anomalies that ended within the last `days` and were not told of before.

    An anomaly that goes on is told of again only when it has become more severe. So looking twice tells once.

    Returns
    -------
    What was told: rows of `models.anomaly.report.event_rows` with an `id`.
    """
    rows = pd.DataFrame({"state": list(found.states.values())}, index=pd.Index(found.states, name="series"))
    feature_rows.publish(settings, VIEW, rows, as_of)
    told = told_before(settings)
    since = found.since(days)
    fresh = []
    for row, event in zip(event_rows(found), found.events, strict=True):
        if event.end < since:
            continue
        number = identity(event.series, row["start"])
        before = told.get(number)
        if before is not None and SEVERITIES.index(before) >= SEVERITIES.index(row["severity"]):
            continue
        payload = {"id": number, **row, "as_of": as_of.isoformat()}
        events.emit(settings, KIND, payload)
        fresh.append(payload)
    return fresh


def told_before(settings: Settings) -> Mapping[str, Any]:
    """Id → severity as it was told last."""
    return {
        str(event.payload.get("id")): event.payload.get("severity", "low")
        for event in events.recent(settings, KIND, limit=_TOLD)
    }


def identity(series: str, start: str) -> str:
    """The same anomaly has the same id in every look: its series and its first day."""
    return hashlib.sha256(f"{series}\n{start}".encode()).hexdigest()[:16]
