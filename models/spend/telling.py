"""What a scorecard leaves behind: its rows, and once a day an event with what the coming days are expected to cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from models.spend.scorecard import FORECAST_DAYS, LEVEL, TOLD
from store import events, scorecards
from store.scorecards import Score
from store.settings import Settings

KIND = "spend_forecast"
"""Kind of the event that tells of a forecast of the bill; see `store.events`."""


def keep(settings: Settings, scores: Sequence[Score]) -> None:
    """Keep a day's measures. The forecast that is told with them becomes an event; worked out again it is no news."""
    fresh = [
        one
        for one in scores
        if one.measure == TOLD and one.value is not None and not _known(scorecards.get(settings, one.day, TOLD))
    ]
    scorecards.put(settings, scores)
    for one in fresh:
        events.emit(settings, KIND, payload_of(one))


def payload_of(told: Score) -> dict[str, Any]:
    """A forecast as it is told, JSON-ready: dollars over the days after `day`, in all and by workspace and model."""
    by: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for series, _, expected, *_ in told.detail["days"]:
        kind, _, name = str(series).partition("=")
        if name:
            by[kind][name] += float(expected)
    return {
        "day": told.day,
        "days": FORECAST_DAYS,
        "expected": told.value,
        "low": told.low,
        "high": told.high,
        "level": LEVEL,
        "version": told.detail["version"],
        "by": {kind: dict(sorted(names.items(), key=lambda item: -item[1])) for kind, names in by.items()},
    }


def _known(kept: Score | None) -> bool:
    detail: Mapping[str, Any] = {} if kept is None else kept.detail
    return bool(detail.get("days"))
