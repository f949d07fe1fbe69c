"""Churn on a user's own file, with no server running and no set-up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

Merit = Callable[..., Any]
Customers = Callable[[int, int], pd.DataFrame]

METRICS = {"auc", "average_precision", "log_loss", "brier", "ece", "f1"}


def test_the_report_states_split_candidates_intervals_and_verdict(workbench: tuple[Merit, Path]) -> None:
    _, folder = workbench
    report = json.loads((folder / "report.json").read_text())
    assert report["verdict"] == "promote"
    assert report["model"] == {**report["model"], "name": "churn-own", "version": 1, "champion": 1}
    assert "holdout" in report["split"]
    assert (report["dataset"]["rows"], report["dataset"]["positive"]) == (900, "Yes")
    assert len(report["dataset"]["digest"]) == 64
    names = [row["candidate"] for row in report["candidates"]]
    assert names == ["prevalence", "logistic", "catboost", "lightgbm", "xgboost", "blend"]
    assert 0 < report["chosen"]["threshold"] < 1
    for metrics in (report["chosen"]["metrics"], *(row["metrics"] for row in report["candidates"])):
        assert set(metrics) >= METRICS
        for name in METRICS - {"f1"}:
            estimate = metrics[name]
            assert estimate["low"] <= estimate["value"] <= estimate["high"], name
    assert report["chosen"]["metrics"]["auc"]["value"] > 0.75
    told = " ".join(report["notes"])
    assert "customerID" not in report["chosen"]["columns"]
    assert "currency" in told


def test_scores_for_a_new_file(workbench: tuple[Merit, Path]) -> None:
    merit, folder = workbench
    done = merit("predict", "churn", "--data", "new.csv", "--out", "scores.csv")
    assert done.code == 0, done.err
    scores = pd.read_csv(folder / "scores.csv")
    assert list(scores.columns) == ["customerID", "probability", "band"]
    assert list(scores["customerID"]) == list(pd.read_csv(folder / "new.csv")["customerID"])
    assert scores["probability"].between(0, 1).all()
    assert set(scores["band"]) <= {"low", "medium", "high"}
    as_json = merit("predict", "churn", "--data", "new.csv", "--json").json
    assert as_json["model"] == "churn-own"
    assert [row["probability"] for row in as_json["scores"]] == list(scores["probability"])


def test_columns_that_are_missing_are_all_named(workbench: tuple[Merit, Path], tmp_path: Path) -> None:
    merit, folder = workbench
    pd.read_csv(folder / "new.csv").drop(columns=["tenure", "contract"]).to_csv(tmp_path / "short.csv", index=False)
    done = merit("predict", "churn", "--data", str(tmp_path / "short.csv"), "--out", str(tmp_path / "scores.csv"))
    assert done.code == 2
    assert "tenure" in done.err
    assert "contract" in done.err
    assert not (tmp_path / "scores.csv").exists()


def test_training_again_keeps_the_champion_and_other_columns_replace_it(
    merit: Merit, customers: Customers, tmp_path: Path
) -> None:
    customers(1500, 3).to_csv(tmp_path / "a.csv", index=False)
    customers(1500, 4).rename(columns={"tenure": "months"}).to_csv(tmp_path / "b.csv", index=False)
    arguments = ("--entity", "customerID", "--target", "churn", "--name", "mine", "--json")
    first = merit("train", "churn", "--data", "a.csv", *arguments)
    assert (first.code, first.json["verdict"]) == (0, "promote"), first.err
    again = merit("train", "churn", "--data", "a.csv", *arguments).json
    assert again["verdict"] == "keep"
    assert again["gate"]["opponent"].startswith("champion v1")
    assert again["dataset"]["digest"] == first.json["dataset"]["digest"]
    assert again["chosen"]["metrics"] == first.json["chosen"]["metrics"]
    other = merit("train", "churn", "--data", "b.csv", *arguments).json
    assert other["verdict"] == "promote", other["reason"]
    assert "Champion v1 could not be judged on these rows" in other["reason"]

    states = [
        (row["kind"], row["state"], row["to_version"]) for row in merit("registry", "history", "mine", "--json").json
    ]
    assert states == [("promotion", "done", 3), ("promotion", "refused", 2), ("promotion", "done", 1)]
    assert merit("registry", "rollback", "mine", "--reason", "testing", "--json").json == {
        "model": "mine",
        "from": 3,
        "to": 1,
    }
    listed = merit("registry", "list", "--json").json
    assert [(row["model"], row["champion"], row["newest"]) for row in listed] == [("mine", 1, 3)]
    assert merit("registry", "promote", "mine", "2", "--json").json == {"model": "mine", "from": 1, "to": 2}
    assert merit("registry", "promote", "mine", "9").code == 3


def test_a_temporal_split_judges_on_the_latest_rows(merit: Merit, customers: Customers, tmp_path: Path) -> None:
    frame = customers(700, 5)
    frame["month"] = pd.date_range("2024-01-01", periods=14, freq="MS").strftime("%Y-%m-%d").repeat(50).to_numpy()
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "long.parquet")
    arguments = ("--entity", "customerID", "--target", "churn", "--time", "month", "--json")
    report = merit("train", "churn", "--data", "long.parquet", *arguments).json
    assert "month" in report["split"]
    assert "2024" in report["split"] or "2025" in report["split"]
    assert "month" not in report["chosen"]["columns"]
