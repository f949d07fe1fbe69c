from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.panel import read_panel
from store.errors import EmptyData, InvalidValue, MissingColumn, WrongType

DAYS = pd.date_range("2024-01-01", periods=30)


def long(**columns: object) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": np.arange(30.0), **columns})


def test_a_clean_panel_comes_back_as_it_was() -> None:
    panel = read_panel(long())
    assert panel.grid.alias == "D"
    assert panel.frame["y"].tolist() == list(range(30))
    assert panel.frame["ds"].tolist() == DAYS.tolist()
    report = panel.report.iloc[0]
    assert (report["duplicates"], report["gaps"], report["missing"], report["cut"]) == (0, 0, 0, 0)


def test_order_of_rows_does_not_matter_and_order_of_series_is_kept() -> None:
    frame = pd.concat([long(unique_id="z"), long(unique_id="a")])
    mixed = frame.sample(frac=1, random_state=1)
    mixed = pd.concat([mixed[mixed["unique_id"] == "z"], mixed[mixed["unique_id"] == "a"]])
    panel = read_panel(mixed)
    assert panel.ids == ("z", "a")
    pd.testing.assert_frame_equal(panel.frame, read_panel(frame).frame)


def test_duplicates_become_their_mean_and_are_counted() -> None:
    frame = pd.concat([long(), pd.DataFrame({"unique_id": "a", "ds": [DAYS[3]], "y": [13.0]})])
    panel = read_panel(frame)
    assert panel.frame["y"][3] == 8.0
    assert panel.report["duplicates"][0] == 1


def test_gaps_missing_and_infinite_values_are_filled_and_counted() -> None:
    frame = long().drop(index=[5, 6])
    frame.loc[10, "y"] = np.nan
    frame.loc[12, "y"] = np.inf
    panel = read_panel(frame)
    assert np.allclose(panel.frame["y"], np.arange(30.0))
    report = panel.report.iloc[0]
    assert (report["gaps"], report["missing"]) == (2, 2)
    assert read_panel(frame, fill="zero").frame["y"][[5, 6, 10, 12]].tolist() == [0, 0, 0, 0]


def test_long_gaps_follow_the_season() -> None:
    days = pd.date_range("2024-01-01", periods=140)
    y = np.tile([0.0, 0, 0, 0, 0, 70, 0], 20)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": y})
    filled = read_panel(frame.drop(index=range(63, 77))).frame["y"].to_numpy()
    assert np.abs(filled[63:77] - y[63:77]).max() < 10


def test_missing_ends_are_cut_off() -> None:
    frame = long()
    frame.loc[[0, 1, 29], "y"] = np.nan
    panel = read_panel(frame)
    assert len(panel.frame) == 27
    assert panel.report["cut"][0] == 3
    assert panel.report["end"][0] == "2024-01-29"


def test_a_series_without_a_value_is_left_out_and_said_so() -> None:
    panel = read_panel(pd.concat([long(), long(unique_id="empty", y=np.nan)]))
    assert panel.ids == ("a",)
    assert panel.report.set_index("unique_id")["note"]["empty"] == "left out: no value"
    with pytest.raises(EmptyData):
        read_panel(long(y=np.nan))


def test_wide_files_have_a_series_per_column() -> None:
    wide = pd.DataFrame({"month": pd.date_range("2020-01-31", periods=24, freq="ME"), "x": range(24), "z": range(24)})
    panel = read_panel(wide, time_column="month")
    assert panel.ids == ("x", "z")
    assert panel.grid.alias == "ME"
    assert "wide" in panel.notes[0]


def test_a_single_series_needs_no_id() -> None:
    assert len(read_panel(long().drop(columns="unique_id"), id_column=None).frame) == 30
    assert len(read_panel(long().drop(columns="unique_id")).frame) == 30


def test_the_only_other_column_is_the_value_and_it_is_said() -> None:
    panel = read_panel(long().rename(columns={"y": "sales"}))
    assert panel.frame["y"].notna().all()
    assert any("'sales' is taken for the value" in note for note in panel.notes)


def test_plain_step_numbers() -> None:
    panel = read_panel(pd.DataFrame({"unique_id": 7, "ds": [1, 2, 4, 5], "y": [1, 2, 4, 5]}))
    assert panel.grid.kind == "integer"
    assert panel.frame["ds"].tolist() == [1, 2, 3, 4, 5]
    assert panel.frame["y"].tolist() == [1, 2, 3, 4, 5]
    assert panel.ids == (7,)


