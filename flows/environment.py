"""Where flows find their settings, and how Prefect is told to keep everything below the home folder.

Nothing here imports prefect: it reads its settings when it is imported, and the command line starts servers with this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from store.settings import Settings, load_settings

POOL = "merit"
PROJECT = Path(__file__).resolve().parent.parent

_given: ContextVar[Settings | None] = ContextVar("settings_of_flows", default=None)


def prefect_environment(settings: Settings) -> dict[str, str]:
    """Environment for a Prefect server, a worker, or a process that runs flows.

    Returns
    -------
    Variables to lay over the environment of that process. `PREFECT_API_URL` is among them when `settings` names a
    server; without it Prefect starts a server of its own for as long as the process runs. Where things are kept is ours
    to say; everything else (a Postgres for the server, other intervals) is taken from the environment when it is there.
    """
    home = settings.root / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    chosen = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # Ninety days of runs, a week of events: the database would otherwise only ever grow.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        # What became of tasks is written once a second, not one by one: a task that asks whether it may begin at such a
        # moment is turned away by SQLite, and asks again two seconds later.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        # Silence of three beats means that a run died with its worker; see `flows.deployments`.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_WORKER_QUERY_SECONDS": "3",
        # Never install anything by itself before a run.
        "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES": "false",
    }
    environment = {name: os.environ.get(name, value) for name, value in chosen.items()}
    environment |= {
        "MERIT_HOME": str(settings.root),
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        # Results of finished tasks: what a retried run starts from.
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "results"),
    }
    if settings.prefect_api_url:
        environment["PREFECT_API_URL"] = settings.prefect_api_url
    return environment


def current_settings() -> Settings:
    """Settings of the flow that is running: those it was started with in this process, else the environment's."""
    return _given.get() or load_settings()


@contextmanager
def using(settings: Settings) -> Iterator[None]:
    """Let `current_settings` be `settings` within the block, in this thread and the tasks started from it."""
    token = _given.set(settings)
    try:
        yield
    finally:
        _given.reset(token)
