"""The last minutes of one model's calls, in slices of time, and everything before them in one sum."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from gateway.call.circuit import CALLERS_FAULT
from gateway.call.histogram import bucket, merged, percentiles
from gateway.call.providers.wire import FailureKind

SLICES, SLICE_S = 12, 25.0
# Slices of the last minute or so.
LATELY = 3
# Of an estimate for routing: a call counts half after so long, and fewer calls than these say nothing.
_HALF_LIFE_S = 60.0
_FEWEST = 4.0


class Slice:
    """Counts of one span of time; times in milliseconds.

    Attributes
    ----------
    errors : failures by kind, the caller's own among them.
    first, total, speed : histograms of the time to the first token, to the whole answer, and of tokens per second.
    first_sum, total_sum, lost_sum : milliseconds to first tokens, of whole answers, of failures.
    whole : of answers in one piece, how many, and sums of tokens, tokens², ms, ms·tokens.
    """

    __slots__ = (
        "answered",
        "cancelled",
        "errors",
        "first",
        "first_sum",
        "lost_sum",
        "speed",
        "tokens",
        "total",
        "total_sum",
        "whole",
    )

    def __init__(self) -> None:
        self.answered = 0
        self.cancelled = 0
        self.errors: dict[FailureKind, int] = {}
        self.first: dict[int, float] = {}
        self.total: dict[int, float] = {}
        self.speed: dict[int, float] = {}
        self.first_sum = 0.0
        self.total_sum = 0.0
        self.lost_sum = 0.0
        self.tokens = 0
        self.whole: list[float] | None = None

    def failures(self) -> int:
        """Failures that were not the caller's fault."""
        return sum(count for kind, count in list(self.errors.items()) if kind not in CALLERS_FAULT)

    def add(self, other: Slice) -> None:
        """Take another's counts in."""
        self.answered += other.answered
        self.cancelled += other.cancelled
        for kind, count in list(other.errors.items()):
            self.errors[kind] = self.errors.get(kind, 0) + count
        for name in ("first", "total", "speed"):
            setattr(self, name, merged([(getattr(self, name), 1.0), (getattr(other, name), 1.0)]))
        self.first_sum += other.first_sum
        self.total_sum += other.total_sum
        self.lost_sum += other.lost_sum
        self.tokens += other.tokens


