from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.frequency import Grid
from models.forecasting.family import ForecastingFamily, ForecastModel, ForecastOptions
from models.forecasting.forecast_file import forecast_frame
from models.forecasting.global_boosting import GlobalBooster
from models.forecasting.panel_backtest import run_panel_member
from models.forecasting.panel_members import PANEL_MEMBERS, Known, PanelMember
from models.forecasting.series import Covariates, Series, naive_scale
from store.errors import InvalidValue, TrainingError

DAILY = Grid("fixed", 86_400 * 10**9)
N, H = 150, 14


def panel(count: int = 4, n: int = N, seed: int = 0) -> list[Series]:
    """Series of very different sizes with one week and one trend in common."""
    rng = np.random.default_rng(seed)
    index = np.arange(n)
    week = np.array([1.0, 1.1, 1.05, 1.0, 0.9, 0.6, 0.5])
    return [
        Series(
            f"s{k}",
            10.0**k * (week[index % 7] * (1 + 0.003 * index) + 0.03 * rng.standard_normal(n)),
            (7,),
            DAILY,
            19_000,
        )
        for k in range(count)
    ]


@pytest.fixture(scope="module")
def series() -> list[Series]:
    return panel()


@pytest.fixture(scope="module")
def booster(series: list[Series]) -> GlobalBooster:
    return GlobalBooster([(one, N - H) for one in series], H)


def test_it_follows_week_and_trend_of_series_of_any_size(series: list[Series], booster: GlobalBooster) -> None:
    for one, path in zip(series, booster.paths([(one, N - H) for one in series], H), strict=True):
        error = np.abs(path - one.y[-H:]).mean() / naive_scale(one.y[:-H], 7)
        assert error < 1.0, (one.name, error)


def test_a_forecast_does_not_depend_on_who_shares_its_batch(series: list[Series], booster: GlobalBooster) -> None:
    asked = [(one, origin) for one in series for origin in (N - H, N - 5, N)]
    together = booster.paths(asked, H)
    for known, path in zip(asked, together, strict=True):
        assert np.array_equal(booster.paths([known], H)[0], path)
    backwards = booster.paths(asked[::-1], H)[::-1]
    assert all(np.array_equal(one, other) for one, other in zip(together, backwards, strict=True))


def test_the_same_data_give_the_same_model(series: list[Series], booster: GlobalBooster) -> None:
    again = GlobalBooster([(one, N - H) for one in series], H)
    assert np.array_equal(again.paths([(series[1], N)], H)[0], booster.paths([(series[1], N)], H)[0])


def test_it_looks_past_no_origin(series: list[Series], booster: GlobalBooster) -> None:
    changed = [replace(one, y=np.concatenate((one.y[: N - H], np.full(H, 1e7)))) for one in series]
    other = GlobalBooster([(one, N - H) for one in changed], H)
    assert np.array_equal(other.paths([(changed[2], N - H)], H)[0], booster.paths([(series[2], N - H)], H)[0])


def test_what_is_known_in_advance_is_used() -> None:
    rng = np.random.default_rng(1)
    driver = rng.standard_normal((N + H, 1))
    plain = panel(2, N + H)
    ones = [
        replace(one, y=(one.y + 3 * np.std(one.y) * driver[:, 0])[:N], covariates=Covariates(("x",), driver, 1))
        for one in plain
    ]
    blind = [replace(one, covariates=None) for one in ones]
    errors = []
    for known in (ones, blind):
        path = GlobalBooster([(one, N) for one in known], H).paths([(known[0], N)], H)[0]
        truth = plain[0].y[N:] + 3 * np.std(plain[0].y) * driver[N:, 0]
        errors.append(float(np.abs(path - truth).mean()))
    assert errors[0] < 0.6 * errors[1]


def echo(calls: list[list[int]]) -> PanelMember:
    """A member that forecasts the last value it may look at and writes down how much it learned from."""

    def fit(known: Sequence[Known], h: int) -> object:
        calls.append([n for _, n in known])
        return lambda asked, steps: [np.full(steps, one.y[n - 1]) for one, n in asked]

    return PanelMember("Echo", fit, 20)  # type: ignore[arg-type]


