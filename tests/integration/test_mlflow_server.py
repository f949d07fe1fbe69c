"""The same registry through a real `mlflow server`, and what happens when it goes away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from store.errors import MeritError, PromotionConflict, ServiceUnavailable, UnknownVersion
from store.promotions import history, promote, rollback
from store.registry import Registry, folder_sha256
from store.settings import Settings

EXAMPLE = (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"p": [0.1]}))


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, which share its process group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


@pytest.fixture
def served(
    settings: Settings, mlflow_template: Path, new_port: Callable[[], int]
) -> Iterator[tuple[Settings, subprocess.Popen[bytes]]]:
    """Settings that speak to a server, and the server; its own proxied artifact store is not the one we use."""
    database = settings.root / "mlflow.db"
    shutil.copy(mlflow_template, database)
    port = new_port()
    log = (settings.root / "server.log").open("wb")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"),
            *("--artifacts-destination", str(settings.root / "proxied")),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert process.poll() is None, (settings.root / "server.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield settings.model_copy(update={"mlflow_uri": url}), process
    finally:
        stop(process)
        log.close()


def test_everything_works_through_a_server(
    served: tuple[Settings, subprocess.Popen[bytes]], settings: Settings, tmp_path: Path
) -> None:
    remote, process = served
    registry = Registry(remote)
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "contract.json").write_text("{}")
    assert registry.alias("churn", "champion") is None
    with registry.run("churn", "first", {"family": "churn"}) as run:
        run.log_params({"depth": 6})
        run.log_metrics({"auc": 0.8})
        run.log_text("<p>", "report.html")
        versions = [registry.register("churn", folder, run.id, EXAMPLE, {"family": "churn"}) for _ in range(3)]
    assert versions == [1, 2, 3]
    assert folder_sha256(registry.fetch("churn", 1)) == folder_sha256(folder)
    promote(remote, registry, "churn", 1, expected=None, actor="a", reason="r")
    promote(remote, registry, "churn", 2, expected=1, actor="a", reason="r")
    with pytest.raises(PromotionConflict):
        promote(remote, registry, "churn", 3, expected=1, actor="a", reason="r")
    rollback(remote, registry, "churn", actor="a", reason="r")
    assert registry.model("churn").aliases == {"champion": 1, "previous": 2}
    with pytest.raises(UnknownVersion):
        registry.version("churn", 9)
    registry.delete_alias("churn", "nothing")
    assert [one.version for one in registry.versions("churn")] == [3, 2, 1]

    def train() -> None:
        with registry.run("churn", "cut off") as cut:
            cut.log_metrics({"auc": 0.5})
            stop(process)
            cut.log_metrics({"auc": 0.6})

    with pytest.raises(ServiceUnavailable):
        train()
    begin = time.monotonic()
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1"):
        registry.alias("churn", "champion")
    assert time.monotonic() - begin < 20
    with pytest.raises(MeritError):
        promote(remote, registry, "churn", 2, expected=1, actor="a", reason="r")

    # What was made through the server is all there without it.
    direct = Registry(settings)
    assert direct.alias("churn", "champion") == 1
    assert folder_sha256(direct.fetch("churn", 3)) == folder_sha256(folder)
    assert [one.state for one in history(settings, "churn")] == ["done", "done", "refused", "done"]
