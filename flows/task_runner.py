"""Where tasks of a flow are worked on side by side: threads of this process, or a Dask cluster by one setting.

What goes to a cluster and comes back are references and paths, so its workers must see `MERIT_HOME` under the same path
and have this version of Meritorder installed. The results are those of threads to the last bit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from store.errors import ServiceUnavailable, SettingsError
from store.settings import Settings

if TYPE_CHECKING:
    from prefect_dask.task_runners import DaskTaskRunner

# How long a scheduler may take to answer, and its first worker to be there.
CONNECT_SECONDS = 10.0
_HERE = {"127.0.0.1", "localhost", "::1"}


@contextmanager
def task_runner(settings: Settings, side_by_side: int) -> Iterator[TaskRunner[Any]]:
    """The runner that the settings name, started; call it within a flow.

    Parameters
    ----------
    side_by_side : tasks worked on at a time, on threads and on a local cluster; a cluster at an address has its own
        number.

    Raises
    ------
    SettingsError : Dask is asked for and not installed, or its workers could not reach the Prefect server.
    ServiceUnavailable : the scheduler does not answer, or has no worker.
    """
    if settings.task_runner == "threads":
        with ThreadPoolTaskRunner[Any](max_workers=side_by_side) as threads:
            yield threads
        return
    made = _dask(settings, side_by_side)
    with ExitStack() as stack:
        if settings.dask_address:
            stack.enter_context(_server_for_workers(settings))
        runner = stack.enter_context(made)
        _connect(runner, settings.dask_address)
        yield runner


def _dask(settings: Settings, side_by_side: int) -> DaskTaskRunner:
    try:
        import distributed
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise SettingsError(
            f"MERIT_TASK_RUNNER=dask needs the extra `dask`, which is not installed ({error}).",
            remedy="Install it with `pip install 'meritorder[dask]'`, or unset MERIT_TASK_RUNNER.",
            field="MERIT_TASK_RUNNER",
            value="dask",
        ) from None
    # Every connection and every worker that comes or goes is told of otherwise.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    if settings.dask_address:
        return DaskTaskRunner(address=settings.dask_address, client_kwargs={"timeout": CONNECT_SECONDS})
    # In this process: a cluster of processes on one machine takes ten seconds to start and gains nothing over threads
    # for work that leaves Python's lock alone.
    local = {"processes": False, "n_workers": 1, "threads_per_worker": side_by_side, "dashboard_address": "127.0.0.1:0"}
    return DaskTaskRunner(cluster_class=distributed.LocalCluster, cluster_kwargs=local)


def _connect(runner: DaskTaskRunner, address: str | None) -> None:
    """Reach the cluster now rather than at the first task, and make sure that somebody is there to work."""
    try:
        client = runner.client
    except (OSError, TimeoutError, ValueError) as error:
        raise _unreachable(
            address, f"does not answer: {_line(error)}", "Start it (`dask scheduler`), or correct the address"
        ) from None
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError:
        raise _unreachable(
            address, f"had no worker for {CONNECT_SECONDS:g} s.", f"Start one: `dask worker {address}`"
        ) from None


def _unreachable(address: str | None, what: str, remedy: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"The Dask scheduler at MERIT_DASK_ADDRESS={address} {what}",
        remedy=f"{remedy}; without MERIT_DASK_ADDRESS there is a cluster in this process.",
        field="MERIT_DASK_ADDRESS",
        value=address,
    )


@contextmanager
def _server_for_workers(settings: Settings) -> Iterator[None]:
    """Tell the workers of a cluster where this run's Prefect server is, instead of each starting one of its own."""
    if PREFECT_API_URL.value():
        yield
        return
    if urlsplit(settings.dask_address or "").hostname not in _HERE:
        raise SettingsError(
            f"The Prefect server of this process cannot be reached by the workers of {settings.dask_address}.",
            remedy="Name a server that they reach: MERIT_PREFECT_API_URL=http://HOST:4200/api.",
            field="MERIT_PREFECT_API_URL",
        )
    from prefect.server.api.server import SubprocessASGIServer

    with temporary_settings({PREFECT_API_URL: SubprocessASGIServer().api_url}):
        yield


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
