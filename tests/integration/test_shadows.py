"""Shadows, outcomes and monitor reports on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from store import events, monitor_reports, outcomes, predictions, shadows
from store.errors import InvalidValue, UnknownEntity, UnknownModel, UnknownVersion
from store.monitor_reports import MonitorRecord
from store.predictions import Prediction
from store.promotions import promote
from store.registry import Registry
from store.settings import Settings
from store.shadows import ShadowAnswer
from store.tables.base import utc_now

Make = Callable[..., list[int]]


def answered(count: int, **changes: Any) -> list[Prediction]:
    made = []
    for number in range(count):
        one = Prediction(
            model="churn",
            version=1,
            features={"x": number, "name": "Ünï\u4e2d"},
            output={"probability": number / 10},
            entity_id=f"c{number}",
        )
        made.append(replace(one, **changes))
    return made


def shadowed(made: Prediction, **changes: Any) -> ShadowAnswer:
    answer = ShadowAnswer(
        prediction_id=made.id, model="churn", version=2, champion=1, output={"probability": 0.5}, latency_ms=0.1
    )
    return replace(answer, **changes)


def test_both_answers_and_what_came_are_paired(on_both: Settings) -> None:
    made = answered(4)
    predictions.write(on_both, made)
    answers = [shadowed(made[0]), shadowed(made[1], output={}, error="KeyError: x"), shadowed(made[2], version=3)]
    shadows.write(on_both, answers)
    shadows.write(on_both, [shadowed(made[0], output={"probability": 0.9})])  # there already
    shadows.write(on_both, [])
    shadows.write(on_both, [shadowed(answered(1)[0])])  # its prediction was never written
    predictions.report(on_both, made[0].id, False)
    predictions.report(on_both, made[0].id, True)  # a correction
    found = shadows.pairs(on_both, "churn", 2)
    assert [(one.prediction_id, one.said, one.shadow, one.error) for one in found] == [
        (made[0].id, {"probability": 0.0}, {"probability": 0.5}, None),
        (made[1].id, {"probability": 0.1}, {}, "KeyError: x"),
    ]
    assert [(one.actual, one.reported, one.entity_id) for one in found] == [(True, True, "c0"), (None, False, "c1")]
    assert shadows.counts(on_both, "churn") == {3: 1, 2: 3}
    assert shadows.counts(on_both, "other") == {}
    assert [one.prediction_id for one in shadows.pairs(on_both, "churn", 2, limit=1)] == [made[1].id]
    assert shadows.pairs(on_both, "churn", 2, since=utc_now() + timedelta(minutes=1)) == []
    assert len(shadows.pairs(on_both, "churn", 2, since=utc_now() - timedelta(minutes=1))) == 2


def test_outcomes_are_the_latest_reported_of_each_prediction(on_both: Settings) -> None:
    made = [*answered(3), *answered(1, version=2)]
    predictions.write(on_both, made)
    for one, value in ((made[0], False), (made[2], True), (made[0], True), (made[3], False)):
        predictions.report(on_both, one.id, value)
    found = outcomes.reported(on_both, "churn")
    assert [(one.prediction_id, one.version, one.value) for one in found] == [
        (made[0].id, 1, True),
        (made[2].id, 1, True),
        (made[3].id, 2, False),
    ]
    assert found[0].features == {"x": 0, "name": "Ünï\u4e2d"}
    assert [one.version for one in outcomes.reported(on_both, "churn", version=2)] == [2]
    assert [one.prediction_id for one in outcomes.reported(on_both, "churn", limit=2)] == [made[2].id, made[3].id]
    later, earlier = utc_now() + timedelta(minutes=1), utc_now() - timedelta(minutes=1)
    assert outcomes.reported(on_both, "churn", since=later) == []
    assert outcomes.reported(on_both, "churn", until=earlier) == []
    assert len(outcomes.reported(on_both, "churn", since=earlier, until=later)) == 3
    assert outcomes.reported(on_both, "telco") == []


def test_monitor_reports_are_kept_and_paged(on_both: Settings) -> None:
    made = [
        MonitorRecord(model=model, version=version, as_of=datetime(2026, 1, 1), verdict="ok", report={"n": version})
        for model, version in (("churn", 1), ("churn", 2), ("price", 1), ("churn", 2))
    ]
    for one in made:
        monitor_reports.write(on_both, one)
    assert monitor_reports.get(on_both, made[1].id) == made[1]
    first = monitor_reports.page(on_both, "churn", limit=2)
    assert first.items == (made[3], made[1])
    assert monitor_reports.page(on_both, "churn", cursor=first.next_cursor).items == (made[0],)
    assert monitor_reports.page(on_both, "churn", version=2).items == (made[3], made[1])
    assert len(monitor_reports.page(on_both).items) == 4
    with pytest.raises(UnknownEntity, match="no monitor report"):
        monitor_reports.get(on_both, made[2].id, model="churn")
    with pytest.raises(UnknownEntity):
        monitor_reports.get(on_both, "nothing\x00")


def test_who_is_shadow(settings: Settings, registry: Registry, make_versions: Make) -> None:
    with pytest.raises(UnknownModel):
        shadows.start(settings, registry, "churn", None, actor="ann")
    make_versions("churn", 3)
    with pytest.raises(UnknownVersion, match="no challenger"):
        shadows.start(settings, registry, "churn", None, actor="ann")
    with pytest.raises(UnknownVersion, match="no version 9"):
        shadows.start(settings, registry, "churn", 9, actor="ann")
    assert shadows.stop(settings, registry, "churn", actor="ann") is None
    promote(settings, registry, "churn", 1, expected=None, actor="ann", reason="first")
    with pytest.raises(InvalidValue, match="is champion: it answers aloud"):
        shadows.start(settings, registry, "churn", 1, actor="ann")
    registry.set_alias("churn", "challenger", 3)
    assert shadows.start(settings, registry, "churn", None, actor="ann") == 3
    assert shadows.start(settings, registry, "churn", 2, actor="bob") == 2
    assert registry.model("churn").aliases == {"champion": 1, "challenger": 3, "shadow": 2}
    assert shadows.stop(settings, registry, "churn", actor="ann") == 2
    told = [
        (one.payload["version"], one.payload["state"], one.payload["actor"])
        for one in events.recent(settings, "shadow")
    ]
    assert told == [(3, "started", "ann"), (2, "started", "bob"), (2, "stopped", "ann")]
