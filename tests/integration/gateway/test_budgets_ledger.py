"""Counters and the ledger, on real SQLite and Postgres: a restart neither forgets nor doubles, drift is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.account import lines
from gateway.account.budget_reconcile import Reconciliation
from gateway.account.budgets import Budgets
from gateway.account.record import Attempt, CallRecord
from gateway.prompt import Tenant
from store import budgets as stored
from store import llm_calls
from store.database import migrate
from store.errors import BudgetExceeded
from store.llm_usage import roll_up
from store.settings import Settings
from store.tables.base import id_at, new_id

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 11, 30, 12)
ADA, BOB = Tenant(workspace="acme", user="ada", key_id="k1", project="p"), Tenant(workspace="acme", user="bob")
FAR = Tenant(organisation="far", workspace="away", user="ada")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    def __init__(self) -> None:
        self.now = NOON.replace(tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def write(settings: Settings, tenant: Tenant, cost: int, at: datetime = NOON, **values: Any) -> None:
    given = {"kind": "chat", "asked": "auto", "strategy": "balanced", "outcome": "ok", "model": "x/m", "provider": "x"}
    record = CallRecord(id=new_id(), at=at, tenant=tenant, cost=cost, **{**given, **values})
    migrate(settings)
    llm_calls.insert(settings, [lines.row_of(lines.closed(record).rstrip(b"\n"))])


@asynccontextmanager
async def started(settings: Settings, clock: Clock, **values: Any) -> AsyncIterator[Budgets]:
    budgets = Budgets(settings, clock=clock, **{"poll_s": 3600, "reconcile_s": 3600, **values})
    await budgets.start()
    try:
        yield budgets
    finally:
        await budgets.close()


async def count(budgets: Budgets) -> dict[tuple[str, str, str], tuple[int, int]]:
    found = await budgets.status()
    return {(one.budget.scope, one.budget.period, one.subject): (one.spent, one.reserved) for one in found}


async def test_a_restart_neither_forgets_nor_doubles(on_both: Settings) -> None:
    for scope, period in (
        ("organisation", "month"), ("workspace", "day"), ("workspace", "month"), ("project", "day"), ("user", "day"),
        ("key", "day"), ("provider", "day"),
    ):  # fmt: skip
        stored.create(on_both, scope=scope, period=period, amount=10**12)
    stored.create(on_both, scope="user", subject="ada", amount=10**12)
    write(on_both, ADA, 10)
    write(on_both, ADA, 100, datetime(2026, 11, 30))
    write(on_both, ADA, 1_000, datetime(2026, 11, 29, 23, 59, 59, 999_999))
    write(on_both, ADA, 10_000, datetime(2026, 11, 1))
    write(on_both, ADA, 100_000, datetime(2026, 10, 31, 23, 59, 59, 999_999))
    write(on_both, BOB, 3, provider="y", model="y/m")
    write(on_both, FAR, 5, outcome="unknown")
    write(on_both, FAR, 0, outcome="refused", provider=None, model=None)
    # Failed at two other providers first, and at one of them not for nothing.
    tried = (
        Attempt("x/m", 0, 1, "closed", cost=4), Attempt("z/m", 0, 1, "connect"), Attempt("y/n", 0, 1, cost=3),
    )  # fmt: skip
    write(on_both, BOB, 7, provider="y", model="y/n", attempts=tried)
    # What retention has summed up counts as before.
    assert roll_up(on_both, "acme", datetime(2026, 11, 30)) == 3
    expected = {
        ("organisation", "month", "default"): (11_120, 0),
        ("organisation", "month", "far"): (5, 0),
        ("workspace", "day", "acme"): (120, 0),
        ("workspace", "day", "away"): (5, 0),
        ("workspace", "month", "acme"): (11_120, 0),
        ("workspace", "month", "away"): (5, 0),
        ("project", "day", "acme/p"): (110, 0),
        ("project", "day", "acme/"): (10, 0),
        ("project", "day", "away/"): (5, 0),
        ("user", "day", "acme/ada"): (110, 0),
        ("user", "day", "acme/bob"): (10, 0),
        ("user", "day", "away/ada"): (5, 0),
        ("key", "day", "k1"): (110, 0),
        ("key", "day", ""): (15, 0),
        ("provider", "day", "x"): (119, 0),
        ("provider", "day", "y"): (6, 0),
        ("user", "month", ""): (11_115, 0),
    }
    clock = Clock()
    for _ in range(2):
        async with started(on_both, clock) as budgets:
            assert await count(budgets) == expected


async def test_a_budget_that_is_made_later_knows_what_was_spent(on_both: Settings) -> None:
    clock = Clock()
    waited: list[bool] = []
    async with started(on_both, clock, flush=lambda: not waited.append(True)) as budgets:
        write(on_both, ADA, 60)
        held = await budgets.reserve("c1", ADA, {"x": 30})
        stored.create(on_both, scope="workspace", subject="acme", period="day", amount=100)
        await budgets.reload()
        assert waited
        assert await count(budgets) == {("workspace", "day", ""): (60, 30)}
        with pytest.raises(BudgetExceeded):
            await budgets.reserve("c2", BOB, {"x": 11})
        await budgets.settle(held, {"x": 20})
        assert await count(budgets) == {("workspace", "day", ""): (80, 0)}


async def test_a_call_during_which_a_gateway_died_is_charged_once(on_both: Settings) -> None:
    clock = Clock()
    stored.create(on_both, scope="workspace", subject="acme", period="day", amount=100)
    early = id_at(NOON - timedelta(hours=1)) + "7" + "0" * 19
    budgets = Budgets(on_both, clock=clock, poll_s=3600)
    # Before the start: its line is what counts.
    write(on_both, ADA, 30, NOON - timedelta(hours=1), outcome="unknown")
    await budgets.recover_unknown(early, ADA, {"x": 30})
    await budgets.start()
    assert await count(budgets) == {("workspace", "day", ""): (30, 0)}
    # After it, left by another: at once, and to the day that its id tells.
    for _ in range(2):
        await budgets.recover_unknown(early[:-1] + "1", ADA, {"x": 40})
        await budgets.recover_unknown(id_at(NOON - timedelta(days=1)) + "7" + "0" * 19, ADA, {"x": 500})
    assert await count(budgets) == {("workspace", "day", ""): (70, 0)}
    # Its reservation in this process, if there is one, is let go.
    await budgets.close()


async def test_drift_is_mended_up_at_once_and_down_when_two_rounds_agree(on_both: Settings) -> None:
    clock = Clock()
    budget = stored.create(on_both, scope="user", workspace="acme", period="day", amount=10**9)
    async with started(on_both, clock) as budgets:
        held = await budgets.reserve("c1", ADA, {"x": 500})
        write(on_both, ADA, 100)
        write(on_both, BOB, 7)
        await budgets.settle(await budgets.reserve("c2", ADA, {"x": 40}), {"x": 40})
        fresh = True

        async def keeps_up(moment: float) -> bool:
            return fresh

        rounds = Reconciliation(budgets._counters, budgets._history, keeps_up, clock, pause_s=0)
        assert await rounds.run(budgets._index) == 2
        assert await count(budgets) == {("user", "day", "ada"): (100, 500), ("user", "day", "bob"): (7, 0)}
        await budgets.settle(held, {"x": 450})
        write(on_both, ADA, 400)
        # 550 counted, 500 written: perhaps the ledger is behind; it is believed when it says so again.
        assert await rounds.run(budgets._index) == 0
        write(on_both, ADA, 20)
        fresh = False
        assert await rounds.run(budgets._index) == 0
        fresh = True
        assert await rounds.run(budgets._index) == 1
        assert await count(budgets) == {("user", "day", "ada"): (520, 0), ("user", "day", "bob"): (7, 0)}
        assert await rounds.run(budgets._index) == 0
        # A period that ended during a round is left as it was.
        write(on_both, BOB, 50)

        async def history(wanted: Any) -> Any:
            found = await budgets._history(wanted)
            clock.now += 86_400
            return found

        assert await Reconciliation(budgets._counters, history, keeps_up, clock, pause_s=0).run(budgets._index) == 0
        assert (await budgets._counters.read(budget)) == {}


async def test_calls_are_not_disturbed_by_a_comparison(on_both: Settings) -> None:
    """Whatever order counters and ledger are written in: a call between two looks is no drift."""
    clock = Clock()
    stored.create(on_both, scope="organisation", period="day", amount=10**9)
    async with started(on_both, clock) as budgets:
        step = 0

        async def call() -> None:
            nonlocal step
            step += 1
            held = await budgets.reserve(f"c{step}", ADA, {"x": 10})
            if step % 2:
                await budgets.settle(held, {"x": 10})
                write(on_both, ADA, 10)
            else:
                write(on_both, ADA, 10)
                await budgets.settle(held, {"x": 10})

        class Interrupted:
            """The counters, with a call before and after each look."""

            alone = budgets._counters.alone

            async def read(self, budget: Any) -> Any:
                await call()
                found = await budgets._counters.read(budget)
                await call()
                return found

        async def history(wanted: Any) -> Any:
            await call()
            found = await budgets._history(wanted)
            await call()
            return found

        async def keeps_up(moment: float) -> bool:
            return True

        rounds = Reconciliation(Interrupted(), history, keeps_up, clock, pause_s=0)  # type: ignore[arg-type]
        for _ in range(3):
            assert await rounds.run(budgets._index) == 0
        assert await count(budgets) == {("organisation", "day", "default"): (180, 0)}
