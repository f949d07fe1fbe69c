"""Slices judged alike: planted differences are told with their size, chance is not, and intervals hold the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from models.churn.fairness import Fairness, fairness, wilson

THRESHOLD = 0.35


def business(seed: int, rows: int = 4_000, gap: float = 0.0) -> tuple[Any, Any, pd.DataFrame]:
    """Outcomes, probabilities and kinds of customers whose probabilities are right, but for `gap` too much in west."""
    rng = np.random.default_rng(seed)
    risk = rng.beta(2, 5, rows)
    y = (rng.random(rows) < risk).astype(np.int64)
    kinds = pd.DataFrame(
        {
            "region": rng.choice(["north", "south", "west", "east"], rows),
            "plan": rng.choice(["basic", "plus", "pro"], rows),
            "channel": rng.choice([f"c{number}" for number in range(8)], rows),
        }
    )
    west = (kinds["region"] == "west").to_numpy()
    return y, np.clip(risk + gap * west, 0.001, 0.999), kinds


def differing(found: Fairness) -> set[str]:
    return {f"{one.column}={one.level}" for one in found.slices if one.differs}


def test_a_planted_difference_is_told_with_its_size() -> None:
    y, p, kinds = business(1, gap=0.1)
    found = fairness(y, p, THRESHOLD, kinds)
    assert "region=west" in differing(found)
    assert not {f"channel=c{number}" for number in range(8)} & differing(found)
    west = next(one for one in found.slices if one.level == "west")
    gap = west.measures["calibration_gap"]
    assert gap.low < 0.1 < gap.high
    assert gap.high - gap.low < 0.06
    assert west.measures["flagged_ratio"].low > 1.4
    assert found.words[0].startswith("The risk of customers with region = west is overstated by 9.3 points")
    assert "Customers with region = west are flagged 1.6× as often as others with the same outcome" in str(found.words)
    assert "Kleinberg" in found.words[-1]
    # What is right is not said to be misstated where only the others' is not.
    assert "region = south is understated" not in str(found.words)
    assert "the risk of customers with region = south is put 3.9 points lower than that of others" in str(found.words)


def test_the_ratio_by_hand() -> None:
    """Of those that left 3/4 are flagged inside and 1/2 outside, of those that stayed 1/4 and 1/8; half of all left."""
    counts = {(1, 1): (30, 10), (1, 0): (10, 30), (0, 1): (40, 40), (0, 0): (10, 70)}
    y, p, where = [], [], []
    for (inside, left), (hit, missed) in counts.items():
        y += [left] * (hit + missed)
        p += [0.9] * hit + [0.1] * missed
        where += ["in" if inside else "out"] * (hit + missed)
    found = fairness(np.asarray(y), np.asarray(p), 0.5, pd.DataFrame({"where": where}))
    one = next(item for item in found.slices if item.level == "in")
    assert one.measures["flagged_ratio"].value == pytest.approx((0.5 * 0.75 + 0.5 * 0.25) / (0.5 * 0.5 + 0.5 * 0.125))
    assert one.measures["false_negative_rate"].value == 0.25
    assert one.measures["false_positive_rate"].value == 0.25
    assert one.measures["selection_rate"].value == 0.5
    assert one.tests["false_negative_rate"][0] == pytest.approx(-0.25)
    mean = (40 * 0.9 + 40 * 0.1) / 80
    assert one.measures["calibration_gap"].value == pytest.approx(mean - 0.5)


def test_chance_is_seldom_told_as_a_difference() -> None:
    """Fifteen slices and four measures each: unadjusted, nearly every business would be told of some difference."""
    alarms, single = 0, 0
    for seed in range(100, 160):
        y, p, kinds = business(seed, 1_500)
        found = fairness(y, p, THRESHOLD, kinds)
        alarms += bool(differing(found))
        single += any(p_value < 0.05 for one in found.slices for _, p_value, _ in one.tests.values())
    assert alarms <= 8  # 5 % of 60 are 3
    assert single > 40


@pytest.mark.parametrize("repeated", [1, 5])
def test_intervals_hold_the_truth_also_where_customers_repeat(repeated: int) -> None:
    """Each customer's row comes `repeated` times: no more is known by it."""
    held = widths = 0.0
    for seed in range(80):
        y, p, kinds = business(seed, 800, gap=0.05)
        rows = np.repeat(np.arange(800), repeated)
        found = fairness(y[rows], p[rows], THRESHOLD, kinds.iloc[rows][["region"]], rows)
        gap = next(one for one in found.slices if one.level == "west").measures["calibration_gap"]
        held += gap.low <= 0.05 <= gap.high
        widths += (gap.high - gap.low) / 80
    assert 71 <= held <= 80
    assert widths == pytest.approx(0.11, abs=0.02)


def test_too_few_to_judge() -> None:
    y, p, kinds = business(3, 400)
    few = pd.DataFrame({"rare": np.where(np.arange(400) < 30, "yes", "no")})
    assert fairness(y, p, THRESHOLD, few).slices == ()
    assert fairness(y, p, THRESHOLD, few).words == ("No slice differs from the others by more than chance.",)
    nobody = fairness(np.zeros(400, dtype=np.int64), p, THRESHOLD, kinds[["plan"]])
    measures = nobody.slices[0].to_dict()
    assert measures["false_negative_rate"]["value"] is None
    assert measures["flagged_ratio"]["value"] is None
    assert "calibration_gap" in measures["tests"]


@pytest.mark.parametrize(("hits", "size"), [(0, 12), (3, 10), (12, 12), (250, 1_000)])
def test_wilson(hits: int, size: int) -> None:
    known = stats.binomtest(hits, size).proportion_ci(method="wilson")
    assert wilson(hits / size, size) == pytest.approx((known.low, known.high), abs=1e-9)
