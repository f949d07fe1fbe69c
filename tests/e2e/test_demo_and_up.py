"""What a newcomer does: `merit demo`, again, and then `merit up` until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.run import FLOWS

MERIT = str(Path(sys.executable).with_name("merit"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("newcomer") / "home"


@pytest.fixture(scope="module")
def environment(home: Path, new_port: Callable[[], int]) -> dict[str, str]:
    ports = {f"MERIT_{name}PORT": str(new_port()) for name in ("", "PREFECT_", "MLFLOW_", "SIMULATOR_")}
    # One thread: beside it other tests have the other core.
    return {**os.environ, "MERIT_HOME": str(home), "MERIT_THREADS": "1", "COLUMNS": "160", **ports}


def ours(home: Path) -> list[str]:
    """Processes that were started with this home."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ", "status"]):
        environ = process.info["environ"] or {}
        if environ.get("MERIT_HOME") == str(home) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(f"{process.info['pid']} {' '.join(process.info['cmdline'] or [])}"[:120])
    return found


def wait_until_gone(home: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while (left := ours(home)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


@pytest.fixture(scope="module")
def story(home: Path, environment: dict[str, str]) -> dict[str, Any]:
    """The demo, run twice in one home; the second story.

    What the gateway learns is in the second alone: `test_demo_loop.py` goes through that twice.
    """
    for calls in ("0", "40"):
        arguments = [MERIT, "demo", "--quick", "--customers", "700", "--llm-calls", calls, "--json"]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.timeout(2000)
def test_the_demo_runs_twice_and_leaves_nothing_running(story: dict[str, Any], home: Path) -> None:
    wait_until_gone(home)
    rows = {row["table"]: row for row in story["data"]}
    assert rows["usage_daily"]["inserted"] == 0
    assert rows["usage_daily"]["unchanged"] == rows["usage_daily"]["read"] > 20_000
    verdicts = {one["model"]["name"]: one for one in story["trainings"]}
    assert set(verdicts) == {"forecasting", "churn", "segmentation", "pricing"}
    for one in verdicts.values():
        # The same data cannot give evidence against the champion that they made.
        assert one["verdict"] == "keep"
        assert one["gate"]["champion_version"] == 1
        assert one["gate"]["test"]["difference"] == 0
    # So few calls promote no policy for certain; whoever ran away is found, and the same advice is followed.
    loop = story["loop"]["rows"]
    assert len(loop) == 6
    assert next(row for row in loop if "runaway" in row["what"])["holds"]
    assert [row["model"] for row in story["answers"]] == ["churn v1", "forecasting v1", "segmentation v1", "pricing v1"]


@pytest.fixture
def up(story: dict[str, Any], home: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [MERIT, "up"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.timeout(600)
def test_up_serves_everything_until_interrupted(
    up: subprocess.Popen[str], home: Path, environment: dict[str, str]
) -> None:
    assert up.stdout is not None
    printed = []
    for line in up.stdout:
        printed.append(line)
        if "Ctrl-C" in line:
            break
    shown = "".join(printed)
    api, prefect, mlflow = (
        f"http://127.0.0.1:{environment[f'MERIT_{name}PORT']}" for name in ("", "PREFECT_", "MLFLOW_")
    )
    assert api in shown, shown
    assert prefect in shown
    assert mlflow in shown
    deadline = time.monotonic() + 120
    while httpx.get(f"{api}/readyz", timeout=60).status_code != 200:
        assert time.monotonic() < deadline, httpx.get(f"{api}/readyz", timeout=60).text
        time.sleep(0.2)
    assert httpx.get(f"{mlflow}/health", timeout=60).status_code == 200
    deployments = httpx.post(f"{prefect}/api/deployments/filter", json={}, timeout=60).json()
    assert {one["name"] for one in deployments} == set(FLOWS)

    def worker_is_there() -> bool:
        workers = httpx.post(f"{prefect}/api/work_pools/merit/workers/filter", json={}, timeout=60).json()
        return any(worker["status"] == "ONLINE" for worker in workers)

    while not worker_is_there():
        assert time.monotonic() < deadline, shown
        time.sleep(0.2)
    made = httpx.post(f"{api}/v1/forecasts", json={"prefix": "revenue/", "horizon": 7}, timeout=60)
    assert made.status_code == 201
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=120) == 0
    wait_until_gone(home)
    again = subprocess.run([MERIT, "registry", "list", "--json"], env=environment, capture_output=True, text=True)
    champions = {row["model"]: row["champion"] for row in json.loads(again.stdout)}
    families = ("churn", "forecasting", "pricing", "segmentation")
    assert {name: champions[name] for name in families} == dict.fromkeys(families, 1)
