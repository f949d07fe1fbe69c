from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.frequency import Grid
from features.holiday_calendar import holiday_days
from models.forecasting.backtest import origins_of
from models.forecasting.combination import COMBINATION
from models.forecasting.covariates import Design, with_covariates
from models.forecasting.engine import USE_COVARIATES, forecast_series
from models.forecasting.forecast_file import forecast_frame
from models.forecasting.members import MEMBERS
from models.forecasting.options import ForecastOptions
from models.forecasting.series import Covariates, Series
from store.errors import InvalidValue, MissingColumn

DAY = 86_400 * 10**9
DAILY = Grid("fixed", DAY)
H = 14
# fmt: off
MONTHLY_PATH = [
    "0x1.d3b82bc19af16p+6", "0x1.ea257d3937021p+6", "0x1.f5000a9f48877p+6", "0x1.f76349d641298p+6",
    "0x1.f99450725ce28p+6", "0x1.efcb7ccde8de4p+6",
]
DAILY_PATH = [
    "0x1.0ddde6f6ab032p+7", "0x1.01779f45f70b1p+7", "0x1.dc7c95ce6713cp+6", "0x1.cb13ba1803a14p+6",
    "0x1.d04da563a6440p+6", "0x1.f5a3ab18e60bep+6", "0x1.0a5fd853b0ba2p+7",
]
# fmt: on


def driven(n: int = 240, h: int = H, seed: int = 0) -> pd.DataFrame:
    """A daily series that goes up and down with a temperature nobody could guess from the past; `h` rows ahead."""
    rng = np.random.default_rng(seed)
    index = np.arange(n + h)
    warmth = 10 * rng.standard_normal(n + h).cumsum() / 5 + 8 * rng.standard_normal(n + h)
    y = 200 + 6 * np.sin(2 * np.pi * index / 7) + 3 * warmth + 2 * rng.standard_normal(n + h)
    return pd.DataFrame({"ds": pd.date_range("2025-01-01", periods=n + h), "y": y, "warmth": warmth})


def hidden(frame: pd.DataFrame, h: int = H) -> pd.DataFrame:
    """The frame with the target of the last `h` rows empty."""
    return frame.assign(y=frame["y"].where(np.arange(len(frame)) < len(frame) - h))


def mase_of(frame: pd.DataFrame, made: pd.DataFrame, h: int = H) -> float:
    y = frame["y"].to_numpy()
    scale = np.abs(y[7:-h] - y[: -h - 7]).mean()
    return float(np.abs(y[-h:] - made["forecast"].to_numpy()).mean() / scale)


def test_without_them_nothing_has_changed() -> None:
    # Values of the engine before there were exogenous columns.
    rng = np.random.default_rng(3)
    i = np.arange(60)
    monthly = 100 + 0.3 * i + 8 * np.sin(2 * np.pi * i / 12) + rng.standard_normal(60)
    i = np.arange(240)
    daily = 100 + 0.1 * i + 10 * np.sin(2 * np.pi * i / 7) + 2 * rng.standard_normal(240)
    first = forecast_series(Series("m", monthly, (12,), Grid("month", 1), 600), 6)
    second = forecast_series(Series("d", daily, (7,), DAILY, 19_000), 7)
    assert set(first.weights) == {"AutoETS", "DynamicOptimizedTheta", "AutoTheta", "AutoARIMA", "AutoCES"}
    assert set(second.weights) == {"DynamicOptimizedTheta", "Prophet", "Boosting"}
    # Equal to the last bit on one machine; another processor's rounding may differ in the last digits.
    assert first.path == pytest.approx([float.fromhex(x) for x in MONTHLY_PATH], rel=1e-9)
    assert second.path == pytest.approx([float.fromhex(x) for x in DAILY_PATH], rel=1e-9)


