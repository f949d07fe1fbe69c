"""Servers as child processes: started in the right order, waited for, and always stopped."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType

import httpx

from store.errors import ServiceUnavailable, SettingsError
from store.locks import file_lock
from store.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent

# Held until this process ends.
_claims = contextlib.ExitStack()
_claimed: set[int] = set()
atexit.register(_claims.close)


@dataclass
class Service:
    """A server of ours in a process group of its own.

    Attributes
    ----------
    ready_url : answers 200 once the server works; "" for a process without a port (the worker).
    log : everything it prints.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    ready_url: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.argv),
                env={**os.environ, **self.env},
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Whether it answers.

        Raises
        ------
        ServiceUnavailable : the process has ended.
        """
        if self.process is None or self.process.poll() is not None:
            code = self.process.returncode if self.process else None
            raise ServiceUnavailable(
                f"{self.name} stopped with exit code {code} while starting. Its last lines:\n{self.tail()}",
                remedy=f"See {self.log}.",
            )
        if not self.ready_url:
            return True
        try:
            return _client().get(self.ready_url).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self, grace: float = 15.0) -> None:
        """Ask the whole group to end, then make it."""
        if self.process is None:
            return
        for sent, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sent)
            if _gone(self.process, patience):
                return

    def tail(self, lines: int = 12) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


class Services:
    """Several services, started together and stopped in reverse order whatever happens."""

    def __init__(self) -> None:
        self.running: list[Service] = []

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in reversed(self.running):
            service.stop()

    def start(self, service: Service) -> Service:
        self.running.append(service)
        service.start()
        return service

    def wait(self, service: Service, *, timeout: float = 120.0, on_wait: Callable[[], None] | None = None) -> None:
        """Wait until the service answers.

        Raises
        ------
        ServiceUnavailable : it ended, or did not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not service.is_ready():
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"{service.name} did not answer at {service.ready_url} within {timeout:.0f} s.",
                    remedy=f"See {service.log}.",
                )
            if on_wait:
                on_wait()
            time.sleep(0.2)

    def died(self) -> Service | None:
        """The first service that ended on its own, if any."""
        return next((one for one in self.running if one.process and one.process.poll() is not None), None)


@cache
def _client() -> httpx.Client:
    """One for all questions: making a client, which reads the certificates of all authorities, takes longer than they
    do."""
    return httpx.Client(timeout=2)


def prefect_server(settings: Settings, env: Mapping[str, str]) -> Service:
    argv = [_bin("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(settings.prefect_port)]
    url = f"http://127.0.0.1:{settings.prefect_port}/api/health"
    return Service("Prefect server", argv, env, _log(settings, "prefect"), url)


def prefect_worker(settings: Settings, env: Mapping[str, str]) -> Service:
    argv = [_bin("prefect"), "worker", "start", "--pool", "merit", "--type", "process"]
    return Service("Prefect worker", argv, env, _log(settings, "worker"))


def mlflow_server(settings: Settings, env: Mapping[str, str]) -> Service:
    argv = [
        *(_bin("mlflow"), "server", "--host", "127.0.0.1", "--port", str(settings.mlflow_port), "--workers", "1"),
        *("--backend-store-uri", settings.resolved_mlflow_uri),
        # Artifacts have an explicit location that every process can reach; see Settings.resolved_artifact_root.
        *("--no-serve-artifacts", "--default-artifact-root", settings.resolved_artifact_root),
    ]
    return Service(
        "MLflow server", argv, env, _log(settings, "mlflow"), f"http://127.0.0.1:{settings.mlflow_port}/health"
    )


def api(settings: Settings, env: Mapping[str, str]) -> Service:
    argv = [
        *(sys.executable, "-m", "uvicorn", "serving.app:create_app", "--factory"),
        *("--host", settings.host, "--port", str(settings.port), "--no-access-log"),
    ]
    return Service("API", argv, env, _log(settings, "api"), f"http://{settings.host}:{settings.port}/healthz")


def simulator(settings: Settings, env: Mapping[str, str]) -> Service:
    """The simulated LLM provider; the gateway finds it by `simulator_port`."""
    argv = [
        *(sys.executable, "-m", "uvicorn", "serving.simulated_provider:create_app", "--factory"),
        *("--host", "127.0.0.1", "--port", str(settings.simulator_port), "--no-access-log"),
        # Clients that wait for an answer that never comes do not hold up the end.
        *("--timeout-graceful-shutdown", "1"),
    ]
    given = {
        "MERIT_SIMULATOR_SEED": os.environ.get("MERIT_SIMULATOR_SEED", str(settings.seed)),
        # What was tuned is there again after a restart, as it would be with a real provider.
        "MERIT_SIMULATOR_FOLDER": os.environ.get("MERIT_SIMULATOR_FOLDER", str(settings.root / "simulator")),
        **env,
    }
    ready_url = f"http://127.0.0.1:{settings.simulator_port}/healthz"
    return Service("Simulated LLM provider", argv, given, _log(settings, "simulator"), ready_url)


def require_free(name: str, host: str, port: int, variable: str) -> None:
    """Refuse to start where something else listens, or is about to; see `claim`.

    Raises
    ------
    SettingsError : the port is taken; the message names the setting to change.
    """
    if not claim(host, port):
        raise SettingsError(
            f"Port {port}, meant for the {name}, is taken.",
            remedy=f"Stop what listens there, or set {variable} to another port.",
            field=variable,
        )


def claim(host: str, port: int) -> bool:
    """Keep a port for servers of this process; False where something listens there, or another `merit` keeps it.

    A server takes seconds until it listens. Who looked meanwhile would find the port free, and then take the answers of
    a stranger's server for those of its own.
    """
    if port in _claimed:
        return True
    if not is_free(host, port):
        return False
    try:
        _claims.enter_context(file_lock(claim_file(port), timeout=0))
    except ServiceUnavailable:
        return False
    _claimed.add(port)
    return True


def claim_file(port: int) -> Path:
    """What whoever keeps a port holds the lock of."""
    return Path(tempfile.gettempdir()) / f"merit-ports-{os.getuid()}" / f"{port}.lock"


def is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bin(name: str) -> str:
    """A script of the same environment as this interpreter, whatever the PATH says."""
    return str(Path(sys.executable).with_name(name))


def _log(settings: Settings, name: str) -> Path:
    return settings.root / "logs" / f"{name}.log"


def _gone(process: subprocess.Popen[bytes], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except (ProcessLookupError, PermissionError):
            return True
        time.sleep(0.05)
    return False
