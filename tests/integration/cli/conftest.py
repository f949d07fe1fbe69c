"""The command, run in a home of its own."""

from __future__ import annotations

import io
import json
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cli.main import main


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
def merit_in(mlflow_template: Path) -> Callable[[Path, Path], Merit]:
    """`merit_in(home, folder)` gives a `merit` of that home, run in that folder.

    The command runs in this process, because a program of its own needs seconds to import what is imported here
    already; `test_commands.py` runs the program too.
    """

    def made(home: Path, folder: Path) -> Merit:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "mlflow.db").exists():
            shutil.copy(mlflow_template, home / "mlflow.db")
        return _runner(home, folder)

    return made


def _runner(home: Path, cwd: Path) -> Merit:
    def run(*arguments: str, env: dict[str, str] | None = None) -> Ran:
        variables = {"MERIT_HOME": str(home), "MERIT_THREADS": "1", "COLUMNS": "200", **(env or {})}
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        code = 0
        with (
            pytest.MonkeyPatch.context() as patch,
            warnings.catch_warnings(),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            # As in a program: warnings are no errors.
            warnings.resetwarnings()
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            for name, value in variables.items():
                patch.setenv(name, value)
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["merit", *arguments])
            try:
                main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except Exception:  # noqa: BLE001
                traceback.print_exc()
                code = 1
        return Ran(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]

    return run


@pytest.fixture
def merit(merit_in: Callable[[Path, Path], Merit], tmp_path: Path) -> Merit:
    """`merit("registry", "list")` in a fresh home and folder."""
    return merit_in(tmp_path / "home", tmp_path)


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
def workbench(tmp_path_factory: pytest.TempPathFactory, merit_in: Callable[[Path, Path], Merit]) -> tuple[Merit, Path]:
    """A folder with two tables and a home in which `churn-own` has been trained once."""
    folder = tmp_path_factory.mktemp("workbench")
    _customers(900, seed=1).to_csv(folder / "customers.csv", index=False)
    _customers(40, seed=2).drop(columns="churn").to_csv(folder / "new.csv", index=False)
    merit = merit_in(folder / "home", folder)
    arguments = ("--entity", "customerID", "--target", "churn", "--positive", "Yes", "--report", "report.json")
    done = merit("train", "churn", "--data", "customers.csv", *arguments)
    assert done.code == 0, done.err
    return merit, folder
