"""Tasks on a real Dask cluster: the same models to the last byte, and clear words where there is no cluster."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pandas as pd
import pytest
from prefect import flow, task

from features.snapshot import write_dataset
from flows import lifecycle
from flows import task_runner as runners
from flows.ending import result_of
from flows.environment import current_settings, prefect_environment, using
from flows.lifecycle import Trained, finished, train_family
from flows.progress import Steps
from flows.run import prefect_here
from flows.task_runner import task_runner
from models.families import Spec
from models.forecasting import panel_runs
from models.lifecycle.stages import Fitted
from store.dataset import DatasetRef
from store.errors import ServiceUnavailable, SettingsError
from store.registry import Registry, folder_sha256
from store.settings import Settings, load_settings

from .conftest import END, EnergyFamily, load_usage


@pytest.fixture(scope="module")
def cluster() -> Iterator[distributed.LocalCluster]:
    """A scheduler at an address of its own and a worker with two threads, all in this process."""
    quiet = {"processes": False, "n_workers": 1, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(protocol="tcp://", **quiet) as made:
        yield made


@task
def thread_of(number: int) -> tuple[int, str]:
    return number, threading.current_thread().name


@flow(name="asks-for-a-runner")
def ask(settings: Settings) -> list[tuple[int, str]]:
    with task_runner(settings, 2) as runner:
        return [runner.submit(thread_of, {"number": number}).result() for number in range(3)]


@flow(name="train-on-dask")
def train_energy(name: str) -> Trained:
    return finished(train_family(Spec("energy", name, {}), END, side_by_side=2))


def run(settings: Settings, work: Any, *given: Any) -> Any:
    environment = prefect_environment(settings) | {"PREFECT_LOGGING_LEVEL": "CRITICAL"}
    with prefect_here(environment, url=settings.prefect_api_url), using(settings):
        return result_of(work, *given)


def test_a_model_has_the_same_bytes_whatever_fitted_it(
    flow_settings: Settings, energy: type[EnergyFamily], cluster: distributed.LocalCluster
) -> None:
    load_usage(flow_settings)
    there = flow_settings.model_copy(update={"task_runner": "dask", "dask_address": cluster.scheduler_address})
    made = {name: run(one, train_energy, name) for name, one in {"threads": flow_settings, "dask": there}.items()}
    assert sorted(energy.fitted) == sorted(["overall", "region", "shrunk"] * 2)
    assert {one.verdict for one in made.values()} == {"promote"}
    registry = Registry(flow_settings)
    assert registry.version("dask", 1).sha256 == registry.version("threads", 1).sha256


SERIES = 7
MEMBERS = ("SeasonalNaive", "AutoTheta")


@flow(name="fits-forecasts")
def fit_forecasts(spec: Spec, ref: DatasetRef, folder: Path) -> list[Fitted]:
    with task_runner(current_settings(), 1) as runner:
        step = Steps(0)
        lifecycle._prepare_all(spec, ref, runner, step)
        return lifecycle._fit_all(spec, ref, folder, runner, step)


def test_series_are_worked_on_in_pieces_with_the_same_bytes(
    flow_settings: Settings, cluster: distributed.LocalCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    days = pd.date_range("2025-01-01", periods=90, freq="D")
    frame = pd.concat(
        pd.DataFrame({"unique_id": f"s{number}", "ds": days, "y": 50 + rng.normal(0, 1, len(days)).cumsum()})
        for number in range(SERIES)
    )
    roles = {"entity": "unique_id", "time": "ds", "target": "y"}
    ref = write_dataset(frame, tmp_path / "data", roles=roles)
    worked: list[tuple[str, str]] = []
    run_one = panel_runs._run_one

    def told(task: Any, *, name: str, **given: Any) -> Any:
        worked.append((name, task[0].name))
        return run_one(task, name=name, **given)

    monkeypatch.setattr(panel_runs, "PIECE", 3)
    monkeypatch.setattr(panel_runs, "_run_one", told)
    there = flow_settings.model_copy(update={"task_runner": "dask", "dask_address": cluster.scheduler_address})
    digests = []
    for name, settings in (("threads", flow_settings), ("dask", there)):
        options = {"horizon": 7, "freq": "D", "members": list(MEMBERS), "cache": str(tmp_path / f"cache-{name}")}
        folder = tmp_path / name
        fitted = run(settings, fit_forecasts, Spec("forecasting", "forecasting", options), ref, folder)
        assert [one.error for one in fitted] == ["", "", ""]
        assert sorted(worked) == sorted((member, f"s{number}") for member in MEMBERS for number in range(SERIES))
        digests.append([folder_sha256(one.path) for one in fitted])
        worked.clear()
    assert digests[0] == digests[1]
    assert len(list((tmp_path / "cache-dask").iterdir())) == 2 * 3


def test_tasks_run_where_the_settings_say(flow_settings: Settings, cluster: distributed.LocalCluster) -> None:
    there = {"task_runner": "dask", "dask_address": cluster.scheduler_address}
    for update, word in (({}, "ThreadPoolExecutor"), ({"task_runner": "dask"}, "Dask"), (there, "Dask")):
        settings = flow_settings.model_copy(update=update)
        found = run(settings, ask, settings)
        assert [number for number, _ in found] == [0, 1, 2]
        assert all(word in name for _, name in found), found


def test_an_address_without_a_scheduler_is_named(flow_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "CONNECT_SECONDS", 0.5)
    nobody = flow_settings.model_copy(update={"task_runner": "dask", "dask_address": "tcp://127.0.0.1:9"})
    with pytest.raises(ServiceUnavailable, match=r"MERIT_DASK_ADDRESS=tcp://127\.0\.0\.1:9 does not answer") as caught:
        run(nobody, ask, nobody)
    assert "dask scheduler" in caught.value.remedy


def test_a_scheduler_without_a_worker_is_no_cluster(flow_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # To connect takes as long as it takes; only what never comes is waited for less.
    wait = distributed.Client.wait_for_workers
    monkeypatch.setattr(distributed.Client, "wait_for_workers", lambda self, n, timeout: wait(self, n, timeout=0.5))
    quiet: dict[str, Any] = {"processes": False, "n_workers": 0, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(protocol="tcp://", **quiet) as empty:
        settings = flow_settings.model_copy(update={"task_runner": "dask", "dask_address": empty.scheduler_address})
        with pytest.raises(ServiceUnavailable, match="had no worker") as caught:
            run(settings, ask, settings)
    assert f"dask worker {empty.scheduler_address}" in caught.value.remedy


def test_workers_elsewhere_need_a_server_that_they_reach(settings: Settings) -> None:
    elsewhere = settings.model_copy(update={"task_runner": "dask", "dask_address": "tcp://192.0.2.1:8786"})
    with (
        prefect_here(prefect_environment(elsewhere), url=None),
        pytest.raises(SettingsError, match=r"workers of tcp://192\.0\.2\.1:8786") as caught,
        task_runner(elsewhere, 1),
    ):
        pass
    assert caught.value.field == "MERIT_PREFECT_API_URL"


def test_without_the_extra_it_is_said_which(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prefect_dask.task_runners", None)
    asked = settings.model_copy(update={"task_runner": "dask"})
    with pytest.raises(SettingsError, match="needs the extra `dask`") as caught, task_runner(asked, 1):
        pass
    assert "meritorder[dask]" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value"),
    [("MERIT_TASK_RUNNER", "ray"), ("MERIT_DASK_ADDRESS", "localhost:8786"), ("MERIT_DASK_ADDRESS", "tcp://a b")],
)
def test_settings_that_name_no_runner_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}='{value}'"):
        load_settings()


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERIT_DASK_ADDRESS", "")
    assert load_settings().dask_address is None
