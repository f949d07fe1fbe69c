from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.frequency import default_seasons, grid_of, infer_grid, parse_frequency
from store.errors import InvalidValue

ALIASES = ["s", "min", "5min", "30min", "h", "6h", "D", "W-MON", "B", "MS", "ME", "QS", "QE", "YS", "YE"]


def stamps(alias: str, n: int, start: str = "2023-01-02") -> np.ndarray:
    return pd.date_range(start, periods=n, freq=alias).to_numpy("datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize("alias", ALIASES)
def test_dates_of_pandas_lie_on_the_grid_that_is_inferred_from_them(alias: str) -> None:
    found = stamps(alias, 60)
    grid = infer_grid(found[:40], integer=False)
    assert grid is not None
    place, distance = grid.position(found)
    assert np.all(distance == 0)
    assert np.array_equal(place, place[0] + np.arange(60))
    assert np.array_equal(grid.at(place[-1] + np.arange(1, 4)), stamps(alias, 63)[-3:])


@given(st.sampled_from(ALIASES), st.integers(12, 80), st.data())
@settings(max_examples=60, deadline=None)
def test_place_and_time_are_inverse_of_each_other(alias: str, n: int, data: st.DataObject) -> None:
    found = stamps(alias, n)
    kind, step = parse_frequency(alias)
    grid = grid_of(found, kind, step)
    some = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    place, distance = grid.position(found[some])
    assert np.all(distance == 0)
    assert np.array_equal(grid.at(place), found[some])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h", ("fixed", 3600 * 10**9)), ("H", ("fixed", 3600 * 10**9)), ("15T", ("fixed", 900 * 10**9)),
        ("monthly", ("month", 1)), ("M", ("month", 1)), ("Q-DEC", ("month", 3)), ("A", ("month", 12)),
        ("W-SUN", ("fixed", 7 * 86_400 * 10**9)), (1, ("integer", 1)), ("2", ("integer", 2)),
    ],
)  # fmt: skip
def test_frequencies_as_people_write_them(text: str | int, expected: tuple[str, int]) -> None:
    assert parse_frequency(text) == expected


@pytest.mark.parametrize("text", ["", "fortnight", "0D", "-1h", "x2"])
def test_what_is_no_frequency_is_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not known"):
        parse_frequency(text)


def test_gaps_do_not_hide_the_frequency() -> None:
    found = np.delete(stamps("MS", 40), [3, 4, 17])
    grid = infer_grid(found, integer=False)
    assert grid is not None
    assert grid.alias == "MS"
    assert np.diff(grid.position(found)[0]).tolist() == [1, 1, 3, *[1] * 11, 2, *[1] * 21]


def test_month_ends_stay_month_ends() -> None:
    grid = infer_grid(stamps("ME", 14), integer=False)
    assert grid is not None
    after = grid.at(grid.position(stamps("ME", 14))[0][-1:] + 1).astype("datetime64[ns]").astype("datetime64[D]")
    assert str(after[0]) == str(pd.date_range("2023-01-02", periods=15, freq="ME")[-1].date())


@pytest.mark.parametrize(
    ("alias", "seasons"),
    [("h", (24, 168)), ("30min", (48, 336)), ("D", (7, 365)), ("MS", (12,)), ("QS", (4,)), ("YS", ()), ("B", (5, 261))],
)
def test_usual_seasons(alias: str, seasons: tuple[int, ...]) -> None:
    kind, step = parse_frequency(alias)
    assert default_seasons(grid_of(stamps(alias, 30), kind, step)) == seasons
