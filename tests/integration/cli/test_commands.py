"""The other commands, and what happens when they are given something unsuitable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Merit = Callable[..., Any]


def test_forecasts_for_a_long_file(merit: Merit, tmp_path: Path) -> None:
    stamps = pd.date_range("2026-01-01", periods=24 * 21, freq="h")
    hour = np.arange(len(stamps))
    rng = np.random.default_rng(0)
    frame = pd.concat(
        pd.DataFrame(
            {"unique_id": name, "ds": stamps, "y": 50 + 10 * np.sin(hour * np.pi / 12) + rng.normal(0, 1, len(hour))}
        )
        for name in ("b", "a")
    )
    frame.to_csv(tmp_path / "series.csv", index=False)
    arguments = ("--horizon", "48", "--freq", "h", "--season", "24,168", "--level", "80,95", "--out", "forecast.csv")
    done = merit("forecast", "--data", "series.csv", "--id", "unique_id", "--time", "ds", "--target", "y", *arguments)
    assert done.code == 0, done.err
    made = pd.read_csv(tmp_path / "forecast.csv", parse_dates=["ds"])
    assert list(made.columns) == ["unique_id", "ds", "model", "forecast", "lo-80", "hi-80", "lo-95", "hi-95"]
    assert list(made["unique_id"].unique()) == ["b", "a"]
    assert len(made) == 96
    assert made["ds"].min() == stamps[-1] + pd.Timedelta(hours=1)
    assert (made["lo-95"] < made["lo-80"]).all()
    assert (made["lo-80"] < made["forecast"]).all()
    assert (made["forecast"] < made["hi-80"]).all()
    assert (made["hi-80"] < made["hi-95"]).all()
    truth = 50 + 10 * np.sin((len(hour) + np.arange(48)) * np.pi / 12)
    assert np.abs(made["forecast"].to_numpy().reshape(2, 48) - truth).mean() < 1.5


def test_a_wide_file_a_gap_and_a_constant(merit: Merit, tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": pd.date_range("2026-01-01", periods=70, freq="D"), "a": np.arange(70.0), "b": 5.0})
    frame.loc[30, "a"] = np.nan
    frame.drop(index=[50, 51]).to_csv(tmp_path / "wide.csv", index=False)
    rows = merit("forecast", "--data", "wide.csv", "--time", "date", "--horizon", "3", "--json").json
    assert [row["unique_id"] for row in rows] == ["a"] * 3 + ["b"] * 3
    assert all(row["lo-80"] < row["forecast"] < row["hi-80"] for row in rows)


def test_forecasting_is_trained_on_a_file_and_judged(merit: Merit, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    stamps = pd.date_range("2016-01-01", periods=96, freq="MS")
    season = 10 * np.sin(np.arange(96) * np.pi / 6)
    frame = pd.concat(
        pd.DataFrame({"unique_id": f"s{k}", "ds": stamps, "y": 100 + k + season + np.arange(96) + rng.normal(0, 2, 96)})
        for k in range(4)
    )
    frame.to_csv(tmp_path / "monthly.csv", index=False)
    few = ("--models", "AutoETS,DynamicOptimizedTheta")
    done = merit("train", "forecasting", "--data", "monthly.csv", "--horizon", "12", *few, "--json")
    assert done.code == 0, done.err
    report = done.json
    assert report["model"]["name"] == "forecasting-own"
    names = [row["candidate"] for row in report["candidates"]]
    assert names == ["SeasonalNaive", "AutoETS", "DynamicOptimizedTheta", "combination"]
    assert report["verdict"] == "promote", report["reason"]
    assert {"mase", "coverage_80", "coverage_95"} <= set(report["chosen"]["metrics"])
    assert "the last 12 steps" in report["split"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("train", "churn", "--data", "nowhere.csv", "--target", "churn"), 2, "nowhere.csv"),
        (("train", "churn", "--data", "tiny.csv"), 2, "--target is missing"),
        (("train", "churn", "--data", "tiny.csv", "--target", "left"), 2, "'left'"),
        (("train", "churn", "--data", "empty.csv", "--target", "churn"), 2, "empty.csv"),
        (("train", "churn", "--data", "tiny.csv", "--target", "churn", "--report", "a.txt"), 2, ".txt"),
        (("train", "churn", "--entity", "customerID"), 2, "--entity customerID goes with --data"),
        (("train", "weather"), 2, "weather"),
        (("predict", "churn", "--data", "tiny.csv"), 3, "Nothing is champion"),
        (("predict", "churn", "--data", "tiny.csv", "--out", "no/where.csv"), 2, "no/where.csv"),
        (("forecast", "--data", "tiny.csv", "--horizon", "0"), 2, "--horizon"),
        (("forecast", "--data", "tiny.csv", "--horizon", "3", "--level", "80,x"), 2, "'x' is not a number"),
        (("forecast", "--data", "tiny.csv", "--horizon", "3", "--season", "24.5"), 2, "24.5 is not a whole number"),
        (("forecast", "--data", "tiny.csv", "--horizon", "3"), 2, "'ds'"),
        (("ingest", "weather", "tiny.csv"), 2, "weather"),
        (("ingest", "customers", "tiny.csv", "--map", "a"), 2, "theirs=ours"),
        (("registry", "show", "nothing"), 3, "nothing"),
        (("registry", "history", "nothing"), 3, "nothing"),
        (("train", "churn", "--data", "tiny.csv", "--target", "churn", "--name", "a/b"), 2, "a/b"),
        (("train", "churn", "--keep-suspects"), 2, "--keep-suspects"),
        (("train", "forecasting", "--target", "y"), 2, "--target y goes with --data"),
        (("forecast", "--data", "tiny.csv", "--horizon", "3", "--fill", "mean"), 2, "mean"),
        (("registry", "rollback", "nothing"), 3, "nothing"),
        (("keys", "revoke", "nothing"), 3, "nothing"),
        (("backfill", "churn", "--start", "2026-02-30", "--end", "2026-03-01"), 2, "2026-02-30"),
        (("backfill", "chrn", "--start", "2026-02-01", "--end", "2026-03-01"), 2, "'pricing'"),
    ],
)
def test_what_does_not_fit_is_named_with_the_next_step(
    workbench: tuple[Merit, Path],
    merit_in: Callable[[Path, Path], Merit],
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    (tmp_path / "tiny.csv").write_text("customerID,tenure,churn\na,1,Yes\nb,2,No\n")
    (tmp_path / "empty.csv").write_text("")
    # The home of the workbench's neighbour: databases are there, nothing was trained.
    done = merit_in(workbench[1] / "empty-home", tmp_path)(*arguments)
    assert done.code == code, done.err
    assert says in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.out == ""


def test_the_program_itself_in_a_home_that_is_not_there_yet(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [str(Path(sys.executable).with_name("merit")), *arguments]
        variables = {**os.environ, "MERIT_HOME": str(tmp_path / "home"), "MERIT_THREADS": "1"}
        return subprocess.run(program, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)

    listed = run("registry", "list", "--json")
    assert (listed.returncode, json.loads(listed.stdout), listed.stderr) == (0, [], "")
    missing = run("registry", "show", "nothing")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "nothing" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_keys_are_shown_once_listed_without_secret_and_revoked(merit: Merit) -> None:
    made = merit("keys", "create", "shop", "--role", "analyst", "--days", "30", "--json").json
    listed = merit("keys", "list").out
    assert made["key"].startswith("merit_")
    assert made["key"] not in listed
    assert "analyst" in listed
    assert merit("keys", "revoke", made["id"]).code == 0
    assert merit("keys", "list", "--json").json[0]["revoked"] is not None


def test_a_table_of_ones_own_is_loaded_with_bad_rows_in_quarantine(merit: Merit, tmp_path: Path) -> None:
    rows = ["no,signup,kind,region,channel,employees,country"]
    rows += [f"K{n},2025-03-0{1 + n % 9},business,north,web,{n},DE" for n in range(1, 200)]
    rows[7] = rows[7].replace("north", "atlantis")
    (tmp_path / "kunden.csv").write_text("\n".join(rows) + "\n")
    arguments = ("kunden.csv", "--map", "no=customer_id", "--map", "signup=signup_date", "--known", "event", "--json")
    done = merit("ingest", "customers", *arguments)
    assert done.code == 0, done.err
    assert {key: done.json[key] for key in ("read", "inserted", "quarantined")} == {
        "read": 199,
        "inserted": 198,
        "quarantined": 1,
    }
    again = merit("ingest", "customers", *arguments).json
    assert (again["inserted"], again["unchanged"]) == (0, 198)


def test_doctor_shows_settings_without_secrets(merit: Merit) -> None:
    secret = {"MERIT_WEBHOOK_URL": "https://hooks.example/very-secret-token"}
    done = merit("doctor", env=secret)
    assert done.code == 0, done.err
    assert "MERIT_WATCH_SECONDS" in done.out
    assert "very-secret-token" not in done.out + done.err
    broken = merit("doctor", env={"MERIT_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/none"})
    assert broken.code == 1
    assert "hunter2" not in broken.out + broken.err
    unknown = merit("doctor", env={"MERIT_PORT": "eighty"})
    assert unknown.code == 2
    assert "MERIT_PORT='eighty'" in unknown.err
