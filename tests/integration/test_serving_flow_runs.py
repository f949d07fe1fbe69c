"""Triggering flows against a real Prefect server."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from serving.flow_runs import FlowRun, PrefectApi
from store.errors import InvalidValue, ServiceUnavailable, UnknownEntity

SCHEMA = {
    "type": "object",
    "properties": {"horizon": {"type": "integer", "title": "horizon"}, "name": {"type": "string"}},
}


@pytest.fixture(scope="module")
def prefect_url(
    tmp_path_factory: pytest.TempPathFactory, new_port: Callable[[], int], prefect_template: Path
) -> Iterator[str]:
    """API address of a server that knows the deployments `train-churn` and `backfill`."""
    home = tmp_path_factory.mktemp("prefect")
    shutil.copy(prefect_template, home / "prefect.db")
    port = new_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    environment |= {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    }
    with (home / "log").open("wb") as output:
        server = subprocess.Popen(
            [str(Path(sys.executable).with_name("prefect")), "server", "start", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_for(f"{url}/health", server, home / "log")
        for name in ("train-churn", "backfill"):
            flow = post(f"{url}/flows/", {"name": name})
            post(
                f"{url}/deployments/",
                {
                    "name": name,
                    "flow_id": flow["id"],
                    "parameters": {"horizon": 30},
                    "parameter_openapi_schema": SCHEMA,
                    "enforce_parameter_schema": True,
                },
            )
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def post(address: str, body: dict[str, object]) -> dict[str, str]:
    """A server on SQLite answers 503 while its database is locked, most of all just after its start."""
    for _ in range(20):
        response = httpx.post(address, json=body, timeout=30)
        if response.status_code != 503:
            break
        time.sleep(0.5)
    found: dict[str, str] = response.raise_for_status().json()
    return found


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(address, timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def trigger(url: str | None, name: str, parameters: dict[str, object]) -> FlowRun:
    async def call() -> FlowRun:
        async with PrefectApi(url) as api:
            run = await api.trigger(name, parameters, "ann")
            return await api.run(UUID(run.id))

    return asyncio.run(call())


def test_a_flow_is_triggered_with_its_parameters(prefect_url: str) -> None:
    run = trigger(prefect_url, "train-churn", {"horizon": 60})
    assert run.parameters == {"horizon": 60}
    assert run.state == "SCHEDULED"
    assert not run.finished
    tags = httpx.get(f"{prefect_url}/flow_runs/{run.id}").json()["tags"]
    assert "actor:ann" in tags


def test_parameters_left_out_keep_the_defaults(prefect_url: str) -> None:
    assert trigger(prefect_url, "backfill", {}).parameters == {"horizon": 30}


def test_an_unknown_flow_lists_the_known_ones(prefect_url: str) -> None:
    for name in ("train-chrun", "../admin/settings", ""):
        with pytest.raises(UnknownEntity) as caught:
            trigger(prefect_url, name, {})
        assert "backfill, train-churn" in caught.value.remedy


def test_parameters_that_do_not_fit_name_those_of_the_flow(prefect_url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        trigger(prefect_url, "train-churn", {"horizon": "soon"})
    assert caught.value.field == "parameters"
    assert "horizon (integer)" in caught.value.remedy


def test_an_unknown_run_is_not_found(prefect_url: str) -> None:
    async def call() -> None:
        async with PrefectApi(prefect_url) as api:
            await api.run(uuid4())

    with pytest.raises(UnknownEntity, match="no flow run"):
        asyncio.run(call())


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/api"])
def test_without_a_server_the_remedy_says_how_to_start_one(url: str | None) -> None:
    with pytest.raises(ServiceUnavailable) as caught:
        trigger(url, "train-churn", {})
    assert "merit up" in caught.value.remedy
