"""The registry on a real MLflow store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from store.dataset import DatasetRef
from store.errors import IntegrityFailed, InvalidValue, RegistryError, UnknownModel, UnknownVersion
from store.promotions import promote
from store.registry import Registry, folder_sha256
from store.settings import Settings

Make = Callable[..., list[int]]
EXAMPLE = (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"p": [0.1]}))


def saved(tmp_path: Path, text: str = "{}") -> Path:
    folder = tmp_path / "saved"
    (folder / "members" / "one").mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(text)
    (folder / "members" / "one" / "model.bin").write_bytes(b"\x00\x01")
    return folder


def test_a_run_keeps_what_it_is_told(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame({"id": ["x"], "n": [1], "at": [pd.Timestamp("2026-01-01")], "ok": [True], "f": [0.5]})
    frame.to_parquet(path)
    ref = DatasetRef(str(path), "ab" * 32, 1, datetime(2026, 1, 1), {"target": "ok"}, "telco.csv")
    with registry.run("Churn: Größe/1", "first", {"family": "churn"}) as run:
        run.log_params({"depth": 6, "grid": [1, 2], "name": "x" * 7000})
        run.log_metrics({"auc": 0.8, "slice plan=basic": 0.5, "nan": float("nan"), "none": None})  # type: ignore[dict-item]
        run.log_text("<p>Größe</p>", "report.html")
        run.log_bytes(b"\x89PNG", "plots/roc.png")
        run.log_file(path, "data")
        run.log_dataset(ref)
        for bad in ("../x", "/etc/x", ""):
            with pytest.raises(InvalidValue):
                run.log_text("", bad)
    seen = registry._client.get_run(run.id)
    assert (seen.info.status, seen.info.run_name) == ("FINISHED", "first")
    assert seen.data.params["depth"] == "6"
    assert seen.data.params["grid"] == "[1, 2]"
    assert len(seen.data.params["name"]) == 6000
    assert seen.data.metrics == {"auc": 0.8, "slice plan_basic": 0.5}
    assert seen.data.tags["family"] == "churn"
    assert seen.data.tags["dataset_digest"] == "ab" * 32
    (dataset,) = seen.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("telco.csv", ("ab" * 32)[:36])
    assert json.loads(dataset.dataset.profile)["num_rows"] == 1
    types = {column["name"]: column["type"] for column in json.loads(dataset.dataset.schema)["mlflow_colspec"]}
    assert types == {"id": "string", "n": "long", "at": "datetime", "ok": "boolean", "f": "double"}
    root = settings.root / "artifacts" / "Churn-Größe-1" / run.id / "artifacts"
    assert (root / "report.html").read_text() == "<p>Größe</p>"
    assert (root / "plots" / "roc.png").read_bytes() == b"\x89PNG"
    assert (root / "data" / "rows.parquet").is_file()


def test_a_run_ends_as_it_went(registry: Registry) -> None:
    with pytest.raises(ZeroDivisionError), registry.run("e", "broken") as failed:
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), registry.run("e", "stopped") as killed:
        raise KeyboardInterrupt
    with registry.run("e", "child", parent=failed.id) as child:
        pass
    statuses = [registry._client.get_run(run.id).info.status for run in (failed, killed, child)]
    assert statuses == ["FAILED", "KILLED", "FINISHED"]
    assert registry._client.get_run(child.id).data.tags["mlflow.parentRunId"] == failed.id
    with registry.run("e", "", {"retried": True}, run_id=failed.id) as again:
        assert again.id == failed.id
    resumed = registry._client.get_run(failed.id)
    assert (resumed.info.status, resumed.data.tags["retried"]) == ("FINISHED", "True")


def test_a_deleted_experiment_comes_back(registry: Registry) -> None:
    with registry.run("e", "one") as run:
        pass
    registry._client.delete_experiment(run.experiment_id)
    with registry.run("e", "two") as run:
        pass
    assert registry._client.get_run(run.id).info.status == "FINISHED"


def test_a_version_is_a_model_that_mlflow_shows(registry: Registry, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    given = pd.DataFrame(
        {
            "count": [1, 2],
            "maybe": pd.array([1, None], dtype="Int64"),
            "text": ["x", None],
            "plan": pd.Categorical(["basic", "pro"]),
            "at": pd.to_datetime(["2026-01-01", "2026-01-02"]),
            "flag": [True, False],
            "small": pd.Series([1.0, 2.0], dtype="float32"),
        }
    )
    answer = pd.DataFrame({"probability": [0.1, 0.9], "band": ["low", "high"]})
    tags = {"family": "churn", "candidate": "catboost", "dataset_digest": "cd" * 32, "git_commit": "e" * 40}
    with registry.run("churn", "run") as run:
        run.log_params({"depth": 6})
        run.log_metrics({"auc": 0.8})
        assert registry.register("churn", folder, run.id, (given, answer), tags) == 1
        assert registry.register("churn", folder, run.id, (given, answer), tags) == 2
    first = registry.version("churn", 1)
    assert first.tags == {**tags, "sha256": folder_sha256(folder)}
    assert (first.run_id, first.aliases) == (run.id, ())
    assert registry.model("churn").tags == {"family": "churn"}
    raw = registry._client.get_model_version("churn", "1")
    assert raw.description == f"catboost · dataset {'cd' * 6} · commit {'e' * 8}"
    logged = registry._client.get_logged_model(raw.source.removeprefix("models:/"))
    assert (str(logged.status), logged.model_type, logged.params) == ("READY", "churn", {"depth": "6"})
    assert {metric.key: metric.value for metric in logged.metrics} == {"auc": 0.8}
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "churn", "version": "1"}]
    assert logged.model_id in {out.model_id for out in registry._client.get_run(run.id).outputs.model_outputs}
    from mlflow.models import Model

    described = Model.load(next(Path(logged.artifact_location.removeprefix("file://")).glob("MLmodel")))
    kinds = {column["name"]: column["type"] for column in described.signature.inputs.to_dict()}
    assert kinds == {
        "count": "double",
        "maybe": "double",
        "text": "string",
        "plan": "string",
        "at": "datetime",
        "flag": "boolean",
        "small": "double",
    }
    assert [column["name"] for column in described.signature.outputs.to_dict()] == ["probability", "band"]
    assert described.flavors["meritorder"]["contract"] == "model/contract.json"
    # MLflow's process-wide address is as before: ours is nobody else's business.
    assert "MLFLOW_TRACKING_URI" not in os.environ


@pytest.mark.parametrize(
    "example",
    [
        (EXAMPLE[0], None),
        (EXAMPLE[0].head(0), EXAMPLE[1]),
        (pd.DataFrame(index=[0, 1]), EXAMPLE[1]),
    ],
)
def test_no_version_without_a_signature(registry: Registry, tmp_path: Path, example: tuple) -> None:
    with registry.run("e", "r") as run, pytest.raises(InvalidValue, match="example"):
        registry.register("churn", saved(tmp_path), run.id, example)
    with pytest.raises(UnknownModel):
        registry.model("churn")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a:b", "x" * 101, "a b", "-a"])
def test_names_that_cannot_be_kept_are_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    with registry.run("e", "r") as run, pytest.raises(InvalidValue, match="cannot be the name of a model"):
        registry.register(name, saved(tmp_path), run.id, EXAMPLE)


def test_aliases(registry: Registry, make_versions: Make) -> None:
    assert registry.alias("churn", "champion") is None
    assert registry.models() == []
    make_versions("churn", 3)
    make_versions("other", 1)
    assert registry.alias("churn", "champion") is None
    registry.set_alias("churn", "champion", 2)
    registry.set_alias("churn", "champion", 3)
    registry.set_alias("churn", "previous", 2)
    registry.set_alias("churn", "blessed", 3)
    assert registry.alias("churn", "champion") == 3
    assert [(one.name, one.aliases, one.latest) for one in registry.models()] == [
        ("churn", {"champion": 3, "previous": 2, "blessed": 3}, 3),
        ("other", {}, 1),
    ]
    assert [(one.version, one.aliases) for one in registry.versions("churn")] == [
        (3, ("blessed", "champion")),
        (2, ("previous",)),
        (1, ()),
    ]
    assert [one.version for one in registry.versions("churn", limit=1)] == [3]
    assert [one.version for one in registry.versions("churn", limit=5, before=3)] == [2, 1]
    registry.delete_alias("churn", "blessed")
    registry.delete_alias("churn", "blessed")
    registry.delete_alias("nothing", "blessed")
    assert registry.alias("churn", "blessed") is None


def test_what_is_not_there_is_named(registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 1)
    with pytest.raises(UnknownModel, match="'nope'"):
        registry.versions("nope")
    with pytest.raises(UnknownModel, match="'nope'"):
        registry.version("nope", 1)
    with pytest.raises(UnknownModel, match="'nope'"):
        registry.fetch("nope", 1)
    for act in (registry.version, registry.fetch):
        with pytest.raises(UnknownVersion, match="no version 9"):
            act("churn", 9)
    with pytest.raises(UnknownVersion):
        registry.set_alias("churn", "champion", 9)


def test_a_fetched_copy_is_what_was_registered(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    with registry.run("e", "r") as run:
        registry.register("churn", folder, run.id, EXAMPLE)
    copy = registry.fetch("churn", 1)
    assert copy.is_relative_to(settings.root / "cache")
    assert folder_sha256(copy) == folder_sha256(folder)
    # Once verified it is served without the artifact store; a changed copy is noticed and not given out.
    shutil.rmtree(settings.root / "artifacts")
    assert registry.fetch("churn", 1) == copy
    (copy / "contract.json").write_text("[]")
    with pytest.raises(IntegrityFailed, match="nothing"):
        registry.fetch("churn", 1)


def test_a_changed_artifact_is_refused(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    with registry.run("e", "r") as run:
        registry.register("churn", saved(tmp_path), run.id, EXAMPLE)
    (artifact,) = settings.root.glob("artifacts/**/model.bin")
    artifact.write_bytes(b"\x00\x02")
    with pytest.raises(IntegrityFailed, match="version 1 of 'churn'"):
        registry.fetch("churn", 1)
    assert not list((settings.root / "cache").glob("**/model.bin"))


def test_a_changed_artifact_with_a_changed_tag_is_refused_by_the_ledger(
    settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    with registry.run("e", "r") as run:
        registry.register("churn", saved(tmp_path), run.id, EXAMPLE)
    promote(settings, registry, "churn", 1, expected=None, actor="a", reason="r")
    (artifact,) = settings.root.glob("artifacts/**/model.bin")
    artifact.write_bytes(b"\x00\x02")
    forged = folder_sha256(artifact.parents[2])
    registry._client.set_model_version_tag("churn", "1", "sha256", forged)
    with pytest.raises(IntegrityFailed, match="ledger"):
        registry.fetch("churn", 1)


def test_models_are_read_again_only_after_somebody_wrote(
    settings: Settings, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    search = registry._client.search_registered_models

    def counted(**given: Any) -> Any:
        asked.append("asked")
        return search(**given)

    monkeypatch.setattr(registry._client, "search_registered_models", counted)

    def age(seconds: int = 10) -> None:
        """As if the last write were so long ago."""
        for path in settings.root.glob("mlflow.db*"):
            moment = path.stat().st_mtime_ns - seconds * 10**9
            os.utime(path, ns=(moment, moment))

    assert registry.models() == []
    assert registry.models() == []
    assert len(asked) == 2  # what was written this very second could have been followed by more
    age()
    assert [registry.models(), registry.models(), registry.models()] == [[], [], []]
    assert len(asked) == 3
    # Somebody else writes, who shares nothing with this registry but the file.
    other = Registry(settings)
    for number, name in enumerate(("churn", "pricing")):
        with other.run(name, "made", {}) as run:
            other.register(name, saved(tmp_path, str(number)), run.id, EXAMPLE)
        found = [one.name for one in registry.models()]
        assert found == ["churn", "pricing"][: number + 1]
        age()
        assert [one.name for one in registry.models()] == found
    other.set_alias("pricing", "champion", 1)
    assert [dict(one.aliases) for one in registry.models()] == [{}, {"champion": 1}]
    before = len(asked)
    age()
    for _ in range(3):
        registry.models().clear()  # what is done to an answer is not done to the next one
        assert [one.name for one in registry.models()] == ["churn", "pricing"]
    assert len(asked) == before + 1


def test_many_threads_register_at_once(registry: Registry, tmp_path: Path) -> None:
    made: list[int] = []
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "contract.json").write_text(str(number))
            with registry.run("e", str(number)) as run:
                run.log_metrics({"n": number})
                version = registry.register("churn", folder, run.id, EXAMPLE)
            made.append(version)
            assert (registry.fetch("churn", version) / "contract.json").read_text() == str(number)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(made) == [1, 2, 3, 4, 5, 6]


_FIRST_USE = """
import sys, tempfile
from pathlib import Path
from typing import Any
import pandas as pd
from store.registry import Registry
from store.settings import load_settings

