"""Money of calls under way: held for as long as the call lasts, and forgotten with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from gateway.account.budgets import Budgets
from gateway.account.ledger import Ledger
from gateway.account.payment import Payment
from gateway.account.workspace_settings import DEFAULTS
from gateway.call.run import Run
from gateway.choose.catalogue import Model
from gateway.choose.decision import Ranked
from gateway.choose.task import analyse
from gateway.prompt import Prompt, Tenant
from store import budgets as stored
from store.database import dispose
from store.settings import Settings
from store.tables.base import new_id

pytestmark = pytest.mark.anyio
CHOICE = Ranked(Model("x/large", "x", "large"), 1.0, 0.9, 10, 40, 100.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """Time of our own, in the middle of a month: no budget's period ends meanwhile."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 15, 12, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("gateway.account.payment.time", SimpleNamespace(time=made))
    return made


@pytest.fixture
async def budgets(settings: Settings, clock: Clock) -> AsyncIterator[Budgets]:
    stored.create(settings, scope="organisation", amount=100)
    made = Budgets(settings, clock=clock, poll_s=3600)
    await made.start()
    yield made
    await made.close()
    dispose(settings)


@pytest.fixture
async def payment(settings: Settings, budgets: Budgets) -> AsyncIterator[Payment]:
    ledger = Ledger(settings)
    ledger.start()
    yield Payment(budgets, ledger)
    ledger.close()


def run(user: str = "ada") -> Run:
    body = {"model": "x/large", "messages": [{"role": "user", "content": "Hello"}]}
    prompt = Prompt(new_id(), Tenant(user=user), "chat", "x/large", body)
    return Run(prompt, DEFAULTS, analyse(body, "chat", 8), current=CHOICE)


async def reserved(budgets: Budgets) -> int:
    (status,) = await budgets.status()
    return status.reserved


async def test_a_call_that_lasts_longer_than_a_reservation_keeps_its_money(
    payment: Payment, budgets: Budgets, clock: Clock
) -> None:
    long, ended = run(), run()
    for one in (long, ended):
        await payment.reserve(one, [CHOICE])
    await payment.finish(ended, "ok")
    for _ in range(6):  # half an hour
        clock.now += 300
        await payment.touch()
        await budgets._counters.tick()
        assert await reserved(budgets) == 40
    long.charge("x", 25)
    await payment.finish(long, "ok")
    (status,) = await budgets.status()
    assert (status.spent, status.reserved) == (25, 0)
    assert payment._under_way == {}


async def test_without_it_the_money_is_let_go(payment: Payment, budgets: Budgets, clock: Clock) -> None:
    """The test above would see it; and what nobody can be waiting for any more is let go all the same."""
    forgotten = run()
    await payment.reserve(forgotten, [CHOICE])
    assert forgotten.reservation is not None
    forgotten.reservation.at -= 3 * 3600
    clock.now += 600
    await payment.touch()
    clock.now += 600
    await payment.touch()
    await budgets._counters.tick()
    assert await reserved(budgets) == 0
    assert payment._under_way == {}


async def test_another_model_and_a_cheaper_one_are_the_same_money(payment: Payment, budgets: Budgets) -> None:
    one = run()
    await payment.reserve(one, [CHOICE])
    await payment.move(one, replace(CHOICE, reserve=60))
    assert list(payment._under_way.values()) == [one.reservation]
    assert await reserved(budgets) == 60
    await payment.finish(one, "failed")
    assert await reserved(budgets) == 0
