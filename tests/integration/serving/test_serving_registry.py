"""The registry, the ledger, promotion and rollback over HTTP; health."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.families import Spec
from serving.warm_up import warm_up
from store import events, ledger
from store.database import dispose
from store.errors import IntegrityFailed
from store.registry import folder_sha256

PATH = "/v1/registry/models"


def served(client: TestClient, world: Any) -> int:
    body = client.post("/v1/churn/predictions", json={"features": world.features()}).json()
    return int(body["version"])


def checks(client: TestClient, path: str = "/readyz") -> dict[str, Any]:
    return {check["name"]: check for check in client.get(path).json()["checks"]}


def test_promotion_and_rollback_are_followed(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    world.champion("logistic")
    second = world.register("catboost")
    with open_client(world.settings) as client:
        assert served(client, world) == 1
        line = client.post(f"{PATH}/churn/promote", json={"version": second, "reason": "it is better", "expected": 1})
        assert line.status_code == 200
        assert (line.json()["state"], line.json()["from_version"], line.json()["to_version"]) == ("done", 1, 2)
        eventually(lambda: served(client, world) == 2)
        model = client.get(f"{PATH}/churn").json()
        assert model["aliases"] == {"champion": 2, "previous": 1}
        assert model["served"]["version"] == 2

        conflict = client.post(f"{PATH}/churn/promote", json={"version": 1, "reason": "no, this", "expected": 1})
        assert conflict.status_code == 409
        assert "version 2" in conflict.json()["detail"]

        back = client.post(f"{PATH}/churn/rollback", json={"reason": "complaints"}).json()
        assert (back["kind"], back["to_version"], back["actor"]) == ("rollback", 1, "local")
        eventually(lambda: served(client, world) == 1)

        history = client.get(f"{PATH}/churn/history").json()["promotions"]
        assert [(line["kind"], line["state"], line["to_version"]) for line in history] == [
            ("rollback", "done", 1),
            ("promotion", "refused", 1),
            ("promotion", "done", 2),
            ("promotion", "done", 1),
        ]
        assert history[2]["reason"] == "it is better"
        page = client.get(f"{PATH}/churn/history", params={"limit": 3}).json()
        rest = client.get(f"{PATH}/churn/history", params={"before": page["next_before"]}).json()
        assert [line["id"] for line in page["promotions"] + rest["promotions"]] == [line["id"] for line in history]
        assert rest["next_before"] is None


def test_models_and_versions(client: TestClient, shared: Any) -> None:
    models = {model["name"]: model for model in client.get(PATH).json()["models"]}
    assert models["churn"]["family"] == "churn"
    assert models["churn"]["served"]["version"] == 1
    assert models["forecasting"]["refused"] is None
    version = client.get(f"{PATH}/churn/versions").json()["versions"][0]
    assert version["candidate"] == "logistic"
    assert version["dataset_digest"] == "d" * 64
    assert version["sha256"] == folder_sha256(shared.folders["logistic"])
    assert version["created_at"].endswith("Z")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/telco", None, 404, "name"),
        ("GET", "/telco/versions", None, 404, "name"),
        ("GET", "/telco/history", None, 404, "name"),
        ("POST", "/telco/promote", {"version": 1, "reason": "because"}, 404, "name"),
        ("POST", "/telco/rollback", {"reason": "because"}, 404, "name"),
        ("POST", "/churn/promote", {"version": 99, "reason": "because"}, 404, "version"),
        ("POST", "/churn/promote", {"version": 1, "reason": "because"}, 422, "version"),
        ("POST", "/churn/promote", {"version": "one", "reason": "because"}, 422, "version"),
        ("POST", "/churn/promote", {"version": 1}, 422, "reason"),
        ("POST", "/churn/rollback", {"reason": "because"}, 404, "to"),
    ],
)
def test_what_is_not_there_is_a_problem(
    client: TestClient, method: str, path: str, body: Any, status: int, field: str
) -> None:
    response = client.request(method, PATH + path, json=body)
    assert response.status_code == status
    assert response.json()["field"] == field
    assert response.json()["remedy"]


def test_readiness_says_what_is_missing_and_what_to_run(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    with open_client(world.settings) as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        response = client.get("/readyz")
        assert response.status_code == 503
        found = {check["name"]: check for check in response.json()["checks"]}
        assert found["database"]["ok"]
        assert found["registry"]["ok"]
        assert "`merit train churn`" in found["model churn"]["remedy"]
        assert "`merit train forecasting`" in found["model forecasting"]["remedy"]
        assert all(check["required"] for check in found.values())


def test_families_that_nobody_promoted_are_told_and_not_waited_for(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    world.champion("logistic")
    with open_client(world.settings) as client:
        assert client.get("/readyz").status_code == 200
        missing = checks(client)["model forecasting"]
        assert (missing["ok"], missing["required"]) == (False, False)
        assert "`merit train forecasting`" in missing["remedy"]
        assert client.get("/readyz?models=churn&models=forecasting").status_code == 503
        assert client.get("/readyz?models=telco").status_code == 503
        # From the moment it has the alias a model must be served; this one no ledger knows, so it is refused.
        world.registry.set_alias("telco", "champion", world.register("catboost", name="telco"))
        eventually(lambda: client.get("/readyz").status_code == 503)
        assert checks(client)["model telco"]["required"]
        assert client.get("/readyz?models=churn").status_code == 200
        world.champion("forecaster", "forecasting")
        eventually(lambda: client.get("/readyz?models=churn&models=forecasting").status_code == 200)


def test_readiness_tells_when_the_database_is_gone(world: Any, open_client: Callable[..., Any]) -> None:
    world.champion("logistic")
    with open_client(world.settings) as client:
        assert checks(client)["database"]["ok"]
        database = world.settings.root / "merit.db"
        # A folder in its place at one stroke: whoever connects between two would make a new file.
        hidden, folder, link = (database.with_suffix(suffix) for suffix in (".hidden", ".folder", ".link"))
        os.link(database, hidden)
        folder.mkdir()
        link.symlink_to(folder)
        link.replace(database)
        dispose(world.settings)
        try:
            response = client.get("/readyz?models=churn")
            assert response.status_code == 503
            assert not {check["name"]: check for check in response.json()["checks"]}["database"]["ok"]
            assert client.get("/healthz").status_code == 200
        finally:
            hidden.replace(database)


def backup(path: Path, copy: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def test_readiness_tells_when_a_file_was_removed_under_it(
    world: Any, open_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connections stay open, and go on answering from a file that is at no path any more."""
    world.champion("logistic")
    # Whatever looks now and then would make a new file where there is none.
    monkeypatch.setattr("gateway.account.workspaces.REFRESH_SECONDS", 3600.0)
    with open_client(world.settings.model_copy(update={"watch_seconds": 60.0})) as client:
        assert client.get("/readyz?models=churn").status_code == 200
        for name in ("mlflow.db", "merit.db"):
            path = world.settings.root / name
            backup(path, path.with_suffix(".copy"))
            for suffix in ("", "-wal", "-shm"):
                path.with_name(name + suffix).unlink(missing_ok=True)
            assert client.get("/readyz?models=churn").status_code == 503
            assert not checks(client)["registry" if name == "mlflow.db" else "database"]["ok"]
            assert client.get("/healthz").status_code == 200
            for suffix in ("", "-wal", "-shm"):
                path.with_name(name + suffix).unlink(missing_ok=True)
            shutil.move(path.with_suffix(".copy"), path)
            assert client.get("/readyz?models=churn").status_code == 200
            assert served(client, world) == 1


