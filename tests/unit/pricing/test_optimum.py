"""The best price within limits, against rules of the textbook and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.pricing.advice import Constraints
from models.pricing.market import Cell
from models.pricing.optimum import Limits, Stake, best_prices, best_step, limits
from store.errors import InvalidValue

FREE = Limits(1.0, 100.0, ("floor",), ("ceiling",))


def _cell(price: float = 10.0, lowest: float = 8.0, highest: float = 12.0) -> Cell:
    return Cell("tea", "north", price, 11.0, None, lowest, highest, np.ones(79))


def test_margin_is_largest_at_lerners_price() -> None:
    step = best_step([Stake(10.0, 6.0, 100.0, -3.0, FREE)], "margin")
    assert 10.0 * step == pytest.approx(6.0 * 3.0 / 2.0, rel=1e-3)


def test_revenue_goes_to_an_end_and_stays_where_all_prices_are_equal() -> None:
    assert best_step([Stake(10.0, 0.0, 100.0, -2.0, FREE)], "revenue") == pytest.approx(0.1)
    assert best_step([Stake(10.0, 0.0, 100.0, -0.5, FREE)], "revenue") == pytest.approx(10.0)
    assert best_step([Stake(10.0, 0.0, 100.0, -1.0, FREE)], "revenue") == 1.0


@settings(max_examples=25, deadline=None)
@given(
    elasticities=st.lists(st.floats(-4, -0.2), min_size=2, max_size=3),
    prices=st.lists(st.floats(8, 12), min_size=3, max_size=3),
    fairness=st.floats(1.0, 1.5),
)
def test_fair_prices_keep_the_ratio_and_nothing_on_a_grid_is_better(
    elasticities: list[float], prices: list[float], fairness: float
) -> None:
    stakes = [
        Stake(price, 4.0, 50.0, elasticity, Limits(6.0, 15.0, ("floor",), ("ceiling",)))
        for price, elasticity in zip(prices, elasticities, strict=False)
    ]
    found = best_prices(stakes, "margin", fairness)
    assert found.max() <= fairness * found.min() * (1 + 1e-3)

    def worth(chosen: np.ndarray) -> float:
        pairs = zip(stakes, chosen, strict=True)
        return sum(one.weight * (p / one.price) ** (one.elasticity or 0) * (p - one.unit_cost) for one, p in pairs)

    grid = np.geomspace(6, 15, 25)
    tried = np.array(np.meshgrid(*[grid] * len(stakes))).reshape(len(stakes), -1).T
    fair = tried[tried.max(axis=1) <= fairness * tried.min(axis=1)]
    best = max(worth(row) for row in fair)
    assert worth(found) >= best - 2e-3 * abs(best)


def test_a_segment_without_an_elasticity_keeps_its_price() -> None:
    stakes = [Stake(10.0, 4.0, 50.0, None, FREE), Stake(11.0, 4.0, 50.0, -3.0, FREE)]
    found = best_prices(stakes, "margin", 1.05)
    assert found[0] == 10.0
    assert 10.0 / 1.05 - 1e-2 <= found[1] <= 10.0 * 1.05 + 1e-2


def test_each_constraint_sets_its_end() -> None:
    found = limits(_cell(), 10.0, 5.0, Constraints(max_change=0.1))
    assert (found.low, found.high) == pytest.approx((9.0, 11.0))
    assert limits(_cell(), 10.0, 8.5, Constraints(min_margin=0.1, max_change=0.1)).low == pytest.approx(8.5 / 0.9)
    wide = limits(_cell(), 10.0, 0.0, Constraints(max_change=None))
    assert wide.low_by == wide.high_by == ("prices seen",)
    assert (wide.low, wide.high) == pytest.approx((7.2, 13.2))


@pytest.mark.parametrize(
    ("constraints", "cost", "said"),
    [
        (Constraints(floor=20.0), 0.0, "floor = 20 asks for at least 20, max_change = 0.1 for at most 11"),
        (Constraints(min_margin=0.5, ceiling=12.0, max_change=None), 9.0, "min_margin = 0.5 asks for at least 18"),
        (Constraints(max_change=-0.1), 0.0, "max_change = -0.1"),
        (Constraints(min_margin=1.0), 0.0, "min_margin = 1.0"),
        (Constraints(fairness=0.9), 0.0, "fairness = 0.9"),
        (Constraints(floor=float("nan")), 0.0, "floor = nan"),
    ],
)
def test_impossible_constraints_are_refused_by_name(constraints: Constraints, cost: float, said: str) -> None:
    with pytest.raises(InvalidValue, match=said.replace(".", r"\.")):
        limits(_cell(), 10.0, cost, constraints)
