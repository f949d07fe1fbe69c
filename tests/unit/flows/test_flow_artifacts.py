"""What a run shows in the Prefect UI."""

from __future__ import annotations

import numpy as np

from features.validation import Failure, ValidationReport
from flows.artifacts import artifact_key, interval_bar, leaderboard_markdown, plots_markdown, validation_rows

ESTIMATE = {"value": 0.5, "low": 0.25, "high": 0.75}


def test_keys_hold_what_prefect_allows() -> None:
    assert artifact_key("verdict", "Churn_EU.v2") == "verdict-churn-eu-v2"


def test_an_interval_is_drawn_on_the_common_axis() -> None:
    assert interval_bar(ESTIMATE, [0.0, 1.0]) == "······──────●─────······"
    assert interval_bar({"value": 1.0, "low": None, "high": None}, [0.0, 1.0]).strip("·") == "●"
    assert interval_bar({"value": 1.0, "low": 1.0, "high": 1.0}, [1.0]).count("●") == 1
    assert interval_bar(None, [0.0]) == ""


def test_the_leaderboard_has_a_row_per_candidate() -> None:
    rows = [
        {
            "candidate": "a",
            "baseline": True,
            "fit_seconds": 0.1,
            "latency_ms": 0.2,
            "metrics": {"x": ESTIMATE, "loss": ESTIMATE},
        },
        {"candidate": "b", "baseline": False, "fit_seconds": 0.1, "error": "no | yes"},
    ]
    lines = leaderboard_markdown(rows, "loss", "lower", "a").splitlines()
    assert lines[0] == "| candidate | loss (lower is better) | 95 % interval | x | fit, s | predict, ms |"
    assert lines[2].startswith("| **a** (baseline) | 0.5 [0.25, 0.75] | `")
    assert "no \\| yes" in lines[3]
    assert {line.replace("\\|", "").count("|") for line in lines} == {7}


def test_every_failure_is_a_row_and_so_is_a_table_without_one() -> None:
    failure = Failure("price", "must be at least 0", "critical", 2, 10, ("-1",), np.array([1, 2]))
    rows = validation_rows([ValidationReport("prices", 10, 8, (failure,)), ValidationReport("tickets", 5, 9)])
    assert rows[0] == {
        "table": "prices", "rows": "10", "severity": "critical", "check": "price must be at least 0",
        "at fault": "2 (20.00%)", "values": "-1",
    }  # fmt: skip
    assert rows[1]["check"] == "all 9 checks hold"


def test_plots_are_part_of_the_page() -> None:
    page = plots_markdown({"gain.svg": b"<svg/>", "table.csv": b"a", "huge.png": b"x" * 1_000_000})
    assert page == "\n![gain](data:image/svg+xml;base64,PHN2Zy8+)\n"
