"""Scoring of every entity by the champion of any family that scores entities, as a Prefect flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, runtime, tags, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner

from features.snapshot import utc
from flows import stages
from flows.artifacts import artifact_key
from flows.ending import ended
from flows.environment import current_settings
from flows.lifecycle import name_of_run
from flows.progress import Steps
from flows.stages import is_transient, within_run
from flows.task_runner import task_runner
from models.lifecycle import scoring
from models.lifecycle.scoring import Rows, Scorer, Shard
from store import scores
from store.dataset import SnapshotRef
from store.errors import InvalidValue
from store.events import emit
from store.locks import file_lock

# Shards handed to the runner at a time, as candidates are.
_BATCH = 32
_RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [2.0, 10.0], "retry_condition_fn": is_transient}
_KEPT: dict[str, Any] = {"persist_result": True, "cache_key_fn": within_run}


@dataclass(frozen=True)
class Scored:
    """What came of a scoring flow.

    Attributes
    ----------
    rows : entities that have a score.
    state : "scored", or "known" where this version had scored the same data as of this moment before.
    uri : the scores as a Parquet file.
    digest : over all scores.
    labels : one row per label: `label`, `rows`, `mean_value`, `total_value`.
    notes : what the reader must know.
    """

    model: str
    version: int
    as_of: datetime
    rows: int
    state: str
    uri: str
    digest: str
    labels: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        """One sentence for lists of runs."""
        told = "scored" if self.state == "scored" else "had scored"
        return f"{self.model} v{self.version} {told} {self.rows:,} entities as of {self.as_of:%Y-%m-%d %H:%M}"


def _notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    error = state.result(raise_on_failure=False)
    reason = str(error) if isinstance(error, BaseException) else (state.message or "")
    payload = {"flow": flow.name, "run": flow_run.name, "run_id": str(flow_run.id), "reason": reason}
    emit(current_settings(), "scoring_failed", payload)


@flow(name="score", flow_run_name=name_of_run, on_failure=[_notify_failure])
def score(name: str, as_of: datetime | None = None, version: int | None = None, shard_rows: int = 5_000) -> Scored:
    """Score every entity with the champion: into the database, and as one Parquet file.

    Running it again for the same version and moment changes nothing; a run that was killed goes on where it was.

    Args:
        name: The registered model, such as churn.
        as_of: Score what was known at this moment. Empty means the end of the data.
        version: A version instead of the champion.
        shard_rows: Entities scored by one task.
    """
    with tags(name), task_runner(current_settings(), current_settings().threads) as runner:
        scored = _score(name, as_of, version, shard_rows, runner)
    return ended(scored.headline, scored)


def _score(name: str, as_of: datetime | None, version: int | None, shard_rows: int, runner: TaskRunner[Any]) -> Scored:
    settings = current_settings()
    moment = utc(as_of) if as_of else None
    if moment and moment > utc(None):
        raise InvalidValue(
            f"as_of = {moment.isoformat(sep=' ')} lies in the future.",
            remedy="Name a moment that has passed, or none.",
            field="as_of",
            value=moment.isoformat(),
        )
    step = Steps(7)
    step("model")
    scorer = choose(name, version)
    step("snapshot")
    snapshot = stages.take_snapshot(scorer.spec.build().tables, moment)
    folder = scoring.batch_folder(settings, scorer, snapshot.as_of)
    # Two runs of one batch would tidy up under each other's hands.
    with file_lock(folder.parent / f"{folder.name}.lock", timeout=3600):
        if known := scoring.known_batch(settings, scorer, snapshot):
            step.finish()
            return _scored(known, "known", scorer)
        step("validate")
        stages.admit(scorer.spec, [stages.validate_table(snapshot, table) for table in snapshot.tables])
        step("features")
        rows = gather(scorer, snapshot, folder, shard_rows)
        step.total = 6 + rows.shards
        shards = _score_all(scorer, rows, runner, step)
        step("join")
        path = join(rows, shards, folder)
        step("write")
        keep(scorer, snapshot, path, str(runtime.flow_run.id))
        scoring.tidy(folder)
    batch = scores.batch(settings, name, scorer.version, snapshot.as_of)
    assert batch is not None
    scored = _scored(batch, "scored", scorer)
    _tell(scored)
    step.finish()
    return scored


def _score_all(scorer: Scorer, rows: Rows, runner: TaskRunner[Any], step: Steps) -> list[Shard]:
    """The shards side by side, some at a time."""
    shards: list[Shard] = []
    for start in range(0, rows.shards, _BATCH):
        numbers = range(start, min(start + _BATCH, rows.shards))
        futures: list[PrefectFuture[Shard]] = [
            runner.submit(score_shard, {"scorer": scorer, "rows": rows, "number": number}) for number in numbers
        ]
        for number, future in zip(numbers, futures, strict=True):
            step(f"score shard {number + 1} of {rows.shards}")
            shards.append(future.result())
    return shards


def _scored(batch: scores.ScoreBatch, state: str, scorer: Scorer) -> Scored:
    found = scores.counts(current_settings(), batch.model, version=batch.version, as_of=batch.as_of)
    notes = []
    if scorer.learned_until and scorer.learned_until > batch.as_of:
        notes.append(
            f"Version {batch.version} learned from data up to {scorer.learned_until:%Y-%m-%d}, after the moment that "
            "is scored: these scores look better than they would have been then."
        )
    return Scored(
        model=batch.model,
        version=batch.version,
        as_of=batch.as_of,
        rows=batch.rows,
        state=state,
        uri=batch.uri,
        digest=batch.digest,
        labels=[one._asdict() for one in found],
        notes=notes,
    )


def _tell(scored: Scored) -> None:
    """A table on the run's page, and an event for those who wait for scores."""
    create_table_artifact(
        key=artifact_key("scores", scored.model), table=scored.labels, description=f"{scored.headline}: {scored.uri}"
    )
    payload: Mapping[str, Any] = {
        "model": scored.model,
        "version": scored.version,
        "as_of": scored.as_of.isoformat(),
        "rows": scored.rows,
        "digest": scored.digest,
        "uri": scored.uri,
        "labels": {one["label"]: one["rows"] for one in scored.labels},
    }
    emit(current_settings(), "scored", payload)


