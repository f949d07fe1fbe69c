"""The API as a process of its own: promotions under load, a clean stop, what it imports, how it refuses to start."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from store import keys, predictions

PATH = "/v1/churn/predictions"
# A promotion is followed within five seconds: the time of the watcher, of loading, and of a busy machine.
FOLLOWED = 5.0


@dataclass
class Load:
    """Threads that send predictions and write down when they were sent, answered, and by which version."""

    url: str
    body: dict[str, Any]
    threads: int = 4
    answers: list[tuple[float, float, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._running = [threading.Thread(target=self._send) for _ in range(self.threads)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self._running:
            thread.join()

    def _send(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.stopping.is_set():
                sent = time.monotonic()
                try:
                    response = client.post(PATH, json=self.body)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if response.status_code == 201:
                    self.answers.append((sent, time.monotonic(), response.json()["version"]))
                else:
                    self.failures.append(response.text)
                time.sleep(0.002)


def test_promotions_under_load_fail_no_request(world: Any, api: Callable[..., Any]) -> None:
    """Versions are promoted and rolled back while requests are answered: none fails, and each is answered by the
    version that is champion, or while it changes by the one before or after; never an older one again."""
    world.champion("logistic")
    for candidate in ("catboost", "logistic", "prevalence"):
        world.register(candidate)
    process = api()
    process.wait()
    # When the change began, when it was first seen, and the version.
    moves = [(0.0, time.monotonic(), 1)]
    url = f"{process.url}/v1/registry/models/churn"
    with Load(process.url, {"features": world.features()}) as load:
        for version in (2, 3, 4, None, 1, None):
            time.sleep(0.3)
            begun = time.monotonic()
            if version is None:
                done = httpx.post(f"{url}/rollback", json={"reason": "under load"}, timeout=30)
            else:
                done = httpx.post(f"{url}/promote", json={"version": version, "reason": "under load"}, timeout=30)
            assert done.status_code == 200, done.text
            moved = time.monotonic()
            champion = done.json()["to_version"]
            while httpx.post(process.url + PATH, json=load.body, timeout=30).json()["version"] != champion:
                assert time.monotonic() < moved + FOLLOWED
            moves.append((begun, time.monotonic(), champion))
        time.sleep(0.3)
    assert load.failures == []
    assert [version for _, _, version in moves] == [1, 2, 3, 4, 3, 1, 3]
    settled = 0
    for sent, answered, version in load.answers:
        # The last change seen before it was sent, and those begun before it was answered.
        first = max(place for place, (_, seen, _) in enumerate(moves) if seen <= sent or place == 0)
        last = max(place for place, (begun, _, _) in enumerate(moves) if begun <= answered)
        assert version in {champion for _, _, champion in moves[first : last + 1]}
        settled += first == last
    assert settled > 50


def test_a_promotion_is_followed_within_five_seconds(world: Any, api: Callable[..., Any]) -> None:
    """The alias is moved by another process, at the default pace of the watcher."""
    world.champion("logistic")
    process = api(MERIT_WATCH_SECONDS="2.0")
    process.wait()
    version = world.register("catboost")
    world.promote(version)
    begin = time.monotonic()
    while httpx.post(process.url + PATH, json={"features": world.features()}, timeout=60).json()["version"] != version:
        assert time.monotonic() - begin < FOLLOWED
        time.sleep(0.05)


def test_stopping_writes_every_prediction(world: Any, api: Callable[..., Any]) -> None:
    world.champion("logistic")
    process = api()
    process.wait()
    made = [
        httpx.post(process.url + PATH, json={"rows": [world.features()] * 200}, timeout=60).json() for _ in range(5)
    ]
    assert process.stop(signal.SIGTERM) in (0, -signal.SIGTERM)
    ids = {one["id"] for answer in made for one in answer["predictions"]}
    cursor, found = None, set()
    while True:
        page = predictions.page(world.settings, limit=1000, cursor=cursor)
        found |= {one.id for one in page.items}
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == ids


def test_a_promotion_killed_half_way_leaves_the_old_champion_serving(world: Any, api: Callable[..., Any]) -> None:
    world.champion("logistic")
    version = world.register("catboost")
    process = api()
    process.wait()
    # Dies after the ledger's intention and before the alias moves.
    script = f"""
        import os, signal
        from pathlib import Path
        from store.promotions import promote
        from store.registry import Registry
        from store.settings import Settings

        settings = Settings(home=Path({str(world.settings.home)!r}))
        registry = Registry(settings)
        registry.set_alias = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        promote(settings, registry, "churn", {version}, expected=1, actor="test", reason="killed")
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ended.returncode == -signal.SIGKILL
    time.sleep(1.0)
    assert httpx.post(process.url + PATH, json={"features": world.features()}, timeout=60).json()["version"] == 1
    done = httpx.post(
        f"{process.url}/v1/registry/models/churn/promote", json={"version": version, "reason": "again"}, timeout=30
    )
    assert done.status_code == 200
    told = httpx.get(f"{process.url}/v1/registry/models/churn/history", timeout=60).json()
    assert [line["state"] for line in told["promotions"]] == ["done", "failed", "done"]