def test_predictions_go_to_the_file_that_is_there(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    world.champion("logistic")
    with open_client(world.settings) as client:
        assert served(client, world) == 1
        path = world.settings.root / "merit.db"
        eventually(lambda: client.get("/v1/churn/predictions").json()["predictions"])
        backup(path, path.with_suffix(".backup"))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.with_suffix(".backup").replace(path)  # as restoring a backup does
        assert served(client, world) == 1
        eventually(lambda: len(client.get("/v1/churn/predictions").json()["predictions"]) == 2)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (2,)


def test_a_broken_artifact_is_refused_and_the_old_champion_stays(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    world.champion("logistic")
    second = world.register("catboost")
    with open_client(world.settings) as client:
        world.promote(second)
        eventually(lambda: served(client, world) == 2)
        third = world.register("prevalence")
        artifacts = [
            path
            for path in (world.settings.root / "artifacts").rglob("contract.json")
            if folder_sha256(path.parent) == folder_sha256(world.folders["prevalence"])
        ]
        assert len(artifacts) == 1
        # Changed after it was promoted, and before any process has fetched it.
        sha256 = world.registry.version("churn", third).sha256
        ledger.append(
            world.settings,
            model="churn",
            kind="promotion",
            state="done",
            from_version=second,
            to_version=third,
            actor="test",
            reason="a test",
            artifact_sha256=sha256,
        )
        artifacts[0].write_text(artifacts[0].read_text().replace("0.", "0.1", 1))
        world.registry.set_alias("churn", "champion", third)
        eventually(lambda: client.get(f"{PATH}/churn").json()["refused"] is not None)
        refused = client.get(f"{PATH}/churn").json()["refused"]
        assert refused["version"] == third
        assert "rollback" in refused["remedy"]
        assert served(client, world) == 2
        ready = client.get("/readyz?models=churn")
        assert ready.status_code == 200
        assert "was refused" in ready.json()["checks"][-1]["detail"]
        eventually(lambda: client.get(f"{PATH}/churn").json()["refused"]["attempts"] > 1)
        assert caplog.text.count("churn version 3 was refused") == 1
        assert len(events.recent(world.settings, "champion_refused")) == 1

        client.post(f"{PATH}/churn/rollback", json={"reason": "broken", "to": 1})
        eventually(lambda: served(client, world) == 1)
        assert client.get(f"{PATH}/churn").json()["refused"] is None


@pytest.mark.parametrize("candidate", ["logistic", "catboost", "prevalence"])
def test_a_model_is_held_to_its_recorded_answers(world: Any, tmp_path: Path, candidate: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(world.folders[candidate], folder)
    contract = json.loads((folder / "contract.json").read_text())
    recorded = list(contract["answers"])
    assert len(recorded) == len(contract["example"]) > 0
    family = Spec("churn", "churn").build()
    scorer = warm_up("churn", family.load(folder))
    assert scorer is not None
    assert scorer.predict_records(contract["example"]).tolist() == recorded
    for answers, fits in (
        ([recorded[0] + 1e-11, *recorded[1:]], True),
        ([recorded[0] + 2e-9, *recorded[1:]], False),
        (recorded[1:], False),
    ):
        (folder / "contract.json").write_text(json.dumps({**contract, "answers": answers}))
        if fits:
            warm_up("churn", family.load(folder))
        else:
            with pytest.raises(IntegrityFailed, match="when it was trained it said"):
                warm_up("churn", family.load(folder))


def test_a_version_that_answers_otherwise_than_recorded_is_refused(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None], tmp_path: Path
) -> None:
    """Its files are as they were registered; it is the libraries that may have changed."""
    world.champion("logistic")
    folder = tmp_path / "model"
    shutil.copytree(world.folders["catboost"], folder)
    contract = json.loads((folder / "contract.json").read_text())
    contract["answers"][0] += 1e-6
    (folder / "contract.json").write_text(json.dumps(contract))
    second = world.register("catboost", folder=folder)
    with open_client(world.settings) as client:
        assert served(client, world) == 1
        world.promote(second)
        eventually(lambda: client.get(f"{PATH}/churn").json()["refused"] is not None)
        refused = client.get(f"{PATH}/churn").json()["refused"]
        assert "when it was trained it said" in refused["reason"]
        assert "train again" in refused["remedy"]
        assert served(client, world) == 1


def test_a_version_the_ledger_does_not_know_is_refused(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    world.champion("logistic")
    second = world.register("catboost")
    with open_client(world.settings) as client:
        world.registry.set_alias("churn", "champion", second)
        eventually(lambda: client.get(f"{PATH}/churn").json()["refused"] is not None)
        assert "ledger does not know it" in client.get(f"{PATH}/churn").json()["refused"]["reason"]
        assert served(client, world) == 1


def test_a_withdrawn_champion_is_no_longer_served(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    world.champion("logistic")
    with open_client(world.settings) as client:
        assert served(client, world) == 1
        world.registry.delete_alias("churn", "champion")
        eventually(lambda: not checks(client)["model churn"]["ok"])
        assert client.post("/v1/churn/predictions", json={"features": world.features()}).status_code == 503


def test_the_registry_may_go_away_and_come_back(
    world: Any, open_client: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    world.champion("logistic")
    with open_client(world.settings) as client:
        champions = client.app.state.services.champions  # type: ignore[attr-defined]
        registry, champions._registry = champions._registry, None
        eventually(lambda: champions.registry_error is not None)
        assert served(client, world) == 1
        champions._registry = registry
        eventually(lambda: champions.registry_error is None)
        assert served(client, world) == 1
