"""The detector of one series: check values as they come, or scan a whole series; the answers are the same.

A detector starts empty. Every value goes through `check`; `fit` and `scan` are nothing but many checks, so what a
stream is told and what a scan finds cannot differ. While fewer than two seasons (at least twelve values) are known, it
only learns; rules hold from the first value on. All it knows is JSON (`state`), so a stream can stop and go on.

Missing values and missing steps are passed over, and counted for the rule `missing`. A value at a time already checked,
or before it, is "late": it is neither judged nor learned from. Where all values so far were positive, it works on
logarithms (of counts with zeros: shifted ones), so that a business growing tenfold does not alarm on every peak.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from features.frequency import Grid
from models.anomaly import free_days
from models.anomaly.checks import Check, Kind, score_of, severity_of
from models.anomaly.judge import MEMORY, Judge, Judgement
from models.anomaly.rules import Rule, parse_rule
from models.anomaly.scorers import USUAL
from store.errors import InvalidValue

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

FORMAT = 1
COLUMNS = (
    "at", "value", "status", "expected", "low", "high", "residual", "chance", "score", "kind", "severity", "why", "run"
)  # fmt: skip
FALSE_ALARMS = 0.001
_DAY = 86_400 * 10**9
_MOST_MISSED = 10_000
_RULE_SCORE = 0.75


class Detector:
    """Detectors of one series, alone or together.

    Parameters
    ----------
    season : length of the season in steps; 1 for none. Usual: 7 for days, 24 or 168 for hours, 12 for months.
    detectors : names, see `models.anomaly.scorers`; one alone or several as an ensemble.
    false_alarms : share of usual values that may alarm, between 1e-6 and 0.1.
    rules : limits set by a person, see `models.anomaly.rules`.
    grid : what time stamps lie on; None for plain step numbers.
    holidays : countries whose public holidays matter, e.g. ("DE", "AT"), for days and finer steps.
    seed : of the isolation forest and the autoencoder.

    Raises
    ------
    InvalidValue : a parameter lies outside what is possible; the message names it.
    """

    def __init__(
        self,
        season: int = 1,
        *,
        detectors: Sequence[str] = USUAL,
        false_alarms: float = FALSE_ALARMS,
        rules: Sequence[Rule | str] = (),
        grid: Grid | None = None,
        holidays: Sequence[str] = (),
        seed: int = 7,
    ) -> None:
        if not 1 <= int(season) <= MEMORY // 2 - 1:
            raise InvalidValue(
                f"season={season} is not possible.", remedy=f"Use 1 (none) to {MEMORY // 2 - 1} steps.",
                field="season", value=season,
            )  # fmt: skip
        if not 1e-6 <= false_alarms <= 0.1:
            raise InvalidValue(
                f"false_alarms={false_alarms} is not possible.",
                remedy="Give a share of usual values between 0.000001 and 0.1; 0.001 is one in a thousand.",
                field="false_alarms",
                value=false_alarms,
            )
        self.season, self.false_alarms, self.seed = int(season), float(false_alarms), int(seed)
        self.rules = tuple(rule if isinstance(rule, Rule) else parse_rule(rule) for rule in rules)
        self.grid = grid or Grid("integer", 1)
        self.detectors = tuple(detectors)
        self.holidays = free_days.checked(holidays, self.grid)
        yearly = self.grid.kind == "fixed" and self.grid.step == _DAY
        self._judge = Judge(self.season, self.detectors, self.false_alarms, self.holidays, yearly, self.seed)
        self._place: int | None = None
        self._before, self._gap, self._equal = math.nan, 0, 0

    @property
    def least(self) -> int:
        """Values that are needed before the first judgement."""
        return self._judge.least

    @property
    def last(self) -> int | None:
        """The last time stamp checked; None before the first."""
        return None if self._place is None else self._stamp(self._place)

    def fit(self, values: Sequence[float] | Floats, at: Sequence[int] | Ints | None = None) -> Detector:
        """Learn a history, oldest first; what alarmed in it is not learned from.

        Parameters
        ----------
        values : shape (n,), NaN where missing.
        at : time stamps, shape (n,); None: the steps after the last one.
        """
        for _ in self.checks(values, at):
            pass
        return self

    def checks(self, values: Sequence[float] | Floats, at: Sequence[int] | Ints | None = None) -> Iterable[Check]:
        """One check per value, in order."""
        first = 0 if self._place is None else self._place + 1
        stamps = self.grid.at(np.arange(first, first + len(values))) if at is None else np.asarray(at)
        for value, stamp in zip(np.asarray(values, dtype=np.float64).tolist(), stamps.tolist(), strict=True):
            yield self.check(value, stamp)

    def scan(self, values: Sequence[float] | Floats, at: Sequence[int] | Ints | None = None) -> pd.DataFrame:
        """The checks of a series as a frame, one row per value.

        Returns
        -------
        at, value, status, expected, low, high, residual, chance, score, kind, severity, why, run; as in `Check`.
        """
        rows = [
            (one.at, one.value, one.status, one.expected, one.low, one.high, one.residual, one.chance, one.score,
             one.kind, one.severity, one.why if one.alarm else "", one.run)
            for one in self.checks(values, at)
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def check(self, value: float | None, at: int | None = None) -> Check:
        """Judge the next value and learn from it.

        Parameters
        ----------
        value : None or NaN where it is missing.
        at : its time stamp in nanoseconds since 1970 (or a plain step number); None for the next step.

        Raises
        ------
        InvalidValue : the value is infinite, or the time lies off the grid or more than 10,000 steps ahead.
        """
        number = math.nan if value is None else float(value)
        if math.isinf(number):
            raise InvalidValue(
                f"The value at {at} is infinite.", remedy="Send a finite number, or null where it is missing.",
                field="value",
            )  # fmt: skip
        place = self._place_of(at)
        stamp = self._stamp(place)
        if self._place is not None and place <= self._place:
            return Check(stamp, number, "late")
        missing = math.isnan(number)
        skipped = (0 if self._place is None else place - self._place - 1) + missing
        for _ in range(skipped):
            self._judge.skip()
        self._place = place
        self._gap += skipped
        same = number == self._before and not skipped
        self._equal = 0 if missing else self._equal + 1 if same else 1
        said = [
            (rule, rule.broken(number, self._before, self._gap if skipped else 0, self._equal)) for rule in self.rules
        ]
        broken = [(rule, words) for rule, words in said if words]
        if missing:
            return _ruled(Check(stamp, number, "missing"), broken)
        self._gap, self._before = 0, number
        found = self._judge.take(number, stamp)
        check = Check(stamp, number, "learning") if found is None else self._worded(stamp, number, found)
        return _ruled(check, broken)

    def _worded(self, stamp: int, number: float, found: Judgement) -> Check:
        alarm = found.chance <= self.false_alarms
        return Check(
            stamp,
            number,
            "anomaly" if alarm else "normal",
            found.expected,
            found.low,
            found.high,
            found.residual,
            found.chance,
            score_of(found.chance, self.false_alarms),
            kind=self._kind(found) if alarm else None,
            severity=severity_of(found.chance, self.false_alarms, number, found.expected) if alarm else None,
            detectors=found.chances,
            run=found.run,
        )

    def _kind(self, found: Judgement) -> Kind:
        """A level shift from the fifth alarm in a row on, or where small deviations have added up; a spike or a dip
        where the value itself is far off; else the values are usual one by one, and their pattern is not.
        """
        if found.run >= max(5, min(self.season, 7)):
            return "level shift"
        if min((found.chances.get(name, 1.0) for name in ("seasonal", "iqr", "zscore")), default=1.0) <= 0.01:
            return "spike" if found.residual > 0 else "dip"
        return "level shift" if found.chances.get("shift", 1.0) <= 0.01 else "unusual pattern"

    def _stamp(self, place: int) -> int:
        return int(self.grid.at(np.array([place]))[0])

    def _place_of(self, at: int | None) -> int:
        if at is None:
            return 0 if self._place is None else self._place + 1
        places, off = self.grid.position(np.array([int(at)], dtype=np.int64))
        place = int(places[0])
        if off[0] > (self.grid.step // 10 if self.grid.kind == "fixed" else 0):
            raise InvalidValue(
                f"Time {self._readable(at)} does not lie on the grid of frequency {self.grid.alias}.",
                remedy="Send times of the series' own frequency.",
                field="at",
                value=at,
            )
        if self._place is not None and place - self._place > _MOST_MISSED:
            raise InvalidValue(
                f"Time {self._readable(at)} is {place - self._place:,} steps after the last value.",
                remedy=f"At most {_MOST_MISSED:,} may be missing; begin a new history.",
                field="at",
                value=at,
            )
        return place

    def _readable(self, at: int) -> str:
        return str(at) if self.grid.kind == "integer" else str(pd.Timestamp(at)).removesuffix(" 00:00:00")

    def state(self) -> dict[str, Any]:
        """All it knows, JSON-ready; `Detector.of` goes on from it to the bit."""
        return {
            "format": FORMAT,
            "season": self.season,
            "detectors": list(self.detectors),
            "false_alarms": self.false_alarms,
            "rules": [str(rule) for rule in self.rules],
            "grid": asdict(self.grid),
            "holidays": list(self.holidays),
            "seed": self.seed,
            "place": self._place,
            "before": None if math.isnan(self._before) else self._before,
            "gap": self._gap,
            "equal": self._equal,
            "judge": self._judge.state(),
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Detector:
        """From what `state` gave.

        Raises
        ------
        InvalidValue : it is not the state of a detector of this format.
        """
        try:
            if state["format"] != FORMAT:
                raise ValueError(f"format {state['format']}")
            names = ("season", "detectors", "false_alarms", "rules", "holidays", "seed")
            found = cls(**{name: state[name] for name in names}, grid=Grid(**state["grid"]))
            found._judge.restore(state["judge"])
            found._place = None if state["place"] is None else int(state["place"])
            found._before = math.nan if state["before"] is None else float(state["before"])
            found._gap, found._equal = int(state["gap"]), int(state["equal"])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InvalidValue(
                f"This is not the state of a detector ({type(error).__name__}: {error}).",
                remedy="Send a state as an earlier check returned it, or the history instead.",
                field="state",
            ) from error
        return found


def _ruled(check: Check, broken: Sequence[tuple[Rule, str]]) -> Check:
    """The check with the rules that were broken: a person's limit counts as high, whatever was learned."""
    if not broken:
        return check
    return replace(
        check,
        status="anomaly",
        kind=check.kind or broken[0][0].kind,
        severity="critical" if check.severity == "critical" else "high",
        score=max(check.score, _RULE_SCORE),
        rules=tuple(words for _, words in broken),
        run=max(check.run, 1),
    )
