"""The stages of a training run as Prefect tasks, and nothing but that: what a stage does is in `models.lifecycle`.

Every result is kept under a key of the flow run and the task's inputs. A retried run (`prefect flow-run retry`) finds
the results of finished stages and goes on after them; another run never sees them, since the same inputs may mean
other data tomorrow. Tasks exchange references and paths, never frames.

Tasks have no tags of their own but those of the run: Prefect asks the server about limits on a set of tags before each
task, unless it has asked about that very set in the last five seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task

from features import snapshot as snapshots
from features.contracts import CONTRACTS
from features.validation import ValidationReport, validate
from features.views import llm_calls
from flows import artifacts
from flows.environment import current_settings
from gateway.account.contents import Contents
from models.families import Spec
from models.lifecycle import registration, stages, training
from models.lifecycle.gate import GatePolicy, GateReport
from models.lifecycle.registration import Judgement, Outcome, Registered
from models.lifecycle.stages import Fitted, Incumbent, Judged
from store.database import migrate
from store.dataset import DatasetRef, SnapshotRef
from store.errors import ServiceUnavailable, ValidationFailed
from store.registry import Registry

_RETRY_AFTER = [2.0, 10.0]


def within_run(context: TaskRunContext, inputs: dict[str, Any]) -> str:
    """Key of a result: the flow run, the task and a digest of its inputs."""
    body = json.dumps(inputs, default=_plain, sort_keys=True)
    digest = hashlib.sha256(body.encode()).hexdigest()[:24]
    owner = context.task_run.flow_run_id or context.task_run.id
    return f"{owner}-{context.task.name.replace(' ', '-')}-{digest}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "items"):
        return dict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be part of a stage's key.")


def is_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again may help: a server or database that did not answer. Data do not get better by waiting."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, ServiceUnavailable | ConnectionError | TimeoutError)


@task(
    name="snapshot",
    task_run_name="snapshot",
    persist_result=True,
    cache_key_fn=within_run,
    retries=2,
    retry_delay_seconds=_RETRY_AFTER,
    retry_condition_fn=is_transient,
)
def take_snapshot(tables: Sequence[str], as_of: datetime | None) -> SnapshotRef:
    """Immutable copy of the tables as they were known at `as_of`; at the end of the data when it is None."""
    settings = current_settings()
    migrate(settings)
    if list(tables) == [snapshots.LEDGER]:
        # Words that are kept encrypted are opened here, and leave as gists.
        return llm_calls.take(settings, as_of, Contents(settings).read)
    return snapshots.take(settings, tables, as_of or snapshots.end_of_data(settings))


@task(
    name="validate",
    task_run_name="validate {table}",
    persist_result=True,
    cache_key_fn=within_run,
)
def validate_table(snapshot: SnapshotRef, table: str) -> ValidationReport:
    """Check one table of the snapshot against its contract."""
    report = validate(pd.read_parquet(snapshot.table(table)), CONTRACTS[table])
    # Which rows failed matters where rows are loaded; here their number and values do.
    return dataclasses.replace(report, failures=tuple(dataclasses.replace(f, positions=_NONE) for f in report.failures))


_NONE = pd.Index([], dtype="int64").to_numpy()


# No result is worth keeping: on a retry the tables may be admitted or refused anew.
@task(name="admit", task_run_name="admit the data", cache_policy=NO_CACHE)
def admit(spec: Spec, reports: Sequence[ValidationReport]) -> list[str]:
    """Stop the run where a critical check failed; returns the warnings.

    Raises
    ------
    ValidationFailed : names every failing column with its check, the number of rows and values at fault.
    """
    artifacts.validation(spec.name, reports)
    problems = []
    for report in reports:
        try:
            report.require()
        except ValidationFailed as error:
            problems.append(error)
    if problems:
        raise ValidationFailed(
            "\n".join(error.message.rstrip() for error in problems) + "\n",
            remedy="Load corrected rows with `merit ingest` and retry the run.",
            field=problems[0].field,
            value=problems[0].value,
        )
    return [f"{report.table}: {failure}" for report in reports for failure in report.warnings]


@task(
    name="features",
    task_run_name="features of {spec.name}",
    persist_result=True,
    cache_key_fn=within_run,
)
def build_dataset(spec: Spec, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
    """The point-in-time training frame."""
    return spec.build().dataset(snapshot, folder)


@task(
    name="fit",
    task_run_name="fit {candidate}",
    persist_result=True,
    cache_key_fn=within_run,
)
def fit(spec: Spec, candidate: str, ref: DatasetRef, folder: Path, earlier: Sequence[Fitted]) -> Fitted:
    """Fit one candidate on the training rows."""
    return stages.fit(spec, candidate, ref, folder, earlier)


# What pieces yield is kept by the family itself.
@task(name="pieces", task_run_name="pieces of {spec.name}", cache_policy=NO_CACHE)
def pieces(spec: Spec, ref: DatasetRef) -> dict[str, int]:
    """Candidate → pieces that its fit falls into, where there are several."""
    return stages.pieces(spec, ref)


@task(name="prepare", task_run_name="prepare {candidate}, piece {piece}", cache_policy=NO_CACHE)
def prepare(spec: Spec, candidate: str, ref: DatasetRef, piece: int) -> None:
    """One piece of a candidate's fit, done ahead."""
    stages.prepare(spec, candidate, ref, piece)


