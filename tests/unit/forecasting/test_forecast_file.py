from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.forecasting.forecast_file import forecast_frame
from models.forecasting.options import ForecastOptions
from store.errors import InvalidValue

QUICK = ForecastOptions(horizon=6, members=("DynamicOptimizedTheta", "AutoTheta", "SeasonalNaive"), levels=(80, 95))


def monthly(names: list[str], n: int = 48) -> pd.DataFrame:
    parts = []
    for k, name in enumerate(names):
        rng = np.random.default_rng(k)
        y = 50 + 10 * np.sin(2 * np.pi * np.arange(n) / 12) + rng.standard_normal(n)
        months = pd.date_range("2020-01-31", periods=n, freq="ME").strftime("%Y-%m-%d")
        parts.append(pd.DataFrame({"unique_id": name, "ds": months, "y": y}))
    return pd.concat(parts, ignore_index=True)


def test_the_result_has_the_form_that_was_promised() -> None:
    result = forecast_frame(monthly(["z", "a"]), QUICK)
    assert list(result.frame.columns) == [
        "unique_id", "ds", "model", "forecast", "lo-80", "hi-80", "lo-95", "hi-95",
    ]  # fmt: skip
    assert list(result.frame["unique_id"].unique()) == ["z", "a"]
    assert list(result.frame["ds"][:3]) == ["2024-01-31", "2024-02-29", "2024-03-31"]
    assert set(result.frame["model"]) <= {"combination", "DynamicOptimizedTheta", "AutoTheta", "SeasonalNaive"}
    assert np.isfinite(result.frame.select_dtypes("number")).all().all()
    assert (result.frame["lo-95"] < result.frame["lo-80"]).all()
    assert (result.frame["lo-80"] < result.frame["forecast"]).all()
    assert list(result.report["seasons"]) == ["12", "12"]


def test_a_forecast_does_not_depend_on_the_batch_or_the_number_of_processes() -> None:
    names = [f"s{k}" for k in range(9)]
    whole = forecast_frame(monthly(names), QUICK).frame
    several = forecast_frame(monthly(names), QUICK, threads=2).frame
    pd.testing.assert_frame_equal(whole, several)
    everything = monthly(names)
    alone = forecast_frame(everything[everything["unique_id"] == "s4"], QUICK).frame
    among = whole[whole["unique_id"] == "s4"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, among)
    backwards = pd.concat([everything[everything["unique_id"] == name] for name in reversed(names)])
    turned = forecast_frame(backwards, QUICK).frame
    pd.testing.assert_frame_equal(turned[turned["unique_id"] == "s4"].reset_index(drop=True), alone)


def test_series_that_are_hard_are_forecast_beside_easy_ones() -> None:
    frame = pd.concat(
        [
            monthly(["easy"]),
            monthly(["constant"]).assign(y=7.0),
            monthly(["zero"]).assign(y=0.0),
            monthly(["one"]).head(1),
            monthly(["holes"]).iloc[[0, 1, 2, 5, 6, 9, 20, 21, 22, 30, 31, 40]],
            monthly(["empty"]).assign(y=np.nan),
        ]
    )
    seen: list[tuple[int, int]] = []
    result = forecast_frame(frame, QUICK, progress=lambda done, total: seen.append((done, total)))
    assert list(result.frame["unique_id"].unique()) == ["easy", "constant", "zero", "one", "holes"]
    assert np.isfinite(result.frame.select_dtypes("number")).all().all()
    assert (result.frame["lo-80"] < result.frame["forecast"]).all()
    assert (result.frame["forecast"] < result.frame["hi-80"]).all()
    assert np.allclose(result.frame.loc[result.frame["unique_id"] == "constant", "forecast"], 7.0)
    assert seen[-1] == (5, 5)
    report = result.report.set_index("unique_id")
    assert report["note"]["empty"] == "left out: no value"
    assert report["gaps"]["holes"] == 29


def test_names_seasons_and_integer_ids_are_taken_as_given() -> None:
    frame = monthly(["1", "2"]).rename(columns={"unique_id": "shop", "ds": "month", "y": "sales"})
    frame["shop"] = frame["shop"].astype(int)
    options = ForecastOptions(horizon=3, members=QUICK.members, seasons=(6, 12), levels=(90,))
    result = forecast_frame(frame, options, id_column="shop", time_column="month", target_column="sales")
    assert list(result.frame["unique_id"].unique()) == [1, 2]
    assert list(result.report["seasons"]) == ["6,12", "6,12"]
    assert "lo-90" in result.frame


def test_wide_files_work() -> None:
    wide = monthly(["a", "b"]).pivot(index="ds", columns="unique_id", values="y").reset_index()
    result = forecast_frame(wide, QUICK)
    assert list(result.frame["unique_id"].unique()) == ["a", "b"]
    assert "wide" in result.notes[0]


def test_unknown_members_are_refused() -> None:
    with pytest.raises(InvalidValue, match="Oracle"):
        forecast_frame(monthly(["a"]), ForecastOptions(members=("Oracle",)))


def test_a_season_that_is_too_long_is_said_and_the_others_are_kept() -> None:
    days = pd.date_range("2023-01-01", periods=120, freq="D").strftime("%Y-%m-%d")
    frame = pd.DataFrame({"ds": days, "y": 20 + np.tile(np.arange(7.0), 18)[:120]})
    for asked, used in (((500,), "7"), ((14, 500), "14"), ((1, 500), "7"), ((1,), "")):
        options = ForecastOptions(horizon=3, members=("SeasonalNaive",), seasons=asked)
        report = forecast_frame(frame, options, id_column=None).report
        assert report["seasons"][0] == used
        assert report["problems"][0] == ("season 500 needs 1000 values: not used" if 500 in asked else "")


def test_hours_from_a_file_of_days_are_told_apart_and_local_days_come_once() -> None:
    quick = ForecastOptions(horizon=30, members=("SeasonalNaive",), freq="h")
    days = pd.date_range("2023-01-01", periods=30, freq="D")
    made = forecast_frame(pd.DataFrame({"ds": days.strftime("%Y-%m-%d"), "y": 1.0 * np.arange(30)}), quick)
    assert made.frame["ds"].nunique() == 30
    assert made.frame["ds"][0] == "2023-01-30 01:00"
    assert any("finer than the data" in note for note in made.notes)
    local = pd.date_range("2022-10-01", periods=40, freq="D", tz="Europe/Berlin")
    texts = [stamp.isoformat(sep=" ") for stamp in local]
    made = forecast_frame(pd.DataFrame({"ds": texts, "y": 1.0 * np.arange(40)}), replace(quick, freq=None))
    assert [text[:10] for text in made.frame["ds"]] == list(
        pd.date_range("2022-11-10", periods=30).strftime("%Y-%m-%d")
    )
    assert made.report["moved"][0] == 0
