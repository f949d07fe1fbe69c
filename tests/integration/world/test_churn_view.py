"""The churn view sees what was known at each moment, all of it and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.digest import frame_digest
from features.views.churn import FEATURES, current_features, training_frame
from features.world import WorldRef
from store.dataset import SnapshotRef
from store.errors import EmptyData, FileUnreadable, InvalidValue

Tables = dict[str, pd.DataFrame]
Retake = Callable[..., SnapshotRef]


def known_at(frame: pd.DataFrame, key: list[str], t: datetime) -> pd.DataFrame:
    """The same rule as the view's, in pandas."""
    seen = frame[(frame["event_time"] <= t) & (frame["recorded_at"] <= t)]
    return seen.sort_values("recorded_at").drop_duplicates(key, keep="last")


def active_at(tables: Tables, t: datetime) -> pd.DataFrame:
    states = known_at(tables["subscriptions"], ["subscription_id", "event_time"], t)
    latest = states.sort_values("event_time").drop_duplicates("subscription_id", keep="last")
    return latest[latest["status"] == "active"].set_index("customer_id").sort_index()


@pytest.fixture(scope="module")
def last_moment(small_world: WorldRef) -> datetime:
    """The latest t of the small world's training frame."""
    return small_world.as_of - timedelta(days=30)


def test_one_row_per_active_customer_and_moment(tables: Tables, retake: Retake) -> None:
    frame = training_frame(retake(tables))
    assert not frame.duplicated(["customer_id", "as_of"]).any()
    assert list(frame.columns) == ["customer_id", "as_of", *FEATURES, "churned"]
    assert frame["as_of"].nunique() == 5
    for t, rows in frame.groupby("as_of"):
        moment = pd.Timestamp(t).to_pydatetime()
        active = active_at(tables, moment)
        tenure = (pd.Timestamp(t).normalize() - active["started_on"]).dt.days
        assert rows["customer_id"].tolist() == active.index[tenure >= 30].tolist()


def test_labels_say_who_ended_within_the_horizon(tables: Tables, retake: Retake) -> None:
    for horizon in (30, 60):
        frame = training_frame(retake(tables), horizon_days=horizon)
        ended = tables["subscriptions"].groupby("customer_id")["ended_on"].max()
        end = frame["customer_id"].map(ended)
        expected = (end > frame["as_of"]) & (end <= frame["as_of"] + timedelta(days=horizon))
        assert frame["churned"].tolist() == expected.astype(int).tolist()
        assert frame["churned"].sum() > 20
        assert (frame["as_of"].max() - (tables["usage_daily"]["recorded_at"].max())).days < -horizon + 1


def test_features_agree_with_a_second_way_of_computing_them(tables: Tables, retake: Retake) -> None:
    frame = training_frame(retake(tables))
    t = frame["as_of"].iloc[-1].to_pydatetime()
    rows = frame[frame["as_of"] == t].set_index("customer_id")
    midnight = pd.Timestamp(t).normalize()

    usage = known_at(tables["usage_daily"], ["customer_id", "day"], t)
    recent = usage[(usage["day"] >= midnight - timedelta(days=28)) & (usage["day"] < midnight)]
    mean = recent.groupby("customer_id")["api_calls"].mean().reindex(rows.index)
    before = usage[
        (usage["day"] >= midnight - timedelta(days=84)) & (usage["day"] < midnight - timedelta(days=28))
    ].groupby("customer_id")["api_calls"]
    trend = np.log(mean.clip(lower=1e-3) / before.mean().reindex(rows.index).clip(lower=1e-3))
    trend[before.size().reindex(rows.index, fill_value=0) < 14] = np.nan
    np.testing.assert_allclose(rows["api_calls_28d"], mean, atol=1e-5)
    np.testing.assert_allclose(rows["api_calls_trend_28d"], trend, atol=1e-5)

    tickets = known_at(tables["tickets"], ["ticket_id"], t)
    opened = tickets[tickets["opened_at"] > t - timedelta(days=30)]
    assert (
        rows["tickets_30d"].tolist() == opened.groupby("customer_id").size().reindex(rows.index, fill_value=0).tolist()
    )
    rated = tickets[tickets["closed_at"] > t - timedelta(days=90)].groupby("customer_id")["satisfaction"].mean()
    np.testing.assert_allclose(rows["satisfaction_90d"], rated.reindex(rows.index), atol=1e-5)

    bills = known_at(tables["invoices"], ["invoice_id"], t)
    overdue = bills["due_on"] + timedelta(days=1)
    late = (overdue <= t) & (bills["paid_on"].isna() | (bills["paid_on"] > bills["due_on"])) & (bills["amount"] > 0)
    recent_late = bills[late & (overdue > t - timedelta(days=90))].groupby("customer_id").size()
    assert rows["late_invoices_90d"].tolist() == recent_late.reindex(rows.index, fill_value=0).tolist()
    assert rows["late_invoices_90d"].sum() > 10

    active = active_at(tables, t).loc[rows.index]
    assert rows["plan"].tolist() == active["plan"].tolist()
    np.testing.assert_allclose(rows["monthly_price"], active["monthly_price"])
    ends = []
    for start, months in zip(active["started_on"], active["contract_months"], strict=True):
        end = next(start + pd.DateOffset(months=months * k) for k in range(1, 200)
                   if start + pd.DateOffset(months=months * k) > midnight)  # fmt: skip
        ends.append((end - midnight).days)
    assert rows["days_to_contract_end"].tolist() == ends


