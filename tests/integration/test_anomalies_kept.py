"""What a look leaves behind in the database, on SQLite and on Postgres; and the command and the flow as a whole."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from features.frequency import Grid
from models.anomaly import VIEW
from models.anomaly.detector import Detector
from models.anomaly.keeping import keep
from models.anomaly.watch import Watched, WatchOptions, watch
from store import events, feature_rows
from store.settings import Settings

DAY = 86_400 * 10**9
MOMENT = datetime(2024, 4, 30)


@pytest.fixture(scope="module")
def found() -> Watched:
    """Two series; one breaks down for two days, ten days before the end."""
    rng = np.random.default_rng(0)
    index = np.arange(120)
    week = np.exp(0.2 * np.sin(2 * np.pi * index / 7))
    broken, whole = (1000 * week * np.exp(0.03 * rng.standard_normal(120)) for _ in range(2))
    broken[110:112] /= 3
    stamps = (19_723 + index) * DAY
    return watch([("größe/total", stamps, broken), ("b", stamps, whole)], Grid("fixed", DAY), WatchOptions())


def test_an_anomaly_is_told_of_once(on_both: Settings, found: Watched) -> None:
    found = replace(found, events=tuple(replace(event, severity="medium") for event in found.events))
    first = keep(on_both, found, MOMENT, 30)
    assert [row["series"] for row in first] == ["größe/total"]
    assert keep(on_both, found, MOMENT, 30) == []
    told = events.recent(on_both, "anomaly")
    assert len(told) == 1
    assert told[0].payload["id"] == first[0]["id"]
    assert told[0].payload["as_of"] == MOMENT.isoformat()
    # Gone on, it is the same one; more severe, it is told of again.
    worse = replace(found, events=tuple(replace(event, severity="critical", steps=9) for event in found.events))
    assert [row["id"] for row in keep(on_both, worse, MOMENT, 30)] == [first[0]["id"]]
    assert keep(on_both, found, MOMENT, 30) == []


def test_old_ones_are_not_told_of(settings: Settings, found: Watched) -> None:
    assert keep(settings, found, MOMENT, 5) == []
    assert len(keep(settings, found, MOMENT, 10)) == 1


def test_detectors_are_published_to_the_bit(on_both: Settings, found: Watched) -> None:
    keep(on_both, found, MOMENT, 30)
    assert feature_rows.newest(on_both, VIEW) == MOMENT
    state = feature_rows.lookup(on_both, VIEW, ["größe/total"])["größe/total"]["state"]
    assert json.dumps(state, sort_keys=True) == json.dumps(found.states["größe/total"], sort_keys=True)
    assert Detector.of(state).check(200.0).kind == "dip"
