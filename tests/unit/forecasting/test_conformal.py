from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.frequency import Grid
from models.forecasting.backtest import MemberRun
from models.forecasting.conformal import calibrate, error_scale, interval, scaled_errors
from models.forecasting.conformal_prior import MONTHS, QUARTERS, prior_scores
from models.forecasting.engine import SeriesForecast, conclude, forecast_series
from models.forecasting.series import Series, persistence


def test_the_fixed_samples_are_quantiles() -> None:
    for sample in (MONTHS, QUARTERS):
        assert len(sample) == 100
        assert np.all(np.diff(sample) > 0)
        assert sample[0] > 0
    assert prior_scores(4) is QUARTERS
    assert prior_scores(12) is MONTHS


@given(
    st.integers(0, 6),
    st.integers(1, 20),
    st.floats(1e-6, 1e6),
    st.lists(st.floats(0.1, 99.99), min_size=2, max_size=6, unique=True),
    st.integers(0, 1000),
    st.floats(0, 1),
)
@settings(max_examples=80, deadline=None)
def test_half_widths_are_positive_and_grow_with_the_level(
    count: int, h: int, naive: float, levels: list[float], seed: int, lasting: float
) -> None:
    rng = np.random.default_rng(seed)
    errors = naive * rng.exponential(size=(count, h))
    scores = calibrate(naive, naive * rng.exponential(size=h), errors, naive * np.ones((count, h)), MONTHS, lasting)
    widths = np.array([scores.half_width(level) for level in sorted(levels)])
    assert np.all(widths > 0)
    assert np.all(np.isfinite(widths))
    assert np.all(np.diff(widths, axis=0) >= 0)


def test_intervals_scale_with_the_series() -> None:
    rng = np.random.default_rng(0)
    errors, spread = rng.exponential(size=(4, 12)), rng.exponential(size=12)
    small = calibrate(1.0, spread, errors, np.ones((4, 12)), MONTHS, 0.5).half_width(80)
    large = calibrate(1000.0, 1000 * spread, 1000 * errors, 1000 * np.ones((4, 12)), MONTHS, 0.5).half_width(80)
    assert np.allclose(large, 1000 * small)


def test_own_errors_widen_what_was_too_narrow() -> None:
    calm = calibrate(1.0, np.ones(8), 0.5 * np.ones((6, 8)), np.ones((6, 8)), MONTHS, 0.5).half_width(80)
    wild = calibrate(1.0, np.ones(8), 5.0 * np.ones((6, 8)), np.ones((6, 8)), MONTHS, 0.5).half_width(80)
    assert np.all(wild > 2 * calm)


def test_an_origin_is_scaled_without_looking_at_itself() -> None:
    errors = np.ones((3, 5))
    before = scaled_errors(1.0, errors, np.ones((3, 5)), 0.5)[0]
    changed = errors.copy()
    changed[0] = 7.0
    assert np.allclose(scaled_errors(1.0, changed, np.ones((3, 5)), 0.5)[0], 7 * before)


def test_the_scale_grows_with_the_step_where_deviations_last() -> None:
    none = np.zeros((0, 10))
    assert np.all(np.diff(error_scale(1.0, np.zeros(10), none, 1.0)) > 0)
    assert np.allclose(error_scale(1.0, np.zeros(10), none, 0.0), 1.0)


def test_the_slope_of_the_own_errors_tilts_the_scale_the_more_the_more_origins_there_are() -> None:
    def last_over_first(errors: np.ndarray) -> float:
        scale = error_scale(1.0, np.zeros(16), errors, 0.5)
        return float(scale[-1] / scale[0])

    step = np.arange(1, 17, dtype=float)
    untouched = last_over_first(np.zeros((0, 16)))
    steep, flat = step**0.6, np.ones(16)
    assert last_over_first(np.tile(flat, (6, 1))) < last_over_first(flat[None]) < untouched
    assert last_over_first(np.tile(steep, (6, 1))) > last_over_first(steep[None]) > untouched
    half_seen = np.where(step <= 8, flat, np.nan)[None]
    assert last_over_first(half_seen) < untouched


def test_a_member_that_runs_away_does_not_widen_the_intervals_without_end() -> None:
    errors = np.ones((3, 8))
    usual = calibrate(1.0, np.full(8, 5.0), errors, np.ones((3, 8)), MONTHS, 0.5).half_width(80)
    away = calibrate(1.0, np.full(8, 1e9), errors, np.ones((3, 8)), MONTHS, 0.5).half_width(80)
    assert np.allclose(away, usual)


def test_persistence_tells_noise_from_a_random_walk() -> None:
    rng = np.random.default_rng(5)
    noise, season = rng.standard_normal(240), np.tile(5 * rng.standard_normal(12), 20)
    trend = 0.3 * np.arange(240)
    assert persistence(noise + trend + season, 12) < 0.2
    assert persistence(noise + trend, 1) < 0.2
    assert persistence(np.cumsum(noise) + season, 12) > 0.75
    assert persistence(np.cumsum(noise), 1) > 0.75
    for dull in (np.full(30, 7.0), np.array([1.0, 2.0]), np.zeros(1), 0.1 * np.arange(40)):
        assert persistence(dull, 12) == 0.0
    assert np.isclose(persistence(1e-200 * noise, 1), persistence(noise, 1))


