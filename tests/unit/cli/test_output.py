"""How a number is told in a table."""

from __future__ import annotations

from typing import Any

import pytest

from cli.output import cell


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (12_090.4, "12,090"),
        (9_999.7, "10,000"),
        (-65_155.0, "-65,155"),
        (4_690.4, "4690"),
        (0.012345, "0.01235"),
        (0.0, "0"),
        ({"value": 65_155.0, "low": 61_802.0, "high": 69_558.2}, "65,155 [61,802, 69,558]"),
        ({"value": 0.5, "low": None, "high": None}, "0.5"),
        ({"value": None, "low": None, "high": None}, "–"),
    ],
)
def test_numbers_are_told_without_exponents(value: Any, said: str) -> None:
    assert cell(value) == said