@task(
    name="judge",
    task_run_name="judge {fitted.candidate}",
    persist_result=True,
    cache_key_fn=within_run,
)
def judge(spec: Spec, fitted: Fitted, ref: DatasetRef, folder: Path, *, plots: bool) -> Judged:
    """Evaluate one candidate on the holdout."""
    return stages.judge(spec, fitted, ref, folder, plots=plots)


@task(
    name="judge champion",
    task_run_name="judge the champion of {spec.name}",
    persist_result=True,
    cache_key_fn=within_run,
    retries=2,
    retry_delay_seconds=_RETRY_AFTER,
    retry_condition_fn=is_transient,
)
def judge_champion(spec: Spec, ref: DatasetRef, as_of: datetime, folder: Path) -> Incumbent:
    """Evaluate the champion on the same holdout, unless it knows data that lie after `as_of`."""
    settings = current_settings()
    later = champion_from_the_future(Registry(settings), spec.name, as_of)
    return later or stages.judge_champion(settings, spec, ref, folder)


def champion_from_the_future(registry: Registry, name: str, as_of: datetime) -> Incumbent | None:
    """The champion, when it was trained on data after `as_of`: it may have learned from the holdout."""
    version = registry.alias(name, stages.CHAMPION)
    if version is None:
        return None
    known = registry.version(name, version).tags.get("as_of")
    if known is None or datetime.fromisoformat(known) <= as_of:
        return None
    return Incumbent(None, version, f"it was trained as of {known[:16]}, later than {as_of.isoformat()[:16]}.")


@task(name="gate", task_run_name="gate", persist_result=True, cache_key_fn=within_run)
def ask_gate(
    spec: Spec,
    fitted: Sequence[Fitted],
    judged: Sequence[Judged],
    incumbent: Incumbent,
    folder: Path,
    policy: GatePolicy | None,
) -> GateReport:
    """The verdict on the best candidate."""
    return training.verdict(spec, fitted, judged, incumbent, folder, policy=policy)


@task(
    name="finalise",
    task_run_name="finalise {report.challenger}",
    persist_result=True,
    cache_key_fn=within_run,
)
def finalise(
    spec: Spec, fitted: Sequence[Fitted], report: GateReport, incumbent: Incumbent, ref: DatasetRef, folder: Path
) -> Path:
    """What will be registered, made from the chosen candidate."""
    chosen = next(one for one in fitted if one.candidate == report.challenger)
    return stages.finalise(spec, chosen, incumbent, ref, folder)


@task(
    name="register",
    task_run_name="register {judgement.report.challenger}",
    persist_result=True,
    cache_key_fn=within_run,
    retries=2,
    retry_delay_seconds=_RETRY_AFTER,
    retry_condition_fn=is_transient,
)
def register(judgement: Judgement, run_name: str, tags: dict[str, str]) -> Registered:
    """Log the run and register a version; one that this flow run registered before it was killed is taken up."""
    settings = current_settings()
    earlier = find_version(Registry(settings), judgement.spec.name, flow_run=tags["flow_run"])
    return earlier or registration.register(settings, judgement, run_name=run_name, tags=tags)


def find_version(registry: Registry, name: str, **tags: str) -> Registered | None:
    """The newest version of a model that carries these tags."""
    if not any(model.name == name for model in registry.models()):
        return None
    for version in sorted(registry.versions(name), key=lambda one: -one.version):
        if all(version.tags.get(key) == value for key, value in tags.items()):
            return Registered(name, version.version, version.run_id)
    return None


@task(
    name="settle",
    task_run_name="settle {registered.name} v{registered.version}",
    persist_result=True,
    cache_key_fn=within_run,
    retries=2,
    retry_delay_seconds=_RETRY_AFTER,
    retry_condition_fn=is_transient,
)
def settle(registered: Registered, report: GateReport, actor: str, key: str) -> Outcome:
    """Promote or refuse. Promotions of one model wait for each other in the database, not in Prefect: others promote
    too, from the command line and the API."""
    return registration.settle(current_settings(), registered, report, actor=actor, key=key)


@task(
    name="publish",
    task_run_name="publish features of {spec.name}",
    persist_result=True,
    cache_key_fn=within_run,
    retries=2,
    retry_delay_seconds=_RETRY_AFTER,
    retry_condition_fn=is_transient,
)
def publish(spec: Spec, snapshot: SnapshotRef) -> int:
    """Current features of every entity, for predictions by id; returns their number."""
    return registration.publish(current_settings(), spec, snapshot)


# Artifacts of a retried run should be there whatever the first attempt had shown.
@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def report_artifacts(judgement: Judgement, outcome: Outcome) -> None:
    """Leaderboard and verdict as Prefect artifacts."""
    artifacts.leaderboard(judgement)
    artifacts.verdict(judgement, outcome, current_settings())
