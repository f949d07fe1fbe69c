"""Nothing of the holdout, and nothing not yet known at its start, is trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.churn.family import ChurnFamily, ChurnOptions
from models.churn.out_of_fold import assign_folds
from models.churn.sides import draw_by
from store.errors import InvalidValue


def _long(customers: int = 300, dates: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    moments = pd.date_range("2025-01-01", periods=dates, freq="30D")
    frame = pd.DataFrame([(c, t) for t in moments for c in range(customers)], columns=["customer", "as_of"])
    frame["x"] = rng.normal(size=len(frame))
    frame["left"] = (rng.random(len(frame)) < 0.2).astype(int)
    return frame


TIMED = {"entity": "customer", "time": "as_of", "target": "left"}


@pytest.mark.parametrize("horizon", [0, 30, 45, 90])
def test_by_time_with_a_gap_of_the_horizon(horizon: int) -> None:
    frame = _long()
    found = ChurnFamily(ChurnOptions(horizon_days=horizon)).split(frame, TIMED)
    start = found.holdout["as_of"].min()
    assert found.holdout["as_of"].max() == frame["as_of"].max()
    assert (found.train["as_of"] + pd.Timedelta(days=horizon)).max() <= start
    assert found.train["as_of"].max() < start
    assert 0.2 <= len(found.holdout) / len(frame) < 0.3
    assert f"{start:%Y-%m-%d}" in found.rule
    lost = len(frame) - len(found.train) - len(found.holdout)
    assert (lost > 0) == (horizon > 30)
    assert ("left out" in found.rule) == (lost > 0)


def test_dates_as_text_and_with_time_zones_are_read() -> None:
    frame = _long()
    plain = ChurnFamily().split(frame, TIMED)
    text = ChurnFamily().split(frame.assign(as_of=frame["as_of"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")), TIMED)
    assert plain.holdout.index.equals(text.holdout.index)


def test_an_unreadable_date_is_named() -> None:
    frame = _long()
    frame["as_of"] = frame["as_of"].astype(str)
    frame.loc[7, "as_of"] = "soon"
    with pytest.raises(InvalidValue, match="1 of 3600 rows, first 'soon' in row 8"):
        ChurnFamily().split(frame, TIMED)


def test_by_customer_where_customers_repeat() -> None:
    frame = _long()
    found = ChurnFamily().split(frame, {"entity": "customer", "target": "left"})
    assert not set(found.train["customer"]) & set(found.holdout["customer"])
    assert len(found.train) + len(found.holdout) == len(frame)
    count = found.holdout["customer"].nunique()
    assert f"all rows of {count} customer" in found.rule
    assert "a hash of customer (seed 7)" in found.rule


def test_few_customers_with_many_rows_are_refused() -> None:
    frame = _long().assign(customer=lambda one: np.arange(len(one)) % 4)
    for roles in ({"entity": "customer", "target": "left"}, TIMED):
        with pytest.raises(InvalidValue, match="only 4 different customer; at least 20") as caught:
            ChurnFamily().split(frame, roles)
        assert "--entity" in caught.value.remedy


def test_by_a_hash_otherwise() -> None:
    frame = _long(3600, 1)
    found = ChurnFamily().split(frame, TIMED)
    # Nothing but the hash decides: share and rate of the holdout are those of a random draw, here within 3 deviations.
    assert len(found.holdout) / 3600 == pytest.approx(0.2, abs=3 * (0.2 * 0.8 / 3600) ** 0.5)
    assert found.train["left"].mean() == pytest.approx(found.holdout["left"].mean(), abs=3 * 0.4 * (1 / 576) ** 0.5)
    assert "single moment" in found.rule
    again = ChurnFamily().split(frame, TIMED)
    assert found.holdout.index.equals(again.holdout.index)
    other = ChurnFamily(ChurnOptions(seed=8)).split(frame, TIMED)
    assert not found.holdout.index.equals(other.holdout.index)


@pytest.mark.parametrize("entity", ["customer", None])
@pytest.mark.parametrize("dates", [1, 4])
def test_a_row_keeps_its_side_when_the_file_grows(entity: str | None, dates: int) -> None:
    """What an earlier model was trained on is never in the holdout on which it defends itself."""
    grown = _long(1500, dates).drop(columns="as_of")
    grown["row"] = np.arange(len(grown))
    roles = {"target": "left"} | ({"entity": entity} if entity else {})
    old = grown.head(len(grown) * 3 // 4)
    keep = [name for name in grown.columns if name != "row"]
    before = ChurnFamily().split(old[keep], roles)
    # In another order, with a number now written as text, an outcome corrected and rows added.
    grown.loc[grown.index[::50], "left"] = 1
    shuffled = grown.sample(frac=1.0, random_state=1)
    shuffled["x"] = shuffled["x"].map(repr)
    after = ChurnFamily().split(shuffled[keep], roles)
    assert set(before.holdout.index) <= set(after.holdout.index)
    assert not set(before.train.index) & set(after.holdout.index)
    assert len(after.holdout) / len(grown) == pytest.approx(0.2, abs=0.03)


def test_few_columns_and_many_equal_rows_still_divide() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"plan": rng.choice(["a", "b"], 4000), "left": (rng.random(4000) < 0.3).astype(int)})
    found = ChurnFamily().split(frame, {"target": "left"})
    assert len(found.holdout) / 4000 == pytest.approx(0.2, abs=0.06)
    for side in (found.train, found.holdout):
        assert side.groupby("plan")["left"].nunique().tolist() == [2, 2]


def test_copies_of_a_row_stay_together() -> None:
    frame = _long(500, 1).drop(columns=["as_of", "customer"])
    found = ChurnFamily().split(pd.concat([frame, frame], ignore_index=True), {"target": "left"})
    assert not set(found.train["x"]) & set(found.holdout["x"])


@pytest.mark.parametrize("seed", range(12))
def test_a_small_file_has_both_outcomes_on_both_sides(seed: int) -> None:
    frame = pd.DataFrame({"id": [f"c{i}" for i in range(60)], "left": [1] * 12 + [0] * 48})
    found = ChurnFamily(ChurnOptions(seed=seed)).split(frame, {"entity": "id", "target": "left"})
    assert found.holdout["left"].nunique() == 2
    assert found.train["left"].sum() >= 10
    by_hash = draw_by(frame, ["id"], seed) < 0.2
    moved = int((frame.index.isin(found.holdout.index) != by_hash).sum())
    assert (f"{moved} rows were moved" in found.rule) == (moved > 0)


def test_a_value_has_one_number_however_it_is_kept() -> None:
    whole = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    texts = pd.DataFrame({"b": [" X", "y", "z"], "a": ["1", "2.0", "3"]})
    nullable = pd.DataFrame({"a": pd.array([1, 2, 3], dtype="Int64"), "b": pd.Categorical(["x", "y", "z"])})
    drawn = draw_by(whole, ["a", "b"], 7)
    np.testing.assert_array_equal(drawn, draw_by(texts, ["b", "a"], 7))
    np.testing.assert_array_equal(drawn, draw_by(nullable, ["a", "b"], 7))
    assert len({*drawn, *draw_by(whole.assign(a=None), ["a", "b"], 7)}) == 6
    # Written down once and for all: another number would deal every file anew.
    assert drawn == pytest.approx([0.03760898, 0.95595656, 0.80814001], abs=1e-8)


def test_too_short_a_history_says_so() -> None:
    with pytest.raises(InvalidValue, match="training rows hold 0 rows") as caught:
        ChurnFamily(ChurnOptions(horizon_days=400)).split(_long(), TIMED)
    assert "horizon" in caught.value.remedy


def test_folds_are_stratified_and_keep_customers_together() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(500), rng.integers(1, 9, 500))
    y = (rng.random(len(groups)) < 0.1).astype(np.int64)
    fold = assign_folds(y, groups, 5, 7)
    assert pd.DataFrame({"g": groups, "f": fold}).groupby("g")["f"].nunique().max() == 1
    rates = pd.Series(y).groupby(fold).mean()
    sizes = pd.Series(y).groupby(fold).size()
    assert rates.max() - rates.min() < 0.02
    assert sizes.max() < 1.15 * sizes.min()