@pytest.mark.parametrize("member", [None, *USE_COVARIATES])
def test_a_known_driver_at_least_halves_the_error(member: str | None) -> None:
    frame = driven()
    options = ForecastOptions(horizon=H, freq="D", members=(member,) if member else None)
    blind = forecast_frame(hidden(frame), options)
    seeing = forecast_frame(hidden(frame), ForecastOptions(**{**options.__dict__, "exog": ("warmth",)}))
    print(member, mase_of(frame, blind.frame), mase_of(frame, seeing.frame), seeing.report["members"][0])
    assert mase_of(frame, seeing.frame) < 0.5 * mase_of(frame, blind.frame)
    assert seeing.report["problems"][0] == ""
    assert seeing.report["cut"][0] == 0


def festive(n: int = 760, h: int = 35, seed: int = 1) -> pd.DataFrame:
    """Two years of days that fall to a third on German holidays; the horizon spans Christmas."""
    rng = np.random.default_rng(seed)
    days = pd.date_range(end="2026-01-09", periods=n + h)
    free = holiday_days("DE", 0, 40_000)
    number = days.to_numpy("datetime64[D]").astype(np.int64)
    off = np.isin(number, list(free))
    y = 100 + 8 * np.sin(2 * np.pi * np.arange(n + h) / 7) + 2 * rng.standard_normal(n + h)
    return pd.DataFrame({"ds": days, "y": np.where(off, y / 3, y)})


def test_holidays_help_where_they_matter() -> None:
    frame, h = festive(), 35
    blind = forecast_frame(hidden(frame, h), ForecastOptions(horizon=h, freq="D"))
    seeing = forecast_frame(hidden(frame, h), ForecastOptions(horizon=h, freq="D", holidays="DE"))
    assert mase_of(frame, seeing.frame, h) < 0.75 * mase_of(frame, blind.frame, h)
    day = frame["ds"].tail(h).dt.strftime("%m-%d").isin(["12-25", "12-26", "01-01"]).to_numpy()
    actual = frame["y"].tail(h).to_numpy()
    blind_error = np.abs(actual - blind.frame["forecast"].to_numpy())[day].mean()
    seeing_error = np.abs(actual - seeing.frame["forecast"].to_numpy())[day].mean()
    assert seeing_error < 0.5 * blind_error


@pytest.mark.parametrize("member", USE_COVARIATES)
@pytest.mark.parametrize("back", [0, 10])
def test_no_member_looks_past_its_origin_or_its_horizon(member: str, back: int) -> None:
    frame = driven(200, 30)
    known = Covariates(("warmth",), frame[["warmth"]].to_numpy(), 1)
    y = frame["y"].to_numpy()[:200]
    origin = 180
    series = Series("a", y, (7,), DAILY, 20_089, known)
    wrong = np.concatenate((known.values[: origin + 7], np.full((43 - 20, 1), 1e5)))
    other = Series(
        "a", np.concatenate((y[:origin], np.full(20, -1e5))), (7,), DAILY, 20_089, Covariates(("warmth",), wrong, 1)
    )
    paths = [MEMBERS[member].fit(one, origin - back, 7)(origin, 7) for one in (series, other)]
    assert np.array_equal(*paths)
    # And it does look at the horizon's own values.
    ahead = known.values.copy()
    ahead[origin : origin + 7] += 30.0
    moved = MEMBERS[member].fit(
        Series("a", y, (7,), DAILY, 20_089, Covariates(("warmth",), ahead, 1)), origin - back, 7
    )
    assert not np.allclose(moved(origin, 7), paths[0])


def test_the_future_may_come_in_the_same_file_or_in_another() -> None:
    frame = driven(120)
    options = ForecastOptions(horizon=H, freq="D", exog=("warmth",), members=("Boosting",))
    inside = forecast_frame(hidden(frame), options)
    past, future = frame.head(120), frame.tail(H).drop(columns="y")
    beside = forecast_frame(past, options, future=future)
    pd.testing.assert_frame_equal(inside.frame, beside.frame)
    # A second file may hold the column for all times, and what it says of the target is not read.
    alone = forecast_frame(past.drop(columns="warmth"), options, future=frame.assign(y=-1e6))
    pd.testing.assert_frame_equal(inside.frame, alone.frame)
    assert list(alone.report[["rows", "duplicates", "cut"]].iloc[0, 1:]) == [0, 0]
    # More than the horizon needs changes nothing.
    longer = pd.concat([future, future.assign(ds=future["ds"] + pd.Timedelta(days=H), warmth=1e9)])
    pd.testing.assert_frame_equal(forecast_frame(past, options, future=longer).frame, inside.frame)


