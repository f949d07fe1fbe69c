"""Sums of columns that measure one quantity in parts."""

from __future__ import annotations

import numpy as np

from features.like_named import like_named


def _values(width: int) -> np.ndarray:
    return np.abs(np.random.default_rng(0).normal(size=(50, width)))


def test_parts_of_one_quantity_are_found() -> None:
    names = ["total_day_charge", "total_eve_charge", "total_night_charge", "total_day_calls", "age"]
    assert like_named(names, _values(5)) == {"total_*_charge": (0, 1, 2)}


def test_periods_may_come_last() -> None:
    assert like_named(["bill_jan", "bill_feb", "bill_mar"], _values(3)) == {"bill_*": (0, 1, 2)}
    assert like_named(["payAmt1", "payAmt2", "payAmt3"], _values(3)) == {"pay_Amt_*": (0, 1, 2)}


def test_units_that_differ_are_not_added() -> None:
    assert like_named(["day_minutes", "day_calls", "day_charge"], _values(3)) == {}


def test_signed_columns_and_flags_are_not_added() -> None:
    values = _values(3)
    values[3, 1] = -1.0
    assert like_named(["m_1", "m_2", "m_3"], values) == {}
    assert like_named(["m_1", "m_2", "m_3"], (values > 0.5).astype(float)) == {}
