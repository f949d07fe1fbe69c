"""Bringing a Prefect server up to date: the work pool, deployments of `prefect.yaml`, automations, orphans."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.automations import ensure_automations
from flows.environment import POOL, PROJECT, prefect_environment
from flows.run import prefect_here
from store.errors import ServiceUnavailable
from store.settings import Settings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def deploy_all(settings: Settings, environment: Mapping[str, str] | None = None) -> None:
    """Create what is missing on the server and update what is there; running it again changes nothing.

    On a server of this machine, runs that a killed worker left behind are marked as crashed as well.

    Parameters
    ----------
    environment : as for the server's processes; it must hold `PREFECT_API_URL`, or `settings` must name a server.

    Raises
    ------
    ServiceUnavailable : the server does not answer or refuses; the message holds what Prefect said.
    """
    environment = {**prefect_environment(settings), **(environment or {})}
    if "PREFECT_API_URL" not in environment:
        raise ServiceUnavailable(
            "There is no Prefect server to deploy to.",
            remedy="Start one with `merit up`, or set MERIT_PREFECT_API_URL.",
        )
    ensure_pool(environment)
    prefect(["deploy", "--all", "--prefect-file", str(PROJECT / "prefect.yaml")], environment)
    ensure_automations(environment)
    if urlsplit(environment["PREFECT_API_URL"]).hostname in {"127.0.0.1", "localhost", "::1"}:
        release_orphans(environment)


def ensure_pool(environment: Mapping[str, str]) -> None:
    """The process work pool that the deployments name.

    Raises
    ------
    ServiceUnavailable : the server does not answer or refuses.
    """
    url = environment["PREFECT_API_URL"]
    with prefect_here(environment, url=url):
        from httpx import HTTPError
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.actions import WorkPoolCreate
        from prefect.workers.process import ProcessWorker

        pool = WorkPoolCreate(
            name=POOL, type=ProcessWorker.type, base_job_template=ProcessWorker.get_default_base_job_template()
        )
        try:
            with get_client(sync_client=True) as client:
                client.create_work_pool(pool, overwrite=True)
        except HTTPError as error:
            raise ServiceUnavailable(
                f"The Prefect server at {url} did not take the work pool {POOL!r}: {error}", remedy="Is it up?"
            ) from error


def prefect(arguments: list[str], environment: Mapping[str, str]) -> str:
    """Run the `prefect` command in the project's folder without questions; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environment, "NO_COLOR": "1", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ServiceUnavailable(
            f"`prefect {' '.join(arguments)}` failed:\n{(done.stdout + done.stderr).strip()[-2000:]}",
            remedy=f"Is the Prefect server at {environment.get('PREFECT_API_URL')} up?",
        )
    return done.stdout


def release_orphans(environment: Mapping[str, str]) -> list[str]:
    """Mark runs as crashed whose process on this machine is gone, without waiting for their heartbeat to be missed.

    For a server whose workers live on this machine alone.

    Returns
    -------
    Ids of the runs, which can now be retried with `prefect flow-run retry ID`.
    """
    with prefect_here(environment, url=environment["PREFECT_API_URL"]):
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import (
            FlowRunFilter,
            FlowRunFilterState,
            FlowRunFilterStateType,
            WorkPoolFilter,
            WorkPoolFilterName,
        )
        from prefect.client.schemas.objects import StateType
        from prefect.states import Crashed

        running = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
        )
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
        released = []
        with get_client(sync_client=True) as client:
            for run in client.read_flow_runs(flow_run_filter=running, work_pool_filter=pool):
                if _is_alive(run.infrastructure_pid) or _is_new(run.state):
                    continue
                client.set_flow_run_state(run.id, Crashed(message="Its process is gone."), force=True)
                released.append(str(run.id))
        return released


def _is_new(state: State[Any] | None) -> bool:
    """Whether a worker may be about to start its process."""
    return state is not None and state.is_pending() and datetime.now(UTC) - state.timestamp < timedelta(minutes=1)


def _is_alive(process: str | None) -> bool:
    if process is None or not process.isdecimal():
        return False
    if Path("/proc/self/cmdline").exists():
        try:
            # Empty for a process that has ended and waits to be asked about; another program if the number was reused.
            return b"prefect" in Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
