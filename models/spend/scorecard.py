"""The platform's own scorecard: how right its routing, forecasts and alarms were, and what its advice brought.

Decisions of people and measurements count as they stand when the card is worked out.

| measure | definition |
|---|---|
| routing accuracy | of routed calls of the last 28 days that somebody judged, the share judged good (at least 0.5) |
| forecast accuracy | 1 − Σ ∣spent − forecast∣ / Σ spent over the last 14 days, by the forecast told before them |
| forecast coverage | share of days and series of that fortnight within the 80 % interval |
| anomaly precision | of anomalies of the last 90 days that people decided on, the share confirmed |
| savings | dollars a month, measured against a counterfactual, of recommendations in force |
| adoption | of recommendations of the last 90 days that are not open any more, the share followed |
| forecast told | what the next 14 days are expected to cost, kept to be judged by when they are over |

Intervals are Wilson's at 95 % for shares; of savings the bounds added up; of the forecast its own 80 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from features.views.llm_judged import judged_calls
from features.views.spend import TOTAL, daily_cells, midnight, panel_of
from models.churn.fairness import wilson
from models.forecasting.model import ForecastModel
from models.spend.bill import BY, bill_of
from store import scorecards, spend_anomalies, spend_recommendations
from store.errors import EmptyData
from store.scorecards import Score
from store.settings import Settings
from store.spend_recommendations import IN_FORCE, SpendRecommendation

ROUTING_DAYS, FORECAST_DAYS, DECIDED_DAYS = 28, 14, 90
GOOD = 0.5
LEVEL = 80
TOLD = "forecast told"
MEASURES = (
    "routing accuracy", "forecast accuracy", "forecast coverage", "anomaly precision", "savings", "adoption",
)  # fmt: skip
Champion = tuple[ForecastModel, int]


def scorecard(settings: Settings, as_of: datetime, champion: Champion | None = None) -> list[Score]:
    """Every measure up to the last whole day before a moment; nothing is kept.

    Parameters
    ----------
    champion : the promoted forecaster of the bill and its version, which tells of the days to come.
    """
    until = midnight(as_of)
    day = f"{until - timedelta(days=1):%Y-%m-%d}"
    return [
        _routing(settings, day, until),
        *_forecast(settings, day, until),
        _anomalies(settings, day, until),
        *_recommendations(settings, day, until),
        _told(settings, day, until, champion),
    ]


def _routing(settings: Settings, day: str, until: datetime) -> Score:
    judged = judged_calls(settings, until - timedelta(days=ROUTING_DAYS), until)
    good = judged["score"] >= GOOD
    known = judged.dropna(subset=["expected"])
    by = {str(name): _share(part) for name, part in good.groupby(judged["strategy"])}
    detail = {
        "days": ROUTING_DAYS,
        "mean_score": _mean(judged["score"]),
        # What the policy promised of the same answers: above the mean score it promises too much.
        "expected_of_those_known": _mean(known["expected"]),
        "mean_score_of_those_known": _mean(known["score"]),
        "by_strategy": by,
    }
    return _of_share(day, "routing accuracy", int(good.sum()), len(good), detail)


def _forecast(settings: Settings, day: str, until: datetime) -> tuple[Score, Score]:
    """Accuracy and coverage of what was told before the fortnight; where nothing was, of what would have been."""
    begin = until - timedelta(days=FORECAST_DAYS)
    told = scorecards.get(settings, f"{begin - timedelta(days=1):%Y-%m-%d}", TOLD)
    source = "as told"
    if told is None or not told.detail.get("days"):
        told, source = _told(settings, day, begin, None), "worked out from what was known then"
    try:
        came = panel_of(daily_cells(settings, until, days=FORECAST_DAYS, by=BY), until, BY)
    except EmptyData:
        return _nothing(day, "forecast accuracy"), _nothing(day, "forecast coverage")
    if not told.detail.get("days"):
        return _nothing(day, "forecast accuracy"), _nothing(day, "forecast coverage")
    rows = pd.DataFrame(told.detail.get("days", []), columns=["unique_id", "ds", "forecast", "low", "high"])
    rows["ds"] = pd.to_datetime(rows["ds"])
    joined = rows.merge(came, on=["unique_id", "ds"], how="left").fillna({"y": 0.0})
    total = joined[joined["unique_id"] == TOTAL]
    spent = float(total["y"].sum())
    if not len(total) or spent <= 0:
        return _nothing(day, "forecast accuracy"), _nothing(day, "forecast coverage")
    errors = (total["y"] - total["forecast"]).abs()
    detail = {
        "days": FORECAST_DAYS,
        "forecast": source,
        "spent": spent,
        "expected": float(total["forecast"].sum()),
        "error_of_the_sum": float(total["forecast"].sum() / spent - 1.0),
    }
    inside = (joined["y"] >= joined["low"]) & (joined["y"] <= joined["high"])
    accuracy = Score(
        day=day, measure="forecast accuracy", value=float(1.0 - errors.sum() / spent), count=len(total), detail=detail
    )
    return accuracy, Score(
        day=day,
        measure="forecast coverage",
        value=float(inside.mean()),
        count=len(joined),
        # Days of one series and series of one day go together: an interval from single rows would be too narrow.
        detail={"level": LEVEL, "series": int(joined["unique_id"].nunique()), "forecast": source},
    )


def _nothing(day: str, measure: str) -> Score:
    why = {"why": "nothing was forecast for these days, or nothing was spent on them", "days": FORECAST_DAYS}
    return Score(day=day, measure=measure, value=None, detail=why)


def _told(settings: Settings, day: str, as_of: datetime, champion: Champion | None) -> Score:
    """What the days from a midnight on are expected to cost, series by series."""
    try:
        bill = bill_of(settings, as_of, FORECAST_DAYS, champion=champion)
    except EmptyData as error:
        return Score(day=day, measure=TOLD, value=None, detail={"why": error.message})
    outlook = bill.outlook
    frame = outlook.forecast(outlook.model.ids, FORECAST_DAYS, (LEVEL,))
    sums = outlook.draws(TOTAL, FORECAST_DAYS, 2_000).sum(axis=1)
    low, high = np.percentile(sums, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    days = [
        [row["unique_id"], f"{row['ds']:%Y-%m-%d}", row["forecast"], row[f"lo-{LEVEL}"], row[f"hi-{LEVEL}"]]
        for row in frame.to_dict("records")
    ]
    return Score(
        day=day,
        measure=TOLD,
        value=float(frame.loc[frame["unique_id"] == TOTAL, "forecast"].sum()),
        low=float(low),
        high=float(high),
        count=FORECAST_DAYS,
        detail={"version": outlook.version, "level": LEVEL, "days": days},
    )


def _anomalies(settings: Settings, day: str, until: datetime) -> Score:
    verdicts = spend_anomalies.verdicts(settings, until - timedelta(days=DECIDED_DAYS), until)
    confirmed = sum(one["confirmed"] for one in verdicts.values())
    decided = confirmed + sum(one["dismissed"] for one in verdicts.values())
    detail = {"days": DECIDED_DAYS, "open": sum(one["open"] for one in verdicts.values()), "by_kind": verdicts}
    return _of_share(day, "anomaly precision", confirmed, decided, detail)


def _recommendations(settings: Settings, day: str, until: datetime) -> tuple[Score, Score]:
    rows = _all(settings)
    measured = [
        (one, one.measured["saved_a_month"])
        for one in rows
        if one.state in IN_FORCE and one.measured is not None and one.measured.get("saved_a_month") is not None
    ]
    sums = {name: sum(float(saved[name]) for _, saved in measured) for name in ("value", "low", "high")}
    by: dict[str, float] = {}
    for one, saved in measured:
        by[one.kind] = by.get(one.kind, 0.0) + float(saved["value"])
    estimated = sum(float((one.measured or {}).get("estimated_a_month", 0.0)) for one, _ in measured)
    savings = Score(
        day=day,
        measure="savings",
        value=sums["value"] if measured else None,
        low=sums["low"] if measured else None,
        high=sums["high"] if measured else None,
        count=len(measured),
        detail={"unit": "dollars a month", "estimated": estimated, "by_kind": by}
        if measured
        else {"unit": "dollars a month", "why": "no recommendation in force has been measured"},
    )
    begin = until - timedelta(days=DECIDED_DAYS)
    recent = [one for one in rows if one.created_at >= begin]
    states: dict[str, int] = {}
    for one in recent:
        states[one.state] = states.get(one.state, 0) + 1
    closed = [one for one in recent if one.state != "proposed"]
    detail = {"days": DECIDED_DAYS, "by_state": states}
    return savings, _of_share(day, "adoption", sum(one.accepted is not None for one in closed), len(closed), detail)


def _all(settings: Settings) -> list[SpendRecommendation]:
    """Every recommendation, as it stands now."""
    found: list[SpendRecommendation] = []
    cursor: str | None = None
    while True:
        page = spend_recommendations.page(settings, limit=1_000, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def _of_share(day: str, measure: str, hits: int, count: int, detail: Mapping[str, Any]) -> Score:
    if not count:
        return Score(day=day, measure=measure, value=None, detail={**detail, "why": "nobody has judged any yet"})
    share = hits / count
    low, high = wilson(share, count)
    return Score(day=day, measure=measure, value=share, low=low, high=high, count=count, detail=detail)


def _share(part: pd.Series) -> dict[str, Any]:
    return {"share": float(part.mean()), "count": len(part)}


def _mean(values: pd.Series) -> float | None:
    return float(values.mean()) if len(values) else None
