"""Benchmarks of models as rows: one is made, its answers are added as they come, and it ends with a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import StateConflict, UnknownEntity
from store.pages import Page, newest, storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.tuning import BenchmarkResultRow, BenchmarkRow

Status = Literal["running", "completed", "stopped", "failed", "cancelled"]
# Prompts are not kept, so that nobody can go on with one whose process died: it is told of as failed.
LOST_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark.

    Attributes
    ----------
    models : as they are asked for: ids, strategies or ensembles.
    done, total : answers.
    cost, expected, max_cost : nanos: spent, expected before it began, and the most that it may cost.
    details : `digest` of the prompts, `options`, `reason` why it stopped, `run` in MLflow.
    report : what came out; None while it runs.
    """

    id: str = field(default_factory=new_id)
    workspace: str
    name: str
    status: Status = "running"
    models: Sequence[str]
    prompts: int
    repeats: int
    done: int = 0
    total: int
    cost: int = 0
    expected: int
    max_cost: int
    details: Mapping[str, Any]
    report: Mapping[str, Any] | None = None
    created_by: str | None = None
    created_at: datetime = field(default_factory=utc_now)
    updated_at: datetime = field(default_factory=utc_now)
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One answer, as numbers.

    Attributes
    ----------
    model : as it was asked for; `answered_by` is the one that answered.
    prompt, repeat : places, from 0.
    quality : 0 to 1; 0 where there was no answer.
    scored_by : "expected", "reference", or the scorer's name.
    cost : nanos.
    latency_ms : None where there was no answer.
    """

    model: str
    prompt: int
    repeat: int
    prompt_id: str
    group: str
    domain: str | None
    call_id: str | None
    answered_by: str | None
    quality: float
    scored_by: str
    cost: int
    latency_ms: float | None
    input_tokens: int
    output_tokens: int
    error: str | None = None


RESULT_COLUMNS = tuple(one.name for one in fields(Result))


def create(settings: Settings, made: Benchmark) -> None:
    """Keep a new benchmark."""
    migrate(settings)
    values = asdict(made)
    values["models"] = list(made.models)
    values["name"] = storable(made.name)
    with session(settings) as opened:
        opened.add(BenchmarkRow(**values))


def add(settings: Settings, benchmark_id: str, results: Sequence[Result]) -> Status:
    """Keep answers and count them; returns the status, which somebody may have changed."""
    with session(settings) as opened:
        row = _found(opened, benchmark_id, None, lock=True)
        if results:
            opened.execute(
                sa.insert(BenchmarkResultRow), [{"benchmark_id": benchmark_id, **asdict(one)} for one in results]
            )
        row.done += len(results)
        row.cost += sum(one.cost for one in results)
        row.updated_at = utc_now()
        return row.status  # type: ignore[return-value]


def finish(
    settings: Settings, benchmark_id: str, status: Status, report: Mapping[str, Any] | None, **details: Any
) -> Benchmark:
    """Bring a benchmark to its end; one that was cancelled stays so, with what there is of a report."""
    with session(settings) as opened:
        row = _found(opened, benchmark_id, None, lock=True)
        if row.status == "running":
            row.status = status
        row.report = None if report is None else dict(report)
        row.details = {**row.details, **{name: value for name, value in details.items() if value is not None}}
        row.finished_at = row.updated_at = utc_now()
        return _benchmark(row)


def cancel(settings: Settings, benchmark_id: str, workspace: str | None = None) -> Benchmark:
    """Ask for no more answers.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    StateConflict : it has ended.
    """
    migrate(settings)
    with session(settings) as opened:
        row = _found(opened, benchmark_id, workspace, lock=True)
        if row.status != "running":
            raise StateConflict(
                f"The benchmark {row.id} is {row.status}.",
                remedy="Only one that runs can be cancelled.",
                field="status",
                value=row.status,
            )
        row.status = "cancelled"
        row.updated_at = utc_now()
        return _benchmark(row)


def get(settings: Settings, benchmark_id: str, workspace: str | None = None) -> Benchmark:
    """One benchmark.

    Raises
    ------
    UnknownEntity : there is none of that id, there.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        return _benchmark(_found(opened, benchmark_id, workspace))


def page(
    settings: Settings, *, workspace: str | None = None, limit: int = 100, cursor: str | None = None
) -> Page[Benchmark]:
    """Benchmarks, newest first.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    migrate(settings)
    query = sa.select(BenchmarkRow)
    if workspace is not None:
        query = query.where(BenchmarkRow.workspace == storable(workspace))
    return newest(settings, query, BenchmarkRow.id, _benchmark, limit=limit, cursor=cursor)


def results(settings: Settings, benchmark_id: str) -> list[Result]:
    """Every answer, by model, prompt and repeat."""
    table = BenchmarkResultRow
    query = sa.select(table).where(table.benchmark_id == storable(benchmark_id))
    with session(settings, readonly=True) as opened:
        rows = opened.scalars(query.order_by(table.model, table.prompt, table.repeat)).all()
        return [Result(**{name: getattr(row, name) for name in RESULT_COLUMNS}) for row in rows]


def _found(opened: Session, benchmark_id: str, workspace: str | None, *, lock: bool = False) -> BenchmarkRow:
    query = sa.select(BenchmarkRow).where(BenchmarkRow.id == storable(benchmark_id))
    if workspace is not None:
        query = query.where(BenchmarkRow.workspace == storable(workspace))
    row = opened.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise UnknownEntity(
            f"There is no benchmark {benchmark_id[:64]!r}.",
            remedy="`GET /v1/benchmarks` lists those that there are.",
            field="benchmark_id",
            value=benchmark_id[:64],
        )
    return row


def _benchmark(row: BenchmarkRow) -> Benchmark:
    values = {one.name: getattr(row, one.name) for one in fields(Benchmark)}
    if row.status == "running" and utc_now() - row.updated_at > LOST_AFTER:
        values["status"] = "failed"
        values["details"] = {**row.details, "reason": "The gateway that ran it has ended."}
    return Benchmark(**values)
