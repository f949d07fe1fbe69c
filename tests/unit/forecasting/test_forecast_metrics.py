from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from utilsforecast import losses

from models.forecasting import metrics
from models.forecasting.series import naive_scale


def frames(seed: int, series: int = 4, n: int = 40, h: int = 7) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n + h)
    parts = [
        pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": 50 + 10 * rng.standard_normal(n + h).cumsum()})
        for k in range(series)
    ]
    whole = pd.concat(parts, ignore_index=True)
    place = whole.groupby("unique_id").cumcount()
    train, test = whole[place < n], whole[place >= n].copy()
    test["m"] = test["y"] + rng.standard_normal(len(test))
    test["lo-80"], test["hi-80"] = test["m"] - 1.0, test["m"] + 1.0
    test["q10"], test["q90"] = test["m"] - 1.2, test["m"] + 1.3
    return train, test


def reference(result: pd.DataFrame, column: str = "m") -> pd.Series:
    return result.set_index("unique_id")[column]


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_metrics_agree_with_utilsforecast(seed: int) -> None:
    train, test = frames(seed)
    scales = metrics.naive_scales(train, 7)
    named = test.rename(columns={"lo-80": "m-lo-80", "hi-80": "m-hi-80"})
    pairs = [
        (metrics.mae(test, "m"), losses.mae(test, ["m"])),
        (metrics.mase(test, "m", scales), losses.mase(test, ["m"], 7, train)),
        (metrics.smape(test, "m"), losses.smape(test, ["m"])),
        (metrics.rmsse(test, "m", train, 7), losses.rmsse(test, ["m"], 7, train)),
        (metrics.coverage(test, 80), losses.coverage(named, ["m"], 80)),
        (metrics.pinball(test, "q10", 0.1), losses.quantile_loss(test, {"m": "q10"}, 0.1)),
    ]  # fmt: skip
    for ours, theirs in pairs:
        found = reference(theirs)
        assert np.allclose(ours.reindex(found.index), found)


def test_scaled_crps_of_two_quantiles() -> None:
    _, test = frames(1)
    ours = metrics.scaled_crps(test, ["q10", "q90"], [0.1, 0.9])
    loss = metrics.pinball(test, "q10", 0.1) + metrics.pinball(test, "q90", 0.9)
    assert np.allclose(ours, loss / test["y"].abs().groupby(test["unique_id"], sort=False).mean())


def test_zeros_do_not_break_the_percentage_error() -> None:
    frame = pd.DataFrame({"unique_id": "a", "y": [0.0, 0.0, 2.0], "m": [0.0, 1.0, 2.0]})
    assert metrics.smape(frame, "m")["a"] == pytest.approx(1 / 3)


def test_the_scale_of_a_constant_is_zero_and_its_scaled_error_missing() -> None:
    assert naive_scale(np.full(20, 3.0), 7) == 0.0
    train = pd.DataFrame({"unique_id": "a", "ds": range(20), "y": 3.0})
    test = pd.DataFrame({"unique_id": ["a"], "ds": [20], "y": [3.0], "m": [3.0]})
    assert np.isnan(metrics.mase(test, "m", metrics.naive_scales(train, 7))["a"])


def test_a_perfectly_seasonal_series_is_scaled_by_its_steps() -> None:
    assert naive_scale(np.tile([1.0, 2.0], 10), 2) == 1.0
