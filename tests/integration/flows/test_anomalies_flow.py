"""The flow `anomalies` on a server: it looks, tells once, and leaves detectors."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd

from cli.ingest import load_tables
from features.world import build
from flows.run import run_flow
from models.anomaly import KIND, VIEW
from store import events, feature_rows
from store.database import migrate
from store.settings import Settings


def test_it_looks_tells_once_and_leaves_detectors(flow_settings: Settings, tmp_path: Path) -> None:
    world = build(tmp_path / "world", customers=60, days=120, seed=3, end=date(2026, 6, 30))
    usage = world.table("usage_daily")
    frame = pd.read_parquet(usage)
    frame.loc[frame["day"] >= pd.Timestamp("2026-06-29"), "api_calls"] //= 20  # the last two days
    frame.to_parquet(usage, index=False)
    migrate(flow_settings)
    load_tables(flow_settings, world.folder / "tables")
    fresh = run_flow(flow_settings, "anomalies", {"days": 3})
    total = next(row for row in fresh if row["series"] == "api_calls/total")
    assert (total["start"], total["kind"], total["ongoing"]) == ("2026-06-29", "dip", True)
    assert {event.payload["id"] for event in events.recent(flow_settings, KIND)} == {row["id"] for row in fresh}
    assert "api_calls/total" in feature_rows.entities(flow_settings, VIEW)
    assert run_flow(flow_settings, "anomalies", {"days": 3}) == []
