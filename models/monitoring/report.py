"""What a look at a champion found, and what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from models.monitoring.drift import FeatureDrift
from models.monitoring.guards import GuardFinding
from models.monitoring.truth import Truth

Verdict = Literal["ok", "no_news", "drift", "worse", "rolled_back"]
HEADLINES: Mapping[str, str] = {
    "ok": "as it should be",
    "no_news": "nothing new",
    "drift": "drifted",
    "worse": "worse than promised",
    "rolled_back": "rolled back",
}


@dataclass(frozen=True)
class Alarm:
    """One thing to act on.

    Attributes
    ----------
    kind : "drift", "performance", "calibration", "bias" or "guard".
    about : the feature, metric or slice.
    """

    kind: str
    about: str
    detail: str

    def to_dict(self) -> dict[str, str]:
        return {"kind": self.kind, "about": self.about, "detail": self.detail}


@dataclass(frozen=True)
class MonitorReport:
    """A look at one champion.

    Attributes
    ----------
    as_of : the data were looked at as known at this moment.
    trained_as_of : nothing later was known when it learned; None for a model made from a file.
    truths : judgements on arrived and on reported outcomes.
    guards : comparisons with the predecessor, while they are watched.
    rollback : what came of a broken guard; None where none was broken.
    repeated : whether the same alarms were told within the last days: they are not told, nor trained upon, again.
    notes : what else the reader must know.
    """

    model: str
    family: str
    version: int
    as_of: datetime
    trained_as_of: datetime | None
    features: tuple[FeatureDrift, ...]
    truths: tuple[Truth, ...]
    guards: tuple[GuardFinding, ...] = ()
    rollback: Mapping[str, Any] | None = None
    repeated: bool = False
    notes: tuple[str, ...] = ()

    @property
    def drifted(self) -> list[FeatureDrift]:
        return [one for one in self.features if one.drifted]

    @property
    def alarms(self) -> list[Alarm]:
        return list(_alarms(self))

    @property
    def verdict(self) -> Verdict:
        kinds = {alarm.kind for alarm in self.alarms}
        if self.rollback is not None and self.rollback.get("done"):
            return "rolled_back"
        if kinds - {"drift"}:
            return "worse"
        if kinds:
            return "drift"
        told = any(feature.psi is not None for feature in self.features) or any(t.metrics for t in self.truths)
        return "ok" if told else "no_news"

    @property
    def retrain(self) -> bool:
        """Whether a successor should be trained. After a rollback too: what was rolled back from learned badly."""
        return bool(self.alarms) and not self.repeated

    @property
    def headline(self) -> str:
        """One sentence for lists of runs."""
        what = f"{self.model} v{self.version} {HEADLINES[self.verdict]}"
        alarms = self.alarms
        if not alarms:
            return f"{what}: {_counts(self)}"
        more = f" and {len(alarms) - 3} more" if len(alarms) > 3 else ""
        return f"{what}: " + "; ".join(f"{alarm.about}: {alarm.detail}" for alarm in alarms[:3]) + more

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, for the database and the command line."""
        return {
            "model": self.model,
            "family": self.family,
            "version": self.version,
            "as_of": self.as_of.isoformat(),
            "trained_as_of": self.trained_as_of.isoformat() if self.trained_as_of else None,
            "verdict": self.verdict,
            "headline": self.headline,
            "alarms": [alarm.to_dict() for alarm in self.alarms],
            "repeated": self.repeated,
            "retrain": self.retrain,
            "features": [feature.to_dict() for feature in self.features],
            "truths": [truth.to_dict() for truth in self.truths],
            "guards": [guard.to_dict() for guard in self.guards],
            "rollback": dict(self.rollback) if self.rollback is not None else None,
            "notes": list(self.notes),
        }


def _alarms(report: MonitorReport) -> Iterable[Alarm]:
    for guard in report.guards:
        if guard.broken:
            yield Alarm("guard", f"version {report.version}", guard.broken)
    for truth in report.truths:
        for metric in truth.worse:
            kind = "calibration" if metric.name == "ece" or metric.name.startswith("coverage_") else "performance"
            yield Alarm(kind, metric.name, f"{metric.reason} ({truth.rows} {truth.source} outcomes)")
        if truth.calibration is not None and truth.calibration.off:
            found = truth.calibration
            detail = (
                f"{found.came:.1%} came, {found.predicted:.1%} were predicted ({truth.rows} {truth.source} outcomes)"
            )
            yield Alarm("calibration", "calibration in the large", detail)
        for one in truth.biased:
            detail = f"{one.came:.1%} came, {one.predicted:.1%} were predicted on {one.rows} rows, unlike the rest"
            yield Alarm("bias", one.slice, detail)
    for feature in report.drifted:
        if feature.psi is None:
            yield Alarm("drift", feature.feature, feature.note)
        else:
            yield Alarm("drift", feature.feature, f"PSI {feature.psi:.2f}, limit {feature.limit:.2f}")


def _counts(report: MonitorReport) -> str:
    judged = sum(feature.psi is not None for feature in report.features)
    rows = sum(truth.rows for truth in report.truths if truth.metrics)
    parts = [f"{judged} features compared" if judged else "", f"{rows} outcomes judged" if rows else ""]
    return ", ".join(part for part in parts if part) or "nothing has arrived since it was trained"
