"""Training as a Prefect flow run: trained, gated, promoted, told of."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from prefect import flow, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, TaskRun
from prefect.events.worker import EventsWorker

from flows.deployments import ensure_pool
from flows.ending import result_of
from flows.environment import prefect_environment, using
from flows.lifecycle import Trained, finished, name_of_run, notify_failure, train_family
from flows.run import prefect_here
from models.families import Spec
from models.lifecycle.gate import GatePolicy
from store import feature_rows
from store.database import engine
from store.errors import EmptyData, ServiceUnavailable, TrainingError, ValidationFailed
from store.events import recent
from store.promotions import history
from store.registry import Registry
from store.settings import Settings

from .conftest import END, EnergyFamily, load_usage

RUNS: list[str] = []
FEW: dict[str, Any] = {"only": ["overall", "region"]}


@flow(name="train-energy", flow_run_name=name_of_run, on_failure=[notify_failure])
def train_energy(name: str, as_of: datetime | None, options: dict[str, Any]) -> Trained:
    """A family of four lines."""
    RUNS.append(str(runtime.flow_run.id))
    return finished(train_family(Spec("energy", name, options), as_of, side_by_side=2))


def train(settings: Settings, name: str = "energy", as_of: datetime | None = END, **options: Any) -> Trained:
    environment = prefect_environment(settings) | {"PREFECT_LOGGING_LEVEL": "CRITICAL"}
    with prefect_here(environment, url=settings.prefect_api_url), using(settings):
        return result_of(train_energy, name, as_of, options)


def task_runs(settings: Settings, run: str) -> list[TaskRun]:
    with prefect_here(prefect_environment(settings), url=settings.prefect_api_url), get_client(sync_client=True) as api:
        return list(api.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run)]))))


def artifacts(settings: Settings, run: str) -> dict[str, Artifact]:
    with prefect_here(prefect_environment(settings), url=settings.prefect_api_url), get_client(sync_client=True) as api:
        found = api.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run)]))
        )
    return {str(one.key): one for one in found}


def test_a_run_trains_promotes_and_shows_what_it_did(flow_settings: Settings, energy: type[EnergyFamily]) -> None:
    load_usage(flow_settings)
    trained = train(flow_settings)

    assert (trained.verdict, trained.version, trained.champion) == ("promote", 1, 1)
    assert trained.entities == 30
    registry = Registry(flow_settings)
    assert registry.alias("energy", "champion") == 1
    tags = registry.version("energy", 1).tags
    assert tags["flow_run"] == RUNS[-1]
    assert len(tags["git_commit"].removesuffix("-dirty")) == 40
    assert tags["as_of"] == "2026-03-01T00:00:00"
    assert tags["dataset_digest"] == trained.report["dataset"]["digest"]
    line = history(flow_settings, "energy")[-1]
    assert (line.state, line.actor, line.to_version) == ("done", "flow train-energy", 1)
    assert feature_rows.lookup(flow_settings, "energy", ["C001"]) == {"C001": {"region": "south"}}

    tasks = {
        "validate usage_daily", "fit overall", "fit shrunk", "judge region", "judge the champion of energy", "gate",
        "finalise region", "register region", "settle energy v1", "publish features of energy",
    }  # fmt: skip
    # The server is told of tasks by events, which arrive a moment after the flow has ended.
    EventsWorker.drain_all(timeout=30)
    deadline = time.monotonic() + 60
    while not tasks <= (names := {run.name for run in task_runs(flow_settings, RUNS[-1])}):
        assert time.monotonic() < deadline, names
        time.sleep(0.1)
    shown = artifacts(flow_settings, RUNS[-1])
    assert set(shown) == {"validation-energy", "leaderboard-energy", "verdict-energy"}
    board = str(shown["leaderboard-energy"].data)
    assert "**region**" in board
    assert "overall (baseline)" in board
    assert "●" in board
    verdict = str(shown["verdict-energy"].data)
    assert verdict.startswith("# Promoted: region")
    assert f"http://127.0.0.1:{flow_settings.mlflow_port}/#/models/energy/versions/1" in verdict
    assert trained.reason in verdict


def test_a_lost_answer_of_the_server_costs_no_result(
    flow_settings: Settings, energy: type[EnergyFamily], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked again after a time-out, a server that had heard refuses to end the run twice, and holds no data itself."""
    load_usage(flow_settings)
    ask = SyncPrefectClient.request

    def twice(self: SyncPrefectClient, method: str, path: str, *given: Any, **more: Any) -> Any:
        answer = ask(self, method, path, *given, **more)
        ended = path == "/flow_runs/{id}/set_state" and more["json"]["state"]["type"] == "COMPLETED"
        return ask(self, method, path, *given, **more) if ended else answer

    monkeypatch.setattr(SyncPrefectClient, "request", twice)
    trained = train(flow_settings)
    assert (trained.verdict, trained.version, trained.champion) == ("promote", 1, 1)
    assert trained.report["chosen"]["candidate"] == "region"


