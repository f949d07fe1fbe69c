"""Models compared on the same rows: levels hold, repeats count once, chance is not told as a difference."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from models.lifecycle.comparison import compare, holm, mean_of, sign_flip


def test_holm_is_what_statsmodels_says() -> None:
    p_values = [0.01, 0.04, 0.03, 0.005, 0.9, 0.03]
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    assert holm([]) == []


def test_signs_are_all_tried_where_there_are_few() -> None:
    values = np.array([0.3, 0.1, -0.05, 0.2, 0.4])
    tried = [abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
             for signs in product((1, -1), repeat=5)]  # fmt: skip
    wanted = np.mean([one >= abs(values.sum()) - 1e-12 for one in tried])
    assert sign_flip(values, list("abcde")) == pytest.approx(wanted)
    # Repeats of one prompt are one piece of evidence, however many there are.
    assert sign_flip(np.repeat(values, 20), list(np.repeat(list("abcde"), 20))) == pytest.approx(wanted)
    assert sign_flip(np.zeros(4), list("abcd")) == 1.0


def test_the_level_holds_where_there_is_nothing_to_find() -> None:
    rng = np.random.default_rng(0)
    p_values = np.array([sign_flip(rng.normal(size=10), range(10)) for _ in range(400)])
    assert 0.02 <= (p_values < 0.05).mean() <= 0.085


def test_intervals_cover_with_repeats_in_their_groups() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(200):
        prompts = rng.normal(0.6, 0.2, 25)
        values = np.repeat(prompts, 4) + rng.normal(0, 0.02, 100)
        estimate = mean_of(values, list(np.repeat(range(25), 4)), seed=seed)
        hits += estimate.low <= 0.6 <= estimate.high
    assert 0.90 <= hits / 200 <= 0.99


def test_pairs_are_told_apart_only_where_they_differ() -> None:
    rng = np.random.default_rng(2)
    index = pd.RangeIndex(40)
    base = rng.uniform(0.3, 0.7, 40)
    values = {
        "a": pd.Series(base + 0.15 + rng.normal(0, 0.05, 40), index),
        "b": pd.Series(base, index),
        "c": pd.Series(base + rng.normal(0, 0.05, 40), index),
    }
    values["c"][3] = np.nan  # it failed there: the others are compared on what both have
    groups = pd.Series(np.arange(40) // 2, index)
    found = {(one.first, one.second): one for one in compare(values, groups, "quality")}
    assert set(found) == {("a", "b"), ("a", "c"), ("b", "c")}
    assert found["a", "b"].significant
    assert found["a", "b"].low > 0.1
    assert found["a", "c"].significant
    assert not found["b", "c"].significant
    assert found["a", "b"].groups == 20
    assert all(one.adjusted >= one.p_value for one in found.values())
