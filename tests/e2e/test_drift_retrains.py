"""The world changes; monitoring sees it, the server's automation trains a successor, the gate decides.

Real server, real worker, the demo world with everybody's energy tripled; only the family is small.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pandas as pd
import psutil
import pytest
import yaml

from features.ingest import ingest
from features.world import build
from flows.automations import TRAINING, ensure_automations
from flows.deployments import ensure_pool, prefect
from flows.environment import PROJECT, prefect_environment
from flows.run import FLOWS, run_flow
from models import families
from store import events
from store.promotions import history
from store.registry import Registry
from store.settings import Settings

PATIENCE = 300.0
FLOW_FILE = Path(__file__).with_name("energy_by_kind.py")
CHANGE = datetime(2026, 6, 1)
END = datetime(2026, 6, 15)


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The family in this process as the worker knows it."""
    before = families.FAMILIES
    spec = importlib.util.spec_from_file_location("energy_by_kind", FLOW_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "energy_by_kind", module)
    spec.loader.exec_module(module)
    yield module
    families.FAMILIES = before
    FLOWS.pop("train-energy")  # type: ignore[attr-defined]


@pytest.fixture
def home(tmp_path: Path, mlflow_template: Path, prefect_template: Path) -> Settings:
    """A small world up to the change, loaded; the rest of its usage lies in `later.parquet`, the energy tripled.

    The stores of MLflow and Prefect have their tables.
    """
    settings = Settings(home=tmp_path / "home", threads=1)
    shutil.copy(mlflow_template, settings.root / "mlflow.db")
    (settings.root / "prefect").mkdir()
    shutil.copy(prefect_template, settings.root / "prefect" / "prefect.db")
    world = build(tmp_path / "world", customers=200, days=120, seed=7, end=END.date() - timedelta(days=1))
    usage = pd.read_parquet(world.table("usage_daily"))
    later = usage["day"] >= CHANGE
    usage[~later].to_parquet(tmp_path / "usage.parquet")
    usage[later].assign(energy_kwh=3 * usage["energy_kwh"]).to_parquet(tmp_path / "later.parquet")
    ingest(settings, "customers", str(world.table("customers")), {})
    ingest(settings, "usage_daily", str(tmp_path / "usage.parquet"), {})
    return settings


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """`start(environment, "server", "start")`: processes of Prefect, in groups that end with the test."""
    groups: list[subprocess.Popen[bytes]] = []

    def start(environment: Mapping[str, str], *arguments: str) -> None:
        with (tmp_path / f"{len(groups)}.log").open("wb") as log:
            command = [sys.executable, "-m", "prefect", *arguments]
            groups.append(
                subprocess.Popen(
                    command, cwd=PROJECT, env=dict(environment), stdout=log, stderr=log, start_new_session=True
                )
            )

    yield start
    for process in reversed(groups):
        # A run that the worker has just begun has a session of its own.
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def own_events(start: Callable[..., None]) -> Iterator[None]:
    """Prefect sends the events of a process to the server of its first flow: whatever ran before is ended here,
    and this before its server."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=30)
    yield
    EventsWorker.drain_all(timeout=30)


def until(condition: Callable[[], Any], logs: Path) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if found := condition():
                return found
        time.sleep(0.5)
    told = "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-3000:]}" for log in logs.glob("*.log"))
    raise AssertionError(f"This did not come to pass within {PATIENCE} s.\n{told}")


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("family", "own_events")
def test_drift_trains_a_successor_and_the_gate_decides(
    home: Settings, start: Callable[..., None], new_port: Callable[[], int], tmp_path: Path
) -> None:
    port = new_port()
    url = f"http://127.0.0.1:{port}/api"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MERIT_"))}
    environment = inherited | prefect_environment(home)
    environment |= {"MERIT_THREADS": "1", "PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    start(environment, "server", "start", "--host", "127.0.0.1", "--port", str(port))
    until(lambda: httpx.get(f"{url}/health", timeout=5).status_code == 200, tmp_path)
    ensure_pool(environment)
    deployment = {
        "name": "train-energy",
        "entrypoint": f"{FLOW_FILE.relative_to(PROJECT)}:train_energy",
        "work_pool": {"name": "merit"},
        "parameters": {"days": 30},  # the champion was trained with another
    }
    file = tmp_path / "prefect.yaml"
    file.write_text(yaml.safe_dump({"name": "test", "deployments": [deployment]}))
    prefect(["deploy", "--all", "--prefect-file", str(file)], environment)
    for _ in range(2):  # again changes nothing
        ensure_automations(environment)
    start(environment, "worker", "start", "--pool", "merit")

    settings = home.model_copy(update={"prefect_api_url": url})
    run_flow(settings, "train-energy", {"as_of": CHANGE, "days": 16})
    registry = Registry(settings)
    assert registry.alias("energy", "champion") == 1
    ingest(settings, "usage_daily", str(tmp_path / "later.parquet"), {})
    (report,) = run_flow(settings, "monitor", {"name": "energy", "as_of": END})
    assert "log_energy_14d" in {alarm["about"] for alarm in report["alarms"] if alarm["kind"] == "drift"}
    assert len(events.recent(settings, "drift")) == 1

    # Nothing was asked for by hand from here on.
    with httpx.Client(base_url=url, timeout=30) as api:

        def trained() -> dict[str, Any] | None:
            found = api.post("/flow_runs/filter", json={"flows": {"name": {"any_": ["train-energy"]}}}).json()
            ended = [one for one in found if one["deployment_id"] and one["state_type"] in ("COMPLETED", "FAILED")]
            return dict(ended[0]) if ended else None

        run = until(trained, tmp_path)
        automations = [one["name"] for one in api.post("/automations/filter", json={}).json()]
    assert automations.count(TRAINING.format(family="energy")) == 1
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    # With what the champion was trained with, as of what monitoring saw.
    assert run["parameters"] == {"name": "energy", "as_of": "2026-06-15T00:00:00", "days": 16}
    assert run["state"]["message"].startswith("energy v2 ")
    assert registry.version("energy", 2).tags["as_of"] == END.isoformat()
    line = history(settings, "energy")[-1]
    assert (line.to_version, line.from_version) == (2, 1)
    assert line.report is not None
    assert line.report["opponent"] == "champion v1 (kind)"
    assert line.state == "done", line.reason
    assert registry.alias("energy", "champion") == 2
