"""The autoencoder as a detector: it finds what is unusual in shape, repeats itself, and goes on from JSON."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from models.anomaly.detector import Detector
from models.anomaly.scorers import ALL

NAMES = ("autoencoder",)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    index = np.arange(330)
    y = 100 + 10 * np.sin(2 * np.pi * index / 7) + np.random.default_rng(0).standard_normal(330)
    y[300] += 20
    y[318:325] = y[311:318][::-1]  # a week the wrong way round: every value has been seen, their order has not
    return y


def test_it_finds_a_spike_and_a_week_the_wrong_way_round(values: np.ndarray) -> None:
    found = Detector(7, detectors=NAMES).scan(values)
    alarms = set(np.flatnonzero(found["status"] == "anomaly"))
    assert 300 in alarms
    assert alarms & set(range(318, 326))
    assert len(alarms - {*range(300, 304), *range(318, 330)}) <= 2


def test_stopped_and_gone_on_with_torch_or_without(values: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Detector(7, detectors=NAMES).fit(values[:260])
    again = Detector.of(json.loads(json.dumps(whole.state())))
    expected = [whole.check(value) for value in values[260:280]]
    # What is learned judges with NumPy alone.
    monkeypatch.setitem(sys.modules, "torch", None)
    assert [again.check(value) for value in values[260:280]] == expected


def test_it_joins_the_ensemble(values: np.ndarray) -> None:
    detector = Detector(7, detectors=ALL).fit(values[:300])
    check = detector.check(values[300])
    assert check.alarm
    assert check.kind == "spike"
    assert set(check.detectors) == set(ALL)
