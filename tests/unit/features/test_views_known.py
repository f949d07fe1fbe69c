"""The two ways of saying what was known at a moment, in SQL for all moments and in pandas for one, agree."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import CONTRACTS
from features.point_in_time import latest_known
from features.views.known import KNOWN, connection, customer_ranges, load
from store.dataset import SnapshotRef
from store.errors import EmptyData, FileUnreadable

START = datetime(2026, 1, 1)
hours = st.integers(0, 12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), hours, hours), min_size=1, max_size=12), hours)
def test_they_agree_on_any_versions(rows: list[tuple[int, int, int]], moment: int) -> None:
    """Rows of (ticket, event hour, recorded hour), also with an event after its recording."""
    unique = {(ticket, recorded): event for ticket, event, recorded in rows}
    frame = pd.DataFrame(
        [
            {
                "ticket_id": f"T{ticket}",
                "customer_id": "C1",
                "opened_at": START,
                "closed_at": pd.NaT,
                "severity": "low",
                "category": f"{event}/{recorded}",
                "satisfaction": None,
                "event_time": START + timedelta(hours=event),
                "recorded_at": START + timedelta(hours=recorded),
            }
            for (ticket, recorded), event in unique.items()
        ]
    ).astype({"closed_at": "datetime64[us]", "satisfaction": "float64"})
    t = START + timedelta(hours=moment)
    expected = latest_known(frame, CONTRACTS["tickets"].key, t)
    with TemporaryDirectory() as folder, connection() as database:
        frame.to_parquet(Path(folder) / "tickets.parquet", index=False)
        load(database, SnapshotRef(folder, "", {"tickets": len(frame)}, t), "tickets")
        seen = database.execute(
            f"SELECT ticket_id, category FROM tickets WHERE {KNOWN} ORDER BY 1", {"t": t}
        ).fetchall()
    assert seen == list(zip(expected["ticket_id"], expected["category"], strict=True))


def test_ranges_cover_everybody_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.views.known._CUSTOMERS_AT_ONCE", 3)
    pd.DataFrame({"customer_id": list("hagbfced") * 2}).to_parquet(tmp_path / "subscriptions.parquet")
    pd.DataFrame({"customer_id": ["a"]}).to_parquet(tmp_path / "customers.parquet")
    snapshot = SnapshotRef(str(tmp_path), "", {"subscriptions": 16, "customers": 1}, START)
    assert customer_ranges(snapshot) == [("a", "c"), ("d", "f"), ("g", "h")]
    pd.DataFrame({"customer_id": pd.Series([], dtype="str")}).to_parquet(tmp_path / "subscriptions.parquet")
    with pytest.raises(EmptyData, match="no subscription"):
        customer_ranges(snapshot)
    with pytest.raises(FileUnreadable, match="no table customers"):
        customer_ranges(SnapshotRef(str(tmp_path), "", {"subscriptions": 16}, START))
