"""The command, run as a program in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

MERIT = str(Path(sys.executable).with_name("merit"))


@dataclass(frozen=True)
class Ran:
    """What a run of the command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Merit = Callable[..., Ran]


@pytest.fixture(scope="session")
def merit_in() -> Callable[[Path, Path], Merit]:
    """`merit_in(home, folder)` gives a `merit` of that home, run in that folder."""
    return _runner


def _runner(home: Path, cwd: Path) -> Merit:
    def run(*arguments: str, env: dict[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [MERIT, *arguments],
            cwd=cwd,
            env={**os.environ, "MERIT_HOME": str(home), "MERIT_THREADS": "1", "COLUMNS": "200", **(env or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def merit(tmp_path: Path) -> Merit:
    """`merit("registry", "list")` in a fresh home and folder."""
    return _runner(tmp_path / "home", tmp_path)


@pytest.fixture(scope="session")
def customers() -> Callable[[int, int], pd.DataFrame]:
    """`customers(rows, seed)` gives a table of customers."""
    return _customers


def _customers(rows: int, seed: int) -> pd.DataFrame:
    """A table as somebody brings it: ids, a constant, text numbers, holes, and an outcome that depends on it."""
    rng = np.random.default_rng(seed)
    tenure = rng.integers(1, 72, rows)
    contract = rng.choice(["monthly", "yearly"], rows, p=[0.6, 0.4])
    charges = rng.normal(60, 20, rows).round(2)
    score = 0.8 - 0.05 * tenure + 1.5 * (contract == "monthly") + 0.01 * charges + rng.normal(0, 0.7, rows)
    left = rng.random(rows) < 1 / (1 + np.exp(-score))
    frame = pd.DataFrame(
        {
            "customerID": [f"{seed:02d}-{number:05d}" for number in range(rows)],
            "tenure": tenure,
            "contract": contract,
            "charges": [f"{value:.2f}" for value in charges],
            "currency": "EUR",
            "churn": np.where(left, "Yes", "No"),
        }
    )
    frame.loc[::17, "charges"] = " "
    return frame


@pytest.fixture(scope="session")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Merit, Path]:
    """A folder with two tables and a home in which `churn-own` has been trained once."""
    folder = tmp_path_factory.mktemp("workbench")
    _customers(900, seed=1).to_csv(folder / "customers.csv", index=False)
    _customers(40, seed=2).drop(columns="churn").to_csv(folder / "new.csv", index=False)
    merit = _runner(folder / "home", folder)
    arguments = ("--entity", "customerID", "--target", "churn", "--positive", "Yes", "--report", "report.json")
    done = merit("train", "churn", "--data", "customers.csv", *arguments)
    assert done.code == 0, done.err
    return merit, folder
