"""Retention at the prompt: a plan for a file by the champion, and the reasons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Merit = Callable[..., Any]

OFFERS = "name,cost,success,eligible\ncall,8,0.3,\ndiscount,25,0.6,band = high and contract = monthly\n"


def test_a_plan_keeps_its_budget_and_rules(workbench: tuple[Merit, Path], tmp_path: Path) -> None:
    merit, folder = workbench
    (tmp_path / "offers.csv").write_text(OFFERS)
    new = pd.read_csv(folder / "new.csv").assign(worth=200.0)
    new.to_csv(tmp_path / "new.csv", index=False)
    arguments = ("--data", str(tmp_path / "new.csv"), "--value", "worth", "--offers", str(tmp_path / "offers.csv"))
    done = merit("retain", *arguments, "--budget", "120", "--out", str(tmp_path / "plan.csv"), "--json")
    assert done.code == 0, done.err
    table = pd.read_csv(tmp_path / "plan.csv")
    assert 0 < table["cost"].sum() <= 120
    assert done.json["spend"] == pytest.approx(table["cost"].sum())
    assert done.json["optimal"]["exact"]
    assert done.json["net"]["low"] < done.json["net"]["value"] < done.json["net"]["high"]
    assert done.json["net"]["value"] >= done.json["instead"]["by_risk"]["net"]
    discounted = new.set_index("customerID").loc[table.loc[table["offer"] == "discount", "customer"]]
    assert set(discounted["contract"]) <= {"monthly"}


def test_reasons_in_words_beside_the_probability(workbench: tuple[Merit, Path], tmp_path: Path) -> None:
    merit, _ = workbench
    scores = tmp_path / "scores.csv"
    done = merit("predict", "churn", "--data", "new.csv", "--reasons", "--out", str(scores))
    assert done.code == 0, done.err
    table = pd.read_csv(scores)
    assert list(table.columns) == ["customerID", "probability", "band", "reasons", "reasons_against"]
    told = " ".join(table["reasons"].fillna("") + table["reasons_against"].fillna(""))
    assert "contract is yearly (usual: monthly)" in told
    assert "tenure is " in told
