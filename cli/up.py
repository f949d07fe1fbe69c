"""`merit up`: every server until Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType

from cli import services
from cli.output import errors, screen, steps
from cli.session import prepared
from store.errors import ServiceUnavailable
from store.settings import Settings


def up() -> None:
    """Start the Prefect UI, the MLflow UI, a worker for the deployments and the API; stop them all with Ctrl-C."""
    settings = prepared()
    services.require_free("API", settings.host, settings.port, "MERIT_PORT")
    services.require_free("Prefect server", "127.0.0.1", settings.prefect_port, "MERIT_PREFECT_PORT")
    services.require_free("MLflow server", "127.0.0.1", settings.mlflow_port, "MERIT_MLFLOW_PORT")
    services.require_free("simulated LLM provider", "127.0.0.1", settings.simulator_port, "MERIT_SIMULATOR_PORT")
    # A shell that starts us in the background has SIGINT ignored; whoever sends it means it all the same.
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sent, _interrupt)
    with services.Services() as running:
        env = await_servers(running, settings, begin_servers(running, settings))
        running.start(services.prefect_worker(settings, env))
        simulator = running.start(services.simulator(settings, env))
        api = running.start(services.api(settings, env))
        running.wait(simulator)
        running.wait(api)
        _announce(settings)
        try:
            while (ended := running.died()) is None:
                time.sleep(0.5)
        except KeyboardInterrupt:
            errors.print("Stopping …", style="dim")
            return
        raise ServiceUnavailable(
            f"{ended.name} ended on its own; everything was stopped. Its last lines:\n{ended.tail()}",
            remedy=f"See {ended.log}.",
        )


@dataclass(frozen=True)
class Starting:
    """Prefect and MLflow on their way, with the environment for every process that shall use them."""

    env: Mapping[str, str]
    prefect: services.Service
    mlflow: services.Service


def begin_servers(running: services.Services, settings: Settings) -> Starting:
    """Start Prefect and MLflow side by side; nobody waits for them yet."""
    from flows.environment import prefect_environment
    from store.registry import Registry

    env = {
        **prefect_environment(settings),
        "MERIT_HOME": str(settings.root),
        "MERIT_PREFECT_API_URL": f"http://127.0.0.1:{settings.prefect_port}/api",
        "PREFECT_API_URL": f"http://127.0.0.1:{settings.prefect_port}/api",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with steps() as report:
        prefect = running.start(services.prefect_server(settings, env))
        report("prepare the registry", 0, 1)
        # Its tables are made here: two processes that make them at once would be in each other's way.
        Registry(settings).models()
        mlflow = running.start(services.mlflow_server(settings, env))
    return Starting(env, prefect, mlflow)


def await_servers(
    running: services.Services, settings: Settings, starting: Starting, *, deploy: bool = True
) -> Mapping[str, str]:
    """Wait until both answer, and deploy the flows.

    Returns
    -------
    Environment for every process that shall use them.
    """
    from flows.deployments import deploy_all

    with steps() as report:
        report("start the Prefect server", 0, 3)
        running.wait(starting.prefect)
        report("start the MLflow server", 1, 3)
        running.wait(starting.mlflow)
        report("deploy the flows", 2, 3)
        if deploy:
            deploy_all(settings, starting.env)
        report("servers are up", 3, 3)
    return starting.env


def _announce(settings: Settings) -> None:
    base = f"http://{settings.host}:{settings.port}"
    for name, url in (
        ("API", f"{base}/docs"),
        ("Prefect UI", f"http://127.0.0.1:{settings.prefect_port}"),
        ("MLflow UI", f"http://127.0.0.1:{settings.mlflow_port}"),
        ("Logs", str(settings.root / "logs")),
    ):
        screen.print(f"{name:<11} {url}", highlight=False)
    screen.print("Ctrl-C stops everything.", style="dim")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
