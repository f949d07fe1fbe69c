"""The methods in closed form: they see level, season and growth, and answer for any series."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.frequency import Grid
from models.forecasting import quick
from models.forecasting.backtest import recent_origins
from models.forecasting.members import MEMBERS
from models.forecasting.options import ForecastOptions
from models.forecasting.panel_runs import forecast_all
from models.forecasting.series import Series

DAILY = Grid("fixed", 86_400 * 10**9)
NAMES = ("SeasonalMean", "Theta", "Growth")
WEEK = np.array([1.0, 1.1, 1.0, 1.0, 0.9, 0.1, 0.1])


def spend(days: int, growth: float = 0.0, noise: float = 0.0, seed: int = 0) -> Series:
    """A week with quiet weekends times a level that grows by a share each week."""
    at = np.arange(days)
    rng = np.random.default_rng(seed)
    y = 100.0 * WEEK[at % 7] * (1.0 + growth) ** (at / 7) * np.exp(rng.normal(0.0, noise, days))
    return Series("s", y, (7,), DAILY, 20_000)


@pytest.mark.parametrize("name", NAMES)
def test_a_week_that_repeats_itself_goes_on(name: str) -> None:
    series = spend(70)
    for upto in (70, 59):
        path = MEMBERS[name].fit(series, 70, 14)(upto, 14)
        np.testing.assert_allclose(path, 100.0 * WEEK[np.arange(upto, upto + 14) % 7], rtol=1e-6)


def test_growth_goes_on_and_slows_down() -> None:
    series = spend(84, growth=0.02)
    ahead = MEMBERS["Growth"].fit(series, 84, 91)(84, 91)
    weeks = ahead.reshape(13, 7).sum(axis=1)
    rates = weeks[1:] / weeks[:-1] - 1
    assert 0.01 < rates[0] < 0.021
    assert np.all(np.diff(rates) < 0)
    assert np.all(rates > 0)
    assert MEMBERS["Theta"].fit(series, 84, 91)(84, 91).reshape(13, 7).sum(axis=1)[-1] > weeks[0]


@given(
    st.lists(st.floats(0.0, 1e9), min_size=8, max_size=60),
    st.sampled_from([1, 7]),
    st.sampled_from(["SeasonalMean", "Theta", "Growth"]),
)
def test_any_series_without_negative_values_has_a_finite_path(values: list[float], season: int, name: str) -> None:
    y = np.array(values)
    series = Series("s", y, (season,) if season > 1 and len(y) >= 14 else (), DAILY)
    try:
        path = MEMBERS[name].fit(series, len(y), 30)(len(y), 30)
    except ValueError:
        assert name == "Growth"
        assert y.max() == 0.0
        return
    assert path.shape == (30,)
    assert np.all(np.isfinite(path))
    assert np.all(path > -1e12)


def test_negative_values_are_left_to_others() -> None:
    series = Series("s", np.array([1.0, -2.0] * 10), (), DAILY)
    for method in (quick.theta, quick.growth):
        with pytest.raises(ValueError, match="not negative"):
            method(series, 20, 5)(20, 5)


@given(st.integers(2, 900), st.sampled_from([1, 7, 12, 24]))
def test_recent_origins_leave_half_of_the_series(n: int, season: int) -> None:
    origins = recent_origins(n, season)
    assert list(origins) == sorted(set(origins))
    assert len(origins) <= 6
    assert all(max(n / 2 - 1, 4 * season) <= origin < n for origin in origins)


def test_a_horizon_as_long_as_the_series_learns_from_recent_origins() -> None:
    series = [spend(90, growth=0.01, noise=0.15, seed=seed) for seed in range(3)]
    options = ForecastOptions(horizon=90, freq="D", members=("Theta", "Growth"), recent_origins=True)
    for one in forecast_all(series, options):
        assert one.backtest.shape == (6, 90)
        low, high = one.interval(80)
        assert np.all((low < one.path) & (one.path < high))
    default = forecast_all(series, ForecastOptions(horizon=90, freq="D", members=("Theta", "Growth")))
    assert default[0].backtest.shape == (1, 90)


def test_no_library_of_models_is_loaded_for_them() -> None:
    program = (
        "import sys, numpy as np; from models.forecasting.members import MEMBERS;"
        "from models.forecasting.series import Series; from features.frequency import Grid;"
        "s = Series('s', np.ones(40), (7,), Grid('fixed', 86_400 * 10**9));"
        "[MEMBERS[name].fit(s, 40, 7)(40, 7) for name in ('SeasonalMean', 'Theta', 'Growth')];"
        "sys.exit(any(name in sys.modules for name in ('statsforecast', 'prophet', 'lightgbm', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
