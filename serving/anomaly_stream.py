"""The detector behind a request for checks: of a platform's series, over a history sent along, or as it was left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from features.frequency import Grid, grid_of, infer_grid, parse_frequency
from models.anomaly import VIEW
from models.anomaly.checks import Check
from models.anomaly.detector import Detector
from models.anomaly.watch import WatchOptions
from store import feature_rows
from store.errors import InvalidValue, UnknownEntity
from store.settings import Settings

MOST_HISTORY, MOST_VALUES = 5_000, 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Point(Protocol):
    """One value of a request."""

    at: datetime | None
    value: float | None


class Asked(Protocol):
    """What of a request says where the history comes from."""

    series: str | None
    history: Any
    state: dict[str, Any] | None
    freq: str | None
    season: int | None
    rules: list[str]
    holidays: list[str]
    false_alarms: float


@dataclass(frozen=True)
class Stream:
    """A detector and how its times are written.

    Attributes
    ----------
    until : the last time known before the request; None without a history.
    """

    detector: Detector
    until: datetime | int | None

    def check(self, at: datetime | None, value: float | None) -> Check:
        """Judge the next value.

        Raises
        ------
        InvalidValue : the time is a moment where the history has plain steps, or lies off its grid.
        """
        if at is not None and self.detector.grid.kind == "integer":
            raise InvalidValue(
                f"at = {at.isoformat()}, but the history has no times.",
                remedy="Send times with both, or with neither.",
                field="at",
                value=at.isoformat(),
            )
        return self.detector.check(value, None if at is None else stamp_of(at))

    def moment(self, stamp: int) -> datetime | int:
        """A detector's time stamp as it is told."""
        return moment_of(stamp, self.detector.grid)


def stamp_of(moment: datetime) -> int:
    """Naive UTC as nanoseconds since 1970.

    Raises
    ------
    InvalidValue : 64 bits do not hold them.
    """
    since = moment.replace(tzinfo=UTC) - _EPOCH
    stamp = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    if abs(stamp) >= 2**63:
        raise InvalidValue(
            f"at = {moment.isoformat()} lies too far from now.",
            remedy="Use the years 1678 to 2261.",
            field="at",
            value=moment.isoformat(),
        )
    return stamp


def moment_of(stamp: int, grid: Grid) -> datetime | int:
    """The inverse of `stamp_of`; a plain step number stays one."""
    if grid.kind == "integer":
        return stamp
    return datetime.fromtimestamp(stamp // 10**9, UTC).replace(tzinfo=None)


def opened(settings: Settings, asked: Asked) -> Stream:
    """The detector that a request goes on from.

    Raises
    ------
    UnknownEntity : no such series is watched. InvalidValue : history, options or state do not fit.
    """
    if asked.series is not None:
        _refuse_options(asked, "a series of the platform is watched as the flow was told to")
        detector = _published(settings, asked.series)
    elif asked.state is not None:
        _refuse_options(asked, "a state knows how it was begun")
        detector = Detector.of(asked.state)
    else:
        detector = _of_history(asked)
    last = detector.last
    return Stream(detector, None if last is None else moment_of(last, detector.grid))


def _published(settings: Settings, series: str) -> Detector:
    found = feature_rows.lookup(settings, VIEW, [series]).get(series)
    if found is None:
        known = feature_rows.entities(settings, VIEW, limit=5)
        raise UnknownEntity(
            f"No series {series[:80]!r} is watched.",
            remedy=f"Among those watched are {', '.join(known)}." if known else "Run the flow `anomalies` first.",
            field="series",
            value=series[:80],
        )
    return Detector.of(found["state"])


def _of_history(asked: Asked) -> Detector:
    points: list[Point] = asked.history
    timed = [point.at is not None for point in points]
    if any(timed) and not all(timed):
        place = timed.index(False)
        raise InvalidValue(
            f"Entry {place} of the history has no time, and others have one.",
            remedy="Send times with all values, or with none.",
            field="history",
        )
    values = [math.nan if point.value is None else point.value for point in points]
    stamps = [stamp_of(point.at) for point in points if point.at is not None]
    grid = _grid(stamps, asked.freq) if stamps else Grid("integer", 1)
    options = WatchOptions(
        season=asked.season,
        false_alarms=asked.false_alarms,
        rules=tuple(asked.rules),
        holidays=tuple(asked.holidays),
    )
    return options.detector(grid).fit(values, stamps or None)


def _grid(stamps: list[int], freq: str | None) -> Grid:
    distinct = np.unique(np.array(stamps, dtype=np.int64))
    if freq is not None:
        kind, step = parse_frequency(freq)
        if kind == "integer":
            raise InvalidValue(
                f"freq = {freq!r} goes with plain steps, and the history has times.",
                remedy='Use "h", "D", "W", "MS", …', field="freq", value=freq,
            )  # fmt: skip
        return grid_of(distinct, kind, step)
    grid = infer_grid(distinct, integer=False)
    if grid is None:
        raise InvalidValue(
            f"The frequency cannot be told from {len(distinct)} time(s).",
            remedy="Send it as freq, e.g. h, D or MS.",
            field="freq",
        )
    return grid


def _refuse_options(asked: Asked, why: str) -> None:
    for name in ("freq", "season"):
        if getattr(asked, name) is not None:
            raise InvalidValue(f"{name} goes with a history: {why}.", remedy=f"Leave {name} out.", field=name)
    for name in ("rules", "holidays"):
        if getattr(asked, name):
            raise InvalidValue(f"{name} goes with a history: {why}.", remedy=f"Leave {name} out.", field=name)