class Window:
    """Calls of one model.

    Attributes
    ----------
    in_flight : calls under way.
    last_success, last_failure : moments of the clock.
    """

    __slots__ = ("_before", "_slices", "_turn", "in_flight", "last_failure", "last_success")

    def __init__(self, now: float) -> None:
        self.in_flight = 0
        self.last_success: float | None = None
        self.last_failure: float | None = None
        self._before = Slice()
        self._slices = deque([Slice()])
        self._turn = now + SLICE_S

    def ended(self) -> None:
        """A call is no longer under way."""
        if self.in_flight > 0:
            self.in_flight -= 1

    def current(self, now: float) -> Slice:
        """The slice of this moment."""
        if now >= self._turn:
            self._roll(now)
        return self._slices[-1]

    def succeeded(self, now: float, first_ms: float | None, total_ms: float, tokens: int) -> None:
        """Note an answer."""
        if now >= self._turn:
            self._roll(now)
        slice_ = self._slices[-1]
        self.last_success = now
        slice_.answered += 1
        slice_.tokens += tokens
        slice_.total_sum += total_ms
        index = bucket(total_ms)
        slice_.total[index] = slice_.total.get(index, 0) + 1
        if first_ms is not None and first_ms < total_ms:
            slice_.first_sum += first_ms
            index = bucket(first_ms)
            slice_.first[index] = slice_.first.get(index, 0) + 1
            if tokens > 1:
                index = bucket(1000.0 * (tokens - 1) / (total_ms - first_ms))
                slice_.speed[index] = slice_.speed.get(index, 0) + 1
        elif tokens > 0:
            sums = slice_.whole
            if sums is None:
                sums = slice_.whole = [0.0, 0.0, 0.0, 0.0, 0.0]
            sums[0] += 1
            sums[1] += tokens
            sums[2] += tokens * tokens
            sums[3] += total_ms
            sums[4] += total_ms * tokens

    def failed(self, now: float, kind: FailureKind, ms: float) -> None:
        """Note a failure."""
        slice_ = self.current(now)
        slice_.errors[kind] = slice_.errors.get(kind, 0) + 1
        slice_.lost_sum += ms
        if kind not in CALLERS_FAULT:
            self.last_failure = now

    def lately(self, now: float) -> tuple[int, int]:
        """Answers, and failures that were not the caller's fault, of the last minute or so."""
        self.current(now)
        answered = failed = 0
        for place in range(1, min(LATELY, len(self._slices)) + 1):
            one = self._slices[-place]
            answered += one.answered
            failed += one.failures()
        return answered, failed

    def recent(self, now: float) -> Slice:
        """The last minutes together. Changes nothing: anybody may look, from any thread."""
        found = Slice()
        for age, one in self._aged(now):
            if age < SLICES * SLICE_S:
                found.add(one)
        return found

    def ever(self) -> Slice:
        """Everything together, for counters that only go up."""
        found = Slice()
        for one in (self._before, *self._slices):
            found.add(one)
        return found

    def estimate(self, now: float) -> tuple[float | None, float | None, float | None]:
        """Milliseconds to the first token, tokens per second and success rate, later calls weighing more.

        Answers in one piece do not tell when they began. Where there are no others, a straight line through
        milliseconds over tokens does: where it starts is the time to the first, its slope the time of each.
        """
        answered = failed = 0.0
        first, speed = [], []
        whole = [0.0] * 5
        for age, one in self._aged(now):
            if age >= SLICES * SLICE_S:
                break
            weight = 0.5 ** (age / _HALF_LIFE_S)
            answered += weight * one.answered
            failed += weight * one.failures()
            first.append((one.first, weight))
            speed.append((one.speed, weight))
            if one.whole is not None:
                whole = [known + weight * new for known, new in zip(whole, one.whole, strict=True)]
        success = answered / (answered + failed) if answered + failed >= _FEWEST else None
        latency, pace = _median(first), _median(speed)
        if (latency is None or pace is None) and whole[0] >= _FEWEST:
            started, each = _line(whole)
            latency = started if latency is None else latency
            pace = 1000.0 / each if pace is None and each > 0 else pace
        return latency, pace, success

    def _aged(self, now: float) -> Iterator[tuple[float, Slice]]:
        """Each slice, the latest first, with the seconds since its middle."""
        slices, turn = list(self._slices), self._turn
        # The current one is as old as its calls are: from none to so many seconds.
        begun = now - (turn - SLICE_S)
        for place, one in enumerate(reversed(slices)):
            yield (begun / 2 if place == 0 and now < turn else begun + (place - 0.5) * SLICE_S), one

    def _roll(self, now: float) -> None:
        steps = int((now - self._turn) / SLICE_S) + 1
        for _ in range(min(steps, SLICES)):
            self._slices.append(Slice())
            if len(self._slices) > SLICES:
                self._before.add(self._slices.popleft())
        self._turn += steps * SLICE_S


def _median(parts: list[tuple[dict[int, float], float]]) -> float | None:
    counts = merged(parts)
    if sum(counts.values()) < _FEWEST:
        return None
    found = percentiles(counts, (0.5,))
    return None if found is None else found[0]


def _line(sums: list[float]) -> tuple[float | None, float]:
    """Milliseconds at no token and for each, by least squares; where all answers are as long, only the latter."""
    count, tokens, squares, took, products = sums
    mean, mean_ms = tokens / count, took / count
    variance = squares / count - mean * mean
    if variance > (0.2 * mean) ** 2:
        each = (products / count - mean * mean_ms) / variance
        started = mean_ms - each * mean
        if each > 0 and started > 0:
            return started, each
    return None, mean_ms / mean
