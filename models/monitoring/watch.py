"""One look at a champion, from the database to the report; what the flow `monitor` does for each model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from features import snapshot as snapshots
from models.families import Spec
from models.lifecycle.family import Model, ModelFamily
from models.monitoring import guards, reported, truth
from models.monitoring.arrived import Arrived, arrived, compared
from models.monitoring.drift import FeatureDrift, drift
from models.monitoring.guards import GuardFinding
from models.monitoring.policy import MonitorPolicy
from models.monitoring.report import MonitorReport
from models.monitoring.subject import SpecOf, Subject, champion_of, learned_until
from store import monitor_reports, outcomes
from store.errors import MeritError
from store.promotions import predecessor, rollback
from store.registry import Registry
from store.settings import Settings
from store.tables.base import utc_now

ACTOR = "guard"
STEPS = 7

Progress = Callable[[str, int, int], None]


def look(
    settings: Settings,
    name: str,
    folder: Path,
    *,
    as_of: datetime | None = None,
    policy: MonitorPolicy | None = None,
    spec_of: SpecOf = Spec,
    progress: Progress | None = None,
) -> MonitorReport:
    """Look at the champion of a model. Changes nothing; `act` does.

    Parameters
    ----------
    folder : for the frames that are built on the way.
    as_of : what was known later is not looked at; the end of the data when None.
    spec_of : see `models.monitoring.subject.champion_of`.

    Raises
    ------
    UnknownModel, NoChampion : there is nothing to look at.
    IntegrityFailed : the champion's files are not those that were promoted.
    """
    policy = policy or MonitorPolicy()
    registry = Registry(settings)
    step = _Steps(progress)
    step("find the champion")
    subject = champion_of(settings, registry, name, spec_of)
    family = subject.spec.build()
    model = family.load(registry.fetch(name, subject.version))
    moment = snapshots.utc(as_of) if as_of is not None else snapshots.end_of_data(settings)

    data, features, notes = _data(settings, subject, family, moment, folder, policy, step)
    step("judge what came")
    arrived_truth, evaluation = truth.on_arrived(family, model, data, subject.promised, policy)
    step("judge what was reported")
    since = utc_now() - timedelta(days=policy.reported_days)
    known = outcomes.reported(settings, name, version=subject.version, since=since)
    reported_truth = reported.on_reported(known, subject.promised, policy)
    if reported_truth.metrics:
        notes.append("Reported outcomes are those that somebody chose to report, and an offer may have changed them.")

    step("compare with the predecessor")
    findings: list[GuardFinding] = []
    idle = guards.watched(subject.promotion, subject.version, utc_now(), policy)
    before = None if idle else predecessor(settings, registry, name)
    if idle:
        notes.append(f"No guard watches it: {idle}")
    elif before is None:
        notes.append("No guard watches it: it has no predecessor to go back to.")
    else:
        findings = _guarded(registry, family, subject, before, data, evaluation, known, policy)
    step.finish()
    return MonitorReport(
        model=name,
        family=subject.spec.family,
        version=subject.version,
        as_of=moment,
        trained_as_of=subject.trained_as_of,
        features=tuple(features),
        truths=(arrived_truth, reported_truth),
        guards=tuple(findings),
        notes=tuple(notes),
    )


def act(settings: Settings, report: MonitorReport, policy: MonitorPolicy | None = None) -> MonitorReport:
    """Roll back where a guard broke, and mark what was told before.

    The champion moves only if it is still the one that was looked at, and only to the version it was compared with.

    Returns
    -------
    The report with what came of it.
    """
    policy = policy or MonitorPolicy()
    broken = next((guard for guard in report.guards if guard.broken), None)
    if broken is not None:
        report = replace(report, rollback=_roll_back(settings, report, broken))
    return replace(report, repeated=_told_before(settings, report, policy))


def _data(
    settings: Settings,
    subject: Subject,
    family: ModelFamily,
    moment: datetime,
    folder: Path,
    policy: MonitorPolicy,
    step: _Steps,
) -> tuple[Arrived, list[FeatureDrift], list[str]]:
    """The outcomes that came, and the drift of what it reads."""
    import pandas as pd

    def nothing(problem: str) -> tuple[Arrived, list[FeatureDrift], list[str]]:
        return Arrived(pd.DataFrame(), pd.DataFrame(), {}, problem), [], [problem]

    trained = subject.trained_as_of
    if trained is None:
        return nothing("It was made from a file: only the outcomes reported of its answers can be judged.")
    if trained >= moment:
        return nothing(
            f"It learned from what was known on {trained:%Y-%m-%d %H:%M}; the data end on {moment:%Y-%m-%d %H:%M}."
        )
    step("snapshot then and now")
    then = snapshots.take(settings, family.tables, trained)
    now = snapshots.take(settings, family.tables, moment)
    step("build the features")
    data = arrived(family, then, now, folder)
    step("compare the features")
    both = compared(family, then, now, data, policy, lambda earlier: snapshots.take(settings, family.tables, earlier))
    if both.problem:
        return data, [], [f"Drift: {both.problem}"]
    found = drift(
        both.reference, both.now, history=both.history, gap=both.gap, year_before=both.year_before, policy=policy
    )
    return data, found, []


def _guarded(
    registry: Registry,
    family: ModelFamily,
    subject: Subject,
    before: int,
    data: Arrived,
    evaluation: Any,
    known: list[outcomes.Outcome],
    policy: MonitorPolicy,
) -> list[GuardFinding]:
    try:
        other: Model = family.load(registry.fetch(subject.name, before))
    except MeritError as error:
        return [GuardFinding(before, "arrived", problem=error.message)]
    until = learned_until(registry.version(subject.name, before))
    if until is not None and subject.trained_as_of is not None and until > subject.trained_as_of:
        problem = f"Version {before} learned from data up to {until:%Y-%m-%d %H:%M}: it may know these outcomes."
        on_arrived = GuardFinding(before, "arrived", problem=problem)
    else:
        on_arrived = guards.on_arrived(family, evaluation, other, before, data, policy)
    return [on_arrived, guards.on_reported(other, before, known, policy)]


def _roll_back(settings: Settings, report: MonitorReport, broken: GuardFinding) -> dict[str, Any]:
    reason = f"Rolled back by its guard: {broken.broken}."
    try:
        line = rollback(
            settings,
            Registry(settings),
            report.model,
            actor=ACTOR,
            reason=reason,
            to=broken.predecessor,
            expected=report.version,
        )
    except MeritError as error:
        return {"done": False, "to": broken.predecessor, "reason": reason, "problem": error.message}
    return {"done": True, "to": line.to_version, "reason": reason, "ledger": line.id}


def _told_before(settings: Settings, report: MonitorReport, policy: MonitorPolicy) -> bool:
    alarms = {(alarm.kind, alarm.about) for alarm in report.alarms}
    since = utc_now() - timedelta(days=policy.again_days)
    for record in monitor_reports.page(settings, report.model, version=report.version, limit=100).items:
        if record.created_at < since:
            break
        told = {(alarm["kind"], alarm["about"]) for alarm in record.report["alarms"]}
        if alarms and alarms <= told and not record.report["repeated"]:
            return True
    return False


class _Steps:
    """Tells whoever watches how far the look is."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done = progress, 0

    def __call__(self, label: str) -> None:
        if self._progress:
            self._progress(label, self._done, STEPS)
        self._done += 1

    def finish(self) -> None:
        if self._progress:
            self._progress("done", STEPS, STEPS)
