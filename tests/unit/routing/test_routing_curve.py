"""Hulls, areas, and the choice at a trade-off."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.routing.curve import Singles, area, hull, read
from models.routing.tradeoff import Tradeoff, choose, spread

numbers = st.floats(0.0, 1.0, allow_nan=False)
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30)


@given(points)
def test_a_hull_lies_above_its_points_and_never_falls(given_points: list[tuple[float, float]]) -> None:
    x, y = np.array(given_points).T
    costs, qualities = hull(x, y)
    assert (np.diff(costs) > 0).all()
    assert (np.diff(qualities) > 0).all()
    assert (np.interp(x, costs, qualities) >= y - 1e-9).all()
    slopes = np.diff(qualities) / np.diff(costs)
    assert (np.diff(slopes) <= 1e-9 * np.abs(slopes[:-1])).all()


@given(points, st.tuples(numbers, numbers))
def test_another_point_never_takes_area_away(
    given_points: list[tuple[float, float]], more: tuple[float, float]
) -> None:
    x, y = np.array([*given_points, (0.0, 0.0)]).T
    before = area(*hull(x, y), 0.0, 1.0)
    assert area(*hull(np.append(x, more[0]), np.append(y, more[1])), 0.0, 1.0) >= before - 1e-12


def test_the_area_of_a_known_curve() -> None:
    singles = Singles(np.array([1.0, 3.0]), np.array([0.4, 0.8]))
    # From (1, 0.4) straight to (2, 0.8), then flat until 3.
    found = read(np.array([2.0]), np.array([0.8]), singles)
    assert found.aiq == pytest.approx((0.6 + 0.8) / 2)
    assert found.apgr == pytest.approx((0.5 + 1.0) / 2)
    # A quarter of the best model's cost lies before the cheapest model's.
    assert found.quality_at_quarter == pytest.approx(0.4)
    assert found.kept_at_quarter == pytest.approx(0.5)


def test_ends_of_the_trade_off() -> None:
    quality = np.array([[0.2, 0.9, 0.9], [0.5, 0.5, 0.4]])
    cost = np.array([[1.0, 5.0, 3.0], [1.0, 2.0, 1.0]])
    knots = Tradeoff(tuple(np.geomspace(0.01, 1, 9)))
    # The best quality, the cheaper of two alike.
    assert choose(quality, cost, knots.weight(0.0)).tolist() == [2, 0]
    # The cheapest, the better of two alike.
    assert choose(quality, cost, knots.weight(1.0)).tolist() == [0, 0]


@hypothesis.settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_cost_falls_along_the_trade_off(seed: int) -> None:
    draw = np.random.default_rng(seed)
    quality, cost = draw.random((40, 4)), draw.random((40, 4)) * np.array([1, 3, 10, 50])
    knots = spread(quality, cost, quality, cost)
    weights = [knots.weight(one) for one in np.linspace(0, 1, 23)]
    assert weights == sorted(weights)
    rows = np.arange(40)
    spent = [cost[rows, choose(quality, cost, weight)].mean() for weight in weights]
    reached = [quality[rows, choose(quality, cost, weight)].mean() for weight in weights]
    assert (np.diff(spent) <= 1e-12).all()
    assert (np.diff(reached) <= 1e-12).all()


def test_one_trade_off_lies_below_a_quarter_of_the_best_ones_cost() -> None:
    draw = np.random.default_rng(3)
    quality = np.column_stack([0.5 + 0.3 * draw.random(500), 0.8 * np.ones(500)])
    cost = np.column_stack([np.full(500, 1.0), np.full(500, 100.0)])
    knots = spread(quality, cost, quality, cost)
    rows = np.arange(500)
    spent = [cost[rows, choose(quality, cost, knots.weight(one / 10))].mean() for one in range(11)]
    assert max(one for one in spent if one <= 25.0) > 20.0
