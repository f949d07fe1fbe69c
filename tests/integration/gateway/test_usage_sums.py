"""Usage adds up: by anything, over any time, before and after retention has summed old calls up."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.account import lines
from gateway.account.posting import Posting
from gateway.account.record import CallRecord
from gateway.prompt import Tenant
from gateway.usage import Usage
from store import llm_calls, llm_usage
from store.database import migrate, session
from store.errors import InvalidValue
from store.settings import Settings
from store.tables.base import new_id
from store.tables.gateway import LlmCallRow

START = datetime(2026, 10, 30, 22)
SUMS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost")


def random_calls(count: int, seed: int = 1) -> list[CallRecord]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        parent = new_id() if chance.random() < 0.2 else None
        tokens = [chance.randrange(10_000) for _ in range(7)]
        made.append(
            CallRecord(
                new_id(),
                START + timedelta(minutes=chance.randrange(60 * 24 * 5)),
                Tenant(
                    workspace=chance.choice(["a", "b"]),
                    project=chance.choice([None, "p"]),
                    user=chance.choice([None, "ann", "bob", "Größe"]),
                    key_id=chance.choice(["k1", "k2"]),
                    key_name="same name",
                ),
                "chat",
                "auto",
                chance.choice(["auto", "cheapest"]),
                chance.choice(["ok", "ok", "ok", "cached", "failed", "broken", "refused", "unknown", "cancelled"]),
                model=chance.choice([None, "x/1", "x/2", "y/1"]),
                provider=chance.choice([None, "x", "y"]),
                usage=Usage(*tokens, estimated=chance.random() < 0.1),
                cost=chance.choice([0, 1, chance.randrange(10**12)]),
                latency_ms=float(chance.randrange(1000)),
                domain=chance.choice([None, "code", "math"]),
                complexity=chance.choice(["simple", "expert"]),
                parent=parent,
                cache=chance.choice([None, "exact"]),
            )
        )
    return made


def keep(settings: Settings, records: Sequence[CallRecord]) -> None:
    migrate(settings)
    Posting(settings, settings.root / "unwritable.lines").post(b"".join(map(lines.closed, records)))


def named(record: CallRecord, by: str) -> Any:
    if by in ("workspace", "project", "user", "organisation"):
        return getattr(record.tenant, by)
    if by == "key":
        return record.tenant.key_id
    if by == "day":
        return f"{record.at:%Y-%m-%d}"
    if by == "hour":
        return f"{record.at:%Y-%m-%dT%H:00}"
    if by == "month":
        return f"{record.at:%Y-%m}"
    return getattr(record, {"task": "domain"}.get(by, by))


def expected(records: Sequence[CallRecord], by: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    groups = defaultdict(list)
    for record in records:
        groups[tuple(named(record, one) for one in by)].append(record)
    told = {}
    for key, group in groups.items():
        answered = sorted(one.latency_ms for one in group if one.outcome == "ok")
        told[key] = {
            "calls": len(group),
            "requests": sum(one.parent is None for one in group),
            "failures": sum(one.outcome in ("failed", "broken", "unknown") for one in group),
            "cached": sum(one.outcome == "cached" for one in group),
            "refused": sum(one.outcome == "refused" for one in group),
            "estimated": sum(one.usage.estimated for one in group),
            "answered": len(answered),
            "cost": sum(one.cost for one in group),
            "input_tokens": sum(one.usage.input for one in group),
            "cached_tokens": sum(one.usage.cached for one in group),
            "output_tokens": sum(one.usage.output for one in group),
            "reasoning_tokens": sum(one.usage.reasoning for one in group),
            "latency_p50_ms": answered[math.ceil(0.5 * len(answered)) - 1] if answered else None,
            "latency_p95_ms": answered[math.ceil(0.95 * len(answered)) - 1] if answered else None,
        }
    return told


def told(rows: Sequence[dict[str, Any]], by: Sequence[str], names: Sequence[str]) -> dict[tuple[Any, ...], Any]:
    found = {tuple(row[one] for one in by): {name: row[name] for name in names} for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize(
    "by",
    [
        (),
        ("workspace",),
        ("user",),
        ("key",),
        ("model", "provider"),
        ("task",),
        ("domain", "complexity"),
        ("strategy", "outcome"),
        ("day",),
        ("hour",),
        ("month", "project"),
        ("cache", "kind", "organisation"),
    ],
    ids=",".join,
)
def test_usage_by_anything(on_both: Settings, by: tuple[str, ...]) -> None:
    records = random_calls(400)
    keep(on_both, records)
    rows = llm_calls.usage(on_both, by=by)
    wanted = expected(records, by)
    assert told(rows, by, list(next(iter(wanted.values())))) == wanted
    if "day" in by or "hour" in by:
        assert [row[by[0]] for row in rows] == sorted(row[by[0]] for row in rows)
    elif "month" not in by:
        assert [row["cost"] for row in rows] == sorted((row["cost"] for row in rows), reverse=True)
    if by == ("key",):
        assert {row["key_name"] for row in rows} == {"same name"}


def test_usage_of_a_time_and_of_some(on_both: Settings) -> None:
    records = random_calls(300)
    keep(on_both, records)
    since, until = START + timedelta(days=1), START + timedelta(days=3, minutes=7)
    some = [one for one in records if since <= one.at < until and one.tenant.workspace == "a"]
    some = [one for one in some if one.tenant.user == "Größe" and one.domain == "code"]
    (row,) = llm_calls.usage(
        on_both, since=since, until=until, workspace="a", filters={"user": "Größe", "task": "code"}
    )
    assert (row["calls"], row["cost"]) == (len(some), sum(one.cost for one in some))
    assert llm_calls.usage(on_both, workspace="nobody's") == []
    assert len(llm_calls.usage(on_both, by=("hour",), limit=5)) == 5


@pytest.mark.parametrize("by", [("colour",), ("day", "day"), ("day", "month")])
def test_usage_by_nonsense(settings: Settings, by: tuple[str, ...]) -> None:
    with pytest.raises(InvalidValue) as caught:
        llm_calls.usage(settings, by=by)
    assert caught.value.field == "by"
    with pytest.raises(InvalidValue, match="filtered"):
        llm_calls.usage(settings, filters={"colour": "red"})


def test_summing_up_keeps_every_nano(on_both: Settings) -> None:
    records = random_calls(500)
    keep(on_both, records)
    groupings = [
        (),
        *itertools.combinations(("workspace", "user", "model", "day", "outcome"), 2),
        ("key", "project", "task", "complexity", "strategy", "cache", "month"),
    ]
    names = [name for name in llm_calls.usage(on_both)[0] if not name.startswith("latency")]
    before = {by: told(llm_calls.usage(on_both, by=by), by, names) for by in groupings}
    horizon = START + timedelta(days=3)  # in the middle of a day: that day stays
    summed = [llm_usage.roll_up(on_both, "a", horizon, batch=40)]
    while summed[-1]:
        summed.append(llm_usage.roll_up(on_both, "a", horizon, batch=40))
    midnight = horizon.replace(hour=0)
    old = [one for one in records if one.tenant.workspace == "a" and one.at < midnight]
    assert sum(summed) == len(old) > 40
    with session(on_both, readonly=True) as opened:
        left = set(opened.scalars(sa.select(LlmCallRow.id)))
    assert left == {one.id for one in records} - {one.id for one in old}
    for by in groupings:
        assert told(llm_calls.usage(on_both, by=by), by, names) == before[by], by
    # Summed up, a day counts as of its midnight.
    (row,) = llm_calls.usage(on_both, workspace="a", until=midnight)
    assert row["calls"] == len(old)
    assert row["latency_p50_ms"] is None
    mean = [one.latency_ms for one in old if one.outcome == "ok"]
    assert row["latency_ms"] == pytest.approx(sum(mean) / len(mean))
    assert llm_calls.usage(on_both, workspace="a", since=midnight + timedelta(hours=1), until=midnight) == []


def test_percentiles_are_left_out_where_they_would_take_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(settings, random_calls(50))
    monkeypatch.setattr(llm_usage, "MOST_SORTED", 10)
    (row,) = llm_calls.usage(settings)
    assert (row["latency_p50_ms"], row["latency_p95_ms"]) == (None, None)
    assert row["latency_ms"] > 0


def test_more_groups_than_anybody_reads(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(settings, random_calls(50))
    monkeypatch.setattr(llm_usage, "MOST_GROUPS", 10)
    with pytest.raises(InvalidValue, match="group by less"):
        llm_calls.usage(settings, by=("hour",))
