"""Ninety simulated days in a ledger, built once; tests that write get a copy."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from features.world.llm_calls import LlmTruth, build_llm_world
from serving.app import create_app
from store.database import dispose, migrate
from store.settings import Settings

LAST = date(2026, 10, 31)
END = datetime(2026, 11, 1)


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a home whose ledger holds the demo world's calls. Not to be written to."""
    settings = Settings(home=tmp_path_factory.mktemp("spend") / "home", threads=1)
    migrate(settings)
    yield settings
    dispose(settings)


@pytest.fixture(scope="session")
def truth(ledger: Settings) -> LlmTruth:
    return build_llm_world(ledger, days=90, calls_per_day=160, end=LAST, seed=7)


@pytest.fixture
def own_ledger(ledger: Settings, truth: LlmTruth, tmp_path: Path) -> Iterator[Settings]:
    """The same calls in a home of the test's own."""
    settings = Settings(home=tmp_path / "own", threads=1)
    with (
        closing(sqlite3.connect(ledger.root / "merit.db")) as source,
        closing(sqlite3.connect(settings.root / "merit.db")) as target,
    ):
        source.backup(target)
    yield settings
    dispose(settings)


@pytest.fixture
def api(own_ledger: Settings, mlflow_template: Path) -> Iterator[TestClient]:
    """The API over the copy, open to this machine."""
    shutil.copy(mlflow_template, own_ledger.root / "mlflow.db")
    with TestClient(create_app(own_ledger), base_url="http://127.0.0.1", client=("127.0.0.1", 50_000)) as client:
        yield client
