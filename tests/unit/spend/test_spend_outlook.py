"""Forecasts of the bill from small ledgers."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.views.spend import panel_of
from models.spend.months import months_of, running_sums, still_to_come
from models.spend.outlook import Outlook, promoted, worked_out
from store.errors import EmptyData, InvalidValue, UnknownEntity
from tests.unit.spend.ledger_frames import START, WEEK, daily

AS_OF = (START + pd.Timedelta(days=91)).to_pydatetime() + timedelta(hours=15)
BY = ("workspace", "model")


@pytest.fixture(scope="module")
def outlook() -> Outlook:
    return worked_out(panel_of(daily(growth=0.01), AS_OF, BY), AS_OF, 100)


def test_the_panel_holds_the_total_and_its_parts_up_to_yesterday() -> None:
    cells = daily(91)
    panel = panel_of(cells, AS_OF, BY)
    assert list(panel["unique_id"].unique()) == [
        "model=a/big", "model=a/small", "total", "workspace=north", "workspace=south"
    ]  # fmt: skip
    assert panel["ds"].max() == pd.Timestamp("2026-08-30")
    table = panel.pivot_table(index="ds", columns="unique_id", values="y")
    for parts in (["model=a/big", "model=a/small"], ["workspace=north", "workspace=south"]):
        np.testing.assert_allclose(table[parts].sum(axis=1), table["total"])


def test_a_series_begins_with_its_first_spending_and_ends_with_the_others() -> None:
    cells = daily(91)
    cells = cells[(cells["workspace"] == "north") | (cells["day"] >= "2026-07-01")]
    cells = cells[(cells["model"] == "a/big") | (cells["day"] < "2026-08-01")]
    panel = panel_of(cells, AS_OF, BY).groupby("unique_id")
    assert panel["ds"].min()["workspace=south"] == pd.Timestamp("2026-07-01")
    assert panel["ds"].max().nunique() == 1
    assert panel["y"].last()["model=a/small"] == 0.0
    with pytest.raises(EmptyData, match="no cost on any day before 2026-08-31"):
        panel_of(cells[:0], AS_OF, BY)


def test_forecasts_follow_week_and_growth_and_add_up(outlook: Outlook) -> None:
    frame = outlook.forecast(outlook.model.ids, 91, (80, 95))
    assert frame["ds"].min() == pd.Timestamp("2026-08-31")  # today is forecast as a whole
    table = frame.pivot_table(index="ds", columns="unique_id", values="forecast")
    np.testing.assert_allclose(table[outlook.series("workspace")].sum(axis=1), table["total"])
    np.testing.assert_allclose(table[outlook.series("model")].sum(axis=1), table["total"])
    at = np.arange(91, 119)
    truth = 16 * WEEK[at % 7] * 1.01 ** (at / 7)
    assert np.abs(table["total"][:28] - truth).sum() < 0.08 * truth.sum()
    assert (frame["lo-95"] <= frame["lo-80"]).all()
    assert (frame["lo-80"] < frame["forecast"]).all()
    assert (frame["forecast"] < frame["hi-80"]).all()


def test_a_promoted_model_forecasts_from_today_whatever_day_it_was_made(outlook: Outlook) -> None:
    later = AS_OF + timedelta(days=3)
    found = promoted(outlook.model, 4, later, 90)
    assert found is not None
    assert (found.version, found.horizon) == (4, 97)
    frame = found.forecast(["total"], 90)
    assert frame["ds"].iloc[0] == pd.Timestamp("2026-09-03")
    same = outlook.forecast(["total"], 93)["forecast"].to_numpy()[3:]
    np.testing.assert_array_equal(frame["forecast"], same)
    np.testing.assert_array_equal(found.draws("total", 90, 20), outlook.draws("total", 93, 20)[:, 3:])


@pytest.mark.parametrize(("days", "wanted"), [(9, 30), (3, 98), (-1, 30)])
def test_a_promoted_model_that_is_too_old_too_short_or_of_the_future_is_not_used(
    outlook: Outlook, days: int, wanted: int
) -> None:
    assert promoted(outlook.model, 4, AS_OF + timedelta(days=days), wanted) is None


def test_what_cannot_be_forecast_is_told(outlook: Outlook) -> None:
    with pytest.raises(InvalidValue, match="101 days"):
        outlook.forecast(["total"], 101)
    with pytest.raises(InvalidValue, match="by 'user'"):
        outlook.series("user")
    with pytest.raises(UnknownEntity, match="workspace=west"):
        outlook.require("workspace=west")
    with pytest.raises(InvalidValue, match="400 days"):
        worked_out(panel_of(daily(30), AS_OF, BY), AS_OF, 400)


@pytest.mark.parametrize("days", [1, 2, 6, 15, 40])
def test_a_young_ledger_is_forecast_too(days: int) -> None:
    as_of = (START + pd.Timedelta(days=days)).to_pydatetime()
    found = worked_out(panel_of(daily(days), as_of, BY), as_of, 90)
    frame = found.forecast(["total"], 90)
    assert np.isfinite(frame["forecast"]).all()
    assert len(frame) == 90


def test_a_month_is_what_was_spent_and_what_may_come() -> None:
    days = [datetime(2026, 11, 29) + timedelta(days=k) for k in range(40)]
    draws = np.full((3, 40), 2.0)
    draws[1] = 3.0
    left = still_to_come(draws, 2.5)
    assert left[:, 0].tolist() == [2.5, 3.0, 2.5]
    (november, first), (december, second), (january, third) = running_sums(left, days, 10.0)
    assert (november, december, january) == ("2026-11", "2026-12", "2027-01")
    assert first[0].tolist() == [12.5, 14.5]
    assert second[0].tolist() == list(range(2, 64, 2))
    assert third.shape == (3, 7)
    months = months_of(left, days, 10.0, 2.5)
    assert [one.whole for one in months] == [True, True, False]
    assert [one.spent for one in months] == [12.5, 0.0, 0.0]
    assert months[0].expected == pytest.approx((14.5 + 16.0 + 14.5) / 3)
    assert all(one.low <= one.expected <= one.high for one in months)


def test_sums_over_a_month_are_covered_as_stated() -> None:
    """A level that is a little off stays so: of 60 ledgers, about 80 % of the months lie within their interval."""
    inside = []
    for seed in range(60):
        cells = daily(105, growth=0.01, noise=0.25, seed=seed)
        as_of = (START + pd.Timedelta(days=77)).to_pydatetime()
        found = worked_out(panel_of(cells[cells["day"] < as_of], as_of, BY), as_of, 28)
        came = cells.loc[cells["day"] >= as_of, "cost"].sum()
        low, high = np.percentile(found.draws("total", 28, 400).sum(axis=1), [10, 90])
        inside.append(low <= came <= high)
    assert 0.7 <= np.mean(inside) <= 1.0
