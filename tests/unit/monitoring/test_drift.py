"""Drift: real changes are found, chance, size without matter and seasons are not."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from models.monitoring.drift import FeatureDrift, drift
from models.monitoring.policy import MonitorPolicy
from store.errors import InvalidValue


def frame(seed: int, rows: int = 800, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "usage": rng.gamma(2, 10, rows) * np.exp(shift),
            "idle": np.where(rng.random(rows) < 0.7, 0.0, rng.random(rows)),
            "rating": np.where(rng.random(rows) < 0.4, np.nan, rng.integers(1, 6, rows)),
            "plan": rng.choice(["basic", "plus", "pro"], rows, p=[0.5, 0.3, 0.2]),
            "pays": rng.random(rows) < 0.9,
            "constant": 1.0,
        }
    )


def named(found: list[FeatureDrift]) -> set[str]:
    return {one.feature for one in found if one.drifted}


def test_nothing_moved() -> None:
    alarms = [named(drift(frame(seed, 300), frame(seed + 1_000, 300))) for seed in range(12)]
    assert alarms == [set()] * 12


def test_a_move_that_may_be_chance_is_none() -> None:
    found = drift(frame(1, 300), frame(2, 300), policy=MonitorPolicy(psi=0.0))
    assert any((one.psi or 0.0) > (one.limit or 0.0) for one in found)
    assert named(found) == set()


def test_many_rows_do_not_cry_wolf() -> None:
    found = {one.feature: one for one in drift(frame(1, 60_000), frame(2, 60_000, shift=0.03))}
    usage = found["usage"]
    assert usage.q_value is not None
    assert usage.q_value < 0.001  # certain …
    assert usage.psi is not None
    assert 0 < usage.psi < 0.02  # … and of no matter
    assert not usage.drifted


def test_changes_that_matter_are_found_and_only_they() -> None:
    then, now = frame(1), frame(2)
    now["usage"] *= 2.2
    now["plan"] = np.random.default_rng(3).choice(["basic", "new ünïque"], len(now))
    now["rating"] = now["rating"].mask(np.random.default_rng(4).random(len(now)) < 0.7)
    found = drift(then, now)
    assert named(found) == {"usage", "plan", "rating"}
    by_name = {one.feature: one for one in found}
    assert found[0].drifted
    assert by_name["rating"].missing == pytest.approx((then["rating"].isna().mean(), now["rating"].isna().mean()))
    assert by_name["plan"].test == "chi-square"
    assert by_name["usage"].test == "Kolmogorov–Smirnov"
    assert sum(by_name["usage"].now) == pytest.approx(1)
    assert "(other)" in by_name["plan"].labels


def test_a_season_that_the_reference_knows_is_no_drift() -> None:
    winter, summer = 0.35, -0.35
    begin = datetime(2024, 1, 1)
    history = {
        begin + timedelta(days=30 * month): frame(month, 400, shift=winter if month % 12 < 6 else summer)
        for month in range(24)
    }
    reference, now = frame(50, 400, shift=winter), frame(51, 400, shift=summer)
    gap = timedelta(days=180)
    assert named(drift(reference, now)) == {"usage"}
    known = drift(reference, now, history=history, gap=gap)
    assert named(known) == set()
    usage = next(one for one in known if one.feature == "usage")
    assert usage.seasonal is not None
    assert usage.limit == 1.25 * usage.seasonal > (usage.psi or 0)
    # What goes beyond the season is drift all the same.
    assert named(drift(reference, frame(52, 400, shift=3 * summer), history=history, gap=gap)) == {"usage"}
    # Within a month nothing moves that far, so that it is none of the season's.
    calm = {moment: frame(90 + place, 400, shift=winter) for place, moment in enumerate(list(history)[:6])}
    assert named(drift(reference, now, history=calm, gap=timedelta(days=30))) == {"usage"}


def test_the_same_days_of_the_year_before_tell_of_a_short_season() -> None:
    reference, now = frame(50, 400), frame(51, 400, shift=-0.9)
    assert named(drift(reference, now, year_before=(frame(60, 400), frame(61, 400)))) == {"usage"}
    assert named(drift(reference, now, year_before=(frame(60, 400), frame(61, 400, shift=-0.9)))) == set()
    without = frame(60, 400).drop(columns="usage")
    assert named(drift(reference, now, year_before=(without, without))) == {"usage"}


def test_a_feature_that_came_to_be_is_no_season() -> None:
    begin = datetime(2024, 1, 1)
    history = {begin + timedelta(days=30 * month): frame(month, 300) for month in range(6)}
    for part in list(history.values())[:2]:
        part["usage"] = np.nan
    found = drift(frame(50, 300), frame(51, 300, shift=1.0), history=history, gap=timedelta(days=30))
    assert named(found) == {"usage"}


def test_columns_that_come_go_and_change() -> None:
    then, now = frame(1), frame(2)
    now["usage"] = now["usage"].astype(str)
    now = now.drop(columns="idle").assign(extra=1)
    then["empty"] = np.nan
    now["empty"] = np.nan
    then["filled"], now["filled"] = np.nan, "text"
    then["counted"], now["counted"] = pd.Series([None] * len(then), dtype=object), 1.5
    found = {one.feature: one for one in drift(then, now)}
    assert {name for name, one in found.items() if one.drifted} == {"usage", "idle", "filled", "counted"}
    assert (found["filled"].kind, found["counted"].kind) == ("category", "number")
    assert found["usage"].note == "was a number, is a category now"
    assert found["idle"].note == "not there any more"
    assert "new" in found["extra"].note
    assert found["empty"].psi == 0


def test_too_few_rows_say_nothing() -> None:
    found = drift(frame(1, 40), frame(2, 800, shift=5))
    assert named(found) == set()
    assert "too few to tell" in found[0].note
    assert drift(pd.DataFrame(), pd.DataFrame()) == []
    one = drift(frame(1, 1), frame(2, 1), policy=MonitorPolicy(fewest_rows=2))
    assert named(one) == set()


def test_thresholds_have_ranges() -> None:
    with pytest.raises(InvalidValue, match="psi = -1"):
        MonitorPolicy(psi=-1.0)
