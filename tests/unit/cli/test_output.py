"""How a number is told in a table, and that long work shows that it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from cli import recommend, spend, spend_anomalies
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


def test_long_looks_at_the_ledger_show_that_they_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    @contextmanager
    def watched(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
        yield lambda label, _done, _total: None if quiet else told.append(label)

    for module in (recommend, spend, spend_anomalies):
        monkeypatch.setattr(module, "steps", watched)
        monkeypatch.setattr(module, "prepared", lambda: SimpleNamespace(seed=7))
    monkeypatch.setattr("features.views.spend.end_of_ledger", lambda *_: datetime(2026, 1, 1))
    monkeypatch.setattr("gateway.improve.following.means", lambda _: None)
    for work in ("recommending.look.look", "recommending.keeping.measure_all", "unusual.look.look", "bill.bill_of"):
        monkeypatch.setattr(f"models.spend.{work}", lambda *_, **__: [])
    recommend.look(keep=False)
    recommend.measure()
    spend_anomalies.anomalies()
    spend._bill(30, None, None)
    assert told == [
        "look at the ledger",
        "measure on the ledger",
        "look at the ledger",
        "read the ledger and forecast",
    ]
    recommend.look(keep=False, as_json=True)
    assert len(told) == 4
