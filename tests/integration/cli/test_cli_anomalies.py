"""`merit anomalies` as a program, on a file nobody prepared for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.main import app
from store.errors import InvalidValue


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    """Semicolons, decimal commas, German dates, an empty cell; the south loses two thirds on two days."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=90, freq="D")
    parts = []
    for region, size in (("Nord", 60.0), ("Süd", 100.0)):
        value = size * (1 + 0.2 * np.sin(2 * np.pi * np.arange(90) / 7)) * np.exp(0.03 * rng.standard_normal(90))
        if region == "Süd":
            value[70:72] /= 3
            value[40] = np.nan
        text = pd.Series(value).map(lambda one: "" if np.isnan(one) else f"{one:.2f}".replace(".", ","))
        parts.append(pd.DataFrame({"Tag": days.strftime("%d.%m.%Y"), "Region": region, "Umsatz": text}))
    path = tmp_path / "umsatz.csv"
    pd.concat(parts).to_csv(path, index=False, sep=";", encoding="utf-8")
    return path


def test_anomalies_of_a_file(merit: Callable[..., Any], sales: Path, tmp_path: Path) -> None:
    arguments = ("--data", str(sales), "--time", "Tag", "--value", "Umsatz", "--by", "Region", "--rules", "missing 1")
    ran = merit("anomalies", *arguments, "--plot", "a.png", "--out", "checks.csv", "--json")
    assert ran.code == 0, ran.err
    rows = {(row["series"], row["kind"]): row for row in ran.json["anomalies"]}
    assert set(rows) == {("Umsatz/total", "dip"), ("Umsatz/Region=Süd", "dip"), ("Umsatz/Region=Süd", "missing")}
    dip = rows[("Umsatz/Region=Süd", "dip")]
    assert (dip["start"], dip["end"]) == ("2024-03-11", "2024-03-12")
    assert rows[("Umsatz/Region=Süd", "missing")]["start"] == "2024-02-10"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    checks = pd.read_csv(tmp_path / "checks.csv")
    assert len(checks) == 3 * 90
    assert "Traceback" not in ran.err


def test_the_series_of_a_long_file_may_be_its_parts(merit: Callable[..., Any], tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=40, freq="D").strftime("%Y-%m-%d")
    parts = [pd.DataFrame({"unique_id": name, "ds": days, "y": 1.0}) for name in ("a", "b")]
    pd.concat(parts).to_csv(tmp_path / "long.csv", index=False)
    ran = merit("anomalies", "--data", "long.csv", "--by", "unique_id", "--out", "checks.csv", "--json")
    assert ran.code == 0, ran.err
    assert set(pd.read_csv(tmp_path / "checks.csv")["unique_id"]) == {"y/total", "y/unique_id=a", "y/unique_id=b"}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--value", "x"], "data"),
        (["--data", "f.csv", "--as-of", "2024-01-01"], "as_of"),
        (["--data", "f.csv", "--plot", "a.pdf"], "plot"),
        (["--data", "f.csv", "--plot", "nowhere/a.png"], "plot"),
        (["--data", "f.csv", "--rules", "lower than 3"], "rules"),
        (["--data", "f.csv", "--false-alarms", "2"], "false_alarms"),
        (["--data", "f.csv", "--detectors", "magic"], "detectors"),
        (["--data", "f.csv", "--holidays", "Atlantis"], "holidays"),
    ],
)
def test_what_cannot_be_asked_for_is_told(
    arguments: list[str], field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))
    days = pd.date_range("2024-01-01", periods=5).strftime("%Y-%m-%d")
    pd.DataFrame({"ds": days, "y": 1.0}).to_csv("f.csv", index=False)
    result = CliRunner().invoke(app, ["anomalies", *arguments])
    assert isinstance(result.exception, InvalidValue)
    assert result.exception.field == field
    assert result.exception.remedy
