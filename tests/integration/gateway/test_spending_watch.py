"""A program that runs away is found while the gateway runs, in the ledger's own tables, and told of once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from features.views.spend import daily_cells, hourly_cells
from gateway.improve.spending import Spending
from models.spend.unusual import KIND
from models.spend.unusual.look import usual_per_day
from models.spend.unusual.runaway import runaway_findings
from store import events, llm_calls, spend_anomalies
from store.database import dispose, migrate
from store.llm_spending import spent_after
from store.llm_usage import roll_up
from store.settings import Settings

NOW = datetime(2026, 6, 30, 14, 20)
DOLLAR = 10**9


def add(settings: Settings, lines: list[tuple[datetime, str, str | None, str, int]]) -> None:
    """Calls: at, workspace, user, model, nanos."""
    rows = []
    for at, workspace, user, model, cost in lines:
        add.made += 1  # type: ignore[attr-defined]
        values: dict[str, Any] = {
            "id": f"{add.made:032x}", "at": at.isoformat(" ", "microseconds"),  # type: ignore[attr-defined]
            "organisation": "default", "workspace": workspace, "user": user, "kind": "chat", "asked": model,
            "strategy": "explicit", "outcome": "ok", "model": model, "provider": "a", "estimated": False,
            "cost": cost, "reserved": cost, "latency_ms": 500.0, "stream": False, "propensity": 1.0, "explored": False,
            "tags": "[]", "attempts": "[]",
        }  # fmt: skip
        rows.append([values.get(name, 0 if name.endswith("_tokens") else None) for name in llm_calls.COLUMNS])
    llm_calls.insert(settings, rows)


add.made = 0  # type: ignore[attr-defined]


def month(days: int = 21) -> list[tuple[datetime, str, str | None, str, int]]:
    """Five people who spend a dollar a day each until today's morning."""
    first = NOW.replace(hour=9) - timedelta(days=days)
    return [
        (first + timedelta(days=day, minutes=user), "north", f"user-{user}", "a/small", DOLLAR)
        for day in range(days + 1)
        for user in range(5)
    ]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with every table and no row: to make one takes a second."""
    settings = Settings(home=tmp_path_factory.mktemp("empty") / "home")
    migrate(settings)
    dispose(settings)
    return settings.root / "merit.db"


@pytest.fixture
def home(settings: Settings, empty: Path) -> Iterator[Settings]:
    shutil.copy(empty, settings.root / "merit.db")
    yield settings
    dispose(settings)


def loop(hour: datetime, cost: int = 2 * DOLLAR, calls: int = 5) -> list[tuple[datetime, str, str | None, str, int]]:
    return [(hour + timedelta(minutes=k), "north", "user-3", "a/large", cost) for k in range(calls)]


def test_a_loop_is_found_at_once_and_told_once_and_again_when_it_is_worse(home: Settings) -> None:
    clock = [NOW]
    watch = Spending(home, lambda: clock[0])
    add(home, month())
    assert watch.look() == []
    add(home, loop(NOW.replace(minute=0)))
    (found,) = watch.look()
    assert (found.kind, found.subject, found.workspace) == ("runaway user", "user=north/user-3", "north")
    assert found.start == NOW.replace(minute=0)
    assert found.end == NOW
    assert found.excess == pytest.approx(10.0, abs=0.1)
    assert [cause["value"] for cause in found.causes] == ["a/large"]
    assert found.evidence[0]["calls"] == 5
    (event,) = events.recent(home, KIND)
    assert event.payload["workspace"] == "north"
    assert event.payload["severity"] == found.severity == "critical"
    # Nothing new in the ledger: nothing is looked at; more of the same: nothing new is told.
    assert watch.look() == []
    clock[0] += timedelta(minutes=15)
    add(home, loop(NOW.replace(minute=25)))
    assert len(watch.look()) == 1
    assert len(events.recent(home, KIND)) == 1
    (row,) = spend_anomalies.page(home).items
    assert row.ended_at == clock[0]
    assert row.excess > 15 * DOLLAR


def test_the_flow_finds_the_same_thing_and_keeps_the_same_row(home: Settings) -> None:
    from models.spend.unusual.keeping import keep

    add(home, [*month(), *loop(NOW.replace(minute=0), calls=10)])
    Spending(home, lambda: NOW).look()
    as_of = NOW.replace(hour=15, minute=0)
    (found,) = runaway_findings(hourly_cells(home, as_of), usual_per_day(daily_cells(home, as_of)))
    assert keep(home, [found]) == []
    assert len(spend_anomalies.page(home).items) == 1
    assert found.start == NOW.replace(minute=0)


def test_usual_work_and_a_young_ledger_are_left_alone(home: Settings) -> None:
    watch = Spending(home, lambda: NOW)
    add(home, [*month(5), *loop(NOW.replace(minute=0))])
    assert watch.look() == []
    assert spend_anomalies.page(home).items == ()
    older = Spending(home, lambda: NOW + timedelta(days=20))
    add(home, [(at + timedelta(days=20), *rest) for at, *rest in month(14)])  # type: ignore[misc]
    add(home, [(NOW + timedelta(days=20, minutes=k), "north", "user-1", "a/large", DOLLAR) for k in range(2)])
    assert older.look() == []


def test_what_retention_summed_up_is_still_what_is_usual(home: Settings) -> None:
    add(home, month())
    while roll_up(home, "north", NOW):
        pass
    add(home, loop(NOW.replace(minute=0)))
    (found,) = Spending(home, lambda: NOW).look()
    assert found.subject == "user=north/user-3"


def test_calls_without_a_name_belong_to_an_unknown_user_of_their_workspace(home: Settings) -> None:
    add(home, [*month(), *[(NOW, "south", None, "a/large", 3 * DOLLAR) for _ in range(4)]])
    (found,) = Spending(home, lambda: NOW).look()
    assert found.subject == "user=south/unknown"
    assert found.workspace == "south"


def test_each_call_is_read_once(home: Settings) -> None:
    add(home, month(1))
    last, rows = spent_after(home, 0, NOW - timedelta(days=2))
    assert sum(one.calls for one in rows) == 10
    assert spent_after(home, last, NOW - timedelta(days=2)) == (last, [])
    add(home, loop(NOW))
    later, rows = spent_after(home, last, NOW - timedelta(days=2))
    assert later == last + 5
    assert [(one.hour, one.user, one.model, one.cost) for one in rows] == [
        (NOW.replace(minute=0), "user-3", "a/large", 10 * DOLLAR)
    ]


def test_on_postgres_the_hours_are_the_same(postgres_url: str, home: Settings) -> None:
    theirs = Settings(home=home.root / "theirs", database_url=SecretStr(postgres_url))
    migrate(theirs)
    for settings in (home, theirs):
        add(settings, [*month(2), *loop(NOW)])
    both = [spent_after(settings, 0, NOW - timedelta(days=2))[1] for settings in (home, theirs)]
    assert sorted(both[0], key=str) == sorted(both[1], key=str)
    dispose(theirs)
