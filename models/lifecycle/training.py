"""A whole training run in this process, without Prefect and without a server: what `merit train --data` does.

The flows run the same stages as Prefect tasks; nothing is decided here that is not decided there.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from models.families import Spec
from models.lifecycle import stages
from models.lifecycle.gate import GatePolicy, GateReport
from models.lifecycle.registration import Judgement, Outcome, register, settle
from store.dataset import DatasetRef
from store.errors import TrainingError
from store.settings import Settings

Progress = Callable[[str, int, int], None]


def run_folder(settings: Settings, name: str, key: str | None = None) -> Path:
    """The folder of a run, below the home; one per key."""
    folder = settings.root / "runs" / name / (key or uuid.uuid4().hex[:12])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def train(
    settings: Settings,
    spec: Spec,
    ref: DatasetRef,
    *,
    actor: str,
    notes: Sequence[str] = (),
    policy: GatePolicy | None = None,
    progress: Progress | None = None,
) -> tuple[Judgement, Outcome]:
    """Fit, judge, gate, register and settle.

    Parameters
    ----------
    progress : called with (what is being done, steps done, steps in all).

    Raises
    ------
    InvalidValue : the name is that of a model of another family.
    DataError : the data do not fit the family.
    TrainingError : no candidate could be fitted.
    """
    stages.check_family(settings, spec)
    folder = run_folder(settings, spec.name)
    names = stages.candidate_names(spec)
    total = 2 * len(names) + 4
    done = 0

    def step(label: str) -> None:
        nonlocal done
        if progress:
            progress(label, done, total)
        done += 1

    fitted: list[stages.Fitted] = []
    for name in names:
        step(f"fit {name}")
        fitted.append(stages.fit(spec, name, ref, folder, fitted))

    def judge(one: stages.Fitted, plots: bool) -> stages.Judged:
        step(f"judge {one.candidate}")
        return stages.judge(spec, one, ref, folder, plots=plots)

    judged = stages.judge_all(fitted, spec.build().primary, judge)
    step("judge the champion")
    incumbent = stages.judge_champion(settings, spec, ref, folder)
    step("gate")
    judgement = conclude(spec, ref, fitted, judged, incumbent, folder, policy=policy, notes=notes)
    step("register")
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    registered = register(settings, judgement, run_name=f"{spec.name} {started}", tags={"actor": actor})
    step("settle")
    outcome = settle(settings, registered, judgement.report, actor=actor)
    if progress:
        progress("done", total, total)
    return judgement, outcome


def verdict(
    spec: Spec,
    fitted: Sequence[stages.Fitted],
    judged: Sequence[stages.Judged],
    incumbent: stages.Incumbent,
    folder: Path,
    *,
    policy: GatePolicy | None = None,
) -> GateReport:
    """Choose the challenger and ask the gate.

    Raises
    ------
    TrainingError : no candidate, or no baseline to measure one against, could be fitted.
    """
    by_name = {one.candidate: one for one in judged if one.path}
    unjudged = {one.candidate: one.error for one in judged if not one.path}
    entrants = [
        replace(one, path="", error=unjudged[one.candidate]) if one.candidate in unjudged else one for one in fitted
    ]
    chosen = stages.choose(entrants, spec.build().primary)
    baseline = next((by_name[one.candidate] for one in fitted if one.baseline and one.candidate in by_name), None)
    if baseline is None:
        reasons = "; ".join(f"{one.candidate}: {one.error}" for one in entrants if one.baseline) or "there is none"
        raise TrainingError(f"No baseline could be fitted ({reasons}).", remedy="Look at the reasons above.")
    return stages.gate(spec, by_name[chosen.candidate], baseline, incumbent, folder, policy)


def conclude(
    spec: Spec,
    ref: DatasetRef,
    fitted: Sequence[stages.Fitted],
    judged: Sequence[stages.Judged],
    incumbent: stages.Incumbent,
    folder: Path,
    *,
    policy: GatePolicy | None = None,
    notes: Sequence[str] = (),
) -> Judgement:
    """Choose the challenger, ask the gate, and make what would be registered."""
    report = verdict(spec, fitted, judged, incumbent, folder, policy=policy)
    chosen = next(one for one in fitted if one.candidate == report.challenger)
    return Judgement(
        spec=spec,
        dataset=ref,
        split=stages.split_rule(spec, ref),
        fitted=tuple(fitted),
        judged=tuple(judged),
        report=report,
        final=stages.finalise(spec, chosen, incumbent, ref, folder),
        notes=tuple(notes),
    )
