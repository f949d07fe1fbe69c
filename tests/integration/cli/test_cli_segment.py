"""`merit segment` on a list of purchases, with no server running and no set-up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from cli.output import screen
from store.database import dispose
from store.errors import InvalidValue, MissingColumn
from store.registry import Registry
from store.settings import Settings

Segment = Callable[..., Result]
NAMES = ("--entity", "kunde", "--time", "datum", "--amount", "betrag")


def shop(customers: int, seed: int) -> pd.DataFrame:
    """Three kinds of customers over two years: a few who buy much and often, many small ones, and some who are gone."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(customers):
        kind = rng.choice(3, p=[0.2, 0.5, 0.3])
        begin = rng.integers(0, 400)
        stop = begin + 90 if kind == 2 else 720
        every = (12, 90, 30)[kind]
        days = np.unique(begin + np.cumsum(np.r_[0, rng.exponential(every, 60)]).astype(int))
        days = days[days < stop]
        amounts = rng.gamma(4, (40, 5, 12)[kind], len(days)).round(2)
        day = pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")
        parts.append(pd.DataFrame({"kunde": f"Käufer {number:04d}", "datum": day, "betrag": amounts}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shop")
    shop(260, seed=1).to_csv(place / "2025.csv", index=False)
    shop(300, seed=2).to_csv(place / "2026.csv", index=False, sep=";")
    return place


@pytest.fixture(scope="module")
def segment(folder: Path, mlflow_template: Path) -> Iterator[Segment]:
    """`segment("--data", FILE, …)` in a home of this module's own."""
    home = folder / "home"
    home.mkdir()
    shutil.copy(mlflow_template, home / "mlflow.db")
    environment = {"MERIT_HOME": str(home), "MERIT_THREADS": "1", "COLUMNS": "200"}

    def run(*arguments: str) -> Result:
        given = [str(folder / one) if one.endswith((".csv", ".png", ".json")) else one for one in arguments]
        return CliRunner().invoke(app, ["segment", *given, *NAMES], env=environment)

    # A console looks at COLUMNS once, when it is first imported: whoever was first in this process decided.
    width, screen.width = screen.width, 200
    yield run
    screen.width = width
    dispose(Settings(home=home))


@pytest.fixture(scope="module")
def first(segment: Segment) -> dict[str, Any]:
    done = segment("--data", "2025.csv", "--out", "out.csv", "--plot", "k.png", "--report", "report.json", "--json")
    assert done.exit_code == 0, done.output
    body: dict[str, Any] = json.loads(done.stdout)
    return body


def test_a_row_for_every_customer(first: dict[str, Any], folder: Path) -> None:
    scores = pd.read_csv(folder / "out.csv")
    assert list(scores.columns) == ["kunde", "segment", "name", "expected_purchases", "p_alive", "value"]
    purchases = pd.read_csv(folder / "2025.csv")
    assert sorted(scores["kunde"]) == sorted(purchases["kunde"].unique())
    assert scores["value"].is_monotonic_decreasing
    assert scores.notna().all(axis=None)
    assert scores["p_alive"].between(0, 1).all()
    assert (scores["expected_purchases"] >= 0).all()
    spent = purchases.groupby("kunde")["betrag"].sum().reindex(scores["kunde"]).to_numpy()
    assert np.corrcoef(np.log1p(scores["value"]), np.log(spent))[0, 1] > 0.5
    assert (first["customers"], first["out"]) == (260, str(folder / "out.csv"))


def test_the_report_tells_what_was_judged_and_chosen(first: dict[str, Any], folder: Path) -> None:
    assert json.loads((folder / "report.json").read_text()) == first
    assert first["verdict"] == "promote"
    assert first["model"]["name"] == "segmentation-own"
    names = [row["candidate"] for row in first["candidates"]]
    assert names == ["one_segment", "rfm_quintiles", "kmeans", "gaussian_mixture"]
    assert "adjusted Rand index" in first["chosen"]["choice"]["rule"]
    assert len(first["chosen"]["choice"]["tried"]) > 3
    assert first["value_model"]["purchases"]["parameters"]["alpha"]["low"] > 0
    segments = first["segments"]
    assert sum(one["customers"] for one in segments) == 260
    assert len({one["name"] for one in segments}) == len(segments)
    assert segments[0]["mean_value"] == max(one["mean_value"] for one in segments)
    assert (folder / "k.png").read_bytes().startswith(b"\x89PNG")


def test_segments_keep_their_ids_with_other_customers(first: dict[str, Any], segment: Segment, folder: Path) -> None:
    count = len(first["segments"])
    done = segment("--data", "2026.csv", "--out", "again.csv", "--k", str(count))
    assert done.exit_code == 0, done.output
    assert "v2" in done.output
    before, after = (pd.read_csv(folder / name).groupby("segment")["value"].mean() for name in ("out.csv", "again.csv"))
    assert set(after.index) == set(before.index)
    assert before.sort_values().index.tolist() == after.sort_values().index.tolist()
    for line in ("purchases in 90 d", "P(alive)", "(all: ", "high spending"):
        assert line in done.output
    home = Settings(home=folder / "home")
    assert Registry(home).alias("segmentation-own", "challenger") == 2


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("--data", "2025.csv", "--out", "out.txt"), InvalidValue, "'.txt' is unknown"),
        (("--data", "2025.csv", "--plot", "k.json"), InvalidValue, "--plot"),
        (("--data", "2025.csv", "--horizon-days", "500"), InvalidValue, "do not fit twice"),
        (("--data", "2025.csv", "--name", "a/b"), InvalidValue, "cannot be the name"),
        (("--data", "other.csv"), MissingColumn, "no column 'kunde'"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(
    segment: Segment, folder: Path, arguments: tuple[str, ...], error: type[Exception], words: str
) -> None:
    (folder / "other.csv").write_text("id,day,amount\n1,2025-01-01,3\n")
    done = segment(*arguments)
    assert isinstance(done.exception, error)
    assert words in str(done.exception)


def test_the_help_fits_the_command(segment: Segment) -> None:
    shown = CliRunner().invoke(app, ["segment", "--help"], env={"COLUMNS": "200"}).output
    for option in ("--data", "--entity", "--time", "--amount", "--out", "--k", "--horizon-days", "--plot", "--report"):
        assert option in shown
