"""Two worlds on disk: the default one, and a small one for tests that change its tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pandas as pd
import pytest

from features.contracts import CONTRACTS
from features.snapshot import from_folder
from features.world import WorldRef, build
from store.dataset import SnapshotRef
from store.settings import Settings

END = date(2026, 6, 30)

Tables = dict[str, pd.DataFrame]
Retake = Callable[..., SnapshotRef]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> WorldRef:
    """The demo world at its default size."""
    return build(tmp_path_factory.mktemp("world"), end=END)


@pytest.fixture(scope="session")
def snapshot(world: WorldRef, tmp_path_factory: pytest.TempPathFactory) -> SnapshotRef:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    return from_folder(world.folder, world.as_of, settings)


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> WorldRef:
    """300 customers and 200 days."""
    return build(tmp_path_factory.mktemp("small"), customers=300, days=200, seed=3, end=END)


@pytest.fixture
def tables(small_world: WorldRef) -> Tables:
    """The small world's tables, free to change."""
    return {name: pd.read_parquet(small_world.table(name)) for name in CONTRACTS}


@pytest.fixture
def retake(small_world: WorldRef, tmp_path: Path) -> Retake:
    """`retake(tables, as_of)` → snapshot of changed tables."""
    taken = 0

    def take(tables: Tables, as_of: datetime | None = None) -> SnapshotRef:
        nonlocal taken
        taken += 1
        folder = tmp_path / f"tables-{taken}"
        folder.mkdir()
        for name, frame in tables.items():
            frame.to_parquet(folder / f"{name}.parquet", index=False)
        return from_folder(folder, as_of or small_world.as_of, Settings(home=tmp_path / "home"))

    return take
