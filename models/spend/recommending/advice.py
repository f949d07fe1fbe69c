"""One way to spend less, ready to be told: what to do, what it would save with an interval, what it rests on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from store.spend_recommendations import Kind, SpendRecommendation

Floats = np.ndarray[Any, np.dtype[np.float64]]

NANOS = 1_000_000_000
MONTH = 30.0
LEVEL = 0.90
"""Of every interval that a recommendation tells."""

LEAST_SAVING, LEAST_SHARE = 0.01, 0.002
"""Dollars a month, and share of the whole bill, below which nothing is worth anybody's attention."""


@dataclass(frozen=True)
class Interval:
    """An expected value and its interval at `LEVEL`."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Advice:
    """One recommendation.

    Attributes
    ----------
    workspace : the only one that it concerns; None: the platform.
    subject : what it is about, the same in every look: `simulated/large`, `system prompt`.
    saving : dollars a month at the volume of the time that was looked at.
    spent : dollars a month that these calls cost as things are.
    quality : change to be expected, on the scale of judgements; None: nobody can tell, or nothing changes.
    latency : factor to the time until an answer is whole; None: as it is.
    scope : which calls it is about, as `models.spend.recommending.measuring` finds them again.
    setting : what accepting it sets for the workspace; None: somebody must do it, as `steps` say.
    steps : what to do, in words.
    evidence : numbers that it rests on.
    """

    kind: Kind
    workspace: str | None
    subject: str
    words: str
    saving: Interval
    spent: float
    scope: Mapping[str, Any]
    steps: Sequence[str]
    quality: Interval | None = None
    latency: float | None = None
    setting: Mapping[str, Any] | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def fingerprint(self) -> str:
        text = f"{self.kind}\n{self.workspace or ''}\n{self.subject}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money in dollars a month."""
        return {
            "subject": self.subject,
            "words": self.words,
            "saving": self.saving.to_dict(),
            "level": LEVEL,
            "spent": self.spent,
            "quality": None if self.quality is None else self.quality.to_dict(),
            "latency": self.latency,
            "scope": dict(self.scope),
            "setting": None if self.setting is None else dict(self.setting),
            "steps": list(self.steps),
            "evidence": dict(self.evidence),
            "notes": list(self.notes),
        }

    def row(self) -> SpendRecommendation:
        """As it is kept."""
        return SpendRecommendation(
            fingerprint=self.fingerprint,
            workspace=self.workspace,
            kind=self.kind,
            saving=round(self.saving.value * NANOS),
            advice=self.to_dict(),
        )


def interval(draws: Floats, value: float | None = None, level: float = LEVEL) -> Interval:
    """Percentiles of draws around a value (default: their mean), shape (draws,)."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    middle = float(draws.mean()) if value is None else value
    return Interval(middle, min(float(low), middle), max(float(high), middle))


def drawn_days(days: int, draws: int, seed: int) -> Floats:
    """How often each day is drawn in each bootstrap replicate, shape (draws, days); the first is every day once.

    Whole days are drawn, since calls of one day are not independent (Davison & Hinkley 1997, §3.8). Deviations are
    blown up by √(n/(n − 1)), which a bootstrap of few units is short of (Hesterberg 2015).
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(days, np.full(days, 1 / max(days, 1)), size=draws).astype(np.float64)
    if days > 1:
        counts = 1.0 + (counts - 1.0) * np.sqrt(days / (days - 1))
    counts[0] = 1.0
    return np.asarray(counts)


def money(dollars: float) -> str:
    """Dollars for people: cents where they matter."""
    return f"${dollars:,.0f}" if abs(dollars) >= 1_000 else f"${dollars:,.2f}"
