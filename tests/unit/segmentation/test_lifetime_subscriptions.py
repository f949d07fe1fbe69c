"""Survival of subscriptions: effects found again, censoring, intervals that hold the truth, value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.segmentation.value.subscriptions import (
    COLUMNS,
    MONTH_DAYS,
    Followed,
    SubscriptionValue,
    fit_subscriptions,
)
from models.segmentation.value.terms import Terms
from store.errors import TrainingError

TERMS = Terms(90, 720, discount=0.1, margin=0.8)


def simulated(seed: int, size: int = 600) -> tuple[dict[str, np.ndarray], Followed, np.ndarray]:
    """Customers whose chance to leave in a period of 30 days is 3 %, four times that with few logins; followed for some
    time and then lost from sight. Returns columns, what was seen of them, and the true chance."""
    rng = np.random.default_rng(seed)
    quiet = rng.random(size) < 0.4
    columns = {name: np.zeros(size) for name in COLUMNS}
    columns["tenure_days"] = rng.uniform(30, 900, size)
    columns["monthly_price"] = rng.choice([20.0, 50.0, 150.0], size)
    columns["contract_months"] = np.ones(size)
    columns["days_to_contract_end"] = rng.uniform(1, 30, size)
    columns["logins_28d"] = np.where(quiet, 1.0, 20.0)
    chance = np.where(quiet, 0.12, 0.03)
    stays = 30.0 * rng.geometric(chance) - rng.uniform(0, 30, size)
    seen = rng.uniform(60, 360, size)
    return columns, Followed(np.minimum(stays, seen), (stays <= seen).astype(float), seen), chance


def fit(seed: int, size: int = 600) -> tuple[SubscriptionValue, dict[str, np.ndarray], np.ndarray]:
    columns, seen, chance = simulated(seed, size)
    return fit_subscriptions(columns, seen, np.arange(size), TERMS), columns, chance


def true_months(chance: np.ndarray, periods: int, terms: Terms) -> np.ndarray:
    """Discounted months that a customer with a constant chance to leave stays, by the same trapezes."""
    staying = (1 - chance[:, None]) ** np.arange(periods + 1)
    share = (staying[:, 1:] + staying[:, :-1]) / 2
    middle = (np.arange(periods) + 0.5) * 30
    return terms.margin * (share @ terms.factor(middle)) * 30 / MONTH_DAYS


def test_survival_is_found_again_in_spite_of_censoring() -> None:
    model, columns, chance = fit(1, size=4_000)
    staying = model.survival(columns, 12)
    for periods in (1, 3, 6, 12):
        for kind in (0.12, 0.03):
            mean = staying[chance == kind, periods - 1].mean()
            assert mean == pytest.approx((1 - kind) ** periods, rel=0.06), (periods, kind)
    # Who only counts those seen to leave takes customers for far more short-lived than they are.
    _, seen, _ = simulated(1, 4_000)
    assert seen.left.mean() < 0.6


def test_value_lies_in_its_interval_as_often_as_it_says() -> None:
    """Mean value of the loyal kind, over 40 simulated businesses."""
    held = 0
    for seed in range(40):
        model, columns, chance = fit(100 + seed, size=300)
        kind = chance == 0.03
        one = {name: np.array([np.median(values[kind])]) for name, values in columns.items()}
        one["monthly_price"] = np.array([50.0])
        worth = model.worth(one)
        assert worth.low is not None
        assert worth.high is not None
        assert worth.low[0] < worth.value[0] < worth.high[0]
        true = 50.0 * true_months(np.array([0.03]), 24, TERMS)[0]
        held += bool(worth.low[0] <= true <= worth.high[0])
    assert 34 <= held <= 40


def test_value_by_hand() -> None:
    model, columns, _ = fit(2)
    few = {name: values[:7] for name, values in columns.items()}
    worth = model.worth(few)
    staying = np.concatenate([np.ones((7, 1)), model.survival(few, 24)], axis=1)
    share = (staying[:, 1:] + staying[:, :-1]) / 2
    factor = 1.1 ** (-(np.arange(24) + 0.5) * 30 / 365)
    expected = few["monthly_price"] * 0.8 * (share @ factor) * 30 / MONTH_DAYS
    np.testing.assert_allclose(worth.value, expected, rtol=1e-12)
    np.testing.assert_allclose(worth.p_alive, staying[:, 3], rtol=1e-12)
    np.testing.assert_allclose(worth.expected_purchases, share[:, :3].sum(axis=1) * 30 / MONTH_DAYS, rtol=1e-12)
    months, amount = model.outlook(few, 90)
    np.testing.assert_allclose(months, worth.expected_purchases, rtol=1e-12)
    np.testing.assert_allclose(amount, months * few["monthly_price"])
    longer = replace(model, terms=Terms(90, 1440, 0.1, 0.8)).worth(few)
    assert np.all(longer.value > worth.value)


def test_the_interval_is_the_derivative_by_the_effects() -> None:
    """The delta method against differences of the value itself."""
    model, columns, _ = fit(3)
    one = {name: values[:1] for name, values in columns.items()}
    size = len(model.hazard.beta)
    slope = np.empty(size)
    for place in range(size):
        step = np.zeros(size)
        step[place] = 1e-5
        up, down = (
            replace(model, hazard=replace(model.hazard, beta=model.hazard.beta + sign * step)).worth(one).value[0]
            for sign in (1, -1)
        )
        slope[place] = (up - down) / 2e-5
    error = np.sqrt(slope @ model.hazard.covariance @ slope)
    worth = model.worth(one)
    assert worth.high is not None
    assert worth.high[0] == pytest.approx(worth.value[0] * np.exp(1.959964 * error / worth.value[0]), rel=1e-5)


def test_a_row_alone_and_among_others_and_with_holes() -> None:
    model, columns, _ = fit(4)
    everybody = model.worth(columns)
    alone = model.worth({name: values[5:6] for name, values in columns.items()})
    np.testing.assert_allclose(alone.value, everybody.value[5:6], rtol=1e-12)
    holes = {name: np.array([np.nan]) for name in COLUMNS}
    worth = model.worth(holes)
    typical = model.worth({name: np.array([model.fill[name]]) for name in COLUMNS})
    np.testing.assert_allclose(worth.value, typical.value)
    assert SubscriptionValue.from_dict(model.to_dict()).worth(columns).value.tolist() == everybody.value.tolist()


def test_nobody_left_and_nobody_was_followed() -> None:
    columns, seen, _ = simulated(5, 100)
    model = fit_subscriptions(columns, Followed(seen.limit, np.zeros(100), seen.limit), np.arange(100), TERMS)
    assert "Only 0 customers left" in model.notes[0]
    worth = model.worth(columns)
    assert np.all((worth.p_alive > 0.9) & np.isfinite(worth.value))
    with pytest.raises(TrainingError, match="nothing is known of how long"):
        fit_subscriptions(columns, Followed(*(np.zeros(100) for _ in range(3))), np.arange(100), TERMS)
