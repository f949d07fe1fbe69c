"""Something unusual, ready to be told: what kind, of whom, since when, how much, why."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from models.anomaly.checks import SEVERITIES, Severity

Kind = Literal[
    "price", "volume", "runaway user", "model mix", "prompt length", "new model", "errors", "latency", "budget pace"
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Finding:
    """One unusual thing.

    Attributes
    ----------
    subject : what it is about: `total`, `workspace=support`, `model=a/b`, `user=support/ada`.
    workspace : the only one that it concerns; None: the platform.
    start, end : naive UTC; `end` is the last moment at which it was seen.
    ongoing : whether it was still so at the end of what was looked at.
    value, expected : in `unit`.
    excess : dollars above what was expected, over its whole time; negative where less was spent.
    words : one sentence for people.
    causes : what it comes from, largest first: `dimension`, `value`, `change` (dollars a day), `share`.
    split : dollars a day by volume, mix, length and price, which add up to the change; empty where there is none.
    evidence : rows that it was seen in.
    score : 0.5 at the threshold, towards 1 the more certain.
    """

    kind: Kind
    subject: str
    start: datetime
    end: datetime
    severity: Severity
    score: float
    value: float
    expected: float
    unit: str
    words: str
    workspace: str | None = None
    ongoing: bool = False
    excess: float = 0.0
    causes: Sequence[Mapping[str, Any]] = field(default=())
    split: Mapping[str, float] = field(default_factory=dict)
    evidence: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def id(self) -> str:
        """The same in every look: kind, subject and the day on which it began."""
        return hashlib.sha256(f"{self.kind}\n{self.subject}\n{self.start:%Y-%m-%d}".encode()).hexdigest()[:16]

    def report(self) -> dict[str, Any]:
        """What is kept beside the columns of its row, JSON-ready."""
        return {
            "value": self.value,
            "expected": self.expected,
            "unit": self.unit,
            "words": self.words,
            "causes": [dict(one) for one in self.causes],
            "split": dict(self.split),
            "evidence": [dict(one) for one in self.evidence],
        }


def severity_of_money(excess_per_day: float, usual_per_day: float) -> Severity:
    """From how much more is spent a day, beside what the whole platform usually spends a day."""
    share = abs(excess_per_day) / max(usual_per_day, 1e-9)
    return SEVERITIES[sum(share >= limit for limit in (0.1, 0.3, 1.0))]


def score_of(times: float) -> float:
    """0.5 where something just reaches its threshold, 0.75 at twice that, towards 1 beyond."""
    return 1.0 - 0.5 / max(times, 0.5)
