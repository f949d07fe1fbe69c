"""Notices that the answers of a model have become worse, in as few of them as a stated rate of false alarms allows.

Scores X lie between 0 and 1. On tasks of one kind they were μ on average; that they are no worse is the hypothesis
E[X | past] ≥ μ − t. A gambler who bets λ against it multiplies the capital by 1 + λ (μ − t − X) with every score,
which is expected to shrink it as long as the hypothesis holds. Starting anew from 1 whenever the capital falls below,

    M ← max(M, 1) · (1 + λ (μ − t − X)),        0 < λ < 1 / (1 − μ + t),

and an alarm at M ≥ c comes once in c scores or more on average while nothing is wrong, whatever the distribution of the
scores (e-detectors; Shin, Ramdas and Rinaldo, 2024). Several λ are bet side by side, and their mean counts.

μ is learned from the scores before, kind of task by kind of task; t is how far it may be off. A score is learned from a
hundred scores later, so that a drop is not taken for usual before it is noticed, and once the capital is lost again,
good and bad ones alike: to leave out those that look suspicious would make what is usual look better than it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import sqrt

# One false alarm in so many scores of a model, or fewer.
ALARM = 3_000.0
# The same bet the other way ends an alarm: wrongly once in so many scores that are still worse.
CLEAR = 20.0
# Of one kind, before anything is said of it.
FEWEST = 15
# t: this, and so many standard errors of μ.
_TOLERANCE, _ERRORS = 0.01, 0.5
# Learned from at once, and so many scores later from then on.
_AT_ONCE, _LATER = 40.0, 100
_BETS = (0.25, 0.5, 0.85)
_REMEMBERED = 400.0
_MOST_WAITING = 1_000
_MOST_KINDS = 64
_LEAST_DROP = 0.02


@dataclass(slots=True)
class _Mean:
    """Mean and spread of scores; old ones fade."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def take(self, score: float) -> None:
        self.count = min(self.count + 1.0, _REMEMBERED)
        gap = score - self.mean
        self.mean += gap / self.count
        self.squares += (gap * (score - self.mean) - self.squares) / self.count

    @property
    def spread(self) -> float:
        return sqrt(max(self.squares, 1e-4))


@dataclass(slots=True)
class _Bet:
    """One gambler.

    Attributes
    ----------
    part : λ as a part of the most that may be bet.
    short, since : by how much scores fell short since the capital was last lost, and how many they were.
    """

    part: float
    capital: float = 1.0
    short: float = 0.0
    since: int = 0

    def take(self, floor: float, usual: float, score: float) -> None:
        if self.capital <= 1.0:
            self.capital, self.short, self.since = 1.0, 0.0, 0
        self.short += usual - score
        self.since += 1
        self.capital *= 1.0 + self.part / max(1.0 - floor, 0.02) * (floor - score)


@dataclass(slots=True)
class DropDetector:
    """Watches the scores of one model.

    Attributes
    ----------
    drop : how far scores lie below what they were; 0 as long as there is no alarm.
    evidence : M, the capital of the gambler.
    scores : how many were seen.
    """

    alarm: float = ALARM
    drop: float = 0.0
    evidence: float = 1.0
    scores: int = 0
    _kinds: dict[str, _Mean] = field(default_factory=dict)
    _waiting: dict[str, deque[float]] = field(default_factory=dict)
    _bets: list[_Bet] = field(default_factory=lambda: [_Bet(one) for one in _BETS])
    _back: float = 1.0

    def take(self, kind: str, score: float) -> bool:
        """Take a score of 0 to 1 into account; whether an alarm began or ended with it.

        Parameters
        ----------
        kind : of the task; scores are compared with those of the same kind.
        """
        self.scores += 1
        known = self._kinds.get(kind)
        if known is None:
            if len(self._kinds) >= _MOST_KINDS:
                return False
            known = self._kinds[kind] = _Mean()
        told = known.count >= FEWEST
        if self.drop:
            return told and self._recovering(known.mean, score)
        alarmed = told and self._falling(known, score)
        if alarmed:
            self._waiting.clear()
        elif known.count < _AT_ONCE:
            known.take(score)
        else:
            self._learn(kind, known, score)
        return alarmed

    def _learn(self, kind: str, known: _Mean, score: float) -> None:
        waiting = self._waiting.setdefault(kind, deque())
        waiting.append(score)
        calm = all(one.capital <= 1.0 for one in self._bets)
        while len(waiting) > (_LATER if calm else _MOST_WAITING):
            known.take(waiting.popleft())

    def _falling(self, known: _Mean, score: float) -> bool:
        floor = known.mean - _TOLERANCE - _ERRORS * known.spread / sqrt(known.count)
        for one in self._bets:
            one.take(floor, known.mean, score)
        self.evidence = sum([one.capital for one in self._bets]) / len(self._bets)
        if self.evidence < self.alarm:
            return False
        winner = max(self._bets, key=lambda one: one.capital)
        self.drop = max(_LEAST_DROP, winner.short / winner.since)
        return True

    def _recovering(self, usual: float, score: float) -> bool:
        # Half way back is taken for the border between worse and as before.
        border = min(0.98, max(0.02, usual - self.drop / 2.0))
        self._back = max(self._back, 1.0) * (1.0 + 0.5 / border * (score - border))
        if self._back < CLEAR:
            return False
        self.reset()
        return True

    def reset(self) -> None:
        """End the alarm: the scores are back, or whoever decides has learned of them."""
        self.drop, self.evidence, self._back = 0.0, 1.0, 1.0
        self._bets = [_Bet(one) for one in _BETS]

    def forget(self) -> None:
        """Learn anew what is usual."""
        self.reset()
        self._kinds.clear()
        self._waiting.clear()

    @property
    def usual(self) -> float | None:
        """Mean of the scores before; None while too few were seen."""
        known = [one for one in self._kinds.values() if one.count >= FEWEST]
        total = sum(one.count for one in known)
        return sum(one.count * one.mean for one in known) / total if total else None
