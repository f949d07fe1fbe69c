"""Elasticities of sales whose truth is known, and the reasons why some cannot be had."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.pricing.advice import Elasticity
from models.pricing.causal import Causal, causal
from models.pricing.options import PricingOptions
from models.pricing.panel import panel_of
from models.pricing.pooling import shrunk
from tests.unit.pricing.conftest import ELASTICITY, RIVAL, ROLES, sales

OPTIONS = PricingOptions()


def _found(result: Causal, product: str | None, of: str = "own", segment: str | None = None) -> Elasticity:
    return next(one for one in result.elasticities if (one.product, one.segment, one.of) == (product, segment, of))


@pytest.fixture(scope="module")
def known(frame: pd.DataFrame) -> Causal:
    return causal(panel_of(frame, ROLES), OPTIONS)


def test_true_elasticities_lie_in_the_intervals(known: Causal) -> None:
    for product in ("bread", "milk"):
        own = _found(known, product)
        assert own.low < ELASTICITY[product] < own.high
        assert own.identified
        assert own.high - own.low < 1.0
        assert own.method == "double_ml"
    rival = _found(known, None, "competitor")
    assert rival.low < RIVAL < rival.high
    assert rival.identified


def test_a_segment_leans_on_its_siblings_and_is_more_certain_for_it(known: Causal) -> None:
    for region in ("north", "south", "Ærø"):
        one = _found(known, "bread", segment=region)
        assert one.method == "pooled"
        assert one.low < -2.0 < one.high


def test_a_price_that_never_varied_says_so_and_what_would_settle_it(known: Causal) -> None:
    for segment in (None, "north"):
        one = _found(known, "salt", segment=segment)
        assert not one.identified
        assert np.isnan(one.value)
        assert one.price_levels == 1
        assert "never varied: it was 0.9 in all" in one.reason
    assert "0.81, 0.9, 0.99" in known.experiments["salt"]
    assert "weeks" in known.experiments["salt"]
    assert "bread" not in known.experiments


def test_the_price_of_another_product_that_matters_is_found() -> None:
    frame = sales(seed=5)
    other = frame[frame["item"] == "milk"].set_index(["region", "week"])["price"]
    of_bread = frame["item"] == "bread"
    at = pd.MultiIndex.from_frame(frame.loc[of_bread, ["region", "week"]])
    rng = np.random.default_rng(0)
    frame.loc[of_bread, "sold"] = rng.poisson(frame.loc[of_bread, "sold"] * (other.reindex(at).to_numpy() / 1.2) ** 1.5)
    found = causal(panel_of(frame[frame["item"] != "salt"], ROLES), OPTIONS)
    cross = _found(found, "bread", "milk")
    assert cross.identified
    assert cross.low < 1.5 < cross.high
    assert not _found(found, "milk", "bread").identified


def _promoted(rows: int = 1200, seed: int = 0) -> pd.DataFrame:
    """Shops promote when demand is low, in a way that is not a straight line; promotions lower prices."""
    rng = np.random.default_rng(seed)
    mood = rng.normal(size=rows)
    log_price = 0.5 + 0.25 * np.sin(2 * mood) + 0.15 * rng.normal(size=rows)
    log_sold = 4 + 1.0 * np.sin(2 * mood) - 1.5 * log_price + 0.2 * rng.normal(size=rows)
    return pd.DataFrame(
        {
            "item": "tea",
            "price": np.exp(log_price),
            "sold": np.exp(log_sold),
            "mood": mood,
            "shop": rng.integers(40, size=rows),
        }
    )


def test_what_moves_both_is_taken_out_by_cross_fitting() -> None:
    frame = _promoted()
    roles = {"product": "item", "price": "price", "quantity": "sold", "group": "shop"}
    naive = _found(causal(panel_of(frame, roles), OPTIONS), "tea")
    honest = _found(causal(panel_of(frame, {**roles, "control:0": "mood"}), OPTIONS), "tea")
    assert naive.low > -0.5  # nobody would believe −1.5
    assert honest.low < -1.5 < honest.high
    assert honest.high - honest.low < 0.5


def test_a_price_set_by_what_is_known_is_confounded() -> None:
    frame = _promoted()
    frame["price"] = np.exp(
        0.5 + 0.25 * np.round(frame["mood"]) + 0.001 * np.random.default_rng(1).normal(size=len(frame))
    )
    frame["level"] = "m" + np.round(frame["mood"]).astype(int).astype(str)
    roles = {"product": "item", "price": "price", "quantity": "sold", "control:0": "level"}
    found = causal(panel_of(frame, roles), OPTIONS)
    one = _found(found, "tea")
    assert not one.identified
    assert "confounded: level" in one.reason
    assert "tea" in found.experiments


def test_instruments_mend_what_controls_cannot_see_and_weak_ones_are_refused() -> None:
    frame = _promoted(3000, seed=1)
    rng = np.random.default_rng(101)
    frame["cost"] = rng.normal(size=len(frame))
    frame["noise"] = rng.normal(size=len(frame))
    push = np.exp(0.4 * frame["cost"])
    frame["price"] *= push
    frame["sold"] *= push**-1.5
    roles = {"product": "item", "price": "price", "quantity": "sold"}
    found = _found(causal(panel_of(frame, {**roles, "instrument:0": "cost"}), OPTIONS), "tea")
    assert found.method == "instruments"
    assert found.identified
    assert found.low < -1.5 < found.high
    weak = _found(causal(panel_of(frame, {**roles, "instrument:0": "noise"}), OPTIONS), "tea")
    assert not weak.identified
    assert "F = " in weak.reason


def test_few_rows_and_the_wrong_sign_are_refused() -> None:
    few = pd.DataFrame({"item": "tea", "price": np.linspace(1, 2, 12), "sold": np.arange(12.0) + 1})
    roles = {"product": "item", "price": "price", "quantity": "sold"}
    assert "only 12 rows" in _found(causal(panel_of(few, roles), OPTIONS), "tea").reason
    rng = np.random.default_rng(0)
    dear = pd.DataFrame({"item": "wine", "price": rng.uniform(1, 2, 200)})
    dear["sold"] = np.exp(dear["price"] * 2 + 0.1 * rng.normal(size=200))
    assert "sells more when it is dearer" in _found(causal(panel_of(dear, roles), OPTIONS), "wine").reason


def test_pooling_goes_as_far_as_estimates_agree() -> None:
    agree, close = shrunk(np.array([-1.0, -1.1, -0.9]), np.array([0.5, 0.5, 0.5]))
    assert np.ptp(agree) < 0.1
    assert (close < 0.5).all()
    differ, _ = shrunk(np.array([-3.0, -1.0, -0.2]), np.array([0.05, 0.05, 0.05]))
    assert differ == pytest.approx([-3.0, -1.0, -0.2], abs=0.05)
