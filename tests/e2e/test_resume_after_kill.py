"""The deployed flow on a real server: killed in the middle of training, it goes on after the last finished stage."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from features.contracts import CONTRACTS
from features.ingest import ingest
from features.world import build
from flows.automations import TRAINING, ZOMBIES
from flows.deployments import deploy_all, prefect, release_orphans
from flows.environment import PROJECT, prefect_environment
from flows.run import FLOWS
from store.promotions import history
from store.registry import Registry
from store.settings import Settings

PATIENCE = 300.0
HELD_FITS = Path(__file__).with_name("held_fits")
HELD = {f"fit {name}" for name in ("catboost", "lightgbm", "xgboost", "blend")}


class Processes:
    """Servers and workers in process groups of their own; none is left behind."""

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.environment = dict(environment)
        self.logs = logs
        self.groups: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = self.logs / f"{len(self.groups)}-{arguments[0]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.groups.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait(timeout=5)

    def stop(self) -> None:
        for process in reversed(self.groups):
            if process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.kill(process, signal.SIGTERM)
                    continue
                self.kill(process)

    def told(self) -> str:
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in self.logs.iterdir())


@pytest.fixture
def home(tmp_path: Path, mlflow_template: Path, prefect_template: Path) -> Settings:
    """A small world, loaded; the stores of MLflow and Prefect have their tables."""
    settings = Settings(home=tmp_path / "home", threads=2)
    shutil.copy(mlflow_template, settings.root / "mlflow.db")
    (settings.root / "prefect").mkdir()
    shutil.copy(prefect_template, settings.root / "prefect" / "prefect.db")
    world = build(tmp_path / "world", customers=500, days=250, seed=7, end=date(2026, 10, 31))
    for name in CONTRACTS:
        ingest(settings, name, str(world.folder / "tables" / f"{name}.parquet"), {})
    return settings


@pytest.fixture
def running(home: Settings, new_port: Callable[[], int], tmp_path: Path) -> Iterator[Processes]:
    """A Prefect server with every flow deployed; boosters are fitted from when the file `go` is there."""
    port = new_port()
    url = f"http://127.0.0.1:{port}/api"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MERIT_"))}
    environment = inherited | prefect_environment(home)
    environment |= {"MERIT_THREADS": "2", "PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    environment |= {"PYTHONPATH": str(HELD_FITS), "FITS_WAIT_FOR": str(tmp_path / "go")}
    (tmp_path / "logs").mkdir()
    processes = Processes(environment, tmp_path / "logs")
    try:
        processes.start("server", "start", "--host", "127.0.0.1", "--port", str(port))
        until(lambda: answers(f"{url}/health"), processes)
        deploy_all(home, environment)
        yield processes
    finally:
        processes.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def is_gone(process: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # among them those that wait to be asked about
        return not psutil.Process(process).cmdline()
    return True


def until(condition: Callable[[], Any], processes: Processes, patience: float = PATIENCE) -> Any:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"This did not come to pass within {patience} s.\n{processes.told()}")


@pytest.fixture
def api(running: Processes) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.environment["PREFECT_API_URL"], timeout=30) as client:
        yield client


@pytest.mark.timeout(1200)
def test_a_killed_run_goes_on_after_the_last_finished_stage(
    home: Settings, running: Processes, api: httpx.Client, tmp_path: Path
) -> None:
    deployed = {one["name"]: one for one in api.post("/deployments/filter", json={}).json()}
    assert set(deployed) == set(FLOWS)
    assert all(one["schedules"] for one in deployed.values())
    assert deployed["train-churn"]["concurrency_options"]["collision_strategy"] == "ENQUEUE"
    families = [name.removeprefix("train-") for name in deployed if name.startswith("train-")]
    automations = {one["name"] for one in api.post("/automations/filter", json={}).json()}
    assert automations == {ZOMBIES, *(TRAINING.format(family=family) for family in families)}

    worker = running.start("worker", "start", "--pool", "merit")
    parameters = {"as_of": "2026-11-01T06:00:00Z", "folds": 2}
    address = f"/deployments/{deployed['train-churn']['id']}/create_flow_run"
    created = api.post(address, json={"parameters": parameters})
    while created.status_code == 503:  # the server on SQLite is asked to wait while others write
        time.sleep(1)
        created = api.post(address, json={"parameters": parameters})
    run = created.json()["id"]

    def state() -> str:
        return str(api.get(f"/flow_runs/{run}").json()["state_type"])

    def tasks() -> list[tuple[str, str]]:
        query = {"flow_runs": {"id": {"any_": [run]}}, "sort": "EXPECTED_START_TIME_ASC"}
        return [(one["name"], one["state_name"]) for one in api.post("/task_runs/filter", json=query).json()]

    def reached() -> bool:
        """All that can be finished is, and the server knows."""
        seen = tasks()
        done = {name for name, what in seen if what == "Completed"}
        open_ = {name for name, what in seen if what != "Completed"}
        return state() == "FAILED" or ({"fit prevalence", "fit logistic"} <= done and open_ <= HELD)

    until(reached, running)
    assert state() == "RUNNING"
    process = int(api.get(f"/flow_runs/{run}").json()["infrastructure_pid"])
    running.kill(worker)
    os.kill(process, signal.SIGKILL)
    finished = {name for name, what in tasks() if what == "Completed"}
    candidates = home.root / "runs" / "churn" / run / "candidates"
    written = {path: path.stat().st_mtime_ns for path in candidates.rglob("*") if path.is_file()}
    assert "logistic" in {path.parent.name for path in written}
    assert "blend" not in {path.parent.name for path in written}
    assert state() == "RUNNING"  # nobody was left to say otherwise
    assert Registry(home).models() == []

    (tmp_path / "go").touch()
    until(lambda: is_gone(process), running)
    assert release_orphans(running.environment) == [run]
    assert state() == "CRASHED"
    assert release_orphans(running.environment) == []
    running.start("worker", "start", "--pool", "merit")
    prefect(["flow-run", "retry", run], running.environment)
    until(lambda: state() in {"COMPLETED", "FAILED"}, running)
    told = api.get(f"/flow_runs/{run}").json()["state"]["message"]
    assert state() == "COMPLETED", told
    assert told.startswith("churn v1 promoted: ")

    # What was finished was read back, not run again; what was not was run once more.
    again = {name for name, what in tasks() if what == "Cached"}
    assert finished - {"admit the data"} == again
    assert again >= {"validate usage_daily", "features of churn", "fit prevalence", "fit logistic"}
    for path, before in written.items():
        if path.parent.name in {"prevalence", "logistic"}:
            assert path.stat().st_mtime_ns == before, path
    assert sum(1 for name, what in tasks() if (name, what) == ("fit logistic", "Completed")) == 1

    registry = Registry(home)
    assert [version.version for version in registry.versions("churn")] == [1]
    assert registry.alias("churn", "champion") == 1
    assert [(line.state, line.to_version) for line in history(home, "churn")] == [("done", 1)]
    names = {one["key"] for one in api.post("/artifacts/filter", json={}).json()}
    assert names >= {"validation-churn", "leaderboard-churn", "verdict-churn"}
    results = home.root / "prefect" / "results"
    assert any(path.name.startswith(run) for path in results.iterdir())

    # The server plans the runs of the schedules.
    planned = api.post("/flow_runs/filter", json={"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}).json()
    active = {one["id"] for one in deployed.values() if any(schedule["active"] for schedule in one["schedules"])}
    assert {one["deployment_id"] for one in planned} == active, running.told()
