"""Values as people write them."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.parsing import as_flag, as_number, as_text, as_times, decimal_mark, is_missing, looks_like_dates


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("29.85", 29.85),
        (" 7 ", 7.0),
        ("1,234", 1234.0),
        ("1,234,567.5", 1234567.5),
        ("50%", 0.5),
        ("€ 12.50", 12.5),
        ("63.91 kr", 63.91),
        ("CHF 12.50", 12.5),
        ("-3e2", -300.0),
        (True, 1.0),
        (3, 3.0),
    ],
)
def test_numbers(text: object, number: float) -> None:
    assert as_number(text) == number


@pytest.mark.parametrize("text", ["", " ", "NA", "n/a", "null", None, float("nan"), pd.NA, pd.NaT])
def test_missing(text: object) -> None:
    assert is_missing(text)
    assert math.isnan(as_number(text))
    assert math.isnan(as_flag(text))
    assert as_text(text) is None


@pytest.mark.parametrize("text", ["abc", "12 apples", "1,23", "1.2.3", [1]])
def test_no_numbers(text: object) -> None:
    with pytest.raises(ValueError):
        as_number(text)


@pytest.mark.parametrize("text", ["03.01.2022", "1.2.3", "10.0.0.1", "29.85"])
def test_no_numbers_with_a_decimal_comma(text: str) -> None:
    """Where dots group thousands, one that does not is no mistake to be overlooked: 29.85 is not 2985."""
    with pytest.raises(ValueError):
        as_number(text, ",")


@given(st.floats(-1e9, 1e9).map(lambda x: round(x, 2)))
def test_thousands_and_decimal_comma_come_back(number: float) -> None:
    assert as_number(f"{number:,.2f}") == number
    european = f"{number:,.2f}".replace(",", "_").replace(".", ",").replace("_", ".")
    assert as_number(european, ",") == number


def test_decimal_mark_of_a_column() -> None:
    assert decimal_mark(["29.85", " ", "1,234"]) == "."
    assert decimal_mark(["29,85", "7", "1.234,50"]) == ","
    assert decimal_mark(["29.85", "high"]) is None
    assert decimal_mark([" ", ""]) is None


def test_flags_in_any_spelling() -> None:
    assert [as_flag(v) for v in ("Yes", "no", "TRUE", 0, 1.0, False, "t")] == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    with pytest.raises(ValueError):
        as_flag("maybe")


def test_whole_floats_and_integers_are_one_level() -> None:
    assert as_text(1) == as_text(1.0) == as_text("1 ") == "1"


def test_dates_are_told_from_codes() -> None:
    assert looks_like_dates(["2026-03-01", "2026-11-20 08:15:00", ""])
    assert looks_like_dates(["01.03.2026", "24.12.2025"])
    assert not looks_like_dates(["A-1", "B-2"])
    assert not looks_like_dates(["10.5.1", "192.168.0.1"])


def test_times_are_naive_utc() -> None:
    read = as_times(pd.Series(["2026-03-01T12:00:00+02:00", "2026-03-02"]))
    assert list(read) == [pd.Timestamp("2026-03-01 10:00"), pd.Timestamp("2026-03-02")]
    assert as_times(pd.Series(["not a date"])).isna().all()


@pytest.mark.parametrize(
    ("texts", "dates"),
    [
        (["01/05/2024", "01/15/2024", "02/01/2024"], ["2024-01-05", "2024-01-15", "2024-02-01"]),
        (["01/05/2024", "15/01/2024"], ["2024-05-01", "2024-01-15"]),
        (["01/01/2024", "02/01/2024", "12/01/2024"], ["2024-01-01", "2024-02-01", "2024-12-01"]),
        (["01.01.2024", "01.02.2024", "01.12.2024"], ["2024-01-01", "2024-02-01", "2024-12-01"]),
        (["03/04/2024", "05/06/2024"], ["2024-04-03", "2024-06-05"]),
        (["1/31/24", "2/5/24"], ["2024-01-31", "2024-02-05"]),
        (["2024-01-05", "05.02.2024", None], ["2024-01-05", "2024-02-05", None]),
    ],
)
def test_dates_of_one_column_are_read_alike(texts: list[str | None], dates: list[str | None]) -> None:
    assert as_times(pd.Series(texts)).tolist() == pd.to_datetime(pd.Series(dates)).tolist()
