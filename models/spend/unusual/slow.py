"""Models that answer more slowly than they do, for the length of what they write.

The time of an hour's answers is n · a + tokens · b: a to the first token, b for each. Both are fitted to the fortnight
before, resistant to single hours; an hour, six or a day alarm where the time is well above what they give, by more than
chance. Answers that first failed elsewhere take longer for no fault of the model: hours in which another model fails
are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from models.anomaly.checks import SEVERITIES
from models.spend.unusual.finding import Finding, score_of

Floats = np.ndarray[Any, np.dtype[np.float64]]

WINDOWS = (3, 12, 24)
TIMES = 1.35
DEVIATIONS = 6.0
_REFERENCE = 14 * 24
_LEAST_HOURS, _LEAST_CALLS, _FEW = 24, 60, 8
_OVER = 18
_ROUNDS = 8
_SERIOUS = (1.8, 3.0, 6.0)


def slow_findings(hours: pd.DataFrame, failed: pd.DataFrame, workspace: str | None = None) -> list[Finding]:
    """Slow-downs within the hours, by model.

    Parameters
    ----------
    hours : `features.views.spend.hourly_cells`.
    failed : `features.views.llm_attempts.failed_attempts` of the same time.
    """
    found: list[Finding] = []
    for model, rows in hours.groupby("model", sort=True):
        hourly = rows.groupby("hour")[["answered", "latency_ms", "output_tokens"]].sum()
        others = set(failed.loc[(failed["model"] != model) & (failed["failed"] > 1), "hour"])
        hourly = hourly[(hourly["answered"] > 0) & ~hourly.index.isin(others)]
        if float(hourly["answered"].sum()) >= _LEAST_CALLS:
            found += _of_model(str(model), hourly, workspace)
    return found


def _of_model(model: str, hourly: pd.DataFrame, workspace: str | None) -> Iterator[Finding]:
    when = pd.DatetimeIndex(hourly.index)
    calls = hourly["answered"].to_numpy(np.float64)
    took = hourly["latency_ms"].to_numpy(np.float64)
    tokens = hourly["output_tokens"].to_numpy(np.float64)
    expected, deviation = np.full(len(when), np.nan), np.full(len(when), np.nan)
    days = when.floor("D")
    usual = np.ones(len(when), dtype=bool)  # hours that may be learned from
    for day in days.unique():
        today = np.flatnonzero(days == day)
        past = np.flatnonzero((when < day) & (when >= day - pd.Timedelta(hours=_REFERENCE)) & usual)
        if len(past) < _LEAST_HOURS or calls[past].sum() < _LEAST_CALLS:
            continue
        a, b, spread = _fitted(calls[past], tokens[past], took[past])
        expected[today] = calls[today] * a + tokens[today] * b
        deviation[today] = spread
        # A slow day teaches nothing about what is usual.
        if took[today].sum() > TIMES * expected[today].sum() and calls[today].sum() >= _FEW:
            usual[today] = False
    known = np.isfinite(expected)
    flagged, most = _slow_hours(when[known], calls[known], took[known], expected[known], deviation[known])
    when, calls, took, expected = when[known], calls[known], took[known], expected[known]
    places = np.flatnonzero(flagged)
    gaps = np.diff(when[places]) / np.timedelta64(1, "h") if len(places) else np.array([])
    for span in np.split(places, np.flatnonzero(gaps > _OVER) + 1) if len(places) else []:
        inside = np.arange(span[0], span[-1] + 1)
        begin, end = when[span[0]], when[span[-1]] + timedelta(hours=1)
        ratio = float(took[inside].sum() / expected[inside].sum())
        number = float(calls[inside].sum())
        yield Finding(
            kind="latency",
            subject=f"model={model}",
            workspace=workspace,
            start=begin.to_pydatetime(),
            end=end.to_pydatetime(),
            ongoing=bool(when[-1] - when[span[-1]] < pd.Timedelta(hours=_OVER)),
            severity=SEVERITIES[sum(ratio >= limit for limit in _SERIOUS)],
            score=score_of(float(most[span].max()) / DEVIATIONS),
            value=float(took[inside].sum() / number),
            expected=float(expected[inside].sum() / number),
            unit="milliseconds an answer",
            words=(
                f"{model} took {ratio:.1f} times its usual time from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} "
                f"({number:.0f} answers)."
            ),
            causes=[{"dimension": "model", "value": model, "share": 1.0}],
            evidence=[
                {
                    "hour": f"{when[k]:%Y-%m-%dT%H:00}",
                    "answers": int(calls[k]),
                    "latency_ms": round(float(took[k] / calls[k]), 1),
                    "usual_ms": round(float(expected[k] / calls[k]), 1),
                }
                for k in span[:6]
            ],
        )


def _slow_hours(
    when: pd.DatetimeIndex, calls: Floats, took: Floats, expected: Floats, deviation: Floats
) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], Floats]:
    """Which hours belong to a window that is slow, and by how many deviations that one is."""
    sums = [np.concatenate(([0.0], np.cumsum(one))) for one in (calls, took, expected)]
    flagged, most = np.zeros(len(when), dtype=bool), np.zeros(len(when))
    for window in WINDOWS:
        start = when.searchsorted(when - pd.Timedelta(hours=window), side="right")
        number, time, usual = (np.asarray(one[1:] - one[start]) for one in sums)
        ratio = time / np.maximum(usual, 1e-9)
        height = np.log(np.maximum(ratio, 1e-9)) / (deviation / np.sqrt(np.maximum(number, 1.0)))
        for place in np.flatnonzero((number >= _FEW) & (ratio > TIMES) & (height > DEVIATIONS)):
            inside = np.arange(start[place], place + 1)
            # Those that are nearer to the window than to what is usual.
            slow = inside[took[inside] > np.sqrt(ratio[place]) * expected[inside]]
            flagged[slow] = True
            most[slow] = np.maximum(most[slow], height[place])
    return flagged, most


def _fitted(calls: Floats, tokens: Floats, took: Floats) -> tuple[float, float, float]:
    """Milliseconds to begin, milliseconds a token, and the deviation of one answer's logarithm."""
    scale = np.sqrt(calls)
    design = np.column_stack([calls, tokens]) / scale[:, None]
    target = took / scale
    weight: Floats = np.ones(len(calls))
    solved: Floats = np.zeros(2)
    for _ in range(_ROUNDS):
        found, *_ = np.linalg.lstsq(design * weight[:, None], target * weight, rcond=None)
        solved = np.maximum(found, 0.0).astype(np.float64)
        rest = target - design @ solved
        size = 1.4826 * float(np.median(np.abs(rest))) or 1.0
        weight = np.sqrt(1.0 / np.maximum(np.abs(rest) / (1.5 * size), 1.0))  # Huber's
    fitted = np.maximum(calls * solved[0] + tokens * solved[1], 1e-9)
    spread = np.abs(np.log(np.maximum(took, 1e-9) / fitted)) * scale
    return float(solved[0]), float(solved[1]), max(1.4826 * float(np.median(spread)), 0.1)