def late(frame: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """Corrections of the rows, recorded just after `moment`."""
    return frame.assign(recorded_at=moment + timedelta(seconds=1))


def test_what_came_after_a_moment_never_reaches_it(tables: Tables, retake: Retake, last_moment: datetime) -> None:
    clean = training_frame(retake(tables))
    t = pd.Timestamp(last_moment)
    old = {name: frame[frame["event_time"] <= t] for name, frame in tables.items()}
    planted = dict(tables)

    def plant(name: str, *rows: pd.DataFrame) -> None:
        planted[name] = pd.concat([planted[name], *rows], ignore_index=True)

    # Late corrections of everything that lies before t, with absurd values.
    plant("customers", late(old["customers"], last_moment).assign(region="north", channel="sales", employees=1e6))
    plant("usage_daily", late(old["usage_daily"], last_moment).assign(api_calls=10**9, energy_kwh=0.0, active_users=0))
    plant("invoices", late(old["invoices"].drop_duplicates("invoice_id"), last_moment).assign(status="written_off"))
    plant("tickets", late(old["tickets"].drop_duplicates("ticket_id"), last_moment).assign(severity="high"))
    plant("product_events", late(old["product_events"], last_moment).assign(name="downgrade_page", count=99))
    plant("prices", late(old["prices"], last_moment).assign(competitor_price=1.0))
    plant(
        "subscriptions", late(old["subscriptions"].query("status == 'active'"), last_moment).assign(plan="enterprise")
    )
    # Things that happen after t: some announced before it, some with the reason for leaving.
    who = clean.loc[clean["as_of"] == t, ["customer_id"]]
    visit = who.assign(event_id="X" + who["customer_id"], name="downgrade_page", count=50)
    after = t + timedelta(hours=1)
    plant("product_events", visit.assign(occurred_at=after, event_time=after, recorded_at=t - timedelta(days=3)))
    ticket = who.assign(ticket_id="X" + who["customer_id"], severity="high", category="leaving", satisfaction=1.0)
    plant("tickets", ticket.assign(opened_at=after, closed_at=pd.NaT, event_time=after, recorded_at=after))
    future = tables["usage_daily"]["day"] >= t.normalize()
    planted["usage_daily"].loc[np.flatnonzero(future), "api_calls"] = 10**8
    # A row dated in the past that speaks of a day that has not come.
    tomorrow = t.normalize() + timedelta(days=1)
    ahead = who.assign(day=tomorrow, api_calls=7, storage_gb=0.0, compute_hours=0.0, energy_kwh=0.0, active_users=0)
    plant("usage_daily", ahead.assign(event_time=t - timedelta(days=2), recorded_at=t - timedelta(days=2)))

    spoiled_snapshot = retake(planted)
    spoiled = training_frame(spoiled_snapshot)
    pd.testing.assert_frame_equal(spoiled, clean)
    # The plants are real: what is known today has changed.
    now = current_features(spoiled_snapshot)
    assert (now["api_calls_28d"] > 1e6).all()
    assert now.loc[now["customer_id"].isin(who["customer_id"]), "downgrade_visits_84d"].min() >= 50


def test_a_correction_that_came_in_time_counts(tables: Tables, retake: Retake, last_moment: datetime) -> None:
    usage = tables["usage_daily"]
    row = usage[usage["day"] == pd.Timestamp(last_moment).normalize() - timedelta(days=5)].iloc[[0]]
    corrected = row.assign(api_calls=row["api_calls"] + 280_000, recorded_at=last_moment)
    changed = {**tables, "usage_daily": pd.concat([usage, corrected], ignore_index=True)}
    before, after = training_frame(retake(tables)), training_frame(retake(changed))
    difference = after["api_calls_28d"] - before["api_calls_28d"]
    hit = (before["customer_id"] == row["customer_id"].iloc[0]) & (before["as_of"] == last_moment)
    assert difference[hit].tolist() == pytest.approx([10_000], rel=1e-3)
    assert (difference[~hit] == 0).all()


def test_a_cancellation_told_late_is_a_customer_until_it_is_told(
    tables: Tables, retake: Retake, last_moment: datetime
) -> None:
    """It neither drops the customer from what was current nor becomes a label of a time when they had left."""
    subscriptions = tables["subscriptions"]
    t = pd.Timestamp(last_moment)
    gone = subscriptions[(subscriptions["status"] == "cancelled") & (subscriptions["ended_on"] < t - timedelta(days=5))]
    victim = gone.sort_values("event_time").iloc[-1]
    told = subscriptions.copy()
    told.loc[victim.name, "recorded_at"] = t + timedelta(days=2)
    snapshot = retake({**tables, "subscriptions": told})
    assert victim["customer_id"] in set(current_features(snapshot, last_moment)["customer_id"])
    frame = training_frame(snapshot)
    assert victim["customer_id"] not in set(frame.loc[frame["as_of"] == t, "customer_id"])
    assert victim["customer_id"] not in set(current_features(snapshot)["customer_id"])


def test_somebody_who_comes_back_left_all_the_same(tables: Tables, retake: Retake, last_moment: datetime) -> None:
    subscriptions = tables["subscriptions"]
    t = pd.Timestamp(last_moment)
    left = subscriptions[(subscriptions["status"] == "cancelled") & (subscriptions["event_time"] > t)].iloc[0]
    back = left.copy()
    back["status"], back["ended_on"], back["reason"] = "active", pd.NaT, None
    back["event_time"] = back["recorded_at"] = left["event_time"] + timedelta(days=1)
    snapshot = retake(
        {**tables, "subscriptions": pd.concat([subscriptions, back.to_frame().T.astype(subscriptions.dtypes)])}
    )
    frame = training_frame(snapshot)
    row = frame[(frame["as_of"] == t) & (frame["customer_id"] == left["customer_id"])]
    assert row["churned"].tolist() == [1]


def test_training_and_current_features_are_the_same_numbers(tables: Tables, retake: Retake) -> None:
    snapshot = retake(tables)
    frame = training_frame(snapshot)
    for t in frame["as_of"].unique()[[0, -1]]:
        trained = frame[frame["as_of"] == t].drop(columns="churned").reset_index(drop=True)
        current = current_features(snapshot, pd.Timestamp(t).to_pydatetime())
        shared = current[current["customer_id"].isin(trained["customer_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(shared, trained)
        assert (current.loc[~current["customer_id"].isin(trained["customer_id"]), "tenure_days"] < 30).all()


def test_an_old_snapshot_and_a_new_one_agree_on_the_past(tables: Tables, retake: Retake, last_moment: datetime) -> None:
    then = current_features(retake(tables, last_moment))
    now = current_features(retake(tables), last_moment)
    pd.testing.assert_frame_equal(then, now)


def test_the_order_of_rows_does_not_matter(tables: Tables, retake: Retake) -> None:
    shuffled = {name: frame.sample(frac=1, random_state=5) for name, frame in tables.items()}
    assert frame_digest(training_frame(retake(shuffled))) == frame_digest(training_frame(retake(tables)))


def test_ranges_of_customers_do_not_change_anything(
    tables: Tables, retake: Retake, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = retake(tables)
    whole = training_frame(snapshot)
    monkeypatch.setattr("features.views.known._CUSTOMERS_AT_ONCE", 110)
    calls: list[tuple[int, int]] = []
    pd.testing.assert_frame_equal(training_frame(snapshot, progress=lambda *at: calls.append(at)), whole)
    assert calls[-1] == (15, 15)


def test_two_tables_are_enough(tables: Tables, retake: Retake) -> None:
    snapshot = retake({name: tables[name] for name in ("customers", "subscriptions")})
    frame = training_frame(snapshot, every_days=150)
    assert frame["api_calls_28d"].isna().all()
    assert (frame["tickets_30d"] == 0).all()
    assert frame["churned"].sum() > 0


def test_types_are_plain(snapshot: SnapshotRef) -> None:
    now = current_features(snapshot)
    text = {name for name in FEATURES if not pd.api.types.is_float_dtype(now[name])}
    assert text == {"kind", "region", "country", "channel", "plan"}
    assert set(now["country"]) == {"DK", "SE", "ES", "IT", "PL", "CZ", "DE", "NL"}
    complete = now.drop(columns=["employees", "satisfaction_90d"])
    assert complete[complete["tenure_days"] > 60].notna().all().all()


def test_what_cannot_be_answered_is_refused(tables: Tables, retake: Retake) -> None:
    snapshot = retake(tables)
    with pytest.raises(InvalidValue, match="horizon_days = 0"):
        training_frame(snapshot, horizon_days=0)
    with pytest.raises(InvalidValue, match="after the snapshot"):
        current_features(snapshot, snapshot.as_of + timedelta(days=1))
    with pytest.raises(EmptyData, match="a horizon of 300 days"):
        training_frame(snapshot, horizon_days=300)
    with pytest.raises(FileUnreadable, match="no table subscriptions"):
        training_frame(retake({"customers": tables["customers"]}))
    told_today = tables["subscriptions"].assign(recorded_at=snapshot.as_of)
    with pytest.raises(EmptyData, match="recorded_at"):
        training_frame(retake({**tables, "subscriptions": told_today}))
