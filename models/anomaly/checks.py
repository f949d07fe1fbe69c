"""The answer of a detector about one value, and how it is put into words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["normal", "anomaly", "learning", "missing", "late"]
Severity = Literal["low", "medium", "high", "critical"]
Kind = Literal["spike", "dip", "level shift", "unusual pattern", "limit", "missing", "flat line"]

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
_RARER = (1.0, 10.0, 100.0, 10_000.0)  # how many times rarer than an alarm must be
_SMALL = 0.05  # a deviation below this share of the expected value is one step less severe


@dataclass(frozen=True)
class Check:
    """What was found about one value.

    Attributes
    ----------
    at : time stamp as given to the detector: nanoseconds since 1970, or a plain step number.
    value : NaN where it was missing.
    status : "learning" while too little is known; "missing" where there was no value; "late" for a time at or before
        one already checked, which is neither judged nor learned from.
    expected, low, high : the expected value and the band that alarms of the seasonal detector lie outside of, in the
        unit of the value; NaN while learning.
    residual : deviation in usual residuals, less what holidays and the year before explain; NaN while learning.
    chance : estimated share of usual values that look at least as unusual; 1 while learning.
    score : 0 for the most usual value, 0.5 at the threshold of an alarm, 1 from its square on.
    kind, severity : None without an alarm.
    detectors : detector → its own chance.
    rules : rules that were broken, in words.
    run : alarms in a row on the same side, this one included.
    """

    at: int
    value: float
    status: Status
    expected: float = math.nan
    low: float = math.nan
    high: float = math.nan
    residual: float = math.nan
    chance: float = 1.0
    score: float = 0.0
    kind: Kind | None = None
    severity: Severity | None = None
    detectors: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    run: int = 0

    @property
    def alarm(self) -> bool:
        return self.status == "anomaly"

    @property
    def why(self) -> str:
        """The detectors that would alarm alone, rarest first, then the rules broken."""
        named = sorted(self.detectors.items(), key=lambda item: item[1])
        return ", ".join([name for name, chance in named if chance < 0.01] + list(self.rules))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; what is not a number becomes None."""

        def number(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "at": self.at,
            "value": number(self.value),
            "status": self.status,
            "expected": number(self.expected),
            "low": number(self.low),
            "high": number(self.high),
            "residual": number(self.residual),
            "chance": self.chance,
            "score": self.score,
            "kind": self.kind,
            "severity": self.severity,
            "detectors": dict(self.detectors),
            "rules": list(self.rules),
            "run": self.run,
        }


def score_of(chance: float, alarm: float) -> float:
    """0 – 1 from how rare a value is: half of log(chance) over log(alarm), at most 1."""
    return min(1.0, 0.5 * math.log(max(chance, 1e-300)) / math.log(alarm)) if chance < 1.0 else 0.0


def severity_of(chance: float, alarm: float, value: float, expected: float) -> Severity:
    """From how much rarer than an alarm it is; one step less where the value is within 5 % of the expected one."""
    step = sum(chance <= alarm / times for times in _RARER) - 1
    if math.isfinite(expected) and abs(value - expected) < _SMALL * abs(expected):
        step -= 1
    return SEVERITIES[max(step, 0)]
