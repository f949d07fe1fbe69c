"""One series: the stream and the scan agree, alarms are as rare as promised, and odd input has a defined answer."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.frequency import Grid
from models.anomaly.detector import Detector
from models.anomaly.events import events_of
from models.anomaly.scorers import USUAL
from store.errors import InvalidValue

DAY = 86_400 * 10**9
DAILY = Grid("fixed", DAY)


def weekly(n: int, seed: int = 0, noise: float = 0.03) -> np.ndarray:
    """A business of days that grows slowly: weeks, and noise of three percent."""
    rng = np.random.default_rng(seed)
    index = np.arange(n)
    return 1000 * np.exp(0.0005 * index + 0.15 * np.sin(2 * np.pi * index / 7) + noise * rng.standard_normal(n))


@pytest.fixture(scope="module")
def learned() -> str:
    """State after 200 usual days, as JSON; every test goes on from its own copy."""
    return json.dumps(Detector(7, rules=("below 0", "missing 2")).fit(weekly(200)).state())


def detector(state: str) -> Detector:
    return Detector.of(json.loads(state))


def test_a_stream_that_stops_and_goes_on_says_what_a_scan_says() -> None:
    values = weekly(150)
    values[[90, 120]] *= (1.4, np.nan)
    whole = Detector(7, rules=("missing 1",)).scan(values)
    stream = Detector(7, rules=("missing 1",))
    rows = []
    for place, value in enumerate(values):
        if place % 40 == 39:  # through a file and into another process
            stream = detector(json.dumps(stream.state()))
        rows.append(stream.check(value))
    assert [row.status for row in rows] == whole["status"].tolist()
    np.testing.assert_array_equal([row.chance for row in rows], whole["chance"])
    np.testing.assert_array_equal([row.expected for row in rows], whole["expected"])
    assert {"learning", "normal", "anomaly"} == set(whole["status"])


def test_usual_values_alarm_no_more_often_than_promised() -> None:
    alarms = [
        (Detector(7, false_alarms=0.01).scan(weekly(500, seed))["status"] == "anomaly").to_numpy() for seed in range(3)
    ]
    assert 0.002 < np.mean([one[150:].mean() for one in alarms]) < 0.025
    few = [(Detector(7).scan(weekly(300, seed))["status"] == "anomaly").sum() for seed in range(3)]
    assert sum(few) <= 2


def test_spikes_dips_and_level_shifts_are_found_and_called_by_their_names() -> None:
    values = weekly(330)
    values[150] *= 1.35
    values[200:202] *= 0.7
    values[270:] *= 1.3
    found = events_of("a", Detector(7).scan(values))
    assert [(event.kind, event.start) for event in found] == [("spike", 150), ("dip", 200), ("level shift", 270)]
    assert found[1].end == 201
    assert found[0].excess > 0 > found[1].excess
    # After two weeks, the new level is what is usual.
    assert found[2].end <= 270 + 14
    assert not found[2].ongoing


def test_the_expected_value_and_the_band_are_in_the_units_of_the_series(learned: str) -> None:
    truth = 1000 * math.exp(0.0005 * 200 + 0.15 * math.sin(2 * math.pi * 200 / 7))
    check = detector(learned).check(truth)
    assert check.expected == pytest.approx(truth, rel=0.03)
    assert check.low < truth < check.high
    assert check.high - check.low < 0.6 * truth
    assert check.status == "normal"
    assert 0 <= check.score < 0.5


def test_the_further_off_the_more_severe(learned: str) -> None:
    checks = [detector(learned).check(1100 * factor) for factor in (1.0, 1.25, 1.6, 3.0, 30.0)]
    scores = [check.score for check in checks]
    assert scores == sorted(scores)
    assert checks[0].severity is None
    order = ("low", "medium", "high", "critical")
    ranks = [order.index(check.severity) for check in checks[2:] if check.severity]
    assert ranks == sorted(ranks)
    assert len(ranks) == 3
    assert ranks[-1] >= 2
    assert all(check.kind == "spike" for check in checks[2:])


def test_late_missing_and_skipped_values(learned: str) -> None:
    stream = detector(learned)
    assert stream.last == 199
    before = json.dumps(stream.state())
    assert stream.check(1e9, 199).status == "late"
    assert stream.check(1e9, 3).status == "late"
    assert json.dumps(stream.state()) == before, "a late value teaches nothing"
    assert stream.check(None, 200).status == "missing"
    second = stream.check(math.nan, 201)
    assert (second.status, second.kind, second.rules) == ("anomaly", "missing", ("2 steps without a value",))
    assert stream.check(1100.0, 202).rules == ()
    # Steps that nobody sent count too, and the season goes on under them.
    gap = stream.check(float(weekly(207)[206]), 206)
    assert gap.rules == ("3 steps without a value",)
    assert gap.chance > 0.001


def test_a_day_is_a_day_of_the_week_after_a_gap(learned: str) -> None:
    values = weekly(230)
    stream = detector(learned)
    chances = [stream.check(values[place], place).chance for place in (203, 211, 212, 226)]
    assert min(chances) > 0.001


def test_a_year_without_values_is_survived(learned: str) -> None:
    stream = detector(learned)
    values = weekly(900)
    checks = list(stream.checks([None, *[math.nan] * 379]))
    assert {check.status for check in checks} <= {"missing", "anomaly"}
    after = list(stream.checks(values[580:800]))
    assert all(math.isfinite(check.expected) for check in after)
    assert sum(check.alarm for check in after[60:]) <= 3


@pytest.mark.parametrize(
    ("value", "at", "said"),
    [
        (math.inf, 200, "infinite"),
        (1.0, 200 * DAY + DAY // 3, "does not lie on the grid of frequency D"),
        (1.0, 99_999 * DAY, "steps after the last value"),
    ],
)
def test_what_cannot_be_checked_is_refused(value: float, at: int, said: str) -> None:
    stream = Detector(7, grid=DAILY).fit(weekly(30), np.arange(30) * DAY)
    with pytest.raises(InvalidValue, match=said):
        stream.check(value, at)


def test_constants_counts_zeros_and_negatives() -> None:
    constant = Detector(7).fit(np.full(60, 5.0))
    assert constant.check(5.0).status == "normal"
    changed = constant.check(6.0)
    assert (changed.status, changed.kind) == ("anomaly", "spike")
    assert Detector(7).fit(np.zeros(60)).check(0.0).status == "normal"
    rng = np.random.default_rng(0)
    counts = Detector(7).scan(rng.poisson(1.5, 300).astype(float))
    assert (counts["status"] == "anomaly").sum() <= 2
    degrees = Detector(1).fit(rng.normal(0, 5, 200))
    assert degrees.check(-40.0).kind == "dip"
    assert degrees.check(3.0).status == "normal"


def test_too_short_a_history_learns_and_only_limits_hold() -> None:
    stream = Detector(7, rules=("above 10",))
    checks = [stream.check(value) for value in (1.0, 2.0, 11.0)]
    assert [check.status for check in checks] == ["learning", "learning", "anomaly"]
    assert checks[2].kind == "limit"
    assert checks[2].severity == "high"
    assert checks[2].score >= 0.5
    assert math.isnan(checks[2].expected)
    assert json.loads(json.dumps(checks[2].to_dict(), allow_nan=False))["expected"] is None


def test_the_same_date_a_year_ago_is_no_surprise() -> None:
    values = weekly(1060)
    values[[300, 665, 1030]] *= 0.6  # a holiday
    values[700] *= 0.6
    found = Detector(7, grid=DAILY, detectors=("zscore", "seasonal")).scan(values, np.arange(1060) * DAY)
    alarms = np.flatnonzero(found["status"] == "anomaly")
    assert {300, 700} <= set(alarms)
    assert not {665, 1030} & set(alarms)


def test_holidays_are_learned_from_holidays() -> None:
    days = pd.date_range("2024-01-01", periods=400, freq="D")
    values = weekly(400)
    free = days.isin(pd.to_datetime(["2024-03-29", "2024-04-01", "2024-05-01", "2024-05-09", "2024-05-20",
                                     "2024-10-03", "2024-12-25", "2024-12-26", "2025-01-01"]))  # fmt: skip
    values[free] *= 0.6
    stamps = days.to_numpy().astype("datetime64[ns]").astype(np.int64)
    told = Detector(7, grid=DAILY, holidays=("DE",)).scan(values, stamps)
    untold = Detector(7, grid=DAILY).scan(values, stamps)
    late = np.asarray(days >= "2024-10-01")
    assert (told["status"] == "anomaly")[free & late].sum() == 0
    assert (untold["status"] == "anomaly")[free & late].sum() >= 3


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"season": 0}, "season"),
        ({"season": 500}, "season"),
        ({"false_alarms": 0.5}, "false_alarms"),
        ({"detectors": ("zscore", "zscore")}, "detectors"),
        ({"detectors": ()}, "detectors"),
        ({"detectors": ("prophet",)}, "detectors"),
        ({"rules": ("less than 5",)}, "rules"),
        ({"grid": DAILY, "holidays": ("Atlantis",)}, "holidays"),
    ],
)
def test_impossible_options_name_themselves(options: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        Detector(**options)  # type: ignore[arg-type]
    assert raised.value.field == field
    assert raised.value.remedy


def test_a_state_that_is_none_is_refused(learned: str) -> None:
    broken = json.loads(learned)
    broken["judge"]["residuals"] = [1.0]
    for state in ({}, {"format": 99}, {**json.loads(learned), "grid": {"kind": 3}}, broken):
        with pytest.raises(InvalidValue, match="not the state of a detector"):
            Detector.of(state)


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.none(), st.floats(-1e12, 1e12), st.just(0.0), st.integers(0, 3).map(float)), max_size=60
    ),
    season=st.sampled_from([1, 2, 7]),
)
def test_any_values_get_an_answer_that_is_json(values: list[float | None], season: int) -> None:
    stream = Detector(season, rules=("flat 3", "change 50%", "missing 2"))
    for value in values:
        check = stream.check(value)
        json.dumps(check.to_dict(), allow_nan=False)
        assert 0 <= check.score <= 1
        assert 0 < check.chance <= 1
        assert (check.kind is None) == (check.severity is None) == (not check.alarm)
    json.dumps(stream.state(), allow_nan=False)


def test_the_ensemble_is_near_its_best_part_and_above_the_others() -> None:
    """Spikes, dips and shifts that are hard to see, in series that the seasonal detector knows best: F1 of each."""
    scores = {name: _f1((name,)) for name in USUAL}
    together = _f1(USUAL)
    best, *others = sorted(scores.values(), reverse=True)
    assert together >= best - 0.06, scores
    assert together > max(others) + 0.1, scores


def _f1(names: tuple[str, ...]) -> float:
    hit, false, planted = 0, 0, 0
    for seed in range(4):
        values = weekly(300, 100 + seed)
        values[150] *= 1.22
        values[190:193] *= 0.83
        values[240:] *= 1.14
        truth = ((150, 151), (190, 193), (240, 254))
        planted += len(truth)
        found = events_of("a", Detector(7, detectors=names).scan(values))
        met = [{k for k, (a, b) in enumerate(truth) if event.end >= a and event.start <= b} for event in found]
        hit += len(set().union(*met)) if met else 0
        false += sum(not one for one in met)
    return 2 * hit / (hit + false + planted) if hit else 0.0
