"""BG/NBD and Gamma-Gamma: the published fit, their derivatives, and what other packages get wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import hyp2f1
from scipy.stats import beta as beta_distribution

from models.segmentation.value import bgnbd, gamma_gamma
from models.segmentation.value.bgnbd import BgNbd, beta_nodes, fit_bgnbd
from models.segmentation.value.gamma_gamma import fit_gamma_gamma
from models.segmentation.value.likelihood import Parameter
from models.segmentation.value.terms import Terms
from models.segmentation.value.transactions import COLUMNS, fit_transactions

Summary = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def fit(summary: Summary) -> BgNbd:
    return fit_bgnbd(summary["x"], summary["last"], summary["age"])


def with_parameters(r: float, alpha: float, a: float, b: float) -> BgNbd:
    values = {"r": r, "alpha": alpha, "a": a, "b": b}
    return BgNbd({name: Parameter(value, None, None, None) for name, value in values.items()}, 0.0, True)


def test_cdnow_as_published(fit: BgNbd) -> None:
    """Fader, Hardie & Lee (2005), table 1."""
    found = {name: one.value for name, one in fit.parameters.items()}
    assert found == pytest.approx({"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}, abs=6e-4)
    assert fit.log_likelihood == pytest.approx(-9582.4, abs=0.05)
    assert fit.identified
    for one in fit.parameters.values():
        assert one.low is not None
        assert one.high is not None
        assert 0 < one.low < one.value < one.high


def test_the_unit_of_time_changes_nothing_but_alpha(summary: Summary, fit: BgNbd) -> None:
    days = fit_bgnbd(summary["x"], 7 * summary["last"], 7 * summary["age"])
    for name, factor in (("r", 1), ("alpha", 7), ("a", 1), ("b", 1)):
        assert days.parameters[name].value == pytest.approx(factor * fit.parameters[name].value, rel=1e-4)
    assert days.log_likelihood == pytest.approx(fit.log_likelihood - summary["x"].sum() * np.log(7), abs=1e-3)


def test_spend_on_cdnow_as_published(summary: Summary) -> None:
    """Fader & Hardie (2013): p 6.25, q 3.74, γ 15.44, over the customers with a repeat purchase."""
    fit = fit_gamma_gamma(summary["x"], summary["mean"])
    found = {name: one.value for name, one in fit.parameters.items()}
    assert found == pytest.approx({"p": 6.25, "q": 3.74, "gamma": 15.44}, abs=0.01)
    assert fit.customers == int((summary["x"] > 0).sum()) == 946
    # Without a repeat purchase the mean of the population; with many, one's own.
    few, many = fit.expected_spend(np.array([0.0, 1e6]), np.array([99.0, 99.0]))
    assert few == pytest.approx(6.25 * 15.44 / 2.74, rel=0.01)
    assert many == pytest.approx(99, rel=1e-3)


@pytest.mark.parametrize("at", [(0.3, 5.0, 0.7, 2.0), (4.0, 0.5, 3.0, 0.2)])
def test_the_gradients_are_those_of_the_likelihoods(summary: Summary, at: tuple[float, ...]) -> None:
    def numeric(value: Callable[[np.ndarray], float], point: np.ndarray) -> list[float]:
        steps = 1e-6 * np.eye(len(point))
        return [(value(point + step) - value(point - step)) / 2e-6 for step in steps]

    three = [summary[name][:200] for name in ("x", "last", "age")]
    log = np.log(at)
    analytic = bgnbd.log_likelihood(np.exp(log), *three)[1].sum(axis=0)
    expected = numeric(lambda point: float(bgnbd.log_likelihood(np.exp(point), *three)[0].sum()), log)
    np.testing.assert_allclose(analytic, expected, rtol=1e-4, atol=1e-3)
    some = summary["x"][:400] > 0
    x, mean = summary["x"][:400][some], summary["mean"][:400][some]
    plain = np.array(at[:3]) + np.array([0.0, 1.0, 0.0])
    analytic = gamma_gamma.log_likelihood(plain, x, mean)[1].sum(axis=0)
    expected = numeric(lambda point: float(gamma_gamma.log_likelihood(point, x, mean)[0].sum()), plain)
    np.testing.assert_allclose(analytic, expected, rtol=1e-4, atol=1e-3)


def test_expected_purchases_agree_with_the_closed_form_where_that_can_be_computed(summary: Summary, fit: BgNbd) -> None:
    x, last, age = (summary[name] for name in ("x", "last", "age"))
    r, alpha, a, b = (fit.parameters[name].value for name in bgnbd.NAMES)
    z = 39 / (alpha + age + 39)
    whole = 1 - ((alpha + age) / (alpha + age + 39)) ** (r + x) * hyp2f1(r + x, b + x, a + b + x - 1, z)
    alive = 1 / (1 + (x > 0) * a / (b + np.maximum(x, 1) - 1) * ((alpha + age) / (alpha + last)) ** (r + x))
    expected = (a + b + x - 1) / (a - 1) * whole * alive
    np.testing.assert_allclose(fit.expected_purchases(x, last, age, 39.0), expected, rtol=1e-9)
    np.testing.assert_allclose(fit.p_alive(x, last, age), alive, rtol=1e-12)


def test_the_holdout_of_cdnow(purchases: pd.DataFrame, summary: Summary, fit: BgNbd) -> None:
    """39 weeks ahead: a mean absolute error of .81 transactions and 15 % below their total; where those of one day
    count as one purchase, as they did in the calibration, .79 and 12 %."""
    after = purchases[purchases["date"] > pd.Timestamp("1997-09-30")]
    expected = fit.expected_purchases(summary["x"], summary["last"], summary["age"], 39.0)
    for counted, error, total in ((after, 0.81, -0.156), (after.drop_duplicates(["entity", "date"]), 0.785, -0.121)):
        later = counted.groupby("entity").size()
        actual = later.reindex(sorted(purchases["entity"].unique()), fill_value=0).to_numpy()
        assert np.abs(expected - actual).mean() == pytest.approx(error, abs=0.003)
        assert expected.sum() / actual.sum() - 1 == pytest.approx(total, abs=0.003)


@settings(max_examples=40, deadline=None)
@given(
    r=st.floats(0.01, 20),
    alpha=st.floats(0.01, 500),
    a=st.floats(0.01, 20),
    b=st.floats(0.01, 20),
    x=st.integers(0, 100_000),
    share=st.floats(0, 1),
    age=st.floats(0, 5_000),
)
def test_never_nan_and_always_in_order(
    r: float, alpha: float, a: float, b: float, x: int, share: float, age: float
) -> None:
    """Also for customers without a repeat purchase where a + b < 1, and for very frequent ones."""
    model = with_parameters(r, alpha, a, b)
    given_ = [np.array([float(value)]) for value in (x, share * age, age)]
    alive = float(model.p_alive(*given_)[0])
    found = model.expected_purchases(*given_, np.array([1.0, 10.0, 100.0]))[0]
    assert 0 <= alive <= 1
    assert np.all(np.isfinite(found))
    assert np.all(found >= 0)
    assert np.all(np.diff(found) >= -1e-9 * found.max())
    # Nobody buys faster than their rate, whoever they are.
    assert found[2] <= 100 * (r + x) / (alpha + age) * (1 + 1e-9)


def test_the_case_in_which_the_closed_form_fails() -> None:
    """lifetimes #442: NaN for customers without a repeat purchase when a + b < 1."""
    model = with_parameters(0.2, 4.0, 0.3, 0.5)
    found = model.expected_purchases(np.array([0.0]), np.array([0.0]), np.array([30.0]), np.array([10.0]))
    # λ ~ Gamma(r, α + T), p ~ Beta(a, b): by simulation.
    rng = np.random.default_rng(0)
    rate, p = rng.gamma(0.2, 1 / 34.0, 400_000), rng.beta(0.3, 0.5, 400_000)
    simulated = np.mean(-np.expm1(-rate * p * 10.0) / p)
    assert found[0, 0] == pytest.approx(simulated, rel=0.02)