def test_numbers_as_people_write_them() -> None:
    frame = long(y=["1.234,5"] + ["2,0"] * 29)
    assert read_panel(frame).frame["y"].tolist()[:2] == [1234.5, 2.0]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("ds", "soon", ["'ds'", "row 4", "'soon'"]),
        ("y", "much", ["'y'", "row 4", "'much'"]),
    ],
)
def test_what_cannot_be_read_is_named_with_its_row(column: str, value: str, words: list[str]) -> None:
    frame = long().astype({"ds": str, "y": str})
    frame.loc[3, column] = value
    with pytest.raises(InvalidValue) as caught:
        read_panel(frame)
    assert all(word in caught.value.message for word in words)
    assert caught.value.field == column


def test_missing_ids_and_times_are_refused_with_their_row() -> None:
    frame = long().astype({"unique_id": object})
    frame.loc[2, "unique_id"] = None
    with pytest.raises(InvalidValue, match="row 3"):
        read_panel(frame)
    frame = long()
    frame.loc[2, "ds"] = pd.NaT
    with pytest.raises(InvalidValue, match="row 3"):
        read_panel(frame)


def test_series_of_different_frequency_are_refused() -> None:
    weekly = pd.DataFrame({"unique_id": "w", "ds": pd.date_range("2024-01-01", periods=20, freq="W"), "y": 1.0})
    with pytest.raises(InvalidValue, match="frequency D and series 'w' has W"):
        read_panel(pd.concat([long(), weekly]))


def test_irregular_times_are_refused_unless_a_frequency_is_given() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": DAYS[[0, 1, 9, 14, 22, 29]], "y": 1.0})
    with pytest.raises(InvalidValue, match="irregular"):
        read_panel(frame)
    assert len(read_panel(frame, freq="D").frame) == 30


def test_times_off_the_grid_are_refused_and_small_shifts_repaired() -> None:
    frame = long(ds=DAYS + pd.to_timedelta([0] * 29 + [600], unit="s"))
    assert read_panel(frame).report["moved"][0] == 1
    with pytest.raises(InvalidValue, match="not on the grid"):
        read_panel(long(ds=DAYS + pd.to_timedelta([0] * 29 + [11], unit="h")))


def test_wrong_names_list_the_columns() -> None:
    with pytest.raises(MissingColumn, match="'unique_id', 'ds', 'y'"):
        read_panel(long(), time_column="date")
    with pytest.raises(MissingColumn, match="'sales'"):
        read_panel(long(), target_column="sales")
    with pytest.raises(MissingColumn, match="'shop'"):
        read_panel(long(), id_column="shop")


def test_step_numbers_do_not_go_with_a_calendar_frequency() -> None:
    with pytest.raises(WrongType):
        read_panel(pd.DataFrame({"unique_id": "a", "ds": [1, 2, 3], "y": 1.0}), freq="h")
    with pytest.raises(WrongType):
        read_panel(long(), freq=1)


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("%Y-%m-%d", "2024-01-31"), ("%d.%m.%Y", "31.01.2024"), ("%m/%d/%Y", "01/31/2024"), ("%d/%m/%Y", "31/01/2024"),
        ("%Y%m%d", "20240131"), ("%Y-%m-%dT%H:%M:%S", "2024-01-31T00:00:00"), ("%b %d, %Y", "Jan 31, 2024"),
    ],
)  # fmt: skip
def test_times_are_written_as_they_were_read(pattern: str, first: str) -> None:
    panel = read_panel(long(ds=DAYS.strftime(pattern)))
    after = pd.Series(panel.grid.at(panel.grid.position(panel.series()[0][2])[0][-1:] + 1).astype("datetime64[ns]"))
    assert panel.writing.write(after)[0] == first


def test_time_zones_survive() -> None:
    hours = pd.date_range("2024-03-30", periods=72, freq="h", tz="Europe/Berlin")
    panel = read_panel(pd.DataFrame({"unique_id": "a", "ds": hours, "y": 1.0}))
    assert panel.report["gaps"][0] == 0
    assert panel.writing.write(panel.frame["ds"]).tolist() == list(hours)
    text = hours.strftime("%Y-%m-%dT%H:%M:%SZ")
    panel = read_panel(pd.DataFrame({"unique_id": "a", "ds": text, "y": 1.0}))
    assert panel.writing.write(panel.frame["ds"])[0] == text[0]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 40),
            st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=32), st.none()),
        ),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_the_result_is_regular_and_finite(rows: list[tuple]) -> None:
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "y"])
    frame["ds"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["ds"], unit="D")
    if not np.isfinite(frame["y"].astype(float)).any():
        with pytest.raises(EmptyData):
            read_panel(frame, freq="D")
        return
    panel = read_panel(frame, freq="D")
    assert np.isfinite(panel.frame["y"]).all()
    for name, y, stamps in panel.series():
        assert len(y) == len(stamps)
        assert np.all(np.diff(stamps) == 86_400 * 10**9), name
    assert set(panel.report["unique_id"]) == set(frame["unique_id"])
