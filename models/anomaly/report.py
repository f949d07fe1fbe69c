"""What was found, as tables: a row per event for people, a row per checked value for programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.anomaly.watch import Watched


def readable(stamp: int, kind: str) -> str:
    """A time stamp for people: a day alone at midnight."""
    return str(int(stamp)) if kind == "integer" else str(pd.Timestamp(int(stamp))).removesuffix(" 00:00:00")


def event_rows(found: Watched) -> list[dict[str, Any]]:
    """One JSON-ready row per event, by time, with readable times and causes in words."""
    kind = found.grid.kind
    rows = []
    for event in found.events:
        rows.append(
            {
                "incident": event.incident,
                "series": event.series,
                "start": readable(event.start, kind),
                "end": readable(event.end, kind),
                "steps": event.steps,
                "kind": event.kind,
                "severity": event.severity,
                "score": round(event.score, 4),
                "value": event.value,
                "expected": event.expected,
                "excess": event.excess,
                "ongoing": event.ongoing,
                "why": event.why,
                "causes": [
                    {"series": cause.series, "excess": cause.excess, "share": cause.share, "usual": cause.usual}
                    for cause in event.causes
                ],
                "caused_by": "; ".join(str(cause) for cause in event.causes),
            }
        )
    return rows


def check_table(found: Watched) -> pd.DataFrame:
    """Every checked value: unique_id, ds and the columns of `Detector.scan`."""
    frames = []
    for name, checks in found.checks.items():
        stamps = checks["at"].to_numpy(np.int64)
        when = stamps if found.grid.kind == "integer" else stamps.astype("datetime64[ns]")
        rows = checks.drop(columns="at")
        rows.insert(0, "ds", when)
        rows.insert(0, "unique_id", name)
        frames.append(rows)
    return pd.concat(frames, ignore_index=True)