def test_the_same_data_keep_the_champion_and_the_ledger_says_why(
    flow_settings: Settings, energy: type[EnergyFamily]
) -> None:
    load_usage(flow_settings)
    first, second = train(flow_settings, **FEW), train(flow_settings, **FEW)
    assert second.report["dataset"]["digest"] == first.report["dataset"]["digest"]
    assert (second.verdict, second.version, second.champion) == ("keep", 2, 1)
    done, refused = history(flow_settings, "energy")
    assert (done.state, refused.state) == ("done", "refused")
    assert refused.reason == second.reason
    assert "not better than champion v1 (region) beyond chance" in refused.reason
    assert refused.report is not None
    assert refused.report["test"]["difference"] == 0
    assert Registry(flow_settings).alias("energy", "challenger") == 2


def test_bad_rows_stop_the_run_and_are_named(flow_settings: Settings, energy: type[EnergyFamily]) -> None:
    load_usage(flow_settings)
    with engine(flow_settings).begin() as connection:
        connection.execute(sa.text("UPDATE usage_daily SET energy_kwh = -7.5 WHERE customer_id IN ('C001', 'C002')"))
    with pytest.raises(ValidationFailed) as caught:
        train(flow_settings)
    message = str(caught.value)
    assert "usage_daily" in message
    assert "energy_kwh: must be at least 0: 120 of 1,800 rows fail (6.67%), such as '-7.5'" in message
    assert energy.fitted == []
    assert Registry(flow_settings).models() == []
    event = recent(flow_settings)[-1]
    assert event.kind == "validation_failed"
    assert event.payload["column"] == "energy_kwh"
    assert event.payload["run_id"] == RUNS[-1]
    rows = str(artifacts(flow_settings, RUNS[-1])["validation-energy"].data)
    assert "critical" in rows
    assert "-7.5" in rows


def test_failures_are_told_of(flow_settings: Settings, energy: type[EnergyFamily]) -> None:
    load_usage(flow_settings)
    with pytest.raises(EmptyData, match="was known at 2020-01-01"):
        train(flow_settings, as_of=datetime(2020, 1, 1))
    assert recent(flow_settings)[-1].kind == "training_failed"
    with pytest.raises(TrainingError, match="region: RuntimeError: the library gave up"):
        train(flow_settings, only=["overall", "region"], fail="region")
    assert "the library gave up" in recent(flow_settings)[-1].payload["reason"]


def test_a_candidate_that_fails_does_not_end_the_run(flow_settings: Settings, energy: type[EnergyFamily]) -> None:
    load_usage(flow_settings)
    trained = train(flow_settings, fail="shrunk")
    reasons = {row["candidate"]: row.get("error", "") for row in trained.report["candidates"]}
    assert reasons == {"overall": "", "region": "", "shrunk": "RuntimeError: the library gave up"}
    assert trained.verdict == "promote"
    assert "the library gave up" in str(artifacts(flow_settings, RUNS[-1])["leaderboard-energy"].data)


def test_of_two_runs_at_once_one_promotes(flow_settings: Settings, energy: type[EnergyFamily]) -> None:
    load_usage(flow_settings)
    # Both have been judged, against no champion, before either goes on.
    energy.meeting = threading.Barrier(2)
    results: list[Trained] = []
    environment = prefect_environment(flow_settings) | {"PREFECT_LOGGING_LEVEL": "CRITICAL"}

    def run() -> None:
        with using(flow_settings):
            results.append(result_of(train_energy, "energy", END, FEW))

    try:
        with prefect_here(environment, url=flow_settings.prefect_api_url):
            threads = [threading.Thread(target=contextvars.copy_context().run, args=(run,)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=120)
    finally:
        energy.meeting = None
    assert sorted(result.verdict for result in results) == ["conflict", "promote"]
    winner = next(result for result in results if result.verdict == "promote")
    loser = next(result for result in results if result.verdict == "conflict")
    assert Registry(flow_settings).alias("energy", "champion") == winner.version
    told = {line.to_version: line.state for line in history(flow_settings, "energy")}
    assert told == {winner.version: "done", loser.version: "refused"}
    assert loser.champion == winner.version


def test_policy_reaches_the_gate(flow_settings: Settings, energy: type[EnergyFamily]) -> None:
    load_usage(flow_settings, effect=0.0)

    @flow(name="train-energy-strictly")
    def strictly() -> Trained:
        return finished(train_family(Spec("energy", "energy", FEW), END, policy=GatePolicy(confidence=0.999)))

    with prefect_here(prefect_environment(flow_settings), url=flow_settings.prefect_api_url), using(flow_settings):
        trained = result_of(strictly)
    assert trained.verdict == "keep"
    assert trained.report["gate"]["policy"]["confidence"] == 0.999


def test_a_server_that_is_not_there_takes_no_work_pool(new_port: Callable[[], int]) -> None:
    url = f"http://127.0.0.1:{new_port()}/api"
    with pytest.raises(ServiceUnavailable, match=f"The Prefect server at {url} did not take the work pool 'merit'"):
        ensure_pool({"PREFECT_API_URL": url})