def test_at_rolling_origins_nothing_that_came_later_is_learned_from() -> None:
    calls: list[list[int]] = []
    ones = [*panel(2), replace(panel(1)[0], name="short", y=panel(1)[0].y[-60:], first=19_000 + N - 60)]
    found = run_panel_member(echo(calls), ones, H)
    assert set(found) == {"s0", "s1", "short"}
    back = max(N - min(origin for origin in found["s0"]), 60 - min(found["short"]))
    assert calls == [[N - back, N - back, 60 - back], [N, N, 60]]
    assert found["s1"][N][0] == ones[1].y[-1]
    again = run_panel_member(
        echo(calls), ones, H, {name: {k: v for k, v in paths.items() if k < 60} for name, paths in found.items()}
    )
    assert set(again["short"]) == set(found["short"])


def test_a_series_that_ends_at_another_time_or_is_constant_is_left_out() -> None:
    early = replace(panel(1)[0], name="early", y=panel(1)[0].y[:-30])
    constant = replace(panel(1)[0], name="constant", y=np.ones(N))
    found = run_panel_member(echo([]), [*panel(3), early, constant], H)
    assert set(found) == {"s0", "s1", "s2"}
    with pytest.raises(ValueError, match="too few"):
        run_panel_member(echo([]), [replace(one, y=one.y[:15]) for one in panel(2)], H)
    absent = PanelMember("Nobody", echo([]).fit, 20, absent=lambda: "Nobody: not installed")
    with pytest.raises(ValueError, match="not installed"):
        run_panel_member(absent, panel(2), H)


def frame_of(series: Sequence[Series]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": one.name, "ds": pd.date_range("2025-01-01", periods=len(one)), "y": one.y})
        for one in series
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def family() -> ForecastingFamily:
    return ForecastingFamily(ForecastOptions(horizon=H, freq="D", members=("SeasonalNaive", "GlobalBoosting")))


def test_it_is_a_judged_candidate_and_a_member_of_the_combination(
    family: ForecastingFamily, series: list[Series]
) -> None:
    split = family.split(frame_of(series), {})
    models: dict[str, ForecastModel] = {}
    for candidate in family.candidates():
        models[candidate.name] = family.fit(
            candidate, split.train, {}, {need: models[need] for need in candidate.needs}
        )
    assert "GlobalBoosting" in {one.name for one in ForecastingFamily().candidates()}
    combined = models["combination"]
    assert combined.contract["panel_members"] == ["GlobalBoosting"]
    assert set(combined.contract["series"]["s0"]["weights"]) == {"SeasonalNaive", "GlobalBoosting"}
    assert models["GlobalBoosting"].selection < models["SeasonalNaive"].selection
    final = family.finalise(combined, frame_of(series), {})
    # A champion is judged by its recipe: the members that it has, run again at the holdout's origin.
    assert np.array_equal(family.rerun(final, split.train, {}).paths, combined.paths)
    one_by_one = pd.concat([final.forecast([name]) for name in final.ids], ignore_index=True)
    pd.testing.assert_frame_equal(one_by_one, final.forecast(), check_exact=True)


def test_a_file_uses_it_only_when_asked(series: list[Series]) -> None:
    frame = frame_of(series[:2])
    options = ForecastOptions(horizon=H, freq="D", members=("SeasonalNaive",))
    assert set(forecast_frame(frame, options).frame["model"]) == {"SeasonalNaive"}
    made = forecast_frame(frame, replace(options, also=("GlobalBoosting",)))
    assert all("GlobalBoosting=" in members for members in made.report["members"])
    alone = forecast_frame(frame, replace(options, members=("GlobalBoosting",)))
    assert set(alone.frame["model"]) == {"GlobalBoosting"}
    with pytest.raises(InvalidValue, match="Oracle"):
        forecast_frame(frame, replace(options, also=("Oracle",)))


def test_where_it_cannot_be_used_the_reason_is_told() -> None:
    short = [replace(one, y=one.y[:20]) for one in panel(2)]
    options = ForecastOptions(horizon=3, freq="D", members=("SeasonalNaive",), also=("GlobalBoosting",))
    made = forecast_frame(frame_of(short), options)
    assert all("GlobalBoosting: 20 values are too few" in text for text in made.report["problems"])
    family = ForecastingFamily(options)
    split = family.split(frame_of(short), {})
    candidate = next(one for one in family.candidates() if one.name == "GlobalBoosting")
    with pytest.raises((TrainingError, ValueError), match="too few"):
        family.fit(candidate, split.train, {}, {})


def test_members_of_the_extra_are_named_and_import_nothing() -> None:
    for name, member in PANEL_MEMBERS.items():
        assert member.name == name
        assert isinstance(member.absent(), str)
