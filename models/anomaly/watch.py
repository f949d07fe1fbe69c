"""All series of a panel: each by its own detector, those that belong together also jointly; events, incidents, causes.

Each series is judged by its own values alone, so its checks do not depend on what else is in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from features.frequency import Grid, default_seasons, stamps_of
from models.anomaly.autoencoder import check_installed
from models.anomaly.causes import Cause, causes_of
from models.anomaly.checks import score_of, severity_of
from models.anomaly.detector import FALSE_ALARMS, Detector
from models.anomaly.events import Event, events_of, numbered
from models.anomaly.judge import MEMORY
from models.anomaly.scorers import USUAL
from models.anomaly.together import Together, groups_of
from models.forecasting.parallel import Progress, map_series

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class WatchOptions:
    """What a scan may be told.

    Attributes
    ----------
    season : steps; None for what is usual on the grid (7 for days, 24 for hours, 12 for months).
    together : whether series that belong together are also judged jointly.
    threads : processes that work on series.
    """

    season: int | None = None
    detectors: tuple[str, ...] = USUAL
    false_alarms: float = FALSE_ALARMS
    rules: tuple[str, ...] = ()
    holidays: tuple[str, ...] = ()
    together: bool = True
    seed: int = 7
    threads: int = 1

    def detector(self, grid: Grid) -> Detector:
        """A new detector of one series on a grid."""
        return Detector(
            usual_season(grid) if self.season is None else self.season,
            detectors=self.detectors,
            false_alarms=self.false_alarms,
            rules=self.rules,
            grid=grid,
            holidays=self.holidays,
            seed=self.seed,
        )


@dataclass(frozen=True)
class Watched:
    """What a scan found.

    Attributes
    ----------
    checks : series → one row per step, see `Detector.scan`.
    events : by time, with incidents and causes.
    states : series → state of its detector after the last value, to go on from.
    notes : what the user should know, one sentence each.
    """

    checks: Mapping[str, pd.DataFrame]
    events: tuple[Event, ...]
    states: Mapping[str, Mapping[str, Any]]
    grid: Grid
    notes: tuple[str, ...] = field(default=())

    def since(self, steps: int) -> int:
        """Time stamp of the first of the last so many steps of all series."""
        newest = np.array([max(int(checks["at"].iloc[-1]) for checks in self.checks.values())])
        return int(self.grid.at(self.grid.position(newest)[0] - steps + 1)[0])


def usual_season(grid: Grid) -> int:
    """The season that a detector watches on a grid: the longest that four hundred remembered values show twice."""
    return max((one for one in default_seasons(grid) if 2 * one + 2 <= MEMORY // 2), default=1)


def watch(
    series: Sequence[tuple[str, Ints, Floats]], grid: Grid, options: WatchOptions, progress: Progress | None = None
) -> Watched:
    """Scan series that lie on one grid.

    Parameters
    ----------
    series : name, time stamps of shape (n,) in ascending order, values of shape (n,), NaN where missing.
    progress : called with (series done, series in all).
    """
    options.detector(grid)  # a wrong option is told before the work
    if "autoencoder" in options.detectors:
        check_installed()
    found = map_series(partial(_scan, grid=grid, options=options), list(series), options.threads, progress)
    checks = {name: frame for name, frame, _ in found}
    events = [event for name, frame in checks.items() for event in events_of(name, frame)]
    short = [name for name, frame in checks.items() if not frame["status"].isin(["normal", "anomaly"]).any()]
    notes = []
    if short:
        listed = ", ".join(short[:5]) + (f" and {len(short) - 5} more" if len(short) > 5 else "")
        least = options.detector(grid).least
        notes.append(f"Too short to be judged ({least} values are only learned from): {listed}.")
    if options.together:
        events += _jointly(checks, options)
    causes: dict[int, tuple[Cause, ...]] = {
        place: causes_of(event.series, event.start, event.end, checks) for place, event in enumerate(events)
    }
    states = {name: state for name, _, state in found}
    return Watched(checks, tuple(numbered(events, causes)), states, grid, tuple(notes))


def _scan(
    one: tuple[str, Ints, Floats], *, grid: Grid, options: WatchOptions
) -> tuple[str, pd.DataFrame, dict[str, Any]]:
    name, stamps, values = one
    detector = options.detector(grid)
    return name, detector.scan(values, stamps), detector.state()


def _jointly(checks: Mapping[str, pd.DataFrame], options: WatchOptions) -> list[Event]:
    """Times at which a combination is unusual and no value of it is."""
    found = []
    for group, members in groups_of(list(checks)).items():
        residuals = pd.DataFrame({name: checks[name].set_index("at")["residual"] for name in members}).sort_index()
        alarms = pd.DataFrame({name: checks[name].set_index("at")["status"] == "anomaly" for name in members})
        alone = alarms.reindex(residuals.index).fillna(False).any(axis=1).to_numpy(dtype=bool)
        model = Together(len(members), false_alarms=options.false_alarms, seed=options.seed)
        rows = residuals.to_numpy(np.float64)
        for place, (stamp, point) in enumerate(zip(residuals.index.tolist(), rows, strict=True)):
            chance = model.take(point)
            near = bool(np.any(alone[max(0, place - 1) : place + 2]))
            if chance > options.false_alarms or near:
                continue
            order = np.argsort(-np.abs(np.nan_to_num(point)))[:3]
            said = ", ".join(f"{members[k].partition('/')[0]} {point[k]:+.1f}" for k in order)
            found.append(
                Event(
                    series=f"together/{group}",
                    start=int(stamp),
                    end=int(stamp),
                    steps=1,
                    kind="unusual pattern",
                    severity=severity_of(chance, options.false_alarms, 0.0, float("nan")),
                    score=score_of(chance, options.false_alarms),
                    value=None,
                    expected=None,
                    excess=0.0,
                    why=f"forest over {len(members)} series (usual residuals: {said})",
                    ongoing=place == len(rows) - 1,
                )
            )
    return found


def series_of_frame(frame: pd.DataFrame) -> list[tuple[str, Ints, Floats]]:
    """`unique_id, ds, y`, ordered by both, as `watch` takes it; a step that is missing stays missing."""
    return [
        (str(name), stamps_of(rows["ds"]), rows["y"].to_numpy(np.float64))
        for name, rows in frame.groupby("unique_id", sort=True)
    ]