def test_quadrature_is_exact_for_polynomials() -> None:
    for a, b in ((0.05, 0.3), (1.0, 1.0), (2.0, 1e5), (8e3, 8e3)):
        p, weight = beta_nodes(a, b)
        for power in range(5):
            assert p**power @ weight == pytest.approx(beta_distribution(a, b).moment(power) if power else 1.0, rel=1e-9)


def test_parameters_are_found_again_in_simulated_purchases() -> None:
    rng = np.random.default_rng(5)
    size = 3_000
    age = rng.uniform(20, 80, size)
    rate, p = rng.gamma(0.8, 1 / 6.0, size), rng.beta(1.2, 3.0, size)
    x, last = np.zeros(size), np.zeros(size)
    for one in range(size):
        now = rng.exponential(1 / rate[one])
        while now < age[one]:
            x[one], last[one] = x[one] + 1, now
            if rng.random() < p[one]:
                break
            now += rng.exponential(1 / rate[one])
    found = fit_bgnbd(x, last, age).parameters
    for name, true in (("r", 0.8), ("alpha", 6.0), ("a", 1.2), ("b", 3.0)):
        one = found[name]
        assert one.low is not None
        assert one.high is not None
        assert one.low < true < one.high, name


def columns(x: np.ndarray, last: np.ndarray, age: np.ndarray, mean: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(COLUMNS, (x, last, age, mean, np.where(x > 0, mean, 20.0)), strict=True))


