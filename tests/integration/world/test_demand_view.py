"""Demand of the platform: every sign-up once, the price of its day, and nothing that was not known."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from features.snapshot import from_folder
from features.views.demand import demand_frame
from features.world import WorldRef, build
from store.dataset import SnapshotRef
from store.errors import EmptyData, FileUnreadable
from store.settings import Settings

TABLES = ("customers", "subscriptions", "prices")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> WorldRef:
    return build(tmp_path_factory.mktemp("world"), customers=400, days=200, seed=3, end=date(2026, 6, 30))


def _snapshot(small: WorldRef, folder: Path, as_of: datetime | None = None, **changed: pd.DataFrame) -> SnapshotRef:
    source = folder / "tables"
    source.mkdir(parents=True)
    for name in TABLES:
        frame = changed.get(name, pd.read_parquet(small.table(name)))
        frame.to_parquet(source / f"{name}.parquet", index=False)
    return from_folder(source, as_of or small.as_of, Settings(home=folder / "home"))


@pytest.fixture(scope="module")
def demand(small: WorldRef, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return demand_frame(_snapshot(small, tmp_path_factory.mktemp("demand")))


def test_every_signup_since_records_began_is_counted_once(small: WorldRef, demand: pd.DataFrame) -> None:
    people = pd.read_parquet(small.table("customers")).drop_duplicates("customer_id")
    first = demand["day"].min()
    last = (demand["day"] + pd.to_timedelta(demand["days"], unit="D")).max()
    joined = people["signup_date"].between(first, last, inclusive="left")
    assert demand["quantity"].sum() == joined.sum()
    by_region = demand.groupby("region")["quantity"].sum()
    assert by_region.to_dict() == people[joined].groupby("region").size().reindex(by_region.index).to_dict()
    # Sign-ups of before the first day are those of survivors: they would all seem to have joined at old prices.
    assert first.date() >= small.start
    assert last == pd.Timestamp(small.end) + pd.Timedelta(days=1)


def test_a_row_has_the_price_of_all_its_days(small: WorldRef, demand: pd.DataFrame) -> None:
    assert not demand.duplicated(["plan", "region", "day"]).any()
    assert demand["days"].between(1, 7).all()
    assert (demand.groupby("day")["days"].nunique() == 1).all()
    covered = demand.groupby(["plan", "region"])["days"].sum()
    assert covered.nunique() == 1
    prices = pd.read_parquet(small.table("prices"))
    one = prices[(prices["plan"] == "basic") & (prices["region"] == "north")].sort_values("valid_from")
    mine = demand[(demand["plan"] == "basic") & (demand["region"] == "north")]
    for row in mine.itertuples():
        for step in range(int(row.days)):
            day = row.day + pd.Timedelta(days=step)
            assert one[one["valid_from"] <= day]["price"].iloc[-1] == row.price
    assert demand["experiment"].ne("").any()


def test_by_day_it_is_the_same_in_finer_rows(small: WorldRef, demand: pd.DataFrame, tmp_path: Path) -> None:
    daily = demand_frame(_snapshot(small, tmp_path), every="day")
    assert (daily["days"] == 1).all()
    assert daily["quantity"].sum() == demand["quantity"].sum()


def test_what_was_recorded_later_is_not_seen(small: WorldRef, demand: pd.DataFrame, tmp_path: Path) -> None:
    """A correction of a price and a customer, both recorded after the moment, change nothing before it."""
    moment = small.as_of - timedelta(days=60)
    prices, people = (pd.read_parquet(small.table(name)) for name in ("prices", "customers"))
    late = prices.iloc[:40].assign(price=1.0, recorded_at=pd.Timestamp(moment) + pd.Timedelta(days=1))
    moved = people.iloc[:50].assign(region="west", recorded_at=pd.Timestamp(moment) + pd.Timedelta(days=1))
    changed = {"prices": pd.concat([prices, late]), "customers": pd.concat([people, moved])}
    before = demand_frame(_snapshot(small, tmp_path / "a", moment))
    pd.testing.assert_frame_equal(before, demand_frame(_snapshot(small, tmp_path / "b", moment, **changed)))
    assert before["day"].max() < pd.Timestamp(moment)
    after = demand_frame(_snapshot(small, tmp_path / "c", **changed))
    assert not after.equals(demand)
    same = before.merge(demand, on=["plan", "region", "day"])
    whole = same["days_x"] == same["days_y"]
    assert whole.mean() > 0.9
    assert (same.loc[whole, "price_x"] == same.loc[whole, "price_y"]).all()


def test_a_table_that_lacks_is_named(small: WorldRef, tmp_path: Path) -> None:
    prices = pd.read_parquet(small.table("prices"))
    with pytest.raises(FileUnreadable, match="holds no prices"):
        demand_frame(_snapshot(small, tmp_path / "a", prices=prices.iloc[:0]))
    strangers = pd.read_parquet(small.table("customers")).assign(customer_id="nobody's contract").iloc[:1]
    with pytest.raises(EmptyData, match="No sign-up"):
        demand_frame(_snapshot(small, tmp_path / "b", customers=strangers))
