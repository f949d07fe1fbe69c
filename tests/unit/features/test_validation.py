"""Every kind of check finds its rows, and the error tells them."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from features.contracts import CONTRACTS
from features.validation import validate
from features.validation_page import html_page
from store.errors import ValidationFailed

TICKETS = CONTRACTS["tickets"]


def tickets(**changes) -> pd.DataFrame:
    """Ten good tickets; a change is column=(row, value)."""
    frame = pd.DataFrame(
        {
            "ticket_id": [f"t{i}" for i in range(10)],
            "customer_id": [f"c{i % 3}" for i in range(10)],
            "opened_at": ["2026-01-01 10:00"] * 10,
            "closed_at": ["2026-01-02 10:00"] * 9 + [""],
            "severity": ["low"] * 10,
            "category": ["billing"] * 10,
            "satisfaction": ["5"] * 9 + [""],
            "event_time": ["2026-01-01 10:00"] * 10,
            "recorded_at": ["2026-01-02 10:00"] * 10,
        }
    )
    for column, (row, value) in changes.items():
        frame.loc[row, column] = value
    return frame


def test_a_good_table_has_no_failure() -> None:
    report = validate(tickets(), TICKETS)
    assert report.failures == ()
    assert report.ok
    report.require()
    assert report.checks > 15


@pytest.mark.parametrize(
    "column,value,at_fault,check",
    [
        ("severity", "LOW", "severity", "one of low, medium, high"),
        ("satisfaction", "9", "satisfaction", "between 1 and 5"),
        ("satisfaction", "4.5", "satisfaction", "whole number"),
        ("opened_at", "yesterday", "opened_at", "a moment"),
        ("opened_at", "01/02/2026", "opened_at", "a moment"),
        ("opened_at", "2026", "opened_at", "a moment"),
        ("closed_at", "2025-12-31", "closed_at, opened_at", "closed_at not before opened_at"),
        ("category", " ", "category", "filled"),
        ("customer_id", None, "customer_id", "filled"),
    ],
)
def test_each_kind_of_failure_names_column_value_and_row(column, value, at_fault, check) -> None:
    report = validate(tickets(**{column: (3, value)}), TICKETS)
    assert len(report.critical) == 1, report.text()
    failure = report.critical[0]
    assert failure.column == at_fault
    assert check in failure.check
    assert failure.positions.tolist() == [3]
    assert report.bad_rows().tolist() == [i == 3 for i in range(10)]
    with pytest.raises(ValidationFailed) as caught:
        report.require()
    assert at_fault in caught.value.message
    assert "1 of 10 rows" in caught.value.message
    if "filled" not in check:
        assert str(value) in caught.value.message
    report.require(tolerance=0.1)


def test_the_natural_key_is_unique() -> None:
    report = validate(tickets(ticket_id=(4, "t3")), TICKETS)
    assert [f.positions.tolist() for f in report.critical] == [[3, 4]]
    corrected = tickets(ticket_id=(4, "t3"), recorded_at=(4, "2026-01-03"))
    assert validate(corrected, TICKETS).ok


def test_warnings_annotate_and_do_not_stop() -> None:
    invoices = pd.DataFrame(
        {
            "invoice_id": ["a", "b"],
            "customer_id": ["c", "c"],
            "period_start": ["2026-01-01"] * 2,
            "amount": [-5.0, 10.0],
            "due_on": ["2026-02-01"] * 2,
            "paid_on": [None, None],
            "status": ["open", "paid"],
            "event_time": ["2026-01-01"] * 2,
            "recorded_at": ["2026-01-01"] * 2,
        }
    )
    report = validate(invoices, CONTRACTS["invoices"])
    report.require()
    assert {(f.column, f.positions.tolist()[0]) for f in report.warnings} == {("amount", 0), ("paid_on, status", 1)}


def test_a_missing_column_stops_whatever_the_tolerance() -> None:
    report = validate(tickets().rename(columns={"severity": "severty"}), TICKETS)
    with pytest.raises(ValidationFailed, match="Did you mean 'severty'"):
        report.require(tolerance=1.0, spare=10**9)
    empty = validate(tickets().drop(columns="category").iloc[:0], TICKETS)
    assert not empty.ok


def test_every_row_at_fault_stops_even_a_small_table() -> None:
    report = validate(tickets().assign(severity="?").iloc[:2], TICKETS)
    assert report.stopping(tolerance=0.5, spare=5)
    assert not validate(tickets(severity=(0, "?")), TICKETS).stopping(tolerance=0.05, spare=5)


def test_the_page_needs_no_internet_and_escapes() -> None:
    page = html_page([validate(tickets(severity=(3, "<script>")), TICKETS)])
    assert "http" not in page
    assert "src=" not in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "breaks its contract" in page


def test_great_expectations_is_imported_by_the_first_check_only_and_is_quiet() -> None:
    code = (
        "import sys, features.ingest, features.snapshot, features.point_in_time, features.validation\n"
        "assert 'great_expectations' not in sys.modules\n"
        "import pandas as pd\n"
        "from features.contracts import CONTRACTS\n"
        "frame = pd.DataFrame({'plan': ['pro'], 'region': ['north'], 'valid_from': ['2026-01-01'], 'price': [1.0],"
        " 'competitor_price': [2.0], 'event_time': ['2026-01-01'], 'recorded_at': ['2026-01-01']})\n"
        "assert features.validation.validate(frame, CONTRACTS['prices']).ok\n"
        "assert 'great_expectations' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
