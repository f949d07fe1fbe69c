"""Budgets in one process, on a real SQLite ledger: held before, settled after, nothing past them, nothing left over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.account import budget_local
from gateway.account.budget_alerts import thresholds
from gateway.account.budget_counters import REST
from gateway.account.budget_index import period_end, period_start
from gateway.account.budgets import Budgets
from gateway.prompt import Tenant
from store import budgets as stored
from store import events
from store.database import dispose
from store.errors import BudgetExceeded, InvalidValue, ServiceUnavailable, StateConflict
from store.settings import Settings

pytestmark = pytest.mark.anyio
DOLLAR = 1_000_000_000
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
ADA, BOB = Tenant(workspace="acme", user="ada", key_id="k1"), Tenant(workspace="acme", user="bob", key_id="k2")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    def __init__(self) -> None:
        self.now = NOON.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def started(settings: Settings, clock: Clock, **values: Any) -> AsyncIterator[Budgets]:
    budgets = Budgets(settings, clock=clock, **{"poll_s": 3600, **values})
    await budgets.start()
    try:
        yield budgets
    finally:
        await budgets.close()
        dispose(settings)


async def count(budgets: Budgets, **values: Any) -> list[tuple[str, int, int]]:
    return [(one.subject, one.spent, one.reserved) for one in await budgets.status(**values)]


async def test_two_hundred_at_once_against_a_budget_for_twenty(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="workspace", subject="acme", period="day", amount=20 * DOLLAR)
    async with started(settings, clock) as budgets:

        async def call(number: int) -> bool:
            try:
                held = await budgets.reserve(f"c{number}", ADA, {"x": DOLLAR})
            except BudgetExceeded:
                return False
            await asyncio.sleep(0)
            await budgets.settle(held, {"x": DOLLAR})
            return True

        assert sum(await asyncio.gather(*map(call, range(200)))) == 20
        assert await count(budgets) == [("", 20 * DOLLAR, 0)]


async def test_a_refusal_says_which_budget_how_far_and_until_when(settings: Settings, clock: Clock) -> None:
    budget = stored.create(settings, scope="user", workspace="acme", period="day", amount=5 * DOLLAR)
    async with started(settings, clock) as budgets:
        held = await budgets.reserve("c1", ADA, {"x": 3 * DOLLAR})
        # There would be room, but for the call in flight.
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c2", ADA, {"x": 4 * DOLLAR})
        assert refused.value.retry_after == 1.0
        assert refused.value.details["in_flight"]
        await budgets.settle(held, {"x": 3 * DOLLAR})
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c2", ADA, {"x": 4 * DOLLAR})
        assert refused.value.retry_after == 12 * 3600
        assert refused.value.message == (
            "The budget of the user 'ada' for this day is used up: $3 of $5 spent, $0 held by calls in flight, "
            "and this call may cost $4."
        )
        assert refused.value.details == {
            "budget": budget.id, "scope": "user", "subject": "ada", "workspace": "acme", "period": "day",
            "action": "refuse", "limit": 5.0, "spent": 3.0, "reserved": 0.0, "asked": 4.0, "in_flight": False,
            "resets_at": "2026-12-01T00:00:00Z",
        }  # fmt: skip
        await budgets.reserve("c2", ADA, {"x": 2 * DOLLAR})
        await budgets.reserve("c3", BOB, {"x": 5 * DOLLAR})
        await budgets.reserve("c4", Tenant(workspace="other", user="ada"), {"x": 50 * DOLLAR})


async def test_of_two_without_room_the_one_that_lasts_longer_is_named(settings: Settings, clock: Clock) -> None:
    clock.now -= 10 * 86_400
    stored.create(settings, scope="workspace", subject="acme", period="day", amount=DOLLAR)
    month = stored.create(settings, scope="workspace", subject="acme", period="month", amount=DOLLAR)
    both = stored.create(settings, scope="organisation", period="month", amount=DOLLAR, action="downgrade")
    async with started(settings, clock) as budgets:
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c1", ADA, {"x": 2 * DOLLAR})
        assert refused.value.details["budget"] == month.id
        stored.update(settings, month.id, action="alert")
        await budgets.reload()
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c1", ADA, {"x": 2 * DOLLAR})
        assert refused.value.details["period"] == "day"
        assert refused.value.details["budget"] != both.id


async def test_nothing_is_held_anywhere_where_one_budget_has_no_room(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="organisation", amount=100 * DOLLAR)
    stored.create(settings, scope="provider", subject="y", amount=DOLLAR)
    async with started(settings, clock) as budgets:
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c1", ADA, {"x": DOLLAR, "y": 2 * DOLLAR})
        assert refused.value.details["scope"] == "provider"
        assert [one[2] for one in await count(budgets)] == [0, 0]


async def test_a_downgrade_asks_for_a_cheaper_model_and_then_refuses(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="workspace", period="day", amount=10, action="downgrade")
    async with started(settings, clock) as budgets:
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c1", ADA, {"x": 11})
        assert refused.value.details["action"] == "downgrade"
        held = await budgets.reserve("c1", ADA, {"x": 10}, downgraded=True)
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c2", ADA, {"x": 1}, downgraded=True)
        assert refused.value.details["action"] == "refuse"
        # What costs nothing always passes.
        free = await budgets.reserve("c2", ADA, {"local": 0})
        await budgets.settle(free, {"local": 0})
        await budgets.settle(held, {"x": 10})
        await budgets.reserve("c3", ADA, {})


async def test_a_request_is_bounded_with_all_its_attempts(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="request", workspace="acme", amount=10)
    warned = stored.create(settings, scope="request", amount=5, action="alert")
    async with started(settings, clock) as budgets:
        with pytest.raises(BudgetExceeded, match="a request may cost at most") as refused:
            await budgets.reserve("c1", ADA, {"x": 6, "y": 5})
        assert refused.value.retry_after is None
        held = await budgets.reserve("c1", ADA, {"x": 6, "y": 4})
        with pytest.raises(BudgetExceeded):
            await budgets.extend(held, {"x": 1})
        await budgets.settle(held, {"x": 4})
        held = await budgets.reserve("c2", Tenant(workspace="other"), {"x": 11})
        await budgets.settle(held, {"x": 11})
    assert [(one.budget_id, one.threshold, one.spent) for one in stored.list_alerts(settings, warned.id)] == [
        (warned.id, 100, 11)
    ]


async def test_another_model_takes_over_in_one_step(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="provider", amount=10)
    stored.create(settings, scope="workspace", amount=12)
    async with started(settings, clock) as budgets:
        held = await budgets.reserve("c1", ADA, {"x": 8})
        other = await budgets.reserve("c2", ADA, {"y": 4})
        with pytest.raises(BudgetExceeded):
            await budgets.replace(held, {"x": 2, "y": 7})
        assert sorted(await count(budgets)) == [("acme", 0, 12), ("x", 0, 8), ("y", 0, 4)]
        assert await budgets.replace(held, {"x": 2, "y": 6}) is held
        assert sorted(await count(budgets)) == [("acme", 0, 12), ("x", 0, 2), ("y", 0, 10)]
        await budgets.settle(other, {"y": 1})
        # What it turns out to cost counts, also at a provider that nothing was reserved for.
        await budgets.settle(held, {"x": 2, "y": 7, "z": 1})
        assert sorted(await count(budgets)) == [("acme", 11, 0), ("x", 2, 0), ("y", 8, 0), ("z", 1, 0)]
        with pytest.raises(StateConflict):
            await budgets.replace(held, {"x": 1})


async def test_who_asks_for_no_more_than_is_held_has_it(settings: Settings, clock: Clock) -> None:
    budget = stored.create(settings, scope="organisation", amount=100)
    async with started(settings, clock) as budgets:
        held = await budgets.reserve("c1", ADA, {"x": 60})
        stored.update(settings, budget.id, amount=50)
        await budgets.reload()
        await budgets.replace(held, {"y": 60})
        with pytest.raises(BudgetExceeded):
            await budgets.replace(held, {"y": 61})
        await budgets.replace(held, {"x": 55})
        assert await count(budgets) == [("default", 0, 55)]


async def test_settling_and_releasing_again_change_nothing(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="organisation", amount=100)
    async with started(settings, clock) as budgets:
        held = await budgets.reserve("c1", ADA, {"x": 10})
        for _ in range(2):
            await budgets.settle(held, {"x": 7})
            await budgets.release(held)
        assert await count(budgets) == [("default", 7, 0)]
        # Let go as free, and found to have cost something after all.
        held = await budgets.reserve("c2", ADA, {"x": 10})
        await budgets.release(held)
        await budgets.release(held)
        assert await count(budgets) == [("default", 7, 0)]
        await budgets.settle(held, {"x": 3})
        assert await count(budgets) == [("default", 10, 0)]
        # One call holds once: a second reservation under its id takes the place of the first.
        await budgets.reserve("c3", ADA, {"x": 10})
        held = await budgets.reserve("c3", ADA, {"x": 20})
        assert await count(budgets) == [("default", 10, 20)]


async def test_what_is_forgotten_expires_and_still_counts_when_it_is_settled(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="organisation", amount=100)
    async with started(settings, clock, ttl_s=60.0, poll_s=0.01) as budgets:
        lost, long = await budgets.reserve("c1", ADA, {"x": 40}), await budgets.reserve("c2", ADA, {"x": 30})
        clock.now += 50
        await budgets.touch(long)
        clock.now += 50
        while lost.state == "held":
            await asyncio.sleep(0.01)
        assert await count(budgets) == [("default", 0, 30)]
        stored.create(settings, scope="user", subject="ada", amount=100)
        await budgets.reload()
        await budgets.settle(lost, {"x": 35})
        await budgets.settle(long, {"x": 25})
        assert await count(budgets) == [("default", 60, 0), ("", 60, 0)]


async def test_a_call_over_midnight_belongs_to_the_day_it_was_asked_on(settings: Settings, clock: Clock) -> None:
    day = stored.create(settings, scope="workspace", subject="acme", period="day", amount=100)
    stored.create(settings, scope="workspace", subject="acme", period="month", amount=1000)
    stored.create(settings, scope="provider", subject="x", period="day", amount=1000)
    clock.now = datetime(2026, 11, 29, 23, 59, tzinfo=UTC).timestamp()
    async with started(settings, clock, ttl_s=7200) as budgets:
        held, moved = await budgets.reserve("c1", ADA, {"x": 60}), await budgets.reserve("c2", ADA, {"x": 40})
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c3", ADA, {"x": 1})
        assert refused.value.details["resets_at"] == "2026-11-30T00:00:00Z"
        clock.now += 120
        await budgets.reserve("c3", ADA, {"x": 1})
        await budgets.settle(held, {"x": 55})
        assert await count(budgets) == [("", 0, 1), ("", 55, 41), ("", 0, 1)]
        # Another model takes over after midnight: still a call of the day before, whose budget has 5 left.
        with pytest.raises(BudgetExceeded):
            await budgets.replace(moved, {"x": 30, "y": 16})
        await budgets.replace(moved, {"x": 20, "y": 25})
        assert await count(budgets) == [("", 0, 1), ("", 55, 46), ("", 0, 1)]
        await budgets.settle(moved, {"x": 20, "y": 25})
        assert await count(budgets) == [("", 0, 1), ("", 100, 1), ("", 0, 1)]
        # The next month begins anew as well.
        clock.now += 86_400
        assert [one[1] for one in await count(budgets)] == [0, 0, 0]
    assert [(one.threshold, one.period_start) for one in stored.list_alerts(settings, day.id)] == [
        (50, "2026-11-29"), (80, "2026-11-29"), (100, "2026-11-29"),
    ]  # fmt: skip


async def test_calls_that_name_no_user_share_what_one_user_has(settings: Settings, clock: Clock) -> None:
    stored.create(settings, scope="user", period="day", amount=10)
    async with started(settings, clock) as budgets:
        await budgets.reserve("c1", Tenant(workspace="acme"), {"x": 10})
        with pytest.raises(BudgetExceeded, match="'acme/'"):
            await budgets.reserve("c2", Tenant(workspace="acme", key_id="k9"), {"x": 1})
        # Users of one name in two workspaces are two.
        await budgets.reserve("c3", ADA, {"x": 10})
        await budgets.reserve("c4", Tenant(workspace="other", user="ada"), {"x": 10})


async def test_names_without_end_share_one_counter(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_local, "MOST_SUBJECTS", 3)
    stored.create(settings, scope="user", workspace="acme", period="day", amount=10)
    async with started(settings, clock) as budgets:
        for number in range(3):
            await budgets.reserve(f"c{number}", Tenant(workspace="acme", user=f"u{number}"), {"x": 10})
        await budgets.reserve("c8", Tenant(workspace="acme", user="u8"), {"x": 6})
        with pytest.raises(BudgetExceeded):
            await budgets.reserve("c9", Tenant(workspace="acme", user="u9"), {"x": 6})
        assert (REST, 0, 6) in await count(budgets)
        long = Tenant(workspace="acme", user="u" * 5000)
        with pytest.raises(BudgetExceeded) as refused:
            await budgets.reserve("c9", long, {"x": 6})
        assert len(str(refused.value)) < 500


async def test_changed_budgets_hold_at_once_here_and_soon_elsewhere(settings: Settings, clock: Clock) -> None:
    async with started(settings, clock) as here, started(settings, clock, poll_s=0.01) as there:
        first = await here.reserve("c1", ADA, {"x": 60})
        budget = stored.create(settings, scope="organisation", amount=100)
        await here.reload()
        # Calls on their way count against a budget that is made meanwhile.
        assert await count(here) == [("default", 0, 60)]
        with pytest.raises(BudgetExceeded):
            await here.reserve("c2", ADA, {"x": 41})
        await here.settle(first, {"x": 50})
        while not await there.status():
            await asyncio.sleep(0.01)
        with pytest.raises(BudgetExceeded):
            await there.reserve("c3", ADA, {"x": 101})
        stored.update(settings, budget.id, amount=50)
        await here.reload()
        with pytest.raises(BudgetExceeded):
            await here.reserve("c2", ADA, {"x": 1})
        stored.delete(settings, budget.id)
        await here.reload()
        await here.reserve("c2", ADA, {"x": 10**9})
        while await there.status():
            await asyncio.sleep(0.01)
        await there.reserve("c3", ADA, {"x": 101})


async def test_alerts_are_given_once_and_told_of_as_events(settings: Settings, clock: Clock) -> None:
    budget = stored.create(settings, scope="user", period="day", amount=10 * DOLLAR, action="alert")
    async with started(settings, clock) as one, started(settings, clock) as other:
        for number, cost in enumerate((4, 2, 1, 9, 1)):
            for budgets in (one, other):
                held = await budgets.reserve(f"c{number}", ADA, {"x": cost * DOLLAR})
                await budgets.settle(held, {"x": cost * DOLLAR})
    told = sorted(
        (event.payload for event in events.recent(settings, "budget_alert")), key=lambda one: one["threshold"]
    )
    assert [(each["threshold"], each["spent"]) for each in told] == [(50, 6.0), (80, 16.0), (100, 16.0)]
    assert told[0] == {
        "budget": budget.id, "scope": "user", "subject": "acme/ada", "workspace": "", "period": "day",
        "period_start": "2026-11-30", "threshold": 50, "spent": 6.0, "limit": 10.0, "action": "alert",
    }  # fmt: skip


async def test_a_lowered_budget_alerts_of_what_was_spent(settings: Settings, clock: Clock) -> None:
    budget = stored.create(settings, scope="organisation", amount=1000)
    async with started(settings, clock) as budgets:
        await budgets.settle(await budgets.reserve("c1", ADA, {"x": 90}), {"x": 90})
        stored.update(settings, budget.id, amount=100)
        await budgets.reload()
    assert [one.threshold for one in stored.list_alerts(settings, budget.id)] == [50, 80]


@pytest.mark.parametrize(
    ("limit", "before", "after", "passed"),
    [
        (10, 0, 4, []), (10, 4, 5, [50]), (10, 5, 7, []), (10, 0, 10, [50, 80, 100]), (10, 10, 20, []),
        (3, 1, 2, [50]), (1, 0, 1, [50, 80, 100]), (10, 9, 11, [100]),
    ],
)  # fmt: skip
def test_thresholds(limit: int, before: int, after: int, passed: list[int]) -> None:
    assert thresholds(limit, before, after) == passed


async def test_status_tells_what_is_left_and_where_the_pace_leads(settings: Settings, clock: Clock) -> None:
    day = stored.create(settings, scope="workspace", period="day", amount=30)
    request = stored.create(settings, scope="request", amount=5)
    async with started(settings, clock) as budgets:
        nobody, each = await budgets.status()
        assert (nobody.subject, nobody.remaining, nobody.projected, nobody.runs_out) == ("", 30, 0, None)
        assert (each.budget, each.remaining, each.period_end) == (request, 5, None)
        await budgets.settle(await budgets.reserve("c1", ADA, {"x": 5}), {"x": 20})
        await budgets.reserve("c2", ADA, {"x": 4})
        await budgets.settle(await budgets.reserve("c3", Tenant(workspace="b"), {"x": 1}), {"x": 31})
        most, ours, _ = await budgets.status()
        assert (most.subject, most.spent, most.remaining, most.runs_out) == ("b", 31, 0, NOON.replace(tzinfo=None))
        assert (ours.subject, ours.spent, ours.reserved, ours.remaining, ours.projected) == ("acme", 20, 4, 6, 40)
        # 20 in twelve hours: the other 10 are gone after six more.
        assert ours.runs_out == datetime(2026, 11, 30, 18)
        assert ours.period_start == datetime(2026, 11, 30)
        assert ours.period_end == datetime(2026, 12, 1)
        shown = ours.to_dict()
        assert (shown["counted"], shown["used"], shown["runs_out"]) == ("acme", 0.6667, "2026-11-30T18:00:00")
        assert [one.subject for one in await budgets.status(budget_id=day.id, subjects=1)] == ["b"]
        assert await budgets.status(workspace="acme") == []
        clock.now = datetime(2026, 12, 1, 0, 1, tzinfo=UTC).timestamp()
        await budgets.settle(await budgets.reserve("c4", ADA, {"x": 1}), {"x": 1})
        assert (await budgets.status(budget_id=day.id))[0].projected is None


async def test_nothing_passes_before_budgets_are_loaded(settings: Settings) -> None:
    with pytest.raises(ServiceUnavailable):
        await Budgets(settings).reserve("c1", ADA, {"x": 1})


@pytest.mark.parametrize("amount", [-1, 10**18 + 1])
async def test_amounts_out_of_bounds(settings: Settings, clock: Clock, amount: int) -> None:
    async with started(settings, clock) as budgets:
        with pytest.raises(InvalidValue):
            await budgets.reserve("c1", ADA, {"x": amount})
        held = await budgets.reserve("c1", ADA, {"x": 1})
        with pytest.raises(InvalidValue):
            await budgets.settle(held, {"x": amount})
        await budgets.settle(held, {"x": 1})


def test_periods_are_those_of_the_calendar_in_utc() -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    assert period_start("day", moment.timestamp()) == datetime(2024, 2, 29, tzinfo=UTC).timestamp()
    start = period_start("month", moment.timestamp())
    assert start == datetime(2024, 2, 1, tzinfo=UTC).timestamp()
    assert period_end("month", start) == datetime(2024, 3, 1, tzinfo=UTC).timestamp()
    for month in range(1, 13):
        first = datetime(2026, month, 1, tzinfo=UTC)
        after = datetime.fromtimestamp(period_end("month", first.timestamp()), UTC)
        assert (after.day, (after - timedelta(seconds=1)).month) == (1, month)
