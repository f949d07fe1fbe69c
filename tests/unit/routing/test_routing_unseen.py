"""What a policy is worth to groups that it has not learned from."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.routing.material import prepare
from models.routing.model import Scale
from models.routing.options import RoutingOptions
from models.routing.outcomes import TASK_WIDTH, Outcomes
from models.routing.training import fit

Table = Callable[..., pd.DataFrame]
From = Callable[..., Outcomes]


def told(seen: Outcomes, few: RoutingOptions) -> Any:
    return fit("blend", prepare(seen, few), few, Scale()).facts["unseen_groups"]


def with_groups(table: Table, *, of_their_own: bool) -> pd.DataFrame:
    """Six groups with the same mix of kinds; in each, if wanted, another model is the good one for every kind."""
    frame = table(600, 2)
    frame["team"] = [f"team {number}" for number in frame.index % 6]
    if of_their_own:
        names = ["cheap", "other", "dear"]
        draw = np.random.default_rng(4)
        # What is right in one team is wrong in the next, and the prompts do not tell which team it is.
        for number in range(6):
            mine = frame["team"] == f"team {number}"
            for place, name in enumerate(names):
                chance = 0.95 if place == number % 3 else 0.1
                frame.loc[mine, f"{name}|score"] = (draw.random(int(mine.sum())) < chance).astype(float)
    return frame


def test_what_is_alike_in_every_group_is_known_in_one_that_was_never_seen(
    table: Table, outcomes_from: From, few: RoutingOptions
) -> None:
    found = told(outcomes_from(with_groups(table, of_their_own=False), "team"), few)
    assert found["groups"] == 6
    assert found["rows"] == 600
    assert found["rule"].startswith("600 rows, of 6 groups: each is judged by fits to other groups, dealt into 3 folds")
    ahead = {one["against"]: one["aiq"] for one in found["differences"]}
    assert set(ahead) == {"blind", "length", "task_mean", "random", "cheapest", "best single", "oracle"}
    for name in ("blind", "length", "random", "best single"):
        assert ahead[name]["low"] > 0
    assert ahead["oracle"]["high"] < 0
    assert 0 < found["metrics"]["aiq"]["low"] <= found["metrics"]["aiq"]["value"] <= found["metrics"]["aiq"]["high"] < 1
    json.dumps(found, allow_nan=False)


def test_what_holds_in_each_group_alone_is_no_help_in_another(
    table: Table, outcomes_from: From, few: RoutingOptions
) -> None:
    found = told(outcomes_from(with_groups(table, of_their_own=True), "team"), few)
    (blind,) = (one["aiq"] for one in found["differences"] if one["against"] == "blind")
    assert blind["low"] < 0.02
    assert blind["value"] < 0.05


def test_of_calls_those_count_that_were_drawn_by_chance(table: Table, outcomes_from: From, few: RoutingOptions) -> None:
    seen = outcomes_from(with_groups(table, of_their_own=False), "team")
    draw = np.random.default_rng(1)
    called = draw.integers(0, 3, len(seen))
    hole = np.ones(seen.score.shape, bool)
    hole[np.arange(len(seen)), called] = False
    named = draw.random(len(seen)) < 0.4
    shown = np.where(hole, 0.0, np.where(named, 1.0, 1 / 3)[:, None])
    calls = replace(
        seen,
        score=np.where(hole, np.nan, seen.score),
        cost=np.where(hole, np.nan, seen.cost),
        shown=shown,
        task=np.zeros((len(seen), TASK_WIDTH), np.float32),
    )
    found = told(calls, few)
    assert found["rows"] == int((~named).sum())
    assert f"{found['rows']} calls that were drawn by chance and have a score, of 6 workspaces" in found["rule"]
    # Nobody knows the best of cells that were not seen.
    assert "oracle" not in [one["against"] for one in found["differences"]]


@pytest.mark.parametrize("rows", [90, 600])
def test_without_groups_or_with_few_rows_nothing_is_told(
    table: Table, outcomes_from: From, few: RoutingOptions, rows: int
) -> None:
    frame = table(rows, 2)
    frame["team"] = "one" if rows == 600 else [f"team {number}" for number in frame.index % 6]
    assert fit("blend", prepare(outcomes_from(frame, "team"), few), few, Scale()).facts.get("unseen_groups") is None