registry = Registry(load_settings())
folder = Path(tempfile.mkdtemp()); (folder / "contract.json").write_text(sys.argv[1])
with registry.run("e", sys.argv[1]) as run:
    run.log_metrics({"auc": 0.5}); run.log_text("x", "a.txt")
    example = (pd.DataFrame({"a": [1]}), pd.DataFrame({"p": [0.1]}))
    registry.fetch("churn", registry.register("churn", folder, run.id, example))
heavy = {"matplotlib", "plotly", "prefect", "great_expectations"} & {name.split(".")[0] for name in sys.modules}
assert not heavy, heavy
"""


def test_several_processes_first_use_a_fresh_store_in_silence(settings: Settings, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    environment["MERIT_HOME"] = str(settings.home)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _FIRST_USE, str(number)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(3)
    ]
    for process in running:
        output, _ = process.communicate(timeout=200)
        assert (process.returncode, output) == (0, "")
    assert [one.version for one in Registry(settings).versions("churn")] == [3, 2, 1]
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_a_store_of_another_kind_is_refused(settings: Settings) -> None:
    for uri in ("mysql://u:hunter2@h/d", "nonsense"):
        with pytest.raises(Exception, match="MERIT_MLFLOW_URI") as caught:
            Registry(settings.model_copy(update={"mlflow_uri": uri})).models()
        assert "hunter2" not in str(caught.value)


def test_mlflow_on_postgres(settings: Settings, postgres_url: str, tmp_path: Path) -> None:
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    registry = Registry(settings.model_copy(update={"mlflow_uri": url}))
    with registry.run("e", "r") as run:
        registry.register("churn", saved(tmp_path), run.id, EXAMPLE)
    registry.set_alias("churn", "champion", 1)
    assert registry.alias("churn", "champion") == 1
    assert folder_sha256(registry.fetch("churn", 1)) == folder_sha256(saved(tmp_path))
    with pytest.raises(RegistryError) as caught:
        registry.set_alias("churn", "v1", 1)  # MLflow keeps such names for itself
    assert url not in str(caught.value)
    registry.close()