def test_series_keep_their_own_values_and_do_not_depend_on_the_batch() -> None:
    parts = [driven(100, seed=k).assign(unique_id=f"s{k}") for k in range(3)]
    both = pd.concat([hidden(part) for part in parts]).sample(frac=1.0, random_state=0)
    options = ForecastOptions(horizon=H, freq="D", exog=("warmth",), members=("Boosting", "SeasonalNaive"))
    made = forecast_frame(both, options).frame
    alone = forecast_frame(hidden(parts[1]), options).frame
    pd.testing.assert_frame_equal(made[made["unique_id"] == "s1"].reset_index(drop=True), alone)


def test_flags_and_months_work_and_what_never_changed_is_named() -> None:
    rng = np.random.default_rng(5)
    n, h = 90, 6
    promo = rng.random(n + h) < 0.2
    y = 50 + 10 * np.sin(2 * np.pi * np.arange(n + h) / 12) + 30 * promo + rng.standard_normal(n + h)
    months = pd.date_range("2018-01-01", periods=n + h, freq="MS")
    frame = pd.DataFrame({"ds": months, "y": y, "promo": promo, "flat": 1.0})
    blind = forecast_frame(hidden(frame, h)[["ds", "y"]], ForecastOptions(horizon=h))
    seeing = forecast_frame(hidden(frame, h), ForecastOptions(horizon=h, exog=("promo", "flat")))
    actual = y[-h:]
    error = [np.abs(actual - made.frame["forecast"].to_numpy()).mean() for made in (blind, seeing)]
    assert error[1] < 0.5 * error[0]
    assert seeing.frame["model"].iloc[0] in (COMBINATION, *USE_COVARIATES)
    assert "flat: always 1 in the past" in seeing.report["problems"][0]


def test_unknown_columns_and_countries_are_named_with_the_closest() -> None:
    frame = driven(60)
    with pytest.raises(MissingColumn, match=r"'warmht'.*Did you mean 'warmth'"):
        forecast_frame(hidden(frame), ForecastOptions(horizon=H, exog=("warmht",)))
    with pytest.raises(InvalidValue, match="'ds' cannot be"):
        forecast_frame(hidden(frame), ForecastOptions(horizon=H, exog=("ds",)))
    with pytest.raises(InvalidValue, match=r"'Germny'.*DE \(Germany\)"):
        ForecastOptions(holidays="Germny")
    with pytest.raises(InvalidValue, match=r"DE has no subdivision 'BYE'.*Did you mean DE-BY"):
        ForecastOptions(holidays="DE-BYE")
    with pytest.raises(InvalidValue, match=r"days and finer.*MS"):
        forecast_frame(
            pd.DataFrame({"ds": pd.date_range("2020-01-01", periods=30, freq="MS"), "y": np.arange(30.0)}),
            ForecastOptions(horizon=2, holidays="DE"),
        )
    with pytest.raises(InvalidValue, match="row 1: 'warm' is no number"):
        forecast_frame(hidden(frame).assign(warmth="warm"), ForecastOptions(horizon=H, exog=("warmth",)))
    with pytest.raises(InvalidValue, match="none was named"):
        forecast_frame(frame, ForecastOptions(horizon=H), future=frame)
    with pytest.raises(MissingColumn, match="future values have no column 'warmth'"):
        forecast_frame(frame, ForecastOptions(horizon=H, exog=("warmth",)), future=frame[["ds"]])
    with pytest.raises(MissingColumn, match="wide file"):
        forecast_frame(frame.rename(columns={"y": "a"}), ForecastOptions(horizon=H, exog=("warmth",)))


