"""The panel: regular, complete, and the sums it claims to be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from features.views.series import SERIES, business_panel
from features.world import WorldRef
from store.dataset import SnapshotRef
from store.errors import EmptyData

Tables = dict[str, pd.DataFrame]
Retake = Callable[..., SnapshotRef]


def series(panel: pd.DataFrame, name: str) -> pd.Series:
    return panel[panel["unique_id"] == name].set_index("ds")["y"]


def test_it_is_a_regular_panel(snapshot: SnapshotRef, world: WorldRef) -> None:
    panel = business_panel(snapshot)
    assert list(panel.columns) == ["unique_id", "ds", "y"]
    assert 25 <= panel["unique_id"].nunique() <= 40
    for _, one in panel.groupby("unique_id"):
        days = pd.date_range(world.start, world.end, freq="D")
        assert (one["ds"].to_numpy() == days.to_numpy()).all()
    assert panel["y"].notna().all()
    assert (panel["y"] >= 0).all()
    assert panel["y"].dtype == np.float64


def test_parts_add_up_to_the_total(snapshot: SnapshotRef) -> None:
    panel = business_panel(snapshot)
    for metric, dimensions in SERIES.items():
        total = series(panel, f"{metric}/total")
        for dimension in dimensions:
            parts = panel[panel["unique_id"].str.startswith(f"{metric}/{dimension}=")].groupby("ds")["y"].sum()
            np.testing.assert_allclose(parts, total, rtol=1e-6, atol=1e-3)


def test_usage_counts_the_corrected_rows_once(tables: Tables, retake: Retake) -> None:
    latest = tables["usage_daily"].sort_values("recorded_at").drop_duplicates(["customer_id", "day"], keep="last")
    assert len(latest) < len(tables["usage_daily"])
    panel = business_panel(retake(tables))
    assert series(panel, "api_calls/total").tolist() == latest.groupby("day")["api_calls"].sum().tolist()


def test_revenue_is_what_the_contracts_in_force_pay(tables: Tables, retake: Retake) -> None:
    revenue = series(business_panel(retake(tables)), "revenue/total")
    states = tables["subscriptions"].sort_values("recorded_at")
    states = states.drop_duplicates(["subscription_id", "event_time"], keep="last").sort_values("event_time")
    for day in revenue.index[[0, 50, -1]]:
        then = states[states["event_time"] < day + timedelta(days=1)]
        latest = then.drop_duplicates("subscription_id", keep="last")
        in_force = latest[(latest["status"] == "active") | (latest["ended_on"] >= day)]
        assert revenue[day] == pytest.approx(in_force["monthly_price"].sum() * 12 / 365, abs=1e-4)


def test_only_complete_days(tables: Tables, retake: Retake, small_world: WorldRef) -> None:
    last = pd.Timestamp(small_world.end)
    assert business_panel(retake(tables))["ds"].max() == last
    # At midnight the day is over but not metered yet; at noon of the last day it is not over.
    for moment in (last + timedelta(days=1), last + timedelta(hours=12)):
        assert business_panel(retake(tables, moment))["ds"].max() == last - timedelta(days=1)
    # A day on which half of the meters have not reported.
    usage = tables["usage_daily"]
    silent = (usage["day"] == last) & (np.arange(len(usage)) % 2 == 0)
    assert business_panel(retake({**tables, "usage_daily": usage[~silent]}))["ds"].max() == last - timedelta(days=1)


def test_a_day_without_rows_in_the_middle_is_zero(tables: Tables, retake: Retake, small_world: WorldRef) -> None:
    lost = pd.Timestamp(small_world.start) + timedelta(days=60)
    usage = tables["usage_daily"]
    panel = business_panel(retake({**tables, "usage_daily": usage[usage["day"] != lost]}))
    calls = series(panel, "api_calls/total")
    assert calls[lost] == 0
    assert len(calls) == 200


def test_no_usage_is_an_error(tables: Tables, retake: Retake) -> None:
    with pytest.raises(EmptyData, match="No complete day"):
        business_panel(retake({name: tables[name] for name in ("customers", "subscriptions")}))
