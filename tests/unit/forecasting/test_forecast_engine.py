from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.frequency import Grid
from models.forecasting.engine import BASELINE, CLASSICAL, forecast_series, plan, run_members
from models.forecasting.series import Series

DAY = 86_400 * 10**9
DAILY, MONTHLY, HOURLY = Grid("fixed", DAY), Grid("month", 1), Grid("fixed", DAY // 24)
QUICK = ("SeasonalNaive", "DynamicOptimizedTheta", "AutoTheta")


def seasonal(n: int, season: int, seed: int = 0, noise: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    index = np.arange(n)
    return 100 + 0.2 * index + 10 * np.sin(2 * np.pi * index / season) + noise * rng.standard_normal(n)


def check(result: object, h: int) -> None:
    path = result.path  # type: ignore[attr-defined]
    assert path.shape == (h,)
    assert np.isfinite(path).all()
    previous = None
    for level in (1, 50, 80, 95, 99.9):
        low, high = result.interval(level)  # type: ignore[attr-defined]
        assert np.isfinite(low).all()
        assert np.isfinite(high).all()
        assert np.all(low < path)
        assert np.all(path < high)
        if previous is not None:
            assert np.all(low <= previous[0])
            assert np.all(high >= previous[1])
        previous = low, high


@pytest.mark.parametrize(
    "y",
    [
        np.array([5.0]), np.array([5.0, 7.0]), np.array([1.0, 2, 3, 4, 5]), np.full(40, 3.0), np.zeros(40),
        np.concatenate((np.zeros(39), [1.0])), -seasonal(60, 12), np.tile([0.0, 0, 0, 9], 12), np.full(30, 1e12),
        1e-9 * seasonal(60, 12), np.concatenate((np.full(30, 2.0), np.full(30, 400.0))),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seasons", [(), (12,)])
def test_every_kind_of_series_gets_a_finite_forecast_with_an_interval(y: np.ndarray, seasons: tuple[int, ...]) -> None:
    usable = tuple(season for season in seasons if len(y) >= 2 * season)
    check(forecast_series(Series("a", y, usable, MONTHLY), 6, members=QUICK), 6)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 15))
@settings(max_examples=40, deadline=None)
def test_any_numbers_do(values: list[float], h: int) -> None:
    check(forecast_series(Series("a", np.array(values), (), MONTHLY), h, members=QUICK), h)


def test_a_clear_season_is_forecast_closely() -> None:
    y = seasonal(132, 12)
    result = forecast_series(Series("a", y[:120], (12,), MONTHLY), 12, members=(*QUICK, "AutoETS"))
    assert np.abs(result.path - y[120:]).mean() < 2.0


def test_what_suits_a_series_goes_by_its_grid_length_and_seasons() -> None:
    noise = np.random.default_rng(0).standard_normal(2000)
    assert plan(Series("a", noise[:100], (12,), MONTHLY), None, 60)[0] == CLASSICAL
    assert plan(Series("a", noise[:500], (7,), DAILY), None, 60)[0] == ("DynamicOptimizedTheta", "Prophet", "Boosting")
    assert plan(Series("a", noise[:1000], (7, 365), DAILY), None, 60)[0] == ("MSTL", "Prophet", "Boosting")
    assert plan(Series("a", noise, (24, 168), HOURLY), None, 60)[0] == ("MSTL", "Boosting")
    assert plan(Series("a", noise[:1], (), DAILY), None, 60)[0] == (BASELINE,)
    assert plan(Series("a", np.ones(50), (7,), DAILY), None, 60)[0] == (BASELINE,)


def test_members_over_the_budget_are_left_out_and_named() -> None:
    series = Series("a", seasonal(1500, 12), (12,), MONTHLY)
    names, notes = plan(series, None, 0.5)
    assert "AutoARIMA" not in names
    assert any("AutoARIMA: over the time budget" in note for note in notes)


def test_no_member_is_begun_once_the_time_is_spent() -> None:
    ticks = iter(np.arange(100) * 10.0)
    series = Series("a", seasonal(60, 12), (12,), MONTHLY)
    runs, notes = run_members(series, QUICK, 6, budget=15.0, clock=lambda: float(next(ticks)))
    assert list(runs) == ["SeasonalNaive", "DynamicOptimizedTheta"]
    assert "AutoTheta: the time budget" in notes[0]


def test_a_member_that_fails_is_left_out_and_its_reason_kept() -> None:
    series = Series("a", seasonal(40, 12), (), Grid("integer", 1))
    result = forecast_series(series, 6, members=("Prophet", "MSTL", "DynamicOptimizedTheta"))
    assert result.model == "DynamicOptimizedTheta"
    assert any("Prophet needs dates" in note for note in result.notes)
    assert forecast_series(series, 6, members=("Prophet",)).model == BASELINE


def test_forecasts_of_what_is_never_negative_stop_at_zero() -> None:
    y = np.maximum(0.0, 60 - 1.0 * np.arange(58)) + 0.1
    series = Series("a", y, (), MONTHLY)
    result = forecast_series(series, 12, members=("AutoTheta", "DynamicOptimizedTheta"))
    low, _ = result.interval(80)
    assert result.path.min() >= 0
    assert low.min() >= -1e-6
    free = forecast_series(series, 12, members=("AutoTheta", "DynamicOptimizedTheta"), nonnegative=False)
    assert free.interval(80)[0].min() < 0


def test_long_seasons_are_carried() -> None:
    rng = np.random.default_rng(1)
    index = np.arange(24 * 7 * 6 + 48)
    y = 50 + 10 * np.sin(2 * np.pi * index / 24) + 8 * (index // 24 % 7 >= 5) + rng.standard_normal(len(index))
    result = forecast_series(Series("a", y[:-48], (24, 168), HOURLY), 48)
    assert set(result.weights) <= {"MSTL", "Boosting"}
    assert np.abs(result.path - y[-48:]).mean() < 1.6
    check(result, 48)


@pytest.mark.parametrize("grid", [MONTHLY, DAILY])
def test_no_member_is_tried_that_cannot_suit_a_short_series(grid: Grid) -> None:
    for n in range(1, 14):
        y = 10 + np.random.default_rng(n).standard_normal(n)
        for seasons in ((), (2,), (4,)):
            if seasons and n < 2 * seasons[0]:
                continue
            result = forecast_series(Series("s", y, seasons, grid), 6)
            assert result.notes == (), (n, seasons, result.notes)


def test_members_that_were_asked_for_and_do_not_suit_are_explained_in_words() -> None:
    short = Series("s", np.array([3.0, 1.0, 4.0, 1.0, 5.0]), (), DAILY)
    result = forecast_series(short, 3, members=("AutoETS", "MSTL"))
    assert result.model == "SeasonalNaive"
    assert result.notes == ("AutoETS: 5 values are too few, it needs 9", "MSTL: 5 values are too few, it needs 9")
    longer = Series("s", np.arange(20.0) % 3, (), DAILY)
    assert plan(longer, ("MSTL",), 60)[1] == ("MSTL: it needs a season, and the series has none",)