def test_value_is_expected_purchases_times_spend_discounted(summary: Summary) -> None:
    some = slice(0, 400)
    x, last, age, mean = (summary[name][some] for name in ("x", "last", "age", "mean"))
    given_ = columns(x, 7 * last, 7 * age, mean)
    free = fit_transactions(given_, Terms(90, 360, discount=0.0, margin=0.5))
    bought, spent = free.outlook(given_, 360)
    worth = free.worth(given_)
    np.testing.assert_allclose(worth.value, 0.5 * spent, rtol=1e-9)
    np.testing.assert_allclose(worth.expected_purchases, free.outlook(given_, 90)[0], rtol=1e-12)
    dear = replace(free, terms=Terms(90, 360, discount=0.2, margin=0.5)).worth(given_)
    ratio = dear.value / worth.value
    assert np.all((ratio > 1.2**-1) & (ratio < 1))
    assert np.all(bought > 0)


def test_nobody_came_back() -> None:
    """Everybody bought once: one pooled rate, the mean amount, and a word about it."""
    size = 60
    zero = np.zeros(size)
    given_ = columns(zero, zero, np.full(size, 100.0), zero)
    model = fit_transactions(given_, Terms(30, 365))
    worth = model.worth(given_)
    assert "Nobody bought on a second day" in model.notes[0]
    assert len(set(worth.value.tolist())) == 1
    assert worth.expected_purchases[0] == pytest.approx(30 * 0.5 / (60 * 100))
    assert worth.value[0] > 0


def test_amounts_that_do_not_differ_and_customers_of_today() -> None:
    rng = np.random.default_rng(1)
    x = rng.poisson(2, 80).astype(float)
    age = rng.uniform(100, 200, 80)
    given_ = columns(x, np.where(x > 0, 0.8 * age, 0.0), age, np.where(x > 0, 10.0, 0.0))
    model = fit_transactions(given_, Terms(30, 365))
    assert "Amounts do not tell customers apart" in " ".join(model.notes)
    unknown = {name: np.array([np.nan, 0.0]) for name in COLUMNS}
    assert np.all(np.isfinite(model.worth(unknown).value))
