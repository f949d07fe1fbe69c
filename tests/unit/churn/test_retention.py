"""Offers, what customers are worth, the knapsack, and the plan that comes of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as repeated
from hypothesis import strategies as st

from models.churn.calibration import Calibration, fit_calibration
from models.churn.family import ChurnModel
from models.churn.model import Trace
from models.churn.retention.doubt import Doubt, doubt
from models.churn.retention.knapsack import MICRO, NONE, choose, in_micros
from models.churn.retention.offers import RetentionOffer, conditions, offer_of, offers_of
from models.churn.retention.plan import Customers, plan
from models.churn.retention.value import money, worth, worth_of
from store.errors import DataError, EmptyData, InvalidValue, MissingColumn, WrongType

SMALL = st.integers(0, 6)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Any, Any, int]:
    rows, options = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    value = draw(st.lists(st.integers(-3, 12), min_size=rows * options, max_size=rows * options))
    cost = draw(st.lists(SMALL, min_size=rows * options, max_size=rows * options))
    budget = draw(st.integers(0, 14))
    return (
        np.asarray(value, dtype=np.float64).reshape(rows, options),
        MICRO * np.asarray(cost, dtype=np.int64).reshape(rows, options),
        MICRO * budget,
    )


def best_of_all(value: Any, cost: Any, budget: int) -> float:
    best = 0.0
    for taken in itertools.product(range(-1, value.shape[1]), repeat=len(value)):
        spent = sum(int(cost[i, k]) for i, k in enumerate(taken) if k >= 0)
        if spent <= budget:
            best = max(best, float(sum(value[i, k] for i, k in enumerate(taken) if k >= 0)))
    return best


def checked(choice: Any, value: Any, cost: Any, budget: int) -> None:
    rows = np.flatnonzero(choice.option != NONE)
    taken = choice.option[rows]
    assert cost[rows, taken].sum() <= budget
    assert (value[rows, taken] > 0).all()
    assert value[rows, taken].sum() == pytest.approx(choice.value)


@repeated(max_examples=150, deadline=None)
@given(problems())
def test_small_problems_are_solved_exactly_and_never_overspend(problem: tuple[Any, Any, int]) -> None:
    value, cost, budget = problem
    best = best_of_all(value, cost, budget)
    found = choose(value, cost, budget)
    checked(found, value, cost, budget)
    assert found.exact
    assert found.value == pytest.approx(best)
    greedy = choose(value, cost, budget, most_cells=0)
    checked(greedy, value, cost, budget)
    assert greedy.value <= best + 1e-9 <= greedy.bound + 1e-6
    if greedy.exact:
        assert greedy.value == pytest.approx(best)


def test_a_large_problem_comes_within_one_offer_of_its_bound() -> None:
    rng = np.random.default_rng(0)
    probability, worth_each = rng.beta(1, 8, 20_000), rng.gamma(2, 200, 20_000)
    costs = np.asarray([5_010_000, 19_990_000, 50_030_000])
    value = np.column_stack([probability * share * worth_each for share in (0.2, 0.4, 0.5)]) - costs / MICRO
    cost = np.broadcast_to(costs, value.shape)
    found = choose(value, cost, 20_000 * MICRO)
    checked(found, value, cost, 20_000 * MICRO)
    assert not found.exact
    assert found.value >= 0.9995 * found.bound
    unlimited = choose(value, cost, None)
    assert unlimited.exact
    assert unlimited.value == pytest.approx(np.maximum(value.max(axis=1), 0).sum())


def test_money_is_rounded_against_the_campaign() -> None:
    assert in_micros(0.1 + 0.2, up=True) == 300_000
    assert in_micros(0.0000001, up=True) == 1
    assert in_micros(0.0000009, up=False) == 0
    assert choose(np.ones((1, 1)), np.asarray([[in_micros(0.3, up=True)]]), in_micros(0.1 * 3, up=False)).value == 1.0


def _customers(rows: int = 40, seed: int = 0) -> Customers:
    rng = np.random.default_rng(seed)
    probability = rng.beta(1.5, 5, rows).round(3)
    frame = pd.DataFrame({"plan": rng.choice(["basic", "Pro"], rows), "price": rng.integers(1, 99, rows)})
    band = np.where(probability > 0.3, "high", "low").astype(object)
    ids = np.asarray([f"Ü{i:03d}" for i in range(rows)], dtype=object)
    return Customers(ids, probability, band, rng.choice([100.0, 500.0], rows), frame, "a test")


OFFERS = [
    RetentionOffer("call", 15.0, success=0.3),
    RetentionOffer("discount", 40.5, success=0.5, eligible=conditions("plan = pro and price >= 20")),
    RetentionOffer("mail", 0.5, effect=0.01),
]


@repeated(max_examples=40, deadline=None)
@given(budget=st.floats(0, 900), seed=st.integers(0, 5))
def test_a_plan_keeps_budget_rules_and_money(budget: float, seed: int) -> None:
    customers = _customers(seed=seed)
    made = plan(customers, OFFERS, budget)
    table, summary = made.assignments, made.summary
    assert table["cost"].sum() <= budget + 1e-9
    assert summary["spend"] == pytest.approx(table["cost"].sum())
    assert table["customer"].is_unique
    assert (table["net"] > 0).all()
    assert (table["net"].diff().dropna() <= 1e-4).all()
    assert list(table["rank"]) == list(range(1, len(table) + 1))
    assert summary["net"]["value"] == pytest.approx(table["net"].sum(), abs=0.01)
    assert summary["revenue_saved"]["value"] - summary["spend"] == pytest.approx(summary["net"]["value"])
    assert summary["net"]["value"] >= summary["instead"]["by_risk"]["net"] - 1e-6
    assert sum(summary["not_offered"].values()) + len(table) == summary["customers"]
    discounted = customers.frame[np.isin(customers.ids, table.loc[table["offer"] == "discount", "customer"])]
    assert set(discounted["plan"]) <= {"Pro"}
    assert (discounted["price"] >= 20).all()
    assert json.dumps(summary, allow_nan=False)


def test_the_order_of_the_rows_changes_nothing() -> None:
    customers = _customers(200, seed=3)
    # Everybody alike: nothing but ties.
    same = dataclasses.replace(customers, probability=np.full(200, 0.3), value=np.full(200, 100.0))
    for one in (customers, same):
        first = plan(one, OFFERS, 300.0)
        mixed = np.random.default_rng(1).permutation(200)
        other = plan(
            dataclasses.replace(
                one,
                ids=one.ids[mixed],
                probability=one.probability[mixed],
                band=one.band[mixed],
                value=one.value[mixed],
                frame=one.frame.iloc[mixed],
            ),
            OFFERS,
            300.0,
        )
        pd.testing.assert_frame_equal(first.assignments, other.assignments)
        assert first.summary == other.summary


def test_a_plan_by_hand() -> None:
    customers = Customers(
        np.asarray(["a", "b", "c"], dtype=object),
        np.asarray([0.5, 0.2, 0.9]),
        np.asarray(["high", "low", "high"], dtype=object),
        np.asarray([100.0, 1000.0, 10.0]),
        pd.DataFrame({"x": [1, 2, 3]}),
        "by hand",
    )
    made = plan(customers, [RetentionOffer("call", 20.0, success=0.5)], 30.0)
    # a: .25·100 − 20 = 5; b: .1·1000 − 20 = 80; c: .45·10 − 20 < 0. Only one fits.
    row = made.assignments.iloc[0]
    assert (row["customer"], row["net"], row["revenue_saved"], row["probability_with_offer"]) == ("b", 80.0, 100.0, 0.1)
    assert made.summary["not_offered"] == {"not_eligible": 0, "costs_more_than_it_saves": 1, "budget": 1}
    assert [one["may_have"] for one in made.summary["by_offer"]] == [3]
    assert made.summary["revenue_at_risk"]["total"]["value"] == pytest.approx(50 + 200 + 9)
    assert made.summary["revenue_at_risk"]["bands"]["high"]["value"] == pytest.approx(59)
    # By risk the offer goes to c, on whom it is lost.
    assert made.summary["instead"]["by_risk"]["net"] == pytest.approx(-15.5)


def test_nothing_pays_and_nothing_is_there() -> None:
    customers = _customers(5)
    made = plan(customers, [RetentionOffer("gold", 1e6, success=1.0)], 1e9)
    assert len(made.assignments) == 0
    assert made.summary["spend"] == 0
    assert plan(customers, OFFERS, 0.0).summary["spend"] == 0
    free = plan(customers, [RetentionOffer("letter", 0.0, success=0.1)], 0.0)
    assert len(free.assignments) == 5
    with pytest.raises(EmptyData):
        plan(dataclasses.replace(customers, ids=np.asarray([])), OFFERS, 1.0)
    with pytest.raises(InvalidValue, match="occurs twice"):
        plan(dataclasses.replace(customers, ids=np.asarray(["a"] * 5)), OFFERS, 1.0)
    with pytest.raises(InvalidValue, match="have no id"):
        plan(dataclasses.replace(customers, ids=np.asarray(["a", None, "b", "c", "d"], dtype=object)), OFFERS, 1.0)
    for budget in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidValue, match="budget"):
            plan(customers, OFFERS, budget)
    with pytest.raises(InvalidValue, match="come from a campaign"):
        plan(customers, [RetentionOffer("call", 1.0, from_campaign=True)], 1.0)


def test_offers_from_a_table() -> None:
    table = pd.DataFrame(
        {
            " Name ": ["call", "10 % off", "letter"],
            "COST": ["15", "€ 40.50", 0],
            "success": ["30%", None, None],
            "effect": [None, 0.02, "Campaign"],
            "eligible": [None, "band = high; plan != basic", ""],
        }
    )
    found = offers_of(table)
    assert [(one.name, one.cost, one.success, one.effect, one.from_campaign) for one in found] == [
        ("call", 15.0, 0.3, None, False),
        ("10 % off", 40.5, None, 0.02, False),
        ("letter", 0.0, None, None, True),
    ]
    frame = pd.DataFrame({"band": ["high", "HIGH", "low", None], "plan": ["basic", "pro", "pro", None]})
    assert list(found[1].may_have(frame)) == [False, True, False, False]
    # As programmers write it; and a level may look like a comparison.
    (same, level) = conditions("band == high and age = <18|<=20")
    assert (same.sign, same.values, level.values) == ("=", ("high",), ("<18", "<=20"))


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"name": "a", "cost": -1, "success": 0.1}, InvalidValue, "cost = -1"),
        ({"name": "a", "cost": "free", "success": 0.1}, WrongType, "'free' is no number"),
        ({"name": "a", "cost": 1, "success": 1.1}, InvalidValue, "success = 1.1"),
        ({"name": "a", "cost": float("inf"), "success": 1}, InvalidValue, "cost = inf"),
        ({"name": "a", "cost": None, "success": 1}, InvalidValue, "no cost"),
        ({"name": " ", "cost": 1, "success": 1}, InvalidValue, "no name"),
        ({"name": "a", "cost": 1}, InvalidValue, "tells nothing"),
        ({"name": "a", "cost": 1, "success": 0.1, "effect": 0.1}, InvalidValue, "more than one thing"),
        ({"name": "a", "cost": 1, "success": 0.1, "eligible": "rich people"}, InvalidValue, "no condition"),
        ({"name": "a", "cost": 1, "success": 0.1, "eligible": "price > cheap"}, InvalidValue, "no condition"),
        ({"name": "a", "cost": 1, "success": 0.1, "eligible": "band = high, plan = pro"}, InvalidValue, "no condition"),
    ],
)
def test_offers_that_do_not_fit_say_so(given: dict[str, Any], kind: type[DataError], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        offer_of(given, "row 1")
    assert caught.value.remedy


def test_tables_of_offers_that_do_not_fit_say_so() -> None:
    with pytest.raises(MissingColumn, match="'cost', 'success'"):
        offers_of(pd.DataFrame({"name": ["a"]}))
    with pytest.raises(EmptyData):
        offers_of(pd.DataFrame({"name": [], "cost": [], "success": []}))
    with pytest.raises(InvalidValue, match="Two offers are called 'a'"):
        offers_of(pd.DataFrame({"name": ["a", "a"], "cost": 1, "success": 0.1}))
    frame = pd.DataFrame({"price": ["cheap", "dear"]})
    with pytest.raises(MissingColumn, match="no column 'plan'"):
        RetentionOffer("a", 1.0, 0.1, eligible=conditions("plan = x")).may_have(frame)
    with pytest.raises(WrongType, match="compares numbers"):
        RetentionOffer("a", 1.0, 0.1, eligible=conditions("price > 5")).may_have(frame)


def test_what_a_customer_is_worth() -> None:
    frame = pd.DataFrame({"monthly_price": [10.0, 10.0, 10.0], "clv": ["1,000.50", "0", "7"]})
    p = np.asarray([0.0, 0.5, 1.0])
    told = worth_of(frame, p, period_days=30, otherwise=None, months=12)
    # Never leaving: 12 months. A half each month: 1 + ½ + ¼ + … ≈ 2. Leaving next time: the one month just saved.
    np.testing.assert_allclose(told.values, [120.0, 10 * (2 - 0.5**11), 10.0])
    half = worth_of(frame, p, period_days=30, otherwise=None, months=2.5).values
    np.testing.assert_allclose(half, [25.0, 10 * (1 + 0.5 + 0.5 * 0.25), 10.0])
    np.testing.assert_allclose(worth_of(frame, p, period_days=0, otherwise=None).values, 120.0)
    np.testing.assert_allclose(worth_of(frame, p, period_days=30, otherwise=None, value="clv").values, [1000.5, 0, 7])
    flat = worth_of(frame.drop(columns="monthly_price"), p, period_days=30, otherwise=120.0)
    assert list(flat.values) == [120.0] * 3
    assert "every customer" in flat.basis
    with pytest.raises(InvalidValue, match="what a customer is worth"):
        worth_of(frame.drop(columns="monthly_price"), p, period_days=30, otherwise=None)


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([1.0, -2.0], InvalidValue, "negative \\(-2\\) in row 2"),
        ([1.0, None], InvalidValue, "missing or not finite in row 2"),
        ([float("inf"), 1.0], InvalidValue, "row 1"),
        (["12", "a lot"], WrongType, "'a lot': expected an amount"),
    ],
)
def test_amounts_that_are_none(values: list[Any], kind: type[DataError], said: str) -> None:
    with pytest.raises(kind, match=said):
        money(pd.DataFrame({"price": values}), "price")
    with pytest.raises(MissingColumn, match="no column 'prices'"):
        money(pd.DataFrame({"price": values}), "prices")


@pytest.mark.parametrize("truth", [0.5, 0.1])
def test_intervals_cover_what_an_honest_model_promises(truth: float) -> None:
    """Of a model that is right: what its sums are after calibrating on another sample lies in the interval mostly.

    At one half only the level matters, at a tenth the spread does too.
    """
    hits, widths = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        z = rng.normal(-0.5, 1.2, 1500)
        y = (rng.random(1500) < 1 / (1 + np.exp(-z))).astype(np.int64)
        fitted = fit_calibration(z, y, "platt")
        spread = doubt(_Calibrated(z, y, fitted), seed=seed)  # type: ignore[arg-type]
        p = fitted(np.full(100, np.log(truth / (1 - truth))))
        found = spread.of(np.asarray([p.sum()]), lambda q: np.asarray([q.sum()]), p)[0]
        hits += found.low <= 100 * truth <= found.high
        widths.append(found.high - found.low)
    assert 34 <= hits <= 40
    assert 0.5 < np.mean(widths) < 10


class _Calibrated:
    """As much of a model as `doubt` looks at."""

    def __init__(self, z: Any, y: Any, calibration: Calibration) -> None:
        self.trace = Trace(y, np.zeros(len(y), dtype=np.int64), z)
        self.calibration = calibration


def test_intervals_of_a_plan_come_from_the_model(blend: ChurnModel, customers: pd.DataFrame) -> None:
    rows = customers.head(300)
    probability = blend.predict(rows)
    value = worth(blend, rows, probability)
    assert "monthly_price over 12 months" in value.basis
    band = np.asarray([blend.band(float(p)) for p in probability], dtype=object)
    known = Customers(rows["customer_id"].to_numpy(), probability, band, value.values, rows, value.basis)
    made = plan(known, OFFERS[:1], 500.0, doubt(blend))
    for one in (made.summary["net"], made.summary["revenue_at_risk"]["total"], made.summary["customers_saved"]):
        assert one["low"] < one["value"] < one["high"]
    total = made.summary["revenue_at_risk"]["total"]
    assert (total["high"] - total["low"]) / total["value"] < 0.5
    sure = plan(known, OFFERS[:1], 500.0, Doubt(np.zeros(3), np.zeros(3))).summary["revenue_at_risk"]["total"]
    assert sure["low"] == pytest.approx(sure["high"])
