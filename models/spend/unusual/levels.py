"""Days on which more or less is spent than usual, found by the detectors of `models.anomaly`, and what moved.

All spending, each workspace's and each model's are series of days. Events of one time are one finding: what they have
in common is told by its exact split into volume, mix, length and price, and by whose spending changed. What another
finding explains already (a price, a runaway user) is not told twice, and what matters to nobody's bill is not told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.frequency import Grid
from features.views.spend import TOTAL, panel_of
from models.anomaly.events import Event
from models.anomaly.watch import WatchOptions, series_of_frame, watch
from models.spend.unusual.finding import Finding, Kind, severity_of_money
from models.spend.unusual.split import Split, causes, split

MATTERS = 0.12  # of what everybody usually spends a day
_ALL = 0.35  # the same for the whole, whose days differ more in dollars
_EXPLAINED = 0.5
_WEEKS = 4
_DAY = 86_400 * 10**9
_KINDS: dict[str, Kind] = {"volume": "volume", "mix": "model mix", "length": "prompt length", "price": "price"}
BY = ("workspace", "model")


@dataclass(frozen=True)
class _Seen:
    """Events of one time."""

    events: tuple[Event, ...]

    @property
    def first(self) -> pd.Timestamp:
        return pd.Timestamp(min(one.start for one in self.events))

    @property
    def last(self) -> pd.Timestamp:
        return pd.Timestamp(max(one.end for one in self.events))


def level_findings(
    cells: pd.DataFrame,
    as_of: datetime,
    usual_per_day: float,
    told: Sequence[Finding],
    *,
    since: datetime | None = None,
    workspace: str | None = None,
    false_alarms: float = 0.001,
) -> list[Finding]:
    """Unusual days.

    Parameters
    ----------
    cells : `features.views.spend.daily_cells` by workspace and model.
    told : what was found otherwise.
    since : only days from then on are told of.
    """
    if cells.empty:
        return []
    panel = panel_of(cells, as_of, BY)
    options = WatchOptions(together=False, false_alarms=false_alarms)
    found = watch(series_of_frame(panel), Grid("fixed", _DAY), options)
    matters = [event for event in found.events if _matters(event, usual_per_day)]
    if since is not None:
        matters = [event for event in matters if pd.Timestamp(event.end) >= pd.Timestamp(since)]
    left = [event for event in matters if not _explained(event, told)]
    return [one for group in _grouped(left) if (one := _finding(group, cells, usual_per_day, workspace)) is not None]


def _matters(event: Event, usual_per_day: float) -> bool:
    limit = _ALL if event.series == TOTAL else MATTERS
    return abs(event.excess) / event.steps >= limit * usual_per_day


def _explained(event: Event, told: Sequence[Finding]) -> bool:
    """Whether other findings of its time make up most of it, or an outage does that sent its calls elsewhere."""
    first, last = pd.Timestamp(event.start), pd.Timestamp(event.end) + pd.Timedelta(days=1)
    own = event.series
    days = float(event.steps)
    amount = 0.0
    for one in told:
        begin, end = pd.Timestamp(one.start), pd.Timestamp(one.end)
        overlap = (min(end, last) - max(begin, first)) / pd.Timedelta(days=1)
        if one.kind == "price":
            # A new price lasts: it explains level shifts from then on.
            overlap = max((last - max(begin, first)) / pd.Timedelta(days=1), 0.0)
        if overlap <= 0:
            continue
        if one.kind == "errors":
            return True
        concerns = own == TOTAL or own in (one.subject, f"workspace={one.workspace}") or own.startswith("model=")
        length = max((end - begin) / pd.Timedelta(days=1), 1 / 24)
        if concerns:
            amount += one.excess * min(overlap / length, days) if one.kind != "price" else one.excess / length * overlap
    return bool(amount * np.sign(event.excess) >= _EXPLAINED * abs(event.excess))


def _grouped(events: Sequence[Event]) -> list[_Seen]:
    groups: list[list[Event]] = []
    until = -1
    for event in sorted(events, key=lambda one: (one.start, one.series)):
        if groups and event.start <= until:
            groups[-1].append(event)
        else:
            groups.append([event])
        until = max(until, event.end) if groups[-1][0] is not event else event.end
    return [_Seen(tuple(one)) for one in groups]


def _finding(seen: _Seen, cells: pd.DataFrame, usual_per_day: float, workspace: str | None) -> Finding | None:
    top = max(seen.events, key=lambda one: abs(one.excess))
    subject = _subject(seen, top)
    own = _rows_of(cells, subject)
    first, last = seen.first, seen.last
    days = pd.date_range(first, last, freq="D")
    after = own[own["day"].isin(days)]
    weekdays = set(days.weekday)
    begin = first - pd.Timedelta(days=7 * _WEEKS)
    usual_days = [day for day in pd.date_range(begin, first - pd.Timedelta(days=1)) if day.weekday() in weekdays]
    before = own[own["day"].isin(usual_days)]
    if before.empty or not usual_days:
        return None
    # As many of each weekday as the event has.
    counts = pd.Series(days.weekday).value_counts()
    weights = pd.Series({day: counts[day.weekday()] / sum(d.weekday() == day.weekday() for d in usual_days)
                         for day in usual_days})  # fmt: skip
    weighted = _weighted(before, weights)
    taken = split(weighted, after, len(days), len(days))
    named = [name for name in BY if not subject.startswith(f"{name}=")] if subject != TOTAL else list(BY)
    whose = causes(weighted, after, len(days), len(days), named)
    change = taken.change
    length = len(days)
    owner = subject.partition("=")[2] if subject.startswith("workspace=") else workspace
    return Finding(
        kind=_KINDS[taken.main],
        subject=subject,
        workspace=owner,
        start=first.to_pydatetime(),
        end=(last + timedelta(days=1)).to_pydatetime(),
        ongoing=any(one.ongoing for one in seen.events),
        severity=severity_of_money(change, usual_per_day),
        score=top.score,
        value=taken.after,
        expected=taken.before,
        unit="dollars a day",
        excess=change * length,
        words=_words(subject, first, last, taken, whose),
        causes=whose,
        split=taken.parts(),
        evidence=[
            {"series": one.series, "from": f"{pd.Timestamp(one.start):%Y-%m-%d}", "days": one.steps,
             "value": one.value, "expected": one.expected, "excess": one.excess, "detectors": one.why}
            for one in seen.events[:6]
        ],
    )  # fmt: skip


def _subject(seen: _Seen, top: Event) -> str:
    """The narrowest series that most of it happens in: a workspace rather than everything."""
    total = next((one for one in seen.events if one.series == TOTAL), None)
    parts = [one for one in seen.events if one.series != TOTAL]
    if total is None or not parts:
        return top.series
    largest = max(parts, key=lambda one: (abs(one.excess), one.series.startswith("workspace=")))
    return largest.series if abs(largest.excess) >= 0.6 * abs(total.excess) else TOTAL


def _rows_of(cells: pd.DataFrame, subject: str) -> pd.DataFrame:
    name, _, value = subject.partition("=")
    return cells if subject == TOTAL else cells[cells[name] == value]


def _weighted(rows: pd.DataFrame, weights: pd.Series) -> pd.DataFrame:
    factor = rows["day"].map(weights).to_numpy(np.float64)
    scaled = rows.copy()
    for name in ("calls", "input_tokens", "output_tokens", "cost"):
        scaled[name] = rows[name].to_numpy(np.float64) * factor
    return scaled


def _words(subject: str, first: pd.Timestamp, last: pd.Timestamp, taken: Split, whose: Sequence[object]) -> str:
    whom = "All spending" if subject == TOTAL else f"Spending of {subject.partition('=')[2]}"
    when = f"on {first:%Y-%m-%d}" if first == last else f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    parts = ", ".join(
        f"{name} ${value:+,.4f}"
        for name, value in sorted(taken.parts().items(), key=lambda item: -abs(item[1]))
        if abs(value) >= 0.05 * abs(taken.change)
    )
    del whose
    return f"{whom} was ${taken.after:,.4f} a day {when}, usually ${taken.before:,.4f}: {parts}."
