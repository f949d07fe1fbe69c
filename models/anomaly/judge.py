"""How unusual the next value of a series is, given the values before; times, rules and words are the detector's.

What is kept are the last 400 usual values (an alarm is replaced by what was expected), their residuals, and each
detector's past scores. While an alarm lasts, nothing is learned from it; after two seasons of alarms on one side (at
least fourteen values; fewer, the faster the level usually moves), the new level is accepted. Of the scores of alarms
only as many enter the past scores as there are false alarms to be expected: with all of them incidents would teach that
incidents are usual, without any the detector would grow more nervous with every alarm. Where alarms become many, it is
the detector that does not know the series, and all of them enter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.anomaly import free_days
from models.anomaly.expectation import Expectation, fitted
from models.anomaly.scale import Scale, scale_of
from models.anomaly.scorers import WEIGHTS, View, scorers
from models.anomaly.tails import Tail, combined

Floats = np.ndarray[Any, np.dtype[np.float64]]

MEMORY = 400
ENSEMBLE = "ensemble"
_LEAST = 12
_YEAR = (364, 365, 366)
_UNUSUAL = 3.0  # usual residuals from which last year is asked: below, there is nothing to explain
_LENIENT = 1.25  # usual residuals change in a year, and what is unusual with them
_ALARM_RATE, _TOO_MANY = 0.02, 0.2
_MOST_DUE = 2.0
_WIDTH = 4.0  # usual residuals to the edge of the band while nothing better is known


@dataclass(frozen=True)
class Judgement:
    """What is said of one value.

    Attributes
    ----------
    expected, low, high : in the unit of the value.
    chance : of the ensemble; with one detector alone, its own.
    chances : by detector.
    residual : in usual residuals, less what holidays and the year before explain.
    run : alarms in a row on the same side, this one included; 0 without an alarm.
    """

    expected: float
    low: float
    high: float
    chance: float
    chances: Mapping[str, float]
    residual: float
    run: int


class Judge:
    """The detectors of one series and what they have seen.

    Parameters
    ----------
    yearly : whether a value is also compared with the same date a year ago, 365 steps before.
    holidays : countries whose holidays matter.
    """

    def __init__(
        self, season: int, names: Sequence[str], false_alarms: float, holidays: tuple[str, ...], yearly: bool, seed: int
    ) -> None:
        self.season, self.false_alarms, self.holidays, self.yearly, self.seed = (
            season, false_alarms, holidays, yearly, seed
        )  # fmt: skip
        self.scorers = scorers(names)
        self.tails = {name: Tail(decades=name == ENSEMBLE) for name in (*names, ENSEMBLE)}
        self.scale = Scale("none")
        self.expectation: Expectation | None = None
        self.usual: list[float] = []
        self.residuals: list[float] = []
        self.year: list[float] = []  # residuals of the last year, with what was explained of them
        self.free: list[tuple[float, float]] = []  # share and residual of past holidays
        self.seen, self.next_fit = 0, self.least
        self.alarms = 0.0  # recent share of alarms
        self.due = 0.0  # false alarms that were to be expected and have not come
        self.run: list[float] = []  # deviations of the alarms in a row, on the working scale

    @property
    def least(self) -> int:
        """Values that are needed before the first judgement."""
        return max(_LEAST, 2 * self.season + 2)

    def skip(self) -> None:
        """Pass over a step without a value."""
        self._remember(math.nan, math.nan)
        self._date(math.nan)
        if self.expectation is not None:
            self.expectation.skip()

    def take(self, number: float, stamp: int) -> Judgement | None:
        """Judge a value and learn from it; None while too little is known."""
        state = self.expectation
        self.seen += 1
        if state is None:
            self._remember(number, math.nan)
            self._date(math.nan)
            if self.seen >= self.least:
                self._refit()
            return None
        value, expected = self.scale.to(number), state.expected
        given = (value - expected) / state.spread
        residual = self._unexplained(given, stamp)
        self._date(given)
        if residual != given:
            # What is explained is no news to any detector, nor to the level and the season.
            value = expected + residual * state.spread
            number = self.scale.back(value)
        before = self.scale.all_to(np.array(self.usual))
        scores = self._scores(View(value, before, residual, np.array(self.residuals), self.season))
        chances = {name: self.tails[name].chance(score) for name, score in scores.items()}
        mixed = -math.log10(combined(chances, WEIGHTS))
        alone = len(self.scorers) == 1
        chance = next(iter(chances.values()), 1.0) if alone else self.tails[ENSEMBLE].chance(mixed)
        alarm = chance <= self.false_alarms
        self._teach(scores | {ENSEMBLE: mixed}, alarm)
        self._follow(alarm, value - expected)
        half = state.spread * self._width()
        low, high = self.scale.back(expected - half), self.scale.back(expected + half)
        found = Judgement(self.scale.back(expected), low, high, chance, chances, residual, len(self.run))
        self._learn(number, value, residual, alarm)
        return found

    def _scores(self, view: View) -> dict[str, float]:
        scores = {scorer.name: scorer.score(view) for scorer in self.scorers}
        return {name: score for name, score in scores.items() if math.isfinite(score)}

    def _teach(self, scores: Mapping[str, float], alarm: bool) -> None:
        self.alarms = (1.0 - _ALARM_RATE) * self.alarms + _ALARM_RATE * alarm
        self.due = min(self.due + self.false_alarms, _MOST_DUE)
        if alarm and self.alarms <= _TOO_MANY:
            if self.due < 1.0:
                return
            self.due -= 1.0
        for name, score in scores.items():
            self.tails[name].add(score, self.tails[name].score_at(0.1 * self.false_alarms))

    def _follow(self, alarm: bool, deviation: float) -> None:
        if not alarm or (self.run and (self.run[-1] > 0) != (deviation > 0)):
            self.run = []
        if alarm:
            self.run.append(deviation)

    def _learn(self, number: float, value: float, residual: float, alarm: bool) -> None:
        state = self.expectation
        assert state is not None
        if not alarm:
            state.learn(value)
            self._remember(number, residual)
        else:
            self._remember(self.scale.back(state.expected), residual)
            state.skip()
            stayed = len(self.run)
            # A level that is known to wander is believed sooner.
            if stayed >= max(2, math.ceil(max(2 * self.season, 14) * (1.0 - state.follow))):
                moved = float(np.median(self.run))
                state.level += moved
                self.usual[-stayed:] = [self.scale.back(self.scale.to(one) + moved) for one in self.usual[-stayed:]]
                self.run = []
        if self.seen >= self.next_fit:
            self._refit()

    def _unexplained(self, residual: float, stamp: int) -> float:
        """What neither holidays nor, for days, the same date a year ago explain of a residual."""
        free = free_days.share(self.holidays, stamp) if self.holidays else 0.0
        if free:
            rest = free_days.beyond(residual, free, self.free)
            self.free.append((free, residual))
            del self.free[: -free_days.MEMORY]
            return rest
        if len(self.year) < _YEAR[-1] or abs(residual) < _UNUSUAL:
            return residual
        then = [self.year[-lag] for lag in _YEAR]
        same = [abs(one) for one in then if math.isfinite(one) and (one > 0) == (residual > 0)]
        return math.copysign(max(0.0, abs(residual) - _LENIENT * max(same, default=0.0)), residual)

    def _date(self, residual: float) -> None:
        if self.yearly:
            self.year.append(residual)
            del self.year[: -_YEAR[-1]]

    def _width(self) -> float:
        """Usual residuals from the expected value to the edge of the band."""
        width = self.tails["seasonal"].score_at(self.false_alarms) if "seasonal" in self.tails else _WIDTH
        return width if math.isfinite(width) else _WIDTH

    def _remember(self, usual: float, residual: float) -> None:
        self.usual.append(usual)
        self.residuals.append(residual)
        del self.usual[:-MEMORY], self.residuals[:-MEMORY]

    def _refit(self) -> None:
        """Choose scale, level and season anew on what is remembered: when twice as much was seen, and every 200."""
        first = self.expectation is None
        values = np.array(self.usual)
        self.scale = scale_of(values)
        working = self.scale.all_to(values)
        self.expectation, residuals = fitted(working, self.season)
        if first:
            self.residuals = (residuals / self.expectation.spread).tolist()
        self.next_fit = self.seen + min(self.seen, MEMORY // 2)
        for scorer in self.scorers:
            scorer.learn(working, np.array(self.residuals), self.season, self.seed + self.seen)
        if first:
            self._calibrate(working, np.array(self.residuals))

    def _calibrate(self, working: Floats, residuals: Floats) -> None:
        """First scores: of the values learned from, each seen after those before it."""
        found = []
        for place in range(min(self.season + 4, len(working) // 2), len(working)):
            if math.isfinite(working[place]):
                view = View(float(working[place]), working[:place], residuals[place], residuals[:place], self.season)
                found.append(self._scores(view))
        for scores in found:
            for name, score in scores.items():
                self.tails[name].add(score, math.inf)
        for scores in found:
            chances = {name: self.tails[name].chance(score) for name, score in scores.items()}
            self.tails[ENSEMBLE].add(-math.log10(combined(chances, WEIGHTS)), math.inf)

    def state(self) -> dict[str, Any]:
        """JSON-ready; `restore` goes on from it to the bit."""
        return {
            "scale": asdict(self.scale),
            "expectation": None if self.expectation is None else asdict(self.expectation),
            "tails": {name: tail.state() for name, tail in self.tails.items()},
            "scorers": {scorer.name: scorer.state() for scorer in self.scorers},
            "usual": [value if math.isfinite(value) else None for value in self.usual],
            "residuals": [value if math.isfinite(value) else None for value in self.residuals],
            "year": [value if math.isfinite(value) else None for value in self.year],
            "free": [list(one) for one in self.free],
            "seen": self.seen,
            "next_fit": self.next_fit,
            "alarms": self.alarms,
            "due": self.due,
            "run": list(self.run),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave.

        Raises
        ------
        KeyError, TypeError, ValueError : it is no such state.
        """
        self.scale = Scale(**state["scale"])
        if state["expectation"] is not None:
            self.expectation = Expectation(**state["expectation"])
            if self.expectation.season != self.season or len(self.expectation.pattern) != self.season:
                raise ValueError("the pattern is not as long as the season")
        self.tails = {
            name: Tail([float(score) for score in state["tails"][name]], decades=name == ENSEMBLE)
            for name in self.tails
        }
        for scorer in self.scorers:
            scorer.restore(state["scorers"][scorer.name])
        self.usual = [math.nan if value is None else float(value) for value in state["usual"]]
        self.residuals = [math.nan if value is None else float(value) for value in state["residuals"]]
        if len(self.usual) != len(self.residuals) or len(self.usual) > MEMORY:
            raise ValueError("values and residuals do not belong together")
        self.year = [math.nan if value is None else float(value) for value in state["year"]]
        self.free = [(float(part), float(one)) for part, one in state["free"]]
        self.seen, self.next_fit, self.alarms = int(state["seen"]), int(state["next_fit"]), float(state["alarms"])
        self.due = float(state["due"])
        self.run = [float(one) for one in state["run"]]