def test_a_future_that_is_not_known_is_refused_by_series_column_and_time() -> None:
    frame = hidden(driven(60)).assign(unique_id="shop")
    options = ForecastOptions(horizon=H, freq="D", exog=("warmth",), members=("AutoARIMA",))
    with pytest.raises(InvalidValue, match=r"'shop': 'warmth' is not known at 2025-03-12 \(4 of 14 steps ahead"):
        forecast_frame(frame.head(70), options)
    frame.loc[66, "warmth"] = np.inf
    with pytest.raises(InvalidValue, match=r"2025-03-08 \(1 of 14 steps ahead"):
        forecast_frame(frame, options)


def test_holes_in_the_past_take_the_value_before_them_unless_they_are_many() -> None:
    frame = hidden(driven(60)).assign(unique_id="shop")
    options = ForecastOptions(horizon=H, freq="D", exog=("warmth",), members=("AutoARIMA",))
    filled = frame.copy()
    filled.loc[[30, 31], "warmth"] = frame.loc[29, "warmth"]
    holes = frame.copy()
    holes.loc[[30, 31], "warmth"] = np.nan
    made = forecast_frame(holes, options)
    pd.testing.assert_frame_equal(made.frame, forecast_frame(filled, options).frame)
    assert "warmth: 2 missing values of the past" in made.report["problems"][0]
    # A day that is missing altogether: the target is interpolated, the column carried on.
    assert "1 missing" in forecast_frame(frame.drop(index=20), options).report["problems"][0]
    with pytest.raises(InvalidValue, match=r"2025-01-01 \(1 of 60 steps of the past"):
        forecast_frame(frame.assign(warmth=frame["warmth"].mask(frame.index == 0)), options)
    with pytest.raises(InvalidValue, match=r"2025-01-11 \(10 of 60 steps of the past"):
        forecast_frame(frame.assign(warmth=frame["warmth"].mask(frame.index.isin(range(10, 20)))), options)


def test_columns_that_say_the_same_are_used_once() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50))
    design = Design.on(np.column_stack((a, 2 * a + 3, np.ones(50), b, a + b)))
    assert design.columns == (0, 3)
    assert design(np.ones((2, 5))).shape == (2, 2)  # type: ignore[union-attr]
    assert Design.on(np.ones((10, 1)))(np.ones((2, 1))) is None


def test_holidays_of_a_day_its_neighbours_and_of_business_days() -> None:
    # 1 May 2026 is a Friday; on business days the day after it is Monday the 4th.
    for grid, days in ((DAILY, 1), (Grid("business", 1), 3)):
        stamps = np.array([pd.Timestamp("2026-05-01").value])
        first = int(grid.position(stamps)[0][0])
        one = with_covariates(Series("a", np.arange(5.0), (), grid, first - 1), None, (), "DE", 2)
        assert one.covariates is not None
        assert one.covariates.values[:3].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
        assert pd.Timestamp(int(one.stamps(2, 3)[0])) == pd.Timestamp("2026-05-01") + pd.Timedelta(days=days)
    hours = with_covariates(Series("a", np.arange(30.0), (), Grid("fixed", DAY // 24), 20_574 * 24), None, (), "DE", 24)
    assert hours.covariates is not None
    assert hours.covariates.values[:24, 0].sum() == (24 if (pd.Timestamp("2026-05-01").value // DAY) == 20_574 else 0)
    bavaria, germany = holiday_days("DE-BY", 20_454, 20_818), holiday_days("DE", 20_454, 20_818)
    assert set(germany) < set(bavaria)


def test_rolling_origins_use_what_was_known_there() -> None:
    frame = driven(120)
    known = Covariates(("warmth",), frame[["warmth"]].to_numpy(), 1)
    series = Series("a", frame["y"].to_numpy()[:120], (7,), DAILY, 20_089, known)
    result = forecast_series(series, H, members=("AutoARIMA",))
    origins = origins_of(120, H, 7)
    assert result.runs["AutoARIMA"].origins == origins
    errors = [np.abs(result.backtest[k] - series.y[o : o + H]).mean() for k, o in enumerate(origins)]
    assert max(errors) < 0.2 * np.abs(series.y[7:] - series.y[:-7]).mean()
