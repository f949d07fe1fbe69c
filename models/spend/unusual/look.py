"""One look at the ledger for whatever is unusual in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pandas as pd

from features.views.llm_attempts import failed_attempts
from features.views.spend import daily_cells, hourly_cells
from models.spend.bill import bill_of, budget_outlooks
from models.spend.unusual.failing import failing_findings
from models.spend.unusual.finding import Finding
from models.spend.unusual.levels import level_findings
from models.spend.unusual.newcomers import newcomer_findings
from models.spend.unusual.pace import pace_findings
from models.spend.unusual.prices import price_findings
from models.spend.unusual.runaway import runaway_findings
from models.spend.unusual.slow import slow_findings
from models.spend.usual import set_aside
from store.errors import EmptyData
from store.settings import Settings

HOURS = 24 * 35
DAYS = 120
_BEFORE = 28
_PACE_DAYS = 31


@dataclass(frozen=True)
class Frames:
    """What is looked at.

    Attributes
    ----------
    hours : by workspace, user, model and provider.
    days : by workspace and model.
    failed : attempts that failed.
    """

    hours: pd.DataFrame
    days: pd.DataFrame
    failed: pd.DataFrame

    def until(self, as_of: datetime, hours: int = HOURS, days: int = DAYS) -> Frames:
        """What of it was known at a moment, no older than usual."""
        now = pd.Timestamp(as_of)
        old, older = now - pd.Timedelta(hours=hours), now.floor("D") - pd.Timedelta(days=days)
        failed = self.failed[(self.failed["hour"] >= old) & (self.failed["hour"] < now.floor("h"))]
        return Frames(
            self.hours[(self.hours["hour"] >= old) & (self.hours["hour"] < now.floor("h"))],
            self.days[(self.days["day"] >= older) & (self.days["day"] < now.floor("D"))],
            failed,
        )


def frames_of(
    settings: Settings, as_of: datetime, *, hours: int = HOURS, days: int = DAYS, workspace: str | None = None
) -> Frames:
    """What the ledger says up to a moment."""
    return Frames(
        hourly_cells(settings, as_of, hours=hours, workspace=workspace),
        daily_cells(settings, as_of, days=days, workspace=workspace),
        failed_attempts(settings, as_of - timedelta(hours=hours), as_of, workspace=workspace),
    )


def look(
    settings: Settings, as_of: datetime, *, days: int = 7, workspace: str | None = None, budgets: bool = True
) -> tuple[Finding, ...]:
    """What was unusual within the last days, the most severe last seen first.

    Parameters
    ----------
    days : only what was so within so many days before `as_of`.
    workspace : only its calls.
    budgets : whether budgets that will be used up are told of.
    """
    # What was usual before the first of the days must be known, too.
    hours, whole = max(HOURS, 24 * (days + _BEFORE)), max(DAYS, days + _BEFORE + DAYS // 2)
    frames = frames_of(settings, as_of, hours=hours, days=whole, workspace=workspace)
    found = findings_of(frames, as_of, days=days, workspace=workspace)
    if budgets:
        found = [*found, *_paces(settings, as_of, workspace)]
    return tuple(sorted(found, key=lambda one: (one.end, one.score), reverse=True))


def findings_of(frames: Frames, as_of: datetime, *, days: int = 7, workspace: str | None = None) -> list[Finding]:
    """What is unusual in some frames; see `look`."""
    hours = frames.hours
    if hours.empty:
        return []
    usual = usual_per_day(frames.days)
    since = as_of - timedelta(days=days)
    found: list[Finding] = [
        *price_findings(hours, usual, workspace),
        *runaway_findings(hours, usual),
        *failing_findings(hours, frames.failed, workspace),
        *slow_findings(hours, frames.failed, workspace),
        *newcomer_findings(hours, usual, workspace),
    ]
    found += level_findings(frames.days, as_of, usual, found, since=since, workspace=workspace)
    return [_bounded(one, as_of) for one in found if one.end > since]


def usual_per_day(days: pd.DataFrame) -> float:
    """Dollars that everybody usually spends a day: the mean of the last four weeks, without what stands out."""
    if days.empty:
        return 0.0
    cells, _ = set_aside(days)
    last = cells["day"].max()
    lately = cells[cells["day"] > last - pd.Timedelta(days=28)]
    spell = min(28, int((last - cells["day"].min()) / pd.Timedelta(days=1)) + 1)
    return float(lately["cost"].sum()) / max(spell, 1)


def _bounded(one: Finding, as_of: datetime) -> Finding:
    """Nothing was seen after the moment that was looked at."""
    return replace(one, end=min(one.end, as_of)) if one.kind != "budget pace" else one


def _paces(settings: Settings, as_of: datetime, workspace: str | None) -> Sequence[Finding]:
    try:
        bill = bill_of(settings, as_of, _PACE_DAYS, workspace=workspace)
    except EmptyData:
        return ()
    return pace_findings(budget_outlooks(settings, bill, _PACE_DAYS, workspace=workspace), as_of)
