"""Rows that came after a champion had learned, and what of the data is compared for drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from features.snapshot import read_dataset
from models.lifecycle.family import ModelFamily
from models.monitoring.policy import MonitorPolicy
from store.dataset import DatasetRef, SnapshotRef
from store.errors import MeritError

_YEAR = timedelta(days=364)  # whole weeks, so that a Saturday is compared with a Saturday


@dataclass(frozen=True)
class Arrived:
    """The data then and now.

    Attributes
    ----------
    learned : the frame that the champion's training began from, rebuilt as of then.
    rows : outcomes that came later; empty where none did.
    roles : what the columns are for.
    problem : why there is nothing to judge; "" when there is.
    """

    learned: pd.DataFrame
    rows: pd.DataFrame
    roles: Mapping[str, str]
    problem: str = ""


@dataclass(frozen=True)
class Compared:
    """Two frames of entities and how they differed before.

    Attributes
    ----------
    history, year_before : see `models.monitoring.drift.drift`.
    problem : why there is nothing to compare; "" when there is.
    """

    reference: pd.DataFrame
    now: pd.DataFrame
    gap: timedelta
    history: Mapping[Any, pd.DataFrame] = field(default_factory=dict)
    year_before: tuple[pd.DataFrame, pd.DataFrame] | None = None
    problem: str = ""


def arrived(family: ModelFamily, then: SnapshotRef, now: SnapshotRef, folder: Path) -> Arrived:
    """Outcomes that were not known when the champion learned.

    Both frames are the family's own, built from what was known at their moments, so nothing need have been kept from
    the training.
    """
    before = _dataset(family, then, folder / "then")
    after = _dataset(family, now, folder / "now")
    if isinstance(before, str) or isinstance(after, str):
        problem = before if isinstance(before, str) else after if isinstance(after, str) else ""
        empty = pd.DataFrame()
        return Arrived(empty if isinstance(before, str) else read_dataset(before), empty, {}, problem)
    learned, frame = read_dataset(before), read_dataset(after)
    time = after.roles.get("time")
    if time is None:
        problem = "The rows have no time: those that came later cannot be told from those it learned from."
        return Arrived(learned, frame.iloc[:0], after.roles, problem)
    rows = frame[frame[time] > learned[time].max()].reset_index(drop=True)
    problem = "" if len(rows) else "No outcome has arrived since it was trained."
    return Arrived(learned, rows, after.roles, problem)


def compared(
    family: ModelFamily,
    then: SnapshotRef,
    now: SnapshotRef,
    data: Arrived,
    policy: MonitorPolicy,
    snapshot_at: Callable[[datetime], SnapshotRef] | None = None,
) -> Compared:
    """What the model reads, then and now.

    The current features of every entity (`ModelFamily.online`) where the family has them; else the rows that came
    later against as long a time before.

    Parameters
    ----------
    snapshot_at : gives the data as known at an earlier moment; with it, the same two days of the year before are
        compared as well.
    """
    gap = now.as_of - then.as_of
    reference, current = family.online(then), family.online(now)
    if reference is None or current is None:
        return _by_rows(data, gap, policy)
    history = _moments(data, list(current.columns), policy)
    before = _year_before(family, then, now, snapshot_at) if snapshot_at is not None else None
    return Compared(reference, current, gap, history, before)


def _year_before(
    family: ModelFamily, then: SnapshotRef, now: SnapshotRef, snapshot_at: Callable[[datetime], SnapshotRef]
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The entities on the same days of the year before; None where the data do not reach back, or not to both."""
    if now.as_of - then.as_of > _YEAR:
        return None  # the later day would lie among what it learned from and what came: no year of its own
    try:
        first, second = (family.online(snapshot_at(moment - _YEAR)) for moment in (then.as_of, now.as_of))
    except MeritError:
        return None
    return (first, second) if first is not None and second is not None else None


def _dataset(family: ModelFamily, snapshot: SnapshotRef, folder: Path) -> DatasetRef | str:
    try:
        return family.dataset(snapshot, folder)
    except MeritError as error:
        return str(error)


def _moments(data: Arrived, features: list[Any], policy: MonitorPolicy) -> dict[Any, pd.DataFrame]:
    """Cross-sections of the frame that was learned from, one per moment that has enough rows."""
    time = data.roles.get("time")
    shared = [name for name in features if name in data.learned.columns and name not in data.roles.values()]
    if time is None or time not in data.learned.columns or not shared:
        return {}
    parts = data.learned.groupby(time, sort=True)
    return {moment: part[shared] for moment, part in parts if len(part) >= policy.fewest_rows}


def _by_rows(data: Arrived, gap: timedelta, policy: MonitorPolicy) -> Compared:
    """Rows that came later, against windows of the same length before."""
    empty = pd.DataFrame()
    time = data.roles.get("time")
    features = [name for name in data.learned.columns if name not in data.roles.values()]
    if not features:
        problem = "It reads nothing but its own past; how well it does is told by its errors."
        return Compared(empty, empty, gap, problem=problem)
    if time is None or data.rows.empty:
        return Compared(empty, empty, gap, problem=data.problem or "Nothing has arrived since it was trained.")
    target = data.roles.get("target")
    kept = [*features, target] if target and target in data.rows.columns else features
    end: datetime = data.learned[time].max()
    length = data.rows[time].max() - end
    windows: dict[Any, pd.DataFrame] = {}
    start = data.learned[time].min()
    while end - length >= start and len(windows) < 60:
        inside = (data.learned[time] > end - length) & (data.learned[time] <= end)
        windows[end] = data.learned.loc[inside, kept]
        end = end - length
    if not windows:
        return Compared(empty, empty, gap, problem="What arrived covers a longer time than what it learned from.")
    reference = windows[max(windows)]
    history = {moment: part for moment, part in windows.items() if len(part) >= policy.fewest_rows}
    return Compared(reference, data.rows[kept], length, history)
