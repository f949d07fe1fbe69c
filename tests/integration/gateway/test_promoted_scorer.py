"""The gateway follows the champion of a model: put to work, refused where its files were changed, withdrawn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.promoted import Promoted
from models.quality.design import WIDTH
from models.quality.model import QualityModel
from models.quality.parts import fit_line
from store import events
from store.database import dispose
from store.promotions import promote
from store.registry import Registry
from store.settings import Settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Iterator[Settings]:
    """Two versions of a scorer, the first of them champion."""
    home = tmp_path_factory.mktemp("scorer")
    settings = Settings(home=home / "home", threads=1, watch_seconds=0.5)
    shutil.copy(mlflow_template, settings.root / "mlflow.db")
    rows = np.random.default_rng(1).random((200, WIDTH))
    registry = Registry(settings)
    for column in (0, 1):
        model = QualityModel("line", 0.5, (fit_line(rows, rows[:, column].round(), [column], 1.0),))
        folder = home / str(column)
        folder.mkdir()
        model.save(folder)
        with registry.run("quality", "by hand") as run:
            registry.register("quality", folder, run.id, model.signature(), {"family": "quality"})
    promote(settings, registry, "quality", 1, expected=None, actor="tests", reason="by hand", report=None)
    registry.close()
    yield settings
    dispose(settings)


class Put:
    """What was put to work, and when the clock says."""

    def __init__(self, settings: Settings) -> None:
        self.now = 0.0
        self.names: list[str] = []
        self.model: Any = None
        self.promoted = Promoted(settings, "quality", self, clock=lambda: self.now)

    def __call__(self, model: Any, name: str) -> None:
        self.model = model
        self.names.append(name)


def test_whatever_is_champion_is_put_to_work_and_given_up_when_it_is_withdrawn(trained: Settings) -> None:
    put, registry = Put(trained), Registry(trained)
    current = registry.alias("quality", "champion")
    assert put.promoted.look()
    assert put.names == [f"quality v{current}"]
    assert put.promoted.standing.label == f"quality v{current}"
    assert not put.promoted.look(), "the same again is no change"
    other = 3 - int(current or 0)
    promote(trained, registry, "quality", other, expected=current, actor="kim", reason="by hand", report=None)
    assert put.promoted.look()
    assert put.names[-1] == f"quality v{other}"
    registry.delete_alias("quality", "champion")
    # While an alias is moved there is none for a moment.
    assert not put.promoted.look()
    assert put.model is not None
    assert put.promoted.look()
    assert (put.model, put.promoted.standing.version) == (None, None)
    registry.set_alias("quality", "champion", other)
    assert put.promoted.look()
    registry.close()


def test_files_that_were_changed_are_refused_and_told_of_once(trained: Settings) -> None:
    registry = Registry(trained)
    version = int(registry.alias("quality", "champion") or 0)
    kept = registry.fetch("quality", version)
    contract = next(path for path in (trained.root / "artifacts").rglob("contract.json")
                    if path.read_bytes() == (kept / "contract.json").read_bytes())  # fmt: skip
    original = contract.read_text()
    shutil.rmtree(trained.root / "cache")
    contract.write_text(original.replace('"candidate"', ' "candidate"', 1))
    put = Put(trained)
    try:
        for _ in range(3):
            assert not put.promoted.look()
        standing = put.promoted.standing
        assert (standing.version, standing.refused) == (None, version)
        assert "digest" in standing.why
        assert put.names == []
        told = [event for event in events.recent(trained, "champion_refused") if event.payload["model"] == "quality"]
        assert len(told) == 1
    finally:
        contract.write_text(original)
    # Not tried again at once, but after a while.
    assert not put.promoted.look()
    put.now += 60.0
    assert put.promoted.look()
    assert put.names == [f"quality v{version}"]
    registry.close()


def test_nothing_is_looked_for_where_nothing_was_ever_promoted(settings: Settings) -> None:
    put = Put(settings)
    assert not put.promoted.look()
    assert not (settings.root / "mlflow.db").exists(), "the registry was not even opened"
