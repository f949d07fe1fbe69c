"""Settings of Prefect, and what must not be imported to have them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from flows.environment import PROJECT, current_settings, prefect_environment, using
from store.settings import Settings


def test_prefect_keeps_everything_below_the_home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", "/somewhere/else")
    environment = prefect_environment(settings)
    kept = {
        name: value
        for name, value in environment.items()
        if name in {"PREFECT_HOME", "PREFECT_PROFILES_PATH", "PREFECT_RESULTS_LOCAL_STORAGE_PATH", "MERIT_HOME"}
        or "DATABASE" in name
    }
    assert len(kept) == 5
    for value in kept.values():
        assert str(settings.root) in value
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert "PREFECT_API_URL" not in environment
    there = settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:4200/api"})
    assert prefect_environment(there)["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"


def test_a_database_of_ones_own_for_prefect_is_respected(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://me@host/prefect")
    assert prefect_environment(settings)["PREFECT_SERVER_DATABASE_CONNECTION_URL"].startswith("postgresql")


def test_every_variable_is_one_that_prefect_knows(settings: Settings) -> None:
    from prefect.settings import Settings as PrefectSettings

    known = {
        str(alias).upper() for alias in PrefectSettings.model_json_schema().get("supported_environment_variables", [])
    } or _names(PrefectSettings.model_json_schema())
    for name in prefect_environment(settings):
        if name.startswith("PREFECT_"):
            assert name in known, f"{name} means nothing to Prefect"


def _names(schema: dict[str, object]) -> set[str]:
    found: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            found.update(str(name).upper() for name in node.get("supported_environment_variables", []))
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    return found


def test_neither_the_environment_nor_the_list_of_flows_imports_prefect() -> None:
    program = "import sys, flows.environment, flows.run, flows.deployments; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0


def test_settings_given_to_a_flow_win(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "other"))
    assert current_settings().home == tmp_path / "other"
    with using(settings):
        assert current_settings() is settings
    assert current_settings().home == tmp_path / "other"


def test_the_folder_of_the_mlflow_server_does_not_hide_the_library() -> None:
    assert (PROJECT / "mlflow" / "README.md").exists()
    assert not list((PROJECT / "mlflow").rglob("*.py"))
    program = "import mlflow, sys; print(mlflow.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    spec = importlib.util.find_spec("mlflow")
    assert spec is not None
    assert done.stdout.strip() == spec.origin
    assert not str(spec.origin).startswith(str(PROJECT / "mlflow"))
