"""The scoreboard: its quick sections run and meet what was published."""

from __future__ import annotations

import pytest

from benchmarks.scoreboard import Asked, Line, row, sections

ASKED = Asked(quick=True, threads=1, keep=None)


def test_every_family_has_a_section() -> None:
    assert {"churn", "forecasting", "pricing", "segmentation"} <= set(sections())


@pytest.mark.parametrize("name", ["pricing", "segmentation"])
def test_published_figures_are_met(name: str) -> None:
    lines = list(sections()[name](ASKED))
    assert lines
    for line in lines:
        assert line.verdict in ("met", "level"), row(line)


@pytest.mark.parametrize(
    ("better", "low", "high", "verdict"),
    [
        ("lower", 0.1, 0.2, "better"),
        ("lower", 0.1, 0.4, "level"),
        ("lower", 0.4, 0.5, "behind"),
        ("higher", 0.4, 0.5, "better"),
        ("equal", 0.2, 0.4, "met"),
        ("equal", 0.4, 0.5, "missed"),
    ],
)
def test_verdicts_say_where_the_interval_lies(better: str, low: float, high: float, verdict: str) -> None:
    line = Line("f", "d", "m", better, (low + high) / 2, low, high, {"other": 0.3})
    assert line.verdict == verdict
