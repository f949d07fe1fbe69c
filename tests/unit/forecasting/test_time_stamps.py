from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.panel import read_panel
from store.errors import InvalidValue


@pytest.mark.parametrize(
    ("pattern", "freq", "second"),
    [
        ("%Y-%m-%d", "h", "2024-03-01 01:00"),
        ("%d.%m.%Y", "h", "01.03.2024 01:00"),
        ("%Y%m%d", "30min", "20240301 00:30"),
        ("%Y-%m", "D", "2024-03-02"),
        ("%Y-%m-%d %H:%M", "15s", "2024-03-01 00:00:15"),
    ],
)
def test_stamps_finer_than_the_pattern_of_the_input_stay_distinct(pattern: str, freq: str, second: str) -> None:
    times = pd.date_range("2024-01-01", periods=3, freq="MS").strftime(pattern)
    panel = read_panel(pd.DataFrame({"ds": times, "y": [1.0, 2.0, 3.0]}), id_column=None, freq="MS")
    stamps = pd.Series(pd.date_range("2024-03-01", periods=30, freq=freq))
    written = panel.writing.write(stamps)
    assert written.nunique() == 30
    assert written[1] == second


def test_quarters_and_years_with_finer_steps_are_written_as_dates() -> None:
    for texts in (["2020Q1", "2020Q2", "2020Q3", "2020Q4"], ["2017", "2018", "2019", "2020"]):
        panel = read_panel(pd.DataFrame({"ds": texts, "y": [1.0, 2.0, 3.0, 5.0]}), id_column=None, freq="MS")
        assert list(panel.writing.write(pd.Series(pd.to_datetime(["2021-01-01", "2021-02-01"]))))[1] == "2021-02-01"


@pytest.mark.parametrize("between", ["Q", "-Q", " Q", "q"])
def test_quarters_are_written_as_they_were_read(between: str) -> None:
    texts = [f"{year}{between}{quarter}" for year in (2022, 2023) for quarter in (1, 2, 3, 4)]
    panel = read_panel(pd.DataFrame({"ds": texts, "y": 1.0}), id_column=None)
    assert panel.writing.write(panel.frame["ds"]).tolist() == texts


def test_it_is_said_when_most_steps_had_to_be_filled() -> None:
    days = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=30).strftime("%Y-%m-%d"), "y": np.arange(30.0)})
    panel = read_panel(days, id_column=None, freq="h")
    assert "667 of 697 steps had no row and were interpolated: are steps of h finer" in panel.notes[-1]
    assert "set to zero" in read_panel(days, id_column=None, freq="h", fill="zero").notes[-1]
    assert not any("finer" in note for note in read_panel(days, id_column=None, freq="D").notes)


def local_midnights(n: int = 40) -> pd.DatetimeIndex:
    return pd.date_range("2022-10-10", periods=n, freq="D", tz="Europe/Berlin")


def test_local_midnights_across_a_clock_change_are_days() -> None:
    texts = [stamp.isoformat(sep=" ") for stamp in local_midnights()]
    assert {text[-6:] for text in texts} == {"+02:00", "+01:00"}
    panel = read_panel(pd.DataFrame({"ds": texts, "y": np.arange(40.0)}), id_column=None)
    assert panel.grid.alias == "D"
    assert list(panel.report[["gaps", "moved", "duplicates"]].loc[0]) == [0, 0, 0]
    assert list(panel.writing.write(panel.frame["ds"].tail(2))) == [
        "2022-11-17 00:00:00+01:00",
        "2022-11-18 00:00:00+01:00",
    ]
    assert any("local clock" in note for note in panel.notes)


def test_local_midnights_with_a_named_zone_keep_it() -> None:
    panel = read_panel(pd.DataFrame({"ds": local_midnights(), "y": np.arange(40.0)}), id_column=None)
    assert panel.grid.alias == "D"
    assert panel.report.loc[0, "moved"] == 0
    assert list(panel.writing.write(panel.frame["ds"])) == list(local_midnights())


def test_hours_across_a_clock_change_go_by_utc() -> None:
    hours = pd.date_range("2022-10-29", periods=72, freq="h", tz="Europe/Berlin")
    texts = [stamp.isoformat() for stamp in hours]
    for times in (hours, texts):
        panel = read_panel(pd.DataFrame({"ds": times, "y": np.arange(72.0)}), id_column=None)
        assert panel.grid.alias == "h"
        assert list(panel.report[["length", "gaps", "duplicates"]].loc[0]) == [72, 0, 0]
        assert list(pd.to_datetime(panel.writing.write(panel.frame["ds"]), utc=True)) == list(hours.tz_convert("UTC"))


def test_a_steady_offset_is_kept() -> None:
    texts = [f"2022-06-{day:02d}T00:00:00+05:30" for day in range(1, 21)]
    panel = read_panel(pd.DataFrame({"ds": texts, "y": np.arange(20.0)}), id_column=None)
    assert list(panel.writing.write(panel.frame["ds"])) == texts


@pytest.mark.parametrize("pattern", ["%G-W%V", "%GW%V", "%G-W%V-%u"])
def test_iso_weeks(pattern: str) -> None:
    weeks = pd.date_range("2019-12-02", periods=70, freq="7D")
    texts = weeks.strftime(pattern)
    panel = read_panel(pd.DataFrame({"ds": texts, "y": np.arange(70.0)}), id_column=None)
    assert panel.grid.alias == "W"
    assert list(panel.frame["ds"]) == list(weeks)
    assert list(panel.writing.write(panel.frame["ds"])) == list(texts)
    ahead = pd.Series(pd.to_datetime(["2024-12-30", "2025-01-06"]))
    assert panel.writing.write(ahead)[0] == ahead.dt.strftime(pattern)[0]


def test_weeks_that_do_not_exist_are_refused_and_days_of_weekly_data_are_dates() -> None:
    with pytest.raises(InvalidValue, match="2021-W60"):
        read_panel(pd.DataFrame({"ds": ["2021-W01", "2021-W60", "2021-W03"], "y": [1.0, 2.0, 3.0]}), id_column=None)
    panel = read_panel(pd.DataFrame({"ds": ["2021-W01", "2021-W02", "2021-W03"], "y": [1.0, 2.0, 3.0]}), id_column=None)
    assert list(panel.writing.write(pd.Series(pd.date_range("2021-01-25", periods=2)))) == ["2021-01-25", "2021-01-26"]