# A retried run scores with the version that it began with, whoever is champion by then.
@task(name="choose", task_run_name="choose {name}", **_KEPT, **_RETRIES)
def choose(name: str, version: int | None) -> Scorer:
    """The version that scores, with a verified copy of its model."""
    return scoring.scorer_of(current_settings(), name, version)


# What the next three do is found again by itself: files that are there are not made twice.
@task(name="gather", task_run_name="features of {scorer.spec.name}", cache_policy=NO_CACHE)
def gather(scorer: Scorer, snapshot: SnapshotRef, folder: Path, shard_rows: int) -> Rows:
    """Features of every entity."""
    return scoring.gather(scorer, snapshot, folder, shard_rows)


@task(name="score shard", task_run_name="score shard {number}", cache_policy=NO_CACHE)
def score_shard(scorer: Scorer, rows: Rows, number: int) -> Shard:
    """Scores of one range of rows."""
    return scoring.score_shard(scorer, rows, number)


@task(name="join", task_run_name="join {rows.shards} shards", cache_policy=NO_CACHE)
def join(rows: Rows, shards: list[Shard], folder: Path) -> Path:
    """All scores as one file."""
    return scoring.join(rows, shards, folder)


@task(name="keep scores", task_run_name="write the scores of {scorer.spec.name}", cache_policy=NO_CACHE, **_RETRIES)
def keep(scorer: Scorer, snapshot: SnapshotRef, path: Path, flow_run: str) -> int:
    """All scores in the database."""
    return scoring.keep(current_settings(), scorer, snapshot, path, flow_run)
