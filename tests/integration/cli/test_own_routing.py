"""A routing policy from a user's own table of outcomes, with no server running and no set-up; then decisions by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Merit = Callable[..., Any]
READ = {"aiq", "apgr", "quality_at_quarter", "kept_at_quarter", "regret"}


def outcomes(rows: int, seed: int) -> pd.DataFrame:
    """Sums that only the dear model can do, and small talk that all can."""
    draw = np.random.default_rng(seed)
    sums = draw.random(rows) < 0.5
    filler = [" ".join(draw.choice([f"word{one}" for one in range(60)], draw.integers(4, 20))) for _ in range(rows)]
    prompts = [
        f"Add {draw.integers(1, 99)} to {text}, how many are left?" if hard else f"Hello and {text}, what nice weather!"
        for hard, text in zip(sums, filler, strict=True)
    ]
    frame = pd.DataFrame({"prompt": prompts})
    for name, price, hard, easy in (("small", 1.0, 0.3, 0.92), ("middle", 5.0, 0.5, 0.9), ("large", 60.0, 0.93, 0.93)):
        frame[f"{name}|score"] = (draw.random(rows) < np.where(sums, hard, easy)).astype(float)
        frame[f"{name}|cost"] = price * 1e-6 * np.array([len(text) for text in prompts])
    return frame


@pytest.fixture(scope="module")
def desk(
    merit_in: Callable[[Path, Path], Merit], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Merit, Path, dict[str, Any]]:
    """A folder with a table and prompts, a home with the policy `own`, and the report of its training."""
    folder = tmp_path_factory.mktemp("routing")
    outcomes(1200, 1).to_csv(folder / "outcomes.csv", index=False)
    outcomes(300, 2).to_csv(folder / "new.csv", index=False)
    merit = merit_in(folder / "home", folder)
    options = ("--data", "outcomes.csv", "--report", "report.json", "--name", "own", "--trees", "5")
    done = merit("train", "routing", *options)
    assert done.code == 0, done.err
    assert "own v1 is champion" in done.out
    return merit, folder, json.loads((folder / "report.json").read_text())


def test_the_report_holds_split_candidates_references_and_differences(desk: tuple[Merit, Path, dict[str, Any]]) -> None:
    _, _, report = desk
    assert report["verdict"] == "promote"
    assert "hash of the prompt" in report["split"]
    assert report["dataset"]["rows"] == 1200
    names = [row["candidate"] for row in report["candidates"]]
    assert names == [
        "blind", "length", "task_mean", "ridge", "refined", "neighbours", "difficulty", "boosting", "blend",
        "random", "cheapest", "best single", "oracle",
    ]  # fmt: skip
    assert report["chosen"]["candidate"] == "blend"
    for row in report["candidates"]:
        for name in READ & set(row["metrics"]):
            estimate = row["metrics"][name]
            if estimate["low"] is not None:
                assert estimate["low"] <= estimate["value"] <= estimate["high"], (row["candidate"], name)
    ahead = {row["against"]: row["aiq"] for row in report["chosen"]["differences"]}
    assert {"random", "cheapest", "best single", "length", "blind", "task_mean", "oracle"} <= set(ahead)
    assert ahead["blind"]["low"] > 0
    assert report["chosen"]["metrics"]["kept_at_quarter"]["value"] > 0
    assert "integral" in report["chosen"]["formulas"]["aiq"]


def test_decisions_for_new_prompts_reach_more_than_any_single_model(desk: tuple[Merit, Path, dict[str, Any]]) -> None:
    merit, folder, _ = desk
    steps = [round(one / 10, 1) for one in range(11)]
    told = ("--tradeoff", ",".join(map(str, steps)), "--out", "decisions.csv")
    done = merit("route", "--policy", "own", "--data", "new.csv", *told)
    assert done.code == 0, done.err
    decided = pd.read_csv(folder / "decisions.csv")
    assert list(decided.columns) == ["row", "tradeoff", "model", "quality", "cost"]
    assert len(decided) == 300 * 11
    table = pd.read_csv(folder / "new.csv")
    cost, quality = [], []
    for step in steps:
        part = decided[decided["tradeoff"] == step]
        cost.append(np.mean([table.at[row, f"{m}|cost"] for row, m in zip(part["row"], part["model"], strict=True)]))
        quality.append(
            np.mean([table.at[row, f"{m}|score"] for row, m in zip(part["row"], part["model"], strict=True)])
        )
    assert cost[0] == max(cost)
    assert cost[-1] == pytest.approx(table["small|cost"].mean())
    # Sums to the dear model, small talk to a cheap one: nearly its quality at little more than half its cost.
    best, dear = table["large|score"].mean(), table["large|cost"].mean()
    assert max(q for q, c in zip(quality, cost, strict=True) if c <= 0.7 * dear) > 0.95 * best


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "routing", "--data", "outcomes.csv", "--prompt", "promt"), "'promt'"),
        (("route", "--policy", "own", "--data", "new.csv", "--tradeoff", "0,2", "--out", "x.csv"), "2"),
        (("route", "--policy", "own", "--data", "new.csv"), "--out"),
        (("route", "--policy", "own", "--data", "new.csv", "--out", "x.csv", "--column", "text"), "'text'"),
    ],
)
def test_wrong_usage_is_told(desk: tuple[Merit, Path, dict[str, Any]], arguments: tuple[str, ...], named: str) -> None:
    merit, _, _ = desk
    done = merit(*arguments)
    assert done.code == 2, done.err
    assert named in done.err


def test_a_policy_that_there_is_not(desk: tuple[Merit, Path, dict[str, Any]]) -> None:
    merit, _, _ = desk
    done = merit("route", "--policy", "nobody", "--data", "new.csv", "--out", "x.csv")
    assert done.code == 3
    assert "nobody" in done.err
