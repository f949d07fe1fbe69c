from __future__ import annotations

import numpy as np
import pytest

from features.frequency import Grid
from models.forecasting.backtest import actuals, origins_of, run_member
from models.forecasting.members import MEMBERS
from models.forecasting.seasons import detect_season, seasonal_strength, seasons_of
from models.forecasting.series import Series

DAY = 86_400 * 10**9
DAILY = Grid("fixed", DAY)


def weekly_series(n: int = 210, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    index = np.arange(n)
    y = 100 + 0.1 * index + 12 * np.sin(2 * np.pi * index / 7) + rng.standard_normal(n)
    return Series("a", y, (7,), DAILY, first=19_000)


def error(path: np.ndarray, series: Series, n: int) -> float:
    return float(np.abs(path - series.y[n : n + len(path)]).mean())


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "AutoCES"])
def test_members_follow_a_plain_weekly_pattern_from_both_origins(name: str) -> None:
    series = weekly_series()
    path = MEMBERS[name].fit(series, 160, 14)
    flat = np.abs(series.y[196:210] - series.y[196:210].mean()).mean()
    for origin in (160, 196):
        found = path(origin, 14)
        assert found.shape == (14,)
        assert error(found, series, origin) < 0.5 * flat


@pytest.mark.parametrize("name", [name for name in MEMBERS if name != "AutoCES"])
def test_no_member_looks_past_its_origin(name: str) -> None:
    series = weekly_series()
    changed = Series("a", np.concatenate((series.y[:180], np.full(30, 1e6))), (7,), DAILY, first=19_000)
    known = MEMBERS[name].fit(series, 160, 14)(180, 14)
    assert np.array_equal(known, MEMBERS[name].fit(changed, 160, 14)(180, 14))


def test_read_only_values_are_fine() -> None:
    series = weekly_series(60)
    series.y.setflags(write=False)
    for name in ("AutoETS", "DynamicOptimizedTheta"):
        run = run_member(MEMBERS[name], series, 7, (46,))
        assert np.isfinite(run.path).all()


@pytest.mark.parametrize(
    ("n", "h", "season"), [(3, 12, 1), (5, 8, 4), (16, 8, 4), (30, 18, 12), (100, 18, 12), (730, 90, 7)]
)
def test_rolling_origins_leave_something_on_both_sides(n: int, h: int, season: int) -> None:
    origins = origins_of(n, h, season)
    assert list(origins) == sorted(set(origins))
    assert all(0 < origin < n for origin in origins)
    if origins:
        assert np.isfinite(actuals(np.ones(n), origins, h)[:, 0]).all()


def test_long_series_have_more_origins_and_short_ones_see_a_full_horizon() -> None:
    assert len(origins_of(100, 18, 12)) == 3
    assert len(origins_of(960, 48, 24)) == 6
    assert origins_of(100, 18, 12)[-1] == 82


def test_what_is_known_is_not_fitted_again() -> None:
    series = weekly_series(100)
    member = MEMBERS["AutoTheta"]
    first = run_member(member, series.head(86), 14, (65, 72))
    known = {origin: first.paths[row] for row, origin in enumerate(first.origins)} | {86: first.path}
    second = run_member(member, series, 14, (65, 72, 86), known)
    assert np.array_equal(second.paths[2], first.path)
    assert np.array_equal(second.path, run_member(member, series, 14, ()).path)


def test_season_of_plain_numbers_is_found() -> None:
    rng = np.random.default_rng(0)
    index = np.arange(200)
    y = np.sin(2 * np.pi * index / 12) * 5 + rng.standard_normal(200)
    assert detect_season(y) == 12
    assert detect_season(rng.standard_normal(200).cumsum()) == 0
    assert detect_season(np.ones(100)) == 0
    assert seasons_of(y, Grid("integer", 1), None) == (12,)


def test_a_year_of_days_must_show() -> None:
    rng = np.random.default_rng(0)
    index = np.arange(3 * 365)
    yearly = 10 * np.sin(2 * np.pi * index / 365) + rng.standard_normal(len(index))
    assert seasons_of(yearly, DAILY, None) == (7, 365)
    assert seasons_of(rng.standard_normal(len(index)), DAILY, None) == (7,)
    assert seasonal_strength(yearly, 365) > 0.8


def test_seasons_that_were_asked_for_need_two_cycles() -> None:
    y = np.arange(400.0)
    assert seasons_of(y, Grid("fixed", DAY // 24), (168, 24)) == (24, 168)
    assert seasons_of(y[:300], Grid("fixed", DAY // 24), (168, 24)) == (24,)
    assert seasons_of(y, DAILY, (1,)) == ()
