"""Days on which more or less is spent than usual because of volume, mix or length, and whose doing that is.

Dollars of a day are noisy: one answer of a dear model is worth a hundred of a cheap one. What they are made of is not.
So each day, and each three days, of a workspace and of everybody is compared with the same weekdays of the four weeks
before by the exact split of `models.spend.unusual.split`; its volume, mix and length are judged each by what they were
on the days before, in dollars. An effect alarms where it is far beyond those, matters to the whole bill and to its own.
Prices are the business of `prices`. Days that alarm, and those of a runaway user, teach nothing about what is usual,
until they have lasted for a fortnight: then they are.

What another finding explains already is not told twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from features.views.spend import TOTAL, midnight
from models.spend.unusual.finding import Finding, Kind, score_of, severity_of_money
from models.spend.unusual.split import Floats, Split, causes, split_of, tokens_of

MATTERS = 0.12  # of what everybody usually spends a day
ALL = 0.35  # the same for the whole, whose days differ more in dollars
OWN = 0.35  # of what the subject itself usually spends on such days
DEVIATIONS = 6.0
WINDOWS = (1, 3)
_WEEKS = 4
_LEAST_WEEKS = 2
_NULL, _LEAST_NULL = 28, 10  # days that say how far each part usually moves
_FLOOR = 0.04  # of what is usually spent: no part is steadier than that
_ACCEPTED = 14
_LEAST_CALLS = 40
_EXPLAINED = 0.5
_NARROW = 0.6  # of the whole change, by which a workspace is told of instead of everybody
_MOVES = {"errors": -1.0, "latency": -1.0, "new model": 1.0}
_MOVED = 0.1  # of the calls
_PARTS: tuple[tuple[str, Kind], ...] = (("volume", "volume"), ("mix", "model mix"), ("length", "prompt length"))
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class _Subject:
    """Daily sums by cell: `sums` is (days, cells, calls tokens dollars), `quiet` are days to learn from."""

    name: str
    rows: pd.DataFrame
    days: pd.DatetimeIndex
    sums: Floats
    quiet: Flags

    def usual(self, place: int, length: int) -> Floats | None:
        """What days like the `length` ones up to a place usually sum up to, a day; None: too little is known."""
        found = np.zeros(self.sums.shape[1:])
        for day in range(place - length + 1, place + 1):
            before = day - 7 * np.arange(1, _WEEKS + 1)
            before = before[before >= 0]
            before = before[self.quiet[before]]
            if len(before) < _LEAST_WEEKS:
                return None
            found += self.sums[before].mean(axis=0)
        return np.asarray(found / length)

    def split(self, place: int, length: int) -> Split | None:
        usual = self.usual(place, length)
        if usual is None:
            return None
        return split_of(usual, self.sums[place - length + 1 : place + 1].mean(axis=0))


def level_findings(
    cells: pd.DataFrame,
    as_of: datetime,
    usual_per_day: float,
    told: Sequence[Finding],
    *,
    since: datetime | None = None,
    workspace: str | None = None,
) -> list[Finding]:
    """Unusual days.

    Parameters
    ----------
    cells : `features.views.spend.daily_cells` by workspace and model.
    told : what was found otherwise.
    since : only what was so from then on is told of.
    """
    if cells.empty or usual_per_day <= 0:
        return []
    days = pd.date_range(cells["day"].min(), pd.Timestamp(midnight(as_of)) - pd.Timedelta(days=1), freq="D")
    looked = len(days) if since is None else int((days >= pd.Timestamp(midnight(since))).sum())
    parts = list(cells.groupby("workspace", sort=True))
    subjects = [(f"workspace={name}", rows) for name, rows in parts]
    if len(parts) > 1:
        subjects.append((TOTAL, cells))
    found = []
    for name, rows in subjects:
        subject = _subject(name, rows, days, told)
        for first, last, times in _unusual(subject, looked, usual_per_day):
            made = _finding(subject, first, last, times, usual_per_day, workspace)
            if made is not None and (since is None or made[0].end > since) and not _explained(*made, told):
                found.append(made[0])
    return _narrowest(found)


def _subject(name: str, rows: pd.DataFrame, days: pd.DatetimeIndex, told: Sequence[Finding]) -> _Subject:
    tokens = tokens_of(rows)
    summed = rows.assign(tokens=tokens).groupby(["day", "workspace", "model"])[["calls", "tokens", "cost"]].sum()
    table = summed.unstack(["workspace", "model"]).reindex(days).fillna(0.0)
    sums = table.to_numpy(np.float64).reshape(len(days), 3, -1).transpose(0, 2, 1)
    begun = np.cumsum(sums[:, :, 0].sum(axis=1)) > 0
    quiet = begun.copy()
    for one in told:
        if one.kind == "runaway user" and name in (TOTAL, f"workspace={one.workspace}"):
            quiet &= ~((days >= pd.Timestamp(one.start).floor("D")) & (days < pd.Timestamp(one.end)))
    return _Subject(name, rows, days, sums, quiet)


def _unusual(subject: _Subject, looked: int, usual_per_day: float) -> list[tuple[int, int, float]]:
    """First and last place of days that belong together, and by how much they are beyond the threshold."""
    count = len(subject.days)
    least = (ALL if subject.name == TOTAL else MATTERS) * usual_per_day
    beyond = np.zeros(count)
    ran = 0
    effects: dict[int, list[tuple[int, Floats]]] = {length: [] for length in WINDOWS}
    for place in range(max(0, count - looked - _NULL), count):
        alarmed = False
        for length in WINDOWS:
            taken = subject.split(place, length) if place >= length - 1 else None
            if taken is None:
                continue
            if taken.before <= 0:
                continue
            # Relative to the usual days, so that weekends and weekdays can be told in one breath.
            values = np.array([getattr(taken, name) for name, _ in _PARTS]) / taken.before
            calls = float(subject.sums[place - length + 1 : place + 1, :, 0].sum())
            null = np.array([one for at, one in effects[length] if subject.quiet[at]][-_NULL:])
            effects[length].append((place, values))
            if len(null) < _LEAST_NULL:
                continue
            changed = abs(taken.change) >= max(least, OWN * taken.before)
            times = _times(values, null, least / taken.before, calls) if changed else 0.0
            if times >= 1.0:
                alarmed = True
                inside = slice(place - length + 1, place + 1)
                # Of three days those that were as the three together.
                costs = subject.sums[inside, :, 2].sum(axis=1)
                same = (costs > 0.5 * (taken.after + taken.before)) == (taken.after > taken.before)
                beyond[inside] = np.where(same, np.maximum(beyond[inside], times), beyond[inside])
        ran = ran + 1 if alarmed else 0
        if alarmed and ran <= _ACCEPTED:
            subject.quiet[place] = False
    places = np.flatnonzero(beyond >= 1.0)
    groups = np.split(places, np.flatnonzero(np.diff(places) > 2) + 1) if len(places) else []
    return [(int(one[0]), int(one[-1]), float(beyond[one].max())) for one in groups]


def _times(values: Floats, null: Floats, least: float, calls: float) -> float:
    """By how much the furthest part is over its threshold; 0 where none is as large as `least`. All are relative."""
    middle = np.median(null, axis=0)
    deviation = 1.4826 * np.median(np.abs(null - middle), axis=0)
    far = np.abs(values - middle) / np.maximum(deviation, _FLOOR) / DEVIATIONS
    matters = np.abs(values) >= max(least, OWN)
    if calls < _LEAST_CALLS:
        matters[1:] = False  # a few dear answers are neither another mix nor longer prompts
    return float(np.max(np.where(matters, far, 0.0)))


def _finding(
    subject: _Subject, first: int, last: int, times: float, usual_per_day: float, workspace: str | None
) -> tuple[Finding, Mapping[str, float]] | None:
    """The finding, and of each model how many calls more it got, as a share of all."""
    length = last - first + 1
    usual = subject.usual(last, length)
    if usual is None:
        return None
    taken = split_of(usual, subject.sums[first : last + 1].mean(axis=0))
    kind = max(_PARTS, key=lambda part: abs(getattr(taken, part[0])))[1]
    days, name = subject.days, subject.name
    after = subject.rows[subject.rows["day"].isin(days[first : last + 1])]
    # Weekdays of the four weeks before, each as often as it is among the days told of.
    before = pd.concat(
        [
            rows
            for day in range(first, last + 1)
            for k in range(1, _WEEKS + 1)
            if day - 7 * k >= 0 and subject.quiet[day - 7 * k]
            and len(rows := subject.rows[subject.rows["day"] == days[day - 7 * k]])
        ]
    )  # fmt: skip
    weeks = sum(day - 7 * k >= 0 and bool(subject.quiet[day - 7 * k]) for day in range(first, last + 1)
                for k in range(1, _WEEKS + 1))  # fmt: skip
    by = ("workspace", "model") if name == TOTAL else ("model",)
    start, end = days[first].to_pydatetime(), (days[last] + pd.Timedelta(days=1)).to_pydatetime()
    calls = [rows.groupby("model")["calls"].sum() / days for rows, days in ((before, weeks), (after, length))]
    moved = calls[1].sub(calls[0], fill_value=0.0) / max(float(calls[1].sum()), 1e-9)
    found = Finding(
        kind=kind,
        subject=name,
        workspace=name.partition("=")[2] or workspace,
        start=start,
        end=end,
        ongoing=last == len(days) - 1,
        severity=severity_of_money(taken.change, usual_per_day),
        score=score_of(times),
        value=taken.after,
        expected=taken.before,
        unit="dollars a day",
        excess=taken.change * length,
        words=_words(name, days[first], days[last], taken),
        causes=causes(before, after, weeks, length, by),
        split=taken.parts(),
        evidence=[
            {
                "day": f"{days[place]:%Y-%m-%d}",
                "calls": int(subject.sums[place, :, 0].sum()),
                "usual_calls": None if known is None else round(float(known[:, 0].sum()), 1),
                "cost": float(subject.sums[place, :, 2].sum()),
                "usual_cost": None if known is None else float(known[:, 2].sum()),
            }
            for place in range(first, last + 1)[:7]
            for known in [subject.usual(place, 1)]
        ],
    )
    return found, {str(model): float(share) for model, share in moved.items()}


def _explained(one: Finding, models: Mapping[str, float], told: Sequence[Finding]) -> bool:
    """Whether other findings of its time make up most of it, or a model that fails, is slow or new moved the mix."""
    amount = 0.0
    for other in told:
        begin, end = max(one.start, other.start), min(one.end, other.end)
        if begin >= end:
            continue
        moved = models.get(other.subject.partition("=")[2], 0.0) * _MOVES.get(other.kind, 0.0)
        # Calls left the one that failed, and went to the one that is new.
        if one.kind == "model mix" and moved >= _MOVED:
            return True
        if other.kind == "runaway user" and one.subject in (TOTAL, f"workspace={other.workspace}"):
            amount += other.excess * ((end - begin) / (other.end - other.start))
    return bool(amount * np.sign(one.excess) >= _EXPLAINED * abs(one.excess))


def _narrowest(found: Sequence[Finding]) -> list[Finding]:
    """Of everybody's and a workspace's at one time, the narrower one where it is most of it."""
    wholes = [one for one in found if one.subject == TOTAL]
    kept = [one for one in found if one.subject != TOTAL]
    for whole in wholes:
        within = [one for one in kept if one.start < whole.end and one.end > whole.start]
        if not any(abs(one.excess) >= _NARROW * abs(whole.excess) for one in within):
            kept = [one for one in kept if one not in within]
            kept.append(whole)
    return sorted(kept, key=lambda one: (one.start, one.subject))


def _words(subject: str, first: pd.Timestamp, last: pd.Timestamp, taken: Split) -> str:
    whom = "All spending" if subject == TOTAL else f"Spending of {subject.partition('=')[2]}"
    when = f"on {first:%Y-%m-%d}" if first == last else f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    parts = ", ".join(
        f"{name} ${value:+,.4f}"
        for name, value in sorted(taken.parts().items(), key=lambda item: -abs(item[1]))
        if abs(value) >= 0.05 * abs(taken.change)
    )
    return f"{whom} was ${taken.after:,.4f} a day {when}, usually ${taken.before:,.4f}: {parts}."
