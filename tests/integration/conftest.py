"""Real stores and a real upstream: a registry whose MLflow tables were made once, versions to promote, both databases,
the simulated provider in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from pydantic import SecretStr

from store.database import dispose
from store.registry import Registry
from store.settings import Settings

from .forked import MODULE, Forked, stop_forking

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"p": [0.1, 0.9]}))


@pytest.fixture(scope="session", autouse=True)
def _forks_end() -> Iterator[None]:
    yield
    stop_forking()


@pytest.fixture
def registry(settings: Settings, mlflow_template: Path) -> Iterator[Registry]:
    """The registry of `settings`, on a fresh MLflow store."""
    shutil.copy(mlflow_template, settings.root / "mlflow.db")
    made = Registry(settings)
    yield made
    made.close()
    dispose(settings)


@pytest.fixture
def make_versions(registry: Registry, tmp_path: Path) -> Callable[..., list[int]]:
    """Register versions of a model: `make_versions("churn", 3)` → [1, 2, 3]."""

    def make(name: str, count: int) -> list[int]:
        made = []
        with registry.run("tests", name, {}) as run:
            for number in range(count):
                folder = tmp_path / "made" / name / str(number)
                folder.mkdir(parents=True)
                (folder / "contract.json").write_text(f'{{"number": {number}}}')
                tags = {"dataset_digest": f"{number:064x}", "family": "churn"}
                made.append(registry.register(name, folder, run.id, EXAMPLE, tags))
        return made

    return make


@pytest.fixture(params=["sqlite", "postgres"])
def on_both(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """The settings once on SQLite and once on Postgres."""
    if request.param == "postgres":
        url = SecretStr(request.getfixturevalue("migrated_postgres_url"))
        settings = settings.model_copy(update={"database_url": url})
    yield settings
    dispose(settings)


@dataclass(frozen=True)
class Simulator:
    """The simulated provider as tests use it.

    Attributes
    ----------
    url : without a path; `openai` and `local` are what a client takes as its base URL, `port` what
        `MERIT_SIMULATOR_PORT` takes.
    """

    port: int
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai(self) -> str:
        return f"{self.url}/v1"

    @property
    def local(self) -> str:
        return f"{self.url}/local/v1"

    def bill(self) -> dict[str, Any]:
        """count, total (nanos), by_model, charges."""
        return self._call("GET", "bill")

    def spent(self) -> int:
        """Nanos on the bill."""
        return int(self._call("GET", "bill?limit=0")["total"])

    def charged(self, count: int, *, seconds: float = 60.0) -> dict[str, Any]:
        """The bill once it has so many charges: what a client that went away costs is known a moment later."""
        deadline = time.monotonic() + seconds
        while (bill := self.bill())["count"] < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert bill["count"] == count, bill
        return bill

    def faults(self, *faults: dict[str, Any]) -> None:
        """Exactly these faults from now on; see `gateway.simulated.faults`."""
        self._call("PUT", "faults", list(faults))

    def fault(self, kind: str, **fields: Any) -> None:
        """One more fault: `fault("status", status=503, calls=3, model="simulated/nano")`."""
        self._call("POST", "faults", {"kind": kind, **fields})

    def adjust(self, model: str, **changes: float) -> dict[str, Any]:
        """Other prices, speed or quality: `adjust("simulated/nano", input_price=1.0)`."""
        return self._call("PUT", f"models/{model}", changes)

    def speed(self, speed: float) -> None:
        """Delays as they would be, divided by this; 0, as every test begins: none."""
        self._call("PUT", "settings", {"speed": speed})

    def reset(self) -> None:
        self._call("POST", "reset")
        self._call("PUT", "settings", {"speed": 0, "failures": 0})

    def _call(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        answer = self.client.request(method, f"{self.url}/simulator/{path}", json=content)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


@pytest.fixture(scope="session")
def simulator_process(tmp_path_factory: pytest.TempPathFactory, new_port: Callable[[], int]) -> Iterator[Simulator]:
    port = new_port()
    command = ["serving.simulated_provider:create_app", "--factory", "--port", str(port), "--no-access-log"]
    variables = {**os.environ, "MERIT_SIMULATOR_SPEED": "0", "MERIT_SIMULATOR_SEED": "7"}
    log = tmp_path_factory.mktemp("simulator") / "simulator.log"
    with httpx.Client(timeout=10) as client:
        command += ["--timeout-graceful-shutdown", "1"]
        process = Forked(MODULE, variables, log, module="uvicorn", arguments=command)
        try:
            deadline = time.monotonic() + 240
            while True:
                try:
                    client.get(f"http://127.0.0.1:{port}/healthz")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield Simulator(port, client)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@pytest.fixture
def simulator(simulator_process: Simulator) -> Simulator:
    """The simulated provider without delays, faults and charges."""
    simulator_process.reset()
    return simulator_process


class ApiProcess:
    """`uvicorn serving.app:create_app --factory` on a port.

    Parameters
    ----------
    app : another one than `serving.app`.
    fresh : in an interpreter of its own, which holds nothing but what it imports itself.
    """

    def __init__(
        self,
        port: int,
        settings: Settings,
        log: Path,
        *,
        app: str = "serving.app",
        fresh: bool = False,
        **environment: str,
    ) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        variables = {key: value for key, value in os.environ.items() if not key.startswith("MERIT_")}
        variables |= {
            "MERIT_HOME": str(settings.home),
            "MERIT_WATCH_SECONDS": str(settings.watch_seconds),
            "MERIT_PORT": str(self.port),
            **environment,
        }
        if settings.database_url is not None:
            variables["MERIT_DATABASE_URL"] = settings.database_url.get_secret_value()
        command = [f"{app}:create_app", "--factory", "--no-access-log", "--port", str(self.port)]
        self.process: Forked | subprocess.Popen[bytes]
        if fresh:
            with log.open("wb") as output:
                own = [sys.executable, "-m", "uvicorn", *command]
                self.process = subprocess.Popen(own, env=variables, stdout=output, stderr=output)
        else:
            self.process = Forked(MODULE, variables, log, module="uvicorn", arguments=command)

    def wait(self, path: str = "/readyz?models=churn", seconds: float = 240.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if httpx.get(self.url + path, timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def stop(self, signal_: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@pytest.fixture(scope="session")
def api_process(new_port: Callable[[], int]) -> Callable[..., ApiProcess]:
    """`api_process(settings, log, **environment)` starts the API as a process of its own; who starts it stops it."""
    return lambda *given, **environment: ApiProcess(new_port(), *given, **environment)
