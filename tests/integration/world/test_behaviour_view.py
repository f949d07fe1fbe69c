"""Behaviour of subscribers: what was known at each moment, what came a period later, how long they stayed, and whether
survival foresees what the world's true hazards say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.views.behaviour import COLUMNS, NEXT, TABLES, behaviour_frame, current_behaviour
from features.world import WorldRef
from models.segmentation.family import SegmentationFamily, SegmentationOptions
from models.segmentation.value.subscriptions import COLUMNS as VALUE_COLUMNS
from models.segmentation.value.subscriptions import SubscriptionValue
from store.dataset import SnapshotRef
from store.errors import EmptyData, InvalidValue

Tables = dict[str, pd.DataFrame]
Retake = Callable[..., SnapshotRef]
ROLES = {"entity": "customer_id", "time": "as_of"}


def test_the_family_asks_for_every_table_of_its_view() -> None:
    assert set(SegmentationFamily.tables) == set(TABLES)


def test_moments_lie_one_period_apart_and_end_with_the_snapshot(tables: Tables, retake: Retake) -> None:
    snapshot = retake(tables)
    frame = behaviour_frame(snapshot, horizon_days=45, moments=3)
    moments = sorted(frame["as_of"].unique())
    assert moments == [snapshot.as_of - timedelta(days=45 * place) for place in (2, 1, 0)]
    assert not frame.duplicated(["customer_id", "as_of"]).any()
    assert list(frame.columns) == [
        "customer_id", "as_of", *COLUMNS, *(f"next_{name}" for name in NEXT), "observed_days", "left", "followed_days",
    ]  # fmt: skip
    last = frame[frame["as_of"] == snapshot.as_of].reset_index(drop=True)
    pd.testing.assert_frame_equal(last[["customer_id", "as_of", *COLUMNS]], current_behaviour(snapshot))
    assert last[[f"next_{name}" for name in NEXT]].isna().all(axis=None)
    assert (last["observed_days"] == 0).all()


def test_what_came_next_is_what_the_next_moment_tells_and_nothing_of_who_left(tables: Tables, retake: Retake) -> None:
    frame = behaviour_frame(retake(tables), horizon_days=45, moments=3)
    first, second = (part.set_index("customer_id") for _, part in list(frame.groupby("as_of"))[:2])
    stayed = first.index.intersection(second.index)
    for name in NEXT:
        np.testing.assert_array_equal(first.loc[stayed, f"next_{name}"], second.loc[stayed, name].fillna(0))
        assert (first.drop(index=stayed)[f"next_{name}"] == 0).all()
    gone = first.drop(index=stayed)
    assert len(gone) > 5
    ended = tables["subscriptions"].groupby("customer_id")["ended_on"].max()
    days = (ended.reindex(gone.index) - gone["as_of"]).dt.total_seconds() / 86_400
    np.testing.assert_allclose(gone["observed_days"], days, atol=1e-4)
    assert (gone["left"] == 1).all()
    assert (first["observed_days"] <= first["followed_days"]).all()
    still = first[first["left"] == 0]
    np.testing.assert_allclose(still["observed_days"], still["followed_days"])


def test_recency_frequency_and_money_agree_with_a_second_way(tables: Tables, retake: Retake) -> None:
    snapshot = retake(tables)
    rows = current_behaviour(snapshot).set_index("customer_id")
    midnight = pd.Timestamp(snapshot.as_of).normalize()
    usage = tables["usage_daily"].sort_values("recorded_at").drop_duplicates(["customer_id", "day"], keep="last")
    recent = usage[(usage["day"] >= midnight - timedelta(days=90)) & (usage["day"] < midnight)]
    active = recent[recent["active_users"] > 0].groupby("customer_id")["day"]
    assert rows["active_days_90d"].tolist() == active.size().reindex(rows.index, fill_value=0).tolist()
    since = (midnight - active.max().reindex(rows.index)).dt.days.fillna(90)
    assert rows["recency_days"].tolist() == since.tolist()
    bills = tables["invoices"].sort_values("recorded_at").drop_duplicates("invoice_id", keep="last")
    late = bills[(bills["period_start"] > snapshot.as_of - timedelta(days=90)) & (bills["period_start"] <= midnight)]
    billed = late.groupby("customer_id")["amount"].sum().reindex(rows.index, fill_value=0.0)
    np.testing.assert_allclose(rows["billed_90d"], billed, atol=1e-4)


def test_nothing_that_was_known_later_reaches_a_row(tables: Tables, retake: Retake) -> None:
    """A planted leak: usage, invoices and tickets that happened or were recorded after t change nothing at t."""
    honest = behaviour_frame(retake(tables), horizon_days=45, moments=3)
    t = honest["as_of"].min()
    planted = dict(tables)
    usage = tables["usage_daily"]
    late = usage[(usage["day"] < t.normalize()) & (usage["day"] >= t.normalize() - timedelta(days=20))].copy()
    late["recorded_at"] = t + timedelta(days=1)
    late[["api_calls", "active_users"]] = 10_000
    planted["usage_daily"] = pd.concat([usage, late], ignore_index=True)
    invoices = tables["invoices"]
    doubled = invoices[invoices["recorded_at"] < t].assign(amount=9e5, recorded_at=t + timedelta(days=2))
    planted["invoices"] = pd.concat([invoices, doubled], ignore_index=True)
    changed = behaviour_frame(retake(planted), horizon_days=45, moments=3)
    names = ["customer_id", "as_of", *COLUMNS]
    pd.testing.assert_frame_equal(
        changed.loc[changed["as_of"] == t, names].reset_index(drop=True),
        honest.loc[honest["as_of"] == t, names].reset_index(drop=True),
    )


def test_what_cannot_be_looked_at(tables: Tables, retake: Retake) -> None:
    snapshot = retake(tables)
    with pytest.raises(InvalidValue, match="horizon_days = 0"):
        behaviour_frame(snapshot, horizon_days=0)
    unknown = dict(tables, subscriptions=tables["subscriptions"].assign(recorded_at=snapshot.as_of))
    with pytest.raises(EmptyData, match="holds no subscription"):
        behaviour_frame(retake(unknown, snapshot.as_of - timedelta(days=3)))


@pytest.fixture(scope="module")
def frame(snapshot: SnapshotRef) -> pd.DataFrame:
    """The demo world at its default size, as the training flow sees it."""
    return behaviour_frame(snapshot)


def test_survival_foresees_what_the_true_hazards_say(frame: pd.DataFrame, world: WorldRef) -> None:
    """Fitted to some customers before a moment; judged on the others after it, against the truth."""
    family = SegmentationFamily(SegmentationOptions(bootstraps=2, k=3, value_days=1095))
    split = family.split(frame, ROLES)
    assert split.train["followed_days"].min() >= 90
    seen = split.train["as_of"] + pd.to_timedelta(split.train["observed_days"], unit="D")
    assert seen.max() <= split.holdout["as_of"].max()
    model = family.fit(family.candidates()[2], split.train, ROLES, {})
    value = model.value
    assert isinstance(value, SubscriptionValue)
    rows = {name: split.holdout[name].to_numpy(float) for name in VALUE_COLUMNS}
    foreseen = 1 - value.survival(rows, 3)[:, -1]
    truth = pd.read_parquet(world.truth("hazard.parquet"))
    daily = truth[(truth["day"] >= split.holdout["as_of"].max().normalize())].sort_values("day")
    daily["stay"] = np.log1p(-daily["hazard"].astype(float))
    stays = daily.groupby("customer_id", observed=True)["stay"].agg(["sum", "size"])
    stays.index = stays.index.astype(str)
    known = stays.reindex(split.holdout["customer_id"])
    # Who left is followed to that day only: their hazard of the days that were seen stands for the others.
    true = 1 - np.exp((known["sum"] / known["size"] * 90).to_numpy())
    left = ((split.holdout["left"] == 1) & (split.holdout["observed_days"] <= 90)).to_numpy()
    error = np.sqrt(left.mean() * (1 - left.mean()) / len(left))
    assert abs(foreseen.mean() - left.mean()) < 3 * error
    assert np.mean((left - foreseen) ** 2) < np.mean((left - left.mean()) ** 2)
    order = pd.Series(foreseen).corr(pd.Series(true), method="spearman")
    assert order > 0.6
    upper = foreseen > np.median(foreseen)
    assert left[upper].mean() > 2 * left[~upper].mean()


def test_the_demo_world_falls_into_segments_that_foresee(frame: pd.DataFrame, tmp_path: Path) -> None:
    """The judgement that the gate rests on, in the world of the demo."""
    family = SegmentationFamily(SegmentationOptions(bootstraps=4, value_days=1095))
    split = family.split(frame, ROLES)
    names = ("one_segment", "kmeans")
    models = {one.name: family.fit(one, split.train, ROLES, {}) for one in family.candidates() if one.name in names}
    judged = {name: family.evaluate(model, split.holdout, split.train, ROLES) for name, model in models.items()}
    assert judged["kmeans"].metrics["next_period_loss"].high < judged["one_segment"].metrics["next_period_loss"].value
    error = judged["kmeans"].metrics["value_total_error"]
    assert abs(error.value) < 0.1
    final = family.finalise(models["kmeans"], frame, ROLES)
    final.save(tmp_path / "model")
    scores = family.score(final, frame[frame["as_of"] == frame["as_of"].max()].set_index("customer_id"))
    assert (scores["value_low"] < scores["value"]).all()
    assert (scores["value"] < scores["value_high"]).all()
    assert scores["expected_purchases"].between(0, 91 / 30).all()