def test_serving_imports_no_trainer_and_no_orchestrator(world: Any) -> None:
    """Only what the champion needs: a CatBoost champion brings CatBoost, and nothing else of the kind."""
    world.champion("catboost")
    world.champion("forecaster", "forecasting")
    script = f"""
        import sys, time
        from pathlib import Path
        from fastapi.testclient import TestClient
        from serving.app import create_app
        from store.settings import Settings

        app = create_app(Settings(home=Path({str(world.settings.home)!r}), watch_seconds=0.2))
        with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
            while client.get("/readyz").status_code != 200:
                time.sleep(0.1)
            assert client.post("{PATH}", json={{"features": {world.features()!r}}}).status_code == 201
            assert client.post("/v1/forecasts", json={{}}).status_code == 201
            assert client.get("/openapi.json").status_code == 200
        print(sorted({{name.split(".")[0] for name in sys.modules}}))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = set(eval(result.stdout.splitlines()[-1]))
    assert "catboost" in loaded
    for name in ("great_expectations", "prefect", "matplotlib", "plotly", "statsforecast", "prophet", "numba", "torch",
                 "lightgbm", "xgboost"):  # fmt: skip
        assert name not in loaded


def test_without_keys_it_says_that_it_is_open_and_refuses_other_hosts(world: Any, api: Callable[..., Any]) -> None:
    process = api()
    process.wait("/healthz")
    assert "open to every program on this machine" in process.log.read_text()
    refused = httpx.get(process.url + "/v1/registry/models", headers={"Host": "evil.example"}, timeout=60)
    assert refused.status_code == 401
    assert httpx.get(process.url + "/v1/registry/models", timeout=60).status_code == 200


def test_without_keys_it_does_not_start_on_the_network(world: Any, api: Callable[..., Any]) -> None:
    process = api(MERIT_HOST="0.0.0.0")
    assert process.process.wait(60) != 0
    log = process.log.read_text()
    assert "SettingsError" in log
    assert "merit keys create" in log
    keys.create(world.settings, "ops", "admin")
    process = api(MERIT_HOST="0.0.0.0")
    process.wait("/healthz")


def test_on_postgres(world: Any, postgres_url: str) -> None:
    """The whole path with the platform's tables in Postgres: predict, list by band, report, forecast."""
    from fastapi.testclient import TestClient
    from pydantic import SecretStr

    from serving.app import create_app
    from store.database import dispose, migrate
    from store.registry import Registry

    settings = world.settings.model_copy(update={"database_url": SecretStr(postgres_url)})
    migrate(settings)
    here = type(world)(settings, Registry(settings), world.folders, world.frame)
    here.champion("logistic")
    here.champion("forecaster", "forecasting")
    here.publish()
    with TestClient(create_app(settings), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        deadline = time.monotonic() + 20
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        made = client.post(PATH, json={"customer_id": "c000001"}).json()
        found = client.get(PATH, params={"band": made["band"], "since": "2026-01-01T00:00:00Z"}).json()
        assert [one["id"] for one in found["predictions"]] == [made["id"]]
        assert client.put(f"{PATH}/{made['id']}/actual", json={"churned": True}).status_code == 200
        assert client.get(f"{PATH}/{made['id']}").json()["actual"]["churned"] is True
        forecast = client.post("/v1/forecasts", json={"horizon": 2}).json()
        assert len(client.get(forecast["data"]["csv"]).text.splitlines()) == 7
    dispose(settings)
