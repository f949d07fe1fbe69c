"""A metric now against the same metric at promotion, both with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

from models.lifecycle.evaluation import Estimate
from models.lifecycle.family import Metric
from models.monitoring.policy import MonitorPolicy

_OF_ESTIMATES = 0.95  # level of the intervals that metrics carry


@dataclass(frozen=True)
class MetricChange:
    """One metric then and now.

    Attributes
    ----------
    promised : what the gate saw when the version was judged; None where it is not known.
    change : now − promised, with an interval at the policy's confidence.
    worse : beyond chance and by more than matters. Only the primary metric, calibration and coverage are judged.
    reason : why it is called worse.
    """

    name: str
    now: Estimate
    promised: Estimate | None = None
    change: Estimate | None = None
    worse: bool = False
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "now": self.now.to_dict(),
            "promised": self.promised.to_dict() if self.promised else None,
            "change": self.change.to_dict() if self.change else None,
            "worse": self.worse,
            "reason": self.reason,
        }


def difference(now: Estimate, before: Estimate, confidence: float) -> Estimate:
    """Interval of now − before from the intervals of both (MOVER; Zou and Donner 2008), for independent samples.

    low = d − √((now − low_now)² + (high_before − before)²), high likewise, with the half-widths scaled from 95 % to
    `confidence` as if they were normal.
    """
    scale = _z(confidence) / _z(_OF_ESTIMATES)
    value = now.value - before.value
    down = scale * math.hypot(now.value - now.low, before.high - before.value)
    up = scale * math.hypot(now.high - now.value, before.value - before.low)
    return Estimate(value, value - down, value + up)


def changes(
    now: Mapping[str, Estimate],
    promised: Mapping[str, Estimate],
    primary: Metric,
    policy: MonitorPolicy,
    *,
    rows: int,
    groups: int,
) -> list[MetricChange]:
    """Every metric then and now, the primary one first.

    Parameters
    ----------
    rows, groups : that the metrics of now come from.
    """
    ordered = sorted(now, key=lambda name: name != primary.name)
    return [_change(name, now[name], promised.get(name), primary, rows, groups, policy) for name in ordered]


def ece_by_chance(rows: int, bins: int = 10) -> float:
    """Expected calibration error of a perfectly calibrated model on this many rows, at most.

    Each bin's rate is off by √(p(1 − p)·bins/rows) in standard deviation and by √(2/π) of that on average; p = 1/2.
    """
    return math.sqrt(2 / math.pi * 0.25 * bins / max(rows, 1))


def _change(
    name: str, now: Estimate, before: Estimate | None, primary: Metric, rows: int, groups: int, policy: MonitorPolicy
) -> MetricChange:
    change = difference(now, before, policy.confidence) if before else None
    reason = ""
    if name == primary.name and before and change:
        reason = _worse_loss(now, before, change, primary.direction, policy)
    elif name == "ece" and before and change:
        # Few rows look badly calibrated by chance, so that two samples of different size do not compare as they are.
        if change.low > 0 and change.value > policy.ece_tolerance + ece_by_chance(rows):
            reason = f"expected calibration error {now.value:.3f} against {before.value:.3f}"
    elif name.startswith("coverage_"):
        reason = _worse_coverage(name, now, groups, policy)
    unit = f" {primary.unit}" if primary.unit and name == primary.name else ""
    return MetricChange(name, now, before, change, bool(reason), f"{reason}{unit}" if reason else "")


def _worse_loss(
    now: Estimate, before: Estimate, change: Estimate, direction: Literal["lower", "higher"], policy: MonitorPolicy
) -> str:
    sign = 1.0 if direction == "lower" else -1.0
    certain = (change.low if sign > 0 else -change.high) > 0
    large = sign * change.value > policy.margin * abs(before.value)
    if not (certain and large):
        return ""
    interval = f"{change.value:+.4g} [{change.low:+.4g}, {change.high:+.4g}]"
    return f"{now.value:.4g} against {before.value:.4g} at promotion, {interval}"


def _worse_coverage(name: str, now: Estimate, groups: int, policy: MonitorPolicy) -> str:
    nominal = float(name.removeprefix("coverage_")) / 100
    # Outcomes of one series miss or hit together: a few series measure coverage only roughly.
    allowed = policy.coverage_tolerance + math.sqrt(nominal * (1 - nominal) / max(groups, 1))
    if now.value >= nominal - allowed or not now.high < nominal:
        return ""
    return f"{now.value:.1%} of outcomes inside, nominal {nominal:.0%}, allowed −{allowed:.1%}"


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)
