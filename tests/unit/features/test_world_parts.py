"""The pieces of the simulator: calendar arithmetic, trailing sums, determinism, refusals."""

from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from features.contracts import CONTRACTS
from features.world import build
from features.world.business import COUNTRIES, Span, add_months
from features.world.calendar import calendar
from features.world.engagement import engagement
from features.world.hazard import _fall, _trailing, last_days
from features.world.prices import MULTIPLIERS, experiment_cells, price_book, price_changes
from features.world.truth import auc
from store.errors import InvalidValue

END = date(2026, 6, 30)


@given(st.dates(date(1990, 1, 1), date(2060, 12, 31)), st.integers(0, 60))
def test_months_are_added_as_pandas_does(day: date, months: int) -> None:
    ours = add_months(np.array([day], dtype="datetime64[D]"), np.array([months]))[0]
    assert pd.Timestamp(ours) == pd.Timestamp(day) + pd.DateOffset(months=months)


def test_offsets_and_dates_are_each_others_inverse() -> None:
    span = Span(date(2025, 2, 27), 400)
    offsets = np.array([-1000, 0, 1, 399])
    assert (span.offsets(span.dates(offsets)) == offsets).all()
    assert str(span.dates(offsets)[-1]) == span.end.isoformat()
    assert pd.Timestamp(int(span.stamps(np.array([2]), 13.5)[0]), unit="us") == pd.Timestamp("2025-03-01 13:30")


def test_calendar_knows_weekends_and_holidays() -> None:
    span = Span(date(2025, 1, 1), 365)
    days = calendar(span)
    germany = COUNTRIES.index("DE")
    unity = (date(2025, 10, 3) - span.start).days
    assert days.holiday[germany, unity]
    assert not days.holiday[COUNTRIES.index("ES"), unity]
    assert days.weekday[unity] == 4
    business = days.activity[1, germany]
    assert business[unity] < business[unity - 7] - 0.3
    assert business[unity + 2] < business[unity + 3]  # Sunday, Monday


def test_experiments_deal_prices_evenly() -> None:
    span = Span(date(2025, 1, 1), 500)
    book = price_book(span, np.random.default_rng(1))
    cells = experiment_cells(book, span)
    for _, one in cells.groupby("experiment"):
        assert len(one) == 16
        assert one["multiplier"].value_counts().loc[list(MULTIPLIERS)].between(3, 4).all()
    changes = price_changes(book)
    assert (changes["price"] > 0).all()
    assert not changes.duplicated(["plan", "region", "valid_from"]).any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_trailing_sums_look_back_and_never_at_today(seed: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    n, days = 3, 50
    row, column = rng.integers(0, n, 30), rng.integers(-5, days + 5, 30)
    weight = rng.integers(1, 4, 30).astype(np.float32)
    ours = _trailing(row, column, weight, (n, days), window)
    for i in range(n):
        for day in range(days):
            inside = (row == i) & (column >= max(day - window, 0)) & (column < day)
            assert ours[i, day] == weight[inside].sum()


def test_fall_is_the_log_of_two_means() -> None:
    rng = np.random.default_rng(4)
    values = rng.uniform(10, 20, (2, 200)).astype(np.float32)
    values[:, 150:] *= 0.4
    ours = _fall(values, np.array([-50, 60]))
    for row, begun in ((0, 0), (1, 60)):
        for day in (130, 160, 199):
            before = values[row, max(day - 84, begun) : day - 28].mean()
            expected = np.clip(-np.log(values[row, day - 28 : day].mean() / before), -0.4, 1.6)
            assert ours[row, day] == pytest.approx(expected, abs=1e-4)
    assert (ours[1, : 60 + 28] == 0).all()


def test_who_left_left_once_and_not_before_joining() -> None:
    chance = np.full((400, 100), 0.05, dtype=np.float32)
    joined = np.repeat([0, 40], 200)
    leaves = last_days(chance, joined, np.random.default_rng(0))
    assert (leaves >= joined).all()
    assert (leaves[:200].mean()) == pytest.approx(19, abs=4)
    assert (last_days(chance * 0, joined, np.random.default_rng(0)) == 100).all()


def test_engagement_is_calm_before_the_first_onset() -> None:
    state = engagement(np.zeros(500, dtype=np.int64), 400, np.random.default_rng(2))
    before = np.arange(400) < state.onsets[:, :1]
    assert (state.disengaged[before] == 0).all()
    assert state.disengaged.max() > 0.8
    assert state.mood.std() == pytest.approx(0.16, abs=0.03)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=2, max_size=60))
def test_auc_agrees_with_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    labels = np.array([row[0] for row in rows], dtype=float)
    scores = np.array([row[1] for row in rows], dtype=float)
    if len(set(labels)) < 2:
        assert np.isnan(auc(labels, scores))
    else:
        assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
    }


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a", customers=150, days=150, seed=5, end=END)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    build(tmp_path / "b", customers=150, days=150, seed=5, end=END)
    build(tmp_path / "c", customers=150, days=150, seed=6, end=END)
    first, second, third = (digests(tmp_path / name) for name in "abc")
    assert len(first) == len(CONTRACTS) + 5
    assert first == second
    assert all(first[name] != third[name] for name in first)


def test_several_chunks_hold_everybody_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.world.builder.CELLS_PER_CHUNK", 1)
    calls: list[tuple[int, int, str]] = []
    world = build(tmp_path, customers=170, days=130, end=END, progress=lambda *at: calls.append(at))
    assert calls == [(50, 170, "customers"), (100, 170, "customers"), (150, 170, "customers"), (170, 170, "customers")]
    people = pd.read_parquet(world.table("customers")).drop_duplicates("customer_id")
    assert people["customer_id"].tolist() == [f"C{number:07d}" for number in range(1, 171)]
    assert people["signup_date"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("name", "value"), [("customers", 49), ("customers", 5_000_001), ("days", 119), ("days", 4_000)]
)
def test_sizes_out_of_bounds_are_refused(tmp_path: Path, name: str, value: int) -> None:
    sizes = {"customers": 100, "days": 150, name: value}
    with pytest.raises(InvalidValue, match=f"{name} = {value}") as caught:
        build(tmp_path, end=END, **sizes)
    assert caught.value.field == name
    assert not list(tmp_path.iterdir())


def test_an_interrupted_build_leaves_the_old_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, customers=60, days=130, end=END)
    before = digests(tmp_path)

    def stop(done: int, total: int, label: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, customers=80, days=130, end=END, progress=stop)
    assert digests(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tables", "truth"]
