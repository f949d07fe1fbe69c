from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.frequency import Grid
from models.forecasting.change_points import find_breaks
from models.forecasting.decomposition import decompose, report
from models.forecasting.decomposition_plot import decomposition_plot
from models.forecasting.explained import Explained, explain
from models.forecasting.family import ForecastingFamily, ForecastModel, ForecastOptions
from models.forecasting.series import Series

DAILY = Grid("fixed", 86_400 * 10**9)
N = 730


def noisy(seed: int, memory: float = 0.4, n: int = N) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = np.zeros(n)
    for day in range(1, n):
        noise[day] = memory * noise[day - 1] + rng.standard_normal()
    return 0.03 * noise / noise.std()


def with_break(seed: int) -> tuple[np.ndarray, int, float]:
    """Two years of days with a yearly wave, growth, and one lasting jump."""
    rng = np.random.default_rng(1_000 + seed)
    day = np.arange(N)
    at, jump = int(rng.integers(120, 600)), float(rng.choice([-1, 1]) * rng.uniform(0.12, 0.3))
    wave = 0.08 * np.sin(2 * np.pi * (day / 365.25 + rng.random()))
    return 100 * np.exp(0.0004 * day + wave + noisy(seed) + jump * (day >= at)), at, jump


def test_planted_breaks_are_found_with_date_and_size_and_few_others() -> None:
    found = exact = covered = sized = others = 0
    for seed in range(16):
        y, at, jump = with_break(seed)
        points = find_breaks(y, year=365.25).points
        near = [point for point in points if abs(point.at - at) <= 5]
        others += len(points) - len(near)
        for point in near[:1]:
            found += 1
            exact += point.at == at
            covered += point.low <= at <= point.high
            sized += point.jump[1] <= np.expm1(jump) <= point.jump[2]
            assert point.relative
    print(found, exact, covered, sized, others)
    assert found >= 14
    assert others <= 2
    assert covered >= found - 1
    assert sized >= 0.8 * found


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
def test_where_nothing_breaks_nothing_is_found(memory: float) -> None:
    day = np.arange(N)
    for seed in range(6):
        y = 50 * np.exp(0.001 * day + 0.1 * np.sin(2 * np.pi * day / 365.25) + noisy(seed, memory))
        assert find_breaks(y, year=365.25).points == ()


@pytest.mark.parametrize("y", [np.full(200, 5.0), np.full(730, 1e9 / 3), np.full(200, -0.1), 1.01 ** np.arange(200)])
def test_what_is_exact_has_no_breaks_from_rounding(y: np.ndarray) -> None:
    found = find_breaks(y)
    assert found.points == ()
    assert found.growth[1] <= found.growth[0] <= found.growth[2]


def test_sales_on_few_days_are_noise_and_not_an_exact_series_with_breaks() -> None:
    found = 0
    for seed in range(30):
        y = np.where(np.random.default_rng(seed).random(200) < 0.9, 0.0, 7.0)
        found += bool(find_breaks(y).points)
    assert found <= 2
    steps = np.where(np.arange(200) < 100, 5.0, 6.0)
    (point,) = find_breaks(steps).points
    assert point.at == 100


def test_a_change_of_growth_is_one_too() -> None:
    day = np.arange(N)
    y = 100 * np.exp(noisy(3) + np.where(day < 250, 0.0002 * day, 0.05 + 0.003 * (day - 250)))
    (point,) = find_breaks(y).points
    assert abs(point.at - 250) <= 25
    assert point.growth_changed
    assert point.before == pytest.approx(0.0002, abs=0.0004)
    assert point.after == pytest.approx(0.003, abs=0.0004)


def test_an_outage_is_no_break() -> None:
    y = 100 * np.exp(noisy(5))
    y[200:205] *= 0.3
    assert find_breaks(y).points == ()


def test_units_where_values_are_not_positive() -> None:
    y = 1000 * noisy(1)
    y[250:] += 100
    (point,) = find_breaks(y).points
    assert not point.relative
    assert point.at == pytest.approx(250, abs=2)
    assert point.jump[1] < 100 < point.jump[2]
    assert point.low <= 250 <= point.high


