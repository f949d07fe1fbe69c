"""Models that fail more than they do: attempts that failed among all attempts, in the last hours.

A window of one to twelve hours alarms where so many failures have a chance of less than one in a million at the
model's own rate of the four weeks before; a model that was never seen to fail is taken to fail once in two hundred.
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

WINDOWS = (1, 3, 6, 12)
CHANCE = 1e-6
LEAST_FAILURES = 3
LEAST_RATE = 0.08
_TIMES = 4.0
_HISTORY = 28 * 24
_PRIOR = (1.0, 200.0)  # failures among attempts
_OVER = 6  # hours without an alarm after which it is over
_SERIOUS = (0.1, 0.25, 0.5)


def failing_findings(hours: pd.DataFrame, failed: pd.DataFrame, workspace: str | None = None) -> list[Finding]:
    """Outages and overloads within the hours, by model.

    Parameters
    ----------
    hours : `features.views.spend.hourly_cells`.
    failed : `features.views.llm_attempts.failed_attempts` of the same time.
    """
    if failed.empty:
        return []
    grid = pd.date_range(min(hours["hour"].min(), failed["hour"].min()), max(hours["hour"].max(), failed["hour"].max()),
                         freq="h")  # fmt: skip
    found: list[Finding] = []
    for model, rows in failed.groupby("model", sort=True):
        answered = hours[hours["model"] == model].groupby("hour")["answered"].sum().reindex(grid, fill_value=0.0)
        failures = rows.groupby("hour")["failed"].sum().reindex(grid, fill_value=0.0)
        kinds = rows.groupby(["hour", "failure"])["failed"].sum()
        found += _of_model(
            str(model), grid, failures.to_numpy(np.float64), answered.to_numpy(np.float64), kinds, workspace
        )
    return found


def _of_model(
    model: str, grid: pd.DatetimeIndex, failures: Floats, answered: Floats, kinds: pd.Series, workspace: str | None
) -> Iterator[Finding]:
    from scipy.stats import binom

    bad, every = np.concatenate(([0.0], np.cumsum(failures))), np.concatenate(([0.0], np.cumsum(failures + answered)))
    flagged = np.zeros(len(grid), dtype=bool)
    rarest = np.ones(len(grid))
    usual = np.empty(len(grid))
    for place in range(len(grid)):
        past = max(0, place - _HISTORY)
        recent = max(0, place - 24)
        # The last day does not count as usual: an outage that lasts would make itself so.
        seen = every[recent] - every[past]
        usual[place] = (bad[recent] - bad[past] + _PRIOR[0]) / (seen + _PRIOR[1])
    for window in WINDOWS:
        start = np.maximum(np.arange(len(grid)) + 1 - window, 0)
        fails, tries = bad[1:] - bad[start], every[1:] - every[start]
        rates = np.divide(fails, tries, out=np.zeros_like(fails), where=tries > 0)
        chances = binom.sf(fails - 1, tries, np.minimum(usual, 1.0))
        over = (fails >= LEAST_FAILURES) & (rates >= np.maximum(LEAST_RATE, _TIMES * usual)) & (chances < CHANCE)
        for end in np.flatnonzero(over).tolist():
            told = np.arange(start[end], end + 1)
            told = told[failures[told] > 0]
            flagged[told[0] : told[-1] + 1] = True
            rarest[told] = np.minimum(rarest[told], chances[end])
    places = np.flatnonzero(flagged)
    for span in np.split(places, np.flatnonzero(np.diff(places) > _OVER) + 1) if len(places) else []:
        begin, until = grid[span[0]], grid[span[-1]] + timedelta(hours=1)
        inside = slice(span[0], span[-1] + 1)
        count, tried = float(failures[inside].sum()), float((failures + answered)[inside].sum())
        rate, expected = count / tried, float(usual[span[0]])
        when = kinds.index.get_level_values("hour")
        of_kind = kinds[(when >= begin) & (when < until)].groupby("failure").sum().sort_values(ascending=False)
        chance = max(float(rarest[inside].min()), 1e-300)
        step = sum(rate >= limit for limit in _SERIOUS) - (count < 8)
        yield Finding(
            kind="errors",
            subject=f"model={model}",
            workspace=workspace,
            start=begin.to_pydatetime(),
            end=until.to_pydatetime(),
            ongoing=bool(span[-1] >= len(grid) - _OVER),
            severity=SEVERITIES[max(step, 0)],
            score=score_of(np.log(chance) / np.log(CHANCE)),
            value=rate,
            expected=expected,
            unit="share of attempts that fail",
            words=(
                f"{count:.0f} of {tried:.0f} attempts with {model} failed from {begin:%Y-%m-%d %H:%M} to "
                f"{until:%H:%M} ({rate:.0%}, usually {expected:.1%}), mostly {of_kind.index[0]}."
            ),
            causes=[
                {"dimension": "failure", "value": str(kind), "count": int(number), "share": float(number) / count}
                for kind, number in of_kind.items()
            ],
            evidence=[
                {"hour": f"{grid[k]:%Y-%m-%dT%H:00}", "failed": int(failures[k]), "answered": int(answered[k])}
                for k in span[:6]
            ],
        )
