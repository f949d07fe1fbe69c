"""Purchases as people bring them: every oddity is told or refused, none is dropped in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.snapshot import read_dataset
from features.views.behaviour_purchases import purchases_frame
from models.segmentation.from_file import prepare, read_purchases
from store.errors import DataError, EmptyData, FileUnreadable, InvalidValue, MissingColumn, WrongType

Change = Callable[[pd.DataFrame], pd.DataFrame]


def shop(customers: int = 60, seed: int = 0) -> pd.DataFrame:
    """who, when, paid: 60 customers over 400 days."""
    rng = np.random.default_rng(seed)
    count = 1 + rng.poisson(2, customers)
    who = np.repeat([f"Kündin {number} ✓" for number in range(customers)], count)
    when = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 400, count.sum()), unit="D")
    return pd.DataFrame({"who": who, "when": when, "paid": rng.gamma(3, 10, count.sum()).round(2)})


def read(tmp_path: Path, frame: pd.DataFrame, **options: str) -> tuple[pd.DataFrame, list[str]]:
    path = tmp_path / "shop.csv"
    frame.to_csv(path, index=False)
    return read_purchases(path, **{"entity": "who", "time": "when", "amount": "paid", **options})


def test_a_plain_file_is_read_as_it_is(tmp_path: Path) -> None:
    frame = pd.concat([shop(), shop().head(2)], ignore_index=True)
    purchases, notes = read(tmp_path, frame)
    assert purchases["entity"].tolist() == frame["who"].tolist()
    assert purchases["date"].tolist() == frame["when"].tolist()
    assert purchases["amount"].tolist() == frame["paid"].tolist()
    repeated = int(frame.duplicated(["who", "when"]).sum())
    assert repeated > 1
    assert notes == [f"The customer had another row of the same day in {repeated} rows: a day is one purchase."]


def test_a_file_that_was_written_twice_is_told(tmp_path: Path) -> None:
    frame = shop()
    _, notes = read(tmp_path, pd.concat([frame, frame]))
    assert notes[-1].startswith(f"{len(frame)} rows of {2 * len(frame)} repeat another one's customer, date and amount")


def _euro(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(paid=[f"{value:.2f} €".replace(".", ",") for value in frame["paid"]])


def _several_ways(frame: pd.DataFrame) -> pd.DataFrame:
    ways = ("%Y-%m-%d", "%d.%m.%Y", "%b %d, %Y")
    return frame.assign(when=[day.strftime(ways[place % 3]) for place, day in enumerate(frame["when"])])


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(when=frame["when"].dt.strftime("%Y%m%d").astype(int))


@pytest.mark.parametrize("change", [_euro, _several_ways, _numbers])
def test_ways_of_writing_do_not_matter(tmp_path: Path, change: Change) -> None:
    frame = shop()
    purchases, notes = read(tmp_path, change(frame))
    assert purchases["date"].dt.normalize().tolist() == frame["when"].tolist()
    assert purchases["amount"].tolist() == frame["paid"].tolist()
    assert ("in several ways" in " ".join(notes)) == (change is _several_ways)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    frame = shop().astype({"who": object, "paid": object, "when": object})
    frame.loc[0, "who"] = None
    frame.loc[1, "when"] = ""
    frame.loc[[2, 3], "paid"] = "n/a"
    frame.loc[4, "when"] = pd.Timestamp("2199-01-01")
    frame.loc[5, "paid"] = -5.0
    purchases, notes = read(tmp_path, frame)
    rows = len(frame)
    assert len(purchases) == rows - 5
    said = "\n".join(notes)
    for line in (
        f"Left out, since who is missing: 1 of {rows} rows.",
        f"Left out, since when is missing: 1 of {rows} rows.",
        f"Left out, since paid is missing: 2 of {rows} rows.",
        "Left out, since when lies in the future: 1 row (the first 2199-01-01).",
        "A negative amount in 1 row",
    ):
        assert line in said


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f: f.drop(columns="paid"), MissingColumn, "no column 'paid' \\(--amount\\)"),
        (lambda f: f.iloc[:0], EmptyData, "has no rows"),
        (lambda f: f.assign(paid=["twelve", *f["paid"].iloc[1:]]), WrongType, "paid: 'twelve' is no amount"),
        (lambda f: f.assign(paid=[np.inf, *f["paid"].iloc[1:]]), InvalidValue, "paid: inf is not finite"),
        (lambda f: f.assign(when=["soon", *f["when"].astype(str).iloc[1:]]), InvalidValue, "'soon' is no date"),
        (lambda f: f.assign(when=7), InvalidValue, "numbers such as 7"),
        (lambda f: f.assign(who=None), InvalidValue, "who is missing in"),
        (lambda f: f.assign(when="2199-01-01"), InvalidValue, "All dates in when lie in the future"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, change: Change, error: type[DataError], words: str) -> None:
    with pytest.raises(error, match=words):
        read(tmp_path, change(shop()))


def test_the_same_column_twice_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="One column has two roles"):
        read(tmp_path, shop(), time="paid")
    with pytest.raises(FileUnreadable, match="There is no file"):
        read_purchases(tmp_path / "none.csv", entity="who", time="when", amount="paid")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f[f["who"] == f["who"].iloc[0]], "purchases of 1 customer; segments need at least 30"),
        (lambda f: f.assign(when="2025-03-01"), "All purchases lie within 1 day:"),
    ],
)
def test_too_little_of_everything(tmp_path: Path, change: Change, words: str) -> None:
    path = tmp_path / "shop.csv"
    change(shop()).to_csv(path, index=False)
    with pytest.raises(InvalidValue, match=words):
        prepare(path, tmp_path / "data", entity="who", time="when", amount="paid")


def test_the_period_fits_the_history(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    frame = shop()
    frame["when"] = pd.Timestamp("2025-01-01") + (frame["when"] - pd.Timestamp("2025-01-01")) // 8
    frame.to_csv(path, index=False)
    names = {"entity": "who", "time": "when", "amount": "paid"}
    made = prepare(path, tmp_path / "data", **names)
    assert made.horizon_days == 16
    assert any("periods of 16 days are looked at" in note for note in made.notes)
    assert read_dataset(made.ref)["as_of"].nunique() > 1
    with pytest.raises(InvalidValue, match=r"Periods of 40 days do not fit twice") as caught:
        prepare(path, tmp_path / "data", **names, horizon_days=40)
    assert "--horizon-days 16" in caught.value.remedy


def test_who_bought_once_is_told_of_where_there_are_any(tmp_path: Path) -> None:
    names = {"entity": "who", "time": "when", "amount": "paid"}
    for frame, some in (
        (shop(), True),
        (shop()[lambda one: one.groupby("who")["when"].transform("nunique") > 1], False),
    ):
        frame.to_csv(tmp_path / "shop.csv", index=False)
        made = prepare(tmp_path / "shop.csv", tmp_path / "data", **names)
        assert any("bought on one day only" in note for note in made.notes) == some


def test_moments_see_only_what_was_before_them() -> None:
    frame = shop()
    purchases = frame.rename(columns={"who": "entity", "when": "date", "paid": "amount"})
    made = purchases_frame(purchases, horizon_days=60)
    t = made["as_of"].min()
    past = made[made["as_of"] == t].drop(columns=["next_orders", "next_spent"]).reset_index(drop=True)
    # Whatever comes later, the past stays as it was.
    later = purchases[purchases["date"] >= t].assign(amount=1e6)
    changed = pd.concat([purchases[purchases["date"] < t], later, later.assign(entity="new")])
    again = purchases_frame(changed, horizon_days=60)
    then = again[again["as_of"] == t].drop(columns=["next_orders", "next_spent"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(past, then)
    # What comes next is what came.
    one = made[(made["as_of"] == t) & (made["next_orders"] > 0)].iloc[0]
    mine = purchases[purchases["entity"] == one["entity"]].set_index("date")["amount"].sort_index()
    window = mine[t : t + pd.Timedelta(days=59)]
    assert one["next_orders"] == window.groupby(level=0).sum().size
    assert one["next_spent"] == pytest.approx(window.sum())


def test_returns_lower_what_was_spent_and_are_no_purchases() -> None:
    rows = [
        ("a", 1, 100.0), ("a", 50, 60.0), ("a", 60, -40.0),
        ("b", 2, 30.0), ("b", 2, 30.0), ("b", 2, -60.0), ("b", 9, 10.0),
        ("c", 3, -5.0), ("d", 4, 0.0), ("d", 200, 20.0), ("e", 5, 10.0), ("e", 30, -99.0),
    ]  # fmt: skip
    purchases = pd.DataFrame(rows, columns=["entity", "day", "amount"])
    purchases["date"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(purchases.pop("day"), unit="D")
    frame = purchases_frame(purchases, horizon_days=90, moments=1).set_index("entity")
    # Who only gave back bought nothing; what was taken back on its day was never bought.
    assert frame.index.tolist() == ["a", "b", "d", "e"]
    assert frame["orders"].to_dict() == {"a": 2, "b": 1, "d": 2, "e": 1}
    assert frame["spent"].to_dict() == {"a": 120, "b": 10, "d": 20, "e": 0}
    assert frame["repeats"].to_dict() == {"a": 1, "b": 0, "d": 1, "e": 0}
    assert frame.loc["a", "repeat_mean"] == pytest.approx(60 * 120 / 160)
    assert frame.loc["a", ["recency_days", "last_days", "age_days"]].tolist() == [150, 49, 199]
    with pytest.raises(EmptyData, match="There is no purchase"):
        purchases_frame(purchases.assign(amount=-1.0))
