"""Alarms that belong together: steps in a row of one series are an event, events at one time an incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from models.anomaly.causes import Cause
from models.anomaly.checks import SEVERITIES

_SHIFTED = 5  # alarms in a row on one side that make an event a level shift, whatever its highest alarm is called
_BREAK = 2  # steps from one alarm to the next that still belong to one event


@dataclass(frozen=True)
class Event:
    """One anomaly of one series.

    Attributes
    ----------
    start, end : first and last alarm, in the detector's time stamps.
    steps : alarms.
    value, expected : at the alarm with the highest score.
    excess : sum of value less expected over the alarms.
    ongoing : whether the last value of the series belongs to it.
    incident : events of overlapping time share a number, from 1.
    """

    series: str
    start: int
    end: int
    steps: int
    kind: str
    severity: str
    score: float
    value: float | None
    expected: float | None
    excess: float
    why: str
    ongoing: bool = False
    incident: int = 0
    causes: tuple[Cause, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, causes included."""
        return asdict(self)


def events_of(name: str, checks: pd.DataFrame) -> list[Event]:
    """The events in the checks of one series (`Detector.scan`), in time order."""
    alarms = np.flatnonzero((checks["status"] == "anomaly").to_numpy())
    if len(alarms) == 0:
        return []
    bounds = [0, *(np.flatnonzero(np.diff(alarms) > _BREAK) + 1), len(alarms)]
    found = []
    for first, last in pairwise(bounds):
        rows = checks.take(alarms[first:last])
        top = rows.iloc[int(rows["score"].to_numpy().argmax())]
        shifted = (rows["kind"] == "level shift") & (rows["run"] >= _SHIFTED)
        excess = (rows["value"] - rows["expected"]).fillna(0.0).sum()
        reasons = dict.fromkeys(part for why in rows["why"] for part in str(why).split(", ") if part)
        found.append(
            Event(
                series=name,
                start=int(rows["at"].iloc[0]),
                end=int(rows["at"].iloc[-1]),
                steps=len(rows),
                kind="level shift" if shifted.any() else str(top["kind"]),
                severity=max(rows["severity"], key=lambda one: SEVERITIES.index(one)),
                score=float(top["score"]),
                value=_number(top["value"]),
                expected=_number(top["expected"]),
                excess=float(excess),
                why=", ".join(list(reasons)[:6]),
                ongoing=bool(alarms[last - 1] == len(checks) - 1),
            )
        )
    return found


def numbered(events: list[Event], causes: Mapping[int, tuple[Cause, ...]] | None = None) -> list[Event]:
    """Events by time, with the number of the incident that each is part of: those that overlap share one."""
    order = sorted(range(len(events)), key=lambda place: (events[place].start, events[place].series))
    found, number, until = [], 0, None
    for place in order:
        event = events[place]
        if until is None or event.start > until:
            number += 1
            until = event.end
        until = max(until, event.end)
        found.append(replace(event, incident=number, causes=(causes or {}).get(place, ())))
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