@pytest.mark.parametrize(
    "y",
    [
        np.array([3.0]), np.array([3.0, 4.0]), np.zeros(50), np.full(200, 7.0), np.arange(100.0), np.tile([1.0, 0], 40),
        np.append(np.zeros(60), np.ones(60)),
    ],
)  # fmt: skip
def test_every_series_can_be_taken_apart(y: np.ndarray) -> None:
    series = Series("a", y, (7,) if len(y) >= 15 else (), DAILY, 20_000)
    found = decompose(series)
    whole = found.trend + found.remainder + sum(found.seasonal.values(), np.zeros(len(y)))
    assert whole == pytest.approx(y, abs=1e-9)
    for part in (found.trend, found.remainder, found.breaks.line):
        assert np.isfinite(part).all()
    made = report(found, str)
    assert made["summary"]
    assert "nan" not in str(made)
    assert "inf" not in str(made)


def weekly(n: int = 730, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    day = np.arange(n)
    week = np.array([0, 0, 0, 0, 5, 20, -25.0])[day % 7]
    year = 30 * np.sin(2 * np.pi * day / 365)
    return Series("shop/ä", 300 + 0.1 * day + week + year + 4 * rng.standard_normal(n), (7, 365), DAILY, 19_000)


@pytest.fixture(scope="module")
def found() -> Explained:
    return explain([weekly(), Series("short", np.arange(5.0), (), DAILY, 19_725)])


def test_trend_week_and_year_are_told_apart(found: Explained) -> None:
    parts = found.of("shop/ä")
    assert list(parts) == ["ds", "y", "trend", "seasonal.7", "seasonal.365", "remainder", "level"]
    inner = slice(100, -100)
    day = np.arange(730)
    assert np.corrcoef(parts["seasonal.7"][inner], np.array([0, 0, 0, 0, 5, 20, -25.0])[day % 7][inner])[0, 1] > 0.97
    assert np.corrcoef(parts["seasonal.365"][inner], np.sin(2 * np.pi * day / 365)[inner])[0, 1] > 0.95
    one = found.findings["shop/ä"]
    assert one["seasons"]["7"]["strength"] > 0.8
    assert one["trend_strength"] > 0.7
    assert one["change_points"] == []
    assert one["growth"]["value"] == pytest.approx(36.5 / 336, abs=0.01)
    assert one["seasons"]["7"]["lowest"]["at"] == str(np.datetime64("1970-01-01") + 19_000 + 727)
    assert list(found.of("short")) == ["ds", "y", "trend", "remainder", "level"]
    assert "too few" in found.findings["short"]["summary"][0]


def test_findings_are_kept_byte_for_byte(found: Explained, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.save(tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    loaded = Explained.load(tmp_path / "one")
    assert loaded is not None
    assert loaded.findings == found.findings
    assert loaded.rows("short") == found.rows("short")
    assert loaded.rows("short")[0]["ds"] == "2024-01-03"
    assert Explained.load(tmp_path) is None


def test_a_registered_version_knows_what_its_series_are_made_of(tmp_path: Path) -> None:
    family = ForecastingFamily(ForecastOptions(horizon=3, freq="D", members=("SeasonalNaive",)))
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2025-01-01", periods=60), "y": np.arange(60.0) % 7})
    candidate = family.fit(family.candidates()[0], frame, {}, {})
    assert candidate.explained is None
    family.finalise(candidate, frame, {}).save(tmp_path / "m")
    explained = ForecastModel.load(tmp_path / "m").explained
    assert explained is not None
    assert explained.findings["a"]["to"] == "2025-03-01"


def test_it_is_drawn() -> None:
    y, _, _ = with_break(0)
    image = decomposition_plot(decompose(Series("a", y, (7,), DAILY, 20_000)))
    assert image[:4] == b"\x89PNG"
    assert decomposition_plot(decompose(Series("a", np.array([1.0]), (), DAILY)))[:4] == b"\x89PNG"
