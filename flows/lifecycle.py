"""The body that every training flow shares: snapshot → validate → features → fit → judge → gate → register → settle.

A flow of a new family is a few lines around `train_family`; see `flows.churn`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import runtime, tags
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from features.contracts import CONTRACTS
from features.snapshot import utc
from flows import stages
from flows.ending import ended
from flows.environment import current_settings
from flows.progress import Steps
from flows.task_runner import task_runner
from models.families import Spec
from models.lifecycle.family import FitsInPieces
from models.lifecycle.gate import GatePolicy
from models.lifecycle.registration import Judgement, Outcome, summary
from models.lifecycle.stages import Fitted, Judged, check_family, judge_all, split_rule
from models.lifecycle.training import run_folder
from store.dataset import DatasetRef, SnapshotRef
from store.errors import ValidationFailed
from store.events import emit
from store.registry import Registry

# (as of, folder of the run) → the data set, whose `as_of` is set, and what the reader must know of it
Source = Callable[[datetime | None, Path], tuple[DatasetRef, list[str]]]

# Tasks handed to the runner at a time: a server on SQLite does not take hundreds of state changes at once well.
_BATCH = 32


@dataclass(frozen=True)
class Trained:
    """What came of a training flow, JSON-ready but for its class.

    Attributes
    ----------
    verdict : "promote", "keep", "conflict", or "skip" where this was trained before.
    champion : version that is champion afterwards; None when there is none.
    run_id : MLflow's id of the run.
    entities : number of entities whose features were published for serving.
    report : split, dataset, every candidate with intervals, gate; see `models.lifecycle.registration.summary`.
    """

    model: str
    version: int
    run_id: str
    verdict: str
    reason: str
    champion: int | None
    as_of: datetime
    entities: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """One sentence for lists of runs."""
        titles = {"promote": "promoted", "keep": "not promoted", "conflict": "not promoted", "skip": "known already"}
        return f"{self.model} v{self.version} {titles[self.verdict]}: {self.reason}"


def train_family(
    spec: Spec,
    as_of: datetime | None = None,
    *,
    policy: GatePolicy | None = None,
    once: bool = False,
    side_by_side: int = 1,
    source: Source | None = None,
) -> Trained:
    """Train, judge, gate and register one model; call it within a flow.

    Parameters
    ----------
    as_of : nothing known later is learned from; the end of the data when None.
    once : do nothing where a version with this `as_of`, data and options is there.
    side_by_side : candidates fitted at a time.
    source : a task that makes the data set, where it does not come from a snapshot of the business tables.

    Raises
    ------
    InvalidValue : the name is that of a model of another family.
    ValidationFailed : a critical check of a table failed; nothing was trained.
    EmptyData : nothing was known at `as_of`.
    TrainingError : no candidate could be fitted.
    SettingsError, ServiceUnavailable : the task runner is not there; see `flows.task_runner`.
    """
    # A cluster that does not answer is told of before any work.
    with tags(spec.family), task_runner(current_settings(), side_by_side) as runner:
        return _train(spec, as_of, policy, once, runner, source)


def _train(
    spec: Spec,
    as_of: datetime | None,
    policy: GatePolicy | None,
    once: bool,
    runner: TaskRunner[Any],
    source: Source | None,
) -> Trained:
    settings = current_settings()
    check_family(settings, spec)
    run_id = str(runtime.flow_run.id)
    folder = run_folder(settings, spec.name, run_id)
    family = spec.build()
    step = Steps(2 * len(family.candidates()) + 8)

    moment = utc(as_of) if as_of else None
    snapshot: SnapshotRef | None = None
    step("snapshot")
    if source is None:
        snapshot = stages.take_snapshot(family.tables, moment)
        moment = snapshot.as_of
        step("validate")
        notes = stages.admit(
            spec, [stages.validate_table(snapshot, table) for table in snapshot.tables if table in CONTRACTS]
        )
        step("features")
        ref = stages.build_dataset(spec, snapshot, folder)
    else:
        ref, notes = source(moment, folder)
        assert ref.as_of is not None
        moment = ref.as_of
    labels = tags_of(spec, moment, snapshot.digest if snapshot is not None else ref.digest, run_id)
    if once and (known := _known(spec, ref, labels)):
        return known
    _prepare_all(spec, ref, runner, step)
    fitted = _fit_all(spec, ref, folder, runner, step)
    judged = _judge_all(spec, fitted, ref, folder, step)
    step("judge the champion")
    incumbent = stages.judge_champion(spec, ref, moment, folder)
    step("gate")
    report = stages.ask_gate(spec, fitted, judged, incumbent, folder, policy)
    final = stages.finalise(spec, fitted, report, incumbent, ref, folder)
    judgement = Judgement(
        spec=spec,
        dataset=ref,
        split=split_rule(spec, ref),
        fitted=tuple(fitted),
        judged=tuple(judged),
        report=report,
        final=final,
        notes=tuple(notes),
    )
    step("register")
    registered = stages.register(judgement, run_name(spec.name, moment), labels)
    outcome = stages.settle(registered, report, actor(), run_id)
    step("publish")
    entities = stages.publish(spec, snapshot) if snapshot is not None else 0
    stages.report_artifacts(judgement, outcome)
    step.finish()
    return _trained(outcome, judgement, moment, entities)


def _prepare_all(spec: Spec, ref: DatasetRef, runner: TaskRunner[Any], step: Steps) -> None:
    """On a cluster, the pieces of every candidate first, side by side; in this process a fit does that by itself."""
    if isinstance(runner, ThreadPoolTaskRunner) or not isinstance(spec.build(), FitsInPieces):
        return
    work = [(name, piece) for name, count in stages.pieces(spec, ref).items() for piece in range(count)]
    step.total += len(work)
    for start in range(0, len(work), _BATCH):
        batch = work[start : start + _BATCH]
        inputs = [{"spec": spec, "candidate": name, "ref": ref, "piece": piece} for name, piece in batch]
        futures: list[PrefectFuture[None]] = [runner.submit(stages.prepare, one) for one in inputs]
        for (name, piece), future in zip(batch, futures, strict=True):
            step(f"prepare {name}, piece {piece + 1}")
            future.result()


def _fit_all(spec: Spec, ref: DatasetRef, folder: Path, runner: TaskRunner[Any], step: Steps) -> list[Fitted]:
    """Fit the candidates side by side; one that needs others waits for them alone."""
    futures: dict[str, PrefectFuture[Fitted]] = {}
    candidates = spec.build().candidates()
    for start in range(0, len(candidates), _BATCH):
        batch = candidates[start : start + _BATCH]
        for one in batch:
            # Candidates come after those they need, so a thread that waits never waits for one behind it.
            earlier = [futures[need] for need in one.needs]
            inputs = {"spec": spec, "candidate": one.name, "ref": ref, "folder": folder, "earlier": earlier}
            futures[one.name] = runner.submit(stages.fit, inputs)
        for one in batch:
            step(f"fit {one.name}")
            futures[one.name].result()
    return [future.result() for future in futures.values()]


def _judge_all(spec: Spec, fitted: Sequence[Fitted], ref: DatasetRef, folder: Path, step: Steps) -> list[Judged]:
    """Every candidate on the holdout, and the challenger drawn."""

    def judge(one: Fitted, plots: bool) -> Judged:
        step(f"judge {one.candidate}")
        return stages.judge(spec, one, ref, folder, plots=plots)

    return judge_all(fitted, spec.build().primary, judge)


def tags_of(spec: Spec, as_of: datetime, snapshot: str, run_id: str) -> dict[str, str]:
    """What is written on the MLflow run and the version, beside what registration adds.

    Parameters
    ----------
    snapshot : digest of what the data set was made from.
    """
    return {
        "flow": str(runtime.flow_run.flow_name),
        "flow_run": run_id,
        "actor": actor(),
        "as_of": as_of.isoformat(),
        "snapshot": snapshot,
        "options": options_digest(spec),
    }


def options_digest(spec: Spec) -> str:
    """Digest of the options that change what is learned; how many threads learn it and where they note it does not."""
    options = {name: value for name, value in spec.options.items() if name not in {"threads", "cache"}}
    return hashlib.sha256(json.dumps([spec.family, options], sort_keys=True, default=str).encode()).hexdigest()[:16]


def _known(spec: Spec, ref: DatasetRef, labels: Mapping[str, str]) -> Trained | None:
    registry = Registry(current_settings())
    wanted = {"as_of": labels["as_of"], "options": labels["options"], "dataset_digest": ref.digest}
    found = stages.find_version(registry, spec.name, **wanted)
    if found is None:
        return None
    return Trained(
        model=spec.name,
        version=found.version,
        run_id=found.run_id,
        verdict="skip",
        reason=f"trained as of {labels['as_of'][:16]} on the same data with the same options before.",
        champion=registry.alias(spec.name, "champion"),
        as_of=datetime.fromisoformat(labels["as_of"]),
    )


def _trained(outcome: Outcome, judgement: Judgement, as_of: datetime, entities: int) -> Trained:
    return Trained(
        model=outcome.registered.name,
        version=outcome.registered.version,
        run_id=outcome.registered.run_id,
        verdict=outcome.verdict,
        reason=outcome.reason,
        champion=outcome.champion,
        as_of=as_of,
        entities=entities,
        report=summary(judgement),
    )


def actor() -> str:
    """Who trains: the tag `actor:NAME` that the API and the command line put on a run, else the flow."""
    for tag in runtime.flow_run.tags or []:
        if str(tag).startswith("actor:"):
            return str(tag).removeprefix("actor:")
    return f"flow {runtime.flow_run.flow_name}"


def run_name(name: str, as_of: datetime | None) -> str:
    """Name of a run for people: "churn as of 2026-11-20 02:00"; a day alone at midnight."""
    moment = utc(as_of)
    return f"{name} as of {moment:%Y-%m-%d}" + (f" {moment:%H:%M}" if (moment.hour, moment.minute) != (0, 0) else "")


def name_of_run() -> str:
    """Name of the flow run, from its parameters; given to `@flow(flow_run_name=…)`."""
    parameters = runtime.flow_run.parameters
    if as_of := parameters.get("as_of"):
        return run_name(str(parameters["name"]), as_of)
    # How far the data reach is known only when they have been looked at.
    started = utc(runtime.flow_run.scheduled_start_time or datetime.now(UTC))
    return f"{parameters['name']}, latest data, {started:%Y-%m-%d %H:%M}"


def finished(trained: Trained) -> Trained:
    """End a flow run with the verdict as the message of its state."""
    return ended(trained.headline, trained)


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell whoever listens that a run failed, with its reason; given to `@flow(on_failure=…)`."""
    error = state.result(raise_on_failure=False)
    kind = "validation_failed" if isinstance(error, ValidationFailed) else "training_failed"
    reason = str(error) if isinstance(error, BaseException) else (state.message or "")
    payload = {"flow": flow.name, "run": flow_run.name, "run_id": str(flow_run.id), "reason": reason}
    if isinstance(error, ValidationFailed):
        payload |= {"column": str(error.field), "values": str(error.value)}
    emit(current_settings(), kind, payload)