def forecast_of_two(y: np.ndarray, h: int, member: Callable[[np.ndarray, int], np.ndarray]) -> SeriesForecast:
    """Two members that differ the more, the farther ahead, at three rolling origins and at the end."""
    ends = (len(y) - 2 * h, len(y) - 3 * h // 2, len(y) - h)
    drift = 0.4 + 0.1 * np.arange(h)
    runs = {}
    for name, sign in (("AutoETS", 1.0), ("AutoCES", -1.0)):
        paths = np.array([member(y[:end], end) + sign * drift for end in (*ends, len(y))])
        runs[name] = MemberRun(paths[-1], ends, paths[:-1])
    return conclude(Series("s", y, (7,), Grid("fixed", 86_400 * 10**9)), runs, h)


@pytest.mark.parametrize("kind", ["noise", "walk"])
def test_the_first_the_middle_and_the_last_step_are_each_covered(kind: str) -> None:
    rng = np.random.default_rng(11)
    n, h, inside = 200, 14, []
    for _ in range(60):
        week = np.resize(4 * rng.standard_normal(7), n + h)
        noise, ahead = 3 * rng.standard_normal(n), 3 * rng.standard_normal((200, h))
        if kind == "noise":
            y, future = 100 + week[:n] + noise, 100 + week[n:] + ahead
        else:
            y = 100 + week[:n] + np.cumsum(noise)
            future = 100 + week[n:] + noise.sum() + np.cumsum(ahead, axis=1)

        def member(past: np.ndarray, end: int, week: np.ndarray = week) -> np.ndarray:
            free = past - week[:end]
            return week[end : end + h] + (free[-40:].mean() if kind == "noise" else free[-1])

        low, high = forecast_of_two(y, h, member).interval(80)
        inside.append(np.mean((low <= future) & (future <= high), axis=0))
    covered = np.mean(inside, axis=0)[[0, h // 2 - 1, h - 1]]
    assert covered[0] > 0.70
    assert np.all((covered > 0.65) & (covered < 0.92))
    assert np.ptp(covered) < 0.15


def test_exchangeable_errors_are_covered_at_their_level() -> None:
    rng = np.random.default_rng(3)

    def errors_of_a_series() -> tuple[float, np.ndarray]:
        size = float(np.exp(rng.standard_normal()))
        return size, size * np.abs(rng.standard_normal((7, 1)))

    found = [errors_of_a_series() for _ in range(500)]
    none = np.zeros((6, 1))
    scaled = np.concatenate([one for size, errors in found for one in scaled_errors(size, errors[:6], none, 0.0)])
    sample = np.quantile(scaled, np.arange(0.005, 1, 0.01))
    for level, low, high in ((50, 0.44, 0.58), (80, 0.76, 0.86), (95, 0.92, 0.98)):
        inside = [
            errors[6, 0] <= calibrate(size, np.zeros(1), errors[:6], none, sample, 0.0).half_width(level)[0]
            for size, errors in found
        ]
        assert low < np.mean(inside) < high


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=8), st.floats(0, 1e6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_intervals_lie_strictly_around_the_path(path: list[float], half: float, nonnegative: bool) -> None:
    values = np.abs(np.array(path)) if nonnegative else np.array(path)
    scale = np.full(len(values), 1.0)
    low, high = interval(values, half * scale, scale, 80, nonnegative=nonnegative)
    assert np.all(low < values)
    assert np.all(values < high)
    wider_low, wider_high = interval(values, half * scale, scale, 95, nonnegative=nonnegative)
    assert np.all(wider_low <= low)
    assert np.all(high <= wider_high)
    if nonnegative:
        assert np.all(wider_low >= -1e-9)
        assert np.all(low[values > 0] >= 0)


@pytest.mark.parametrize("size", [1e-15, 1e-8, 1.0, 1e12])
def test_intervals_of_tiny_and_of_huge_values_have_distinct_ends(size: float) -> None:
    y = size * (5 + np.random.default_rng(2).standard_normal(60))
    result = forecast_series(Series("s", y, (), Grid("integer", 1)), 4, members=("AutoTheta",))
    (low80, high80), (low95, high95) = result.interval(80), result.interval(95)
    for narrow, wide in ((low95, low80), (low80, result.path), (result.path, high80), (high80, high95)):
        assert np.all(wide - narrow > 0.1 * size)


def test_nothing_but_zeros_stays_at_zero_and_counts_stop_there() -> None:
    zeros = forecast_series(Series("s", np.zeros(40), (), Grid("integer", 1)), 5)
    (low80, _), (low95, _) = zeros.interval(80), zeros.interval(95)
    assert np.all((low95 < low80) & (low80 < zeros.path) & (zeros.path == 0))
    assert np.all(low95 >= -1e-9 * zeros.scores.scale)
    assert np.all(low95 > -1e-9)
    counts = np.random.default_rng(1).poisson(1.0, 60).astype(float)
    few = forecast_series(Series("s", counts, (), Grid("integer", 1)), 5, members=("AutoTheta",))
    assert np.all(few.path > 0)
    assert np.all(few.interval(95)[0] == 0.0)
