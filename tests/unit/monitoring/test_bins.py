"""Bins, the population stability index, and many tests at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy import stats

from models.monitoring.bins import MISSING, OTHER, bins_of, kind_of, psi, psi_by_chance
from models.monitoring.multiplicity import benjamini_hochberg


def test_psi_by_hand() -> None:
    # Half a row is added to each bin: shares 10.5/21 and 10.5/21 against 5.5/21 and 15.5/21.
    p, q = np.array([0.5, 0.5]), np.array([5.5, 15.5]) / 21
    expected = float(((q - p) * np.log(q / p)).sum())
    assert psi(np.array([10.0, 10.0]), np.array([5.0, 15.0])) == pytest.approx(expected)
    assert psi(np.array([5.0, 15.0]), np.array([10.0, 10.0])) == pytest.approx(expected)
    assert psi(np.array([7.0, 3.0, 0.0]), np.array([7.0, 3.0, 0.0])) == 0
    assert np.isfinite(psi(np.array([0.0, 50.0]), np.array([50.0, 0.0])))


def test_what_chance_does_to_the_index() -> None:
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    found = [
        psi(rng.multinomial(400, shares).astype(float), rng.multinomial(250, shares).astype(float)) for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(psi_by_chance(400, 250, 10), rel=0.1)


@examples(max_examples=40)
@given(
    reference=st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=40),
    now=st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=40),
)
def test_every_number_has_one_bin(reference: list[float | None], now: list[float | None]) -> None:
    then, today = (pd.Series(values, dtype="float64") for values in (reference, now))
    bins = bins_of(then)
    assert bins.count(then).sum() == len(then)
    assert bins.count(today).sum() == len(today)
    assert bins.count(today)[-1] == today.isna().sum()
    assert len(set(bins.edges)) == len(bins.edges)


def test_few_values_have_bins_of_their_own() -> None:
    bins = bins_of(pd.Series([0.0] * 60 + [1.0] * 30 + [2.5] * 10))
    placed = bins.place(pd.Series([0.0, 1.0, 2.5, 0.5, -1.0, 9.0, np.nan, 0.0]))
    assert len(set(placed[:7].tolist())) == 7
    assert placed[0] == placed[7]
    # Zeros of a number with many values are not mixed with what lies above them.
    many = bins_of(pd.Series([0.0] * 600 + list(np.linspace(0.1, 5, 400))))
    assert many.edges[0] == 0.0


def test_levels() -> None:
    bins = bins_of(pd.Series(["a"] * 5 + ["b"] * 3 + ["c"] + [None]), levels=2)
    assert bins.labels == ("a", "b", OTHER, MISSING)
    assert bins.count(pd.Series(["b", "never seen", None, np.nan, "c"])).tolist() == [0, 1, 2, 2]
    assert bins_of(pd.Series([True, False, True])).labels == ("False", "True", OTHER, MISSING)
    # The same levels in another order give the same bins.
    assert bins_of(pd.Series(["y", "x", "z", "w"]), levels=2) == bins_of(pd.Series(["w", "z", "x", "y"]), levels=2)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.Series([1, None, 2.5], dtype=object), "number"),
        (pd.Series([1, "a"], dtype=object), "category"),
        (pd.Series([True, None], dtype=object), "category"),
        (pd.Series([None, None], dtype=object), "category"),
        (pd.Series(pd.to_datetime(["2026-01-01", None])), "number"),
        (pd.Series(pd.to_datetime(["2026-01-01"]).tz_localize("UTC")), "number"),
        (pd.Series([1, 2], dtype="Int64"), "number"),
        (pd.Series(["ü"], dtype="string"), "category"),
    ],
)
def test_kinds(values: pd.Series, kind: str) -> None:
    assert kind_of(values) == kind
    assert bins_of(values).count(values).sum() == len(values)


def test_adjusted_p_values() -> None:
    p = np.random.default_rng(1).random(50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p))
    holes = benjamini_hochberg([np.nan, 0.01, np.nan, 0.04])
    assert np.isnan(holes[[0, 2]]).all()
    assert holes[[1, 3]].tolist() == [0.02, 0.04]
    assert len(benjamini_hochberg([])) == 0
    assert benjamini_hochberg([1.0, 1.0]).tolist() == [1.0, 1.0]
