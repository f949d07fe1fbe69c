"""Budgets under any sequence of events, in this process and on a real Redis, beside a model that only adds up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from gateway.account.budget_index import period_start
from gateway.account.budgets import Budgets, Reservation
from gateway.account.shared_state import open_redis
from gateway.prompt import Tenant
from store import budgets as stored
from store.budgets import ACTIONS, Budget
from store.errors import BudgetExceeded, StateConflict
from store.settings import Settings

WORKSPACES, PROJECTS, USERS, PROVIDERS = ("a", "b"), (None, "p"), (None, "ada", "bob"), ("x", "y")
AMOUNTS = st.dictionaries(st.sampled_from(PROVIDERS), st.integers(0, 40), min_size=1)
TENANTS = st.builds(
    Tenant,
    workspace=st.sampled_from(WORKSPACES),
    project=st.sampled_from(PROJECTS),
    user=st.sampled_from(USERS),
    key_id=st.sampled_from((None, "k1", "k2")),
)
NARROWED = [
    ("organisation", "default", ""), ("organisation", "", ""),
    ("workspace", "a", ""), ("workspace", "", ""),
    ("project", "p", "a"), ("project", "", ""),
    ("user", "ada", ""), ("user", "", ""), ("user", "", "a"), ("user", "bob", "b"),
    ("provider", "x", ""), ("provider", "", ""), ("provider", "x", "a"),
    ("key", "", ""), ("request", "", "a"),
]  # fmt: skip


def part(budget: Budget, tenant: Tenant, amounts: Mapping[str, int]) -> dict[str, int]:
    """What of a call a budget counts, by subject: said once more, and as plainly as can be."""
    if budget.workspace and tenant.workspace != budget.workspace:
        return {}
    if budget.scope == "provider":
        if budget.subject:
            return {"": amounts.get(budget.subject, 0)}
        return dict(amounts)
    name = {
        "organisation": tenant.organisation,
        "workspace": tenant.workspace,
        "project": tenant.project,
        "user": tenant.user,
        "key": tenant.key_id,
    }[budget.scope]
    total = sum(amounts.values())
    if budget.subject:
        return {"": total} if name == budget.subject else {}
    name = name or ""
    if budget.scope in ("project", "user") and not budget.workspace:
        name = f"{tenant.workspace}/{name}"
    return {name: total}


@dataclass
class Call:
    """One call as the model knows it."""

    tenant: Tenant
    reservation: Reservation
    at: float
    # Budgets that hold it, and what they hold.
    held: dict[str, dict[str, int]] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Rules that happen in any order; after each, what `status` says is what the model adds up."""

    calls: Bundle[Call] = Bundle("calls")

    def __init__(self, settings: Settings, shared: bool) -> None:
        super().__init__()
        self.settings, self.shared, self.now = settings, shared, time.time()
        self.runner = asyncio.Runner()
        self.redis = open_redis(settings)
        for budget in stored.list_budgets(settings):
            stored.delete(settings, budget.id)
        if self.redis is not None:
            self.do(self.redis.flushall())
        self.budgets = Budgets(settings, self.redis, clock=lambda: self.now, poll_s=3600, reconcile_s=3600)
        self.do(self.budgets.start())
        self.known: dict[str, Budget] = {}
        # Budget → when it was made; period → when the one before this one began.
        self.made: dict[str, float] = {}
        self.before: dict[str, float] = {}
        self.spent: dict[tuple[str, float, str], int] = {}
        self.open: list[Call] = []
        self.number = 0

    def do(self, step: Any) -> Any:
        return self.runner.run(step)

    def teardown(self) -> None:
        for call in list(self.open):
            self.finish(call, {}, self.budgets.release(call.reservation))
        for status in self.do(self.budgets.status(subjects=100)):
            assert status.reserved == 0
        self.do(self.budgets.close())
        if self.redis is not None:
            self.do(self.redis.aclose())
        self.runner.close()

    def start(self, budget: Budget, at: float | None = None) -> float:
        return period_start(budget.period, self.now if at is None else at)

    @initialize(
        made=st.lists(
            st.tuples(
                st.sampled_from(NARROWED),
                st.sampled_from(("day", "month")),
                st.integers(1, 100),
                st.sampled_from(ACTIONS),
            ),
            min_size=2,
            max_size=5,
        )
    )
    def begin(self, made: list[tuple[tuple[str, str, str], str, int, str]]) -> None:
        for one in made:
            self.make(*one)

    # Budgets come, change and go ---------------------------------------------------------------------------------

    @rule(
        narrowed=st.sampled_from(NARROWED),
        period=st.sampled_from(("day", "month")),
        amount=st.integers(1, 100),
        action=st.sampled_from(ACTIONS),
    )
    def make(self, narrowed: tuple[str, str, str], period: str, amount: int, action: str) -> None:
        scope, subject, workspace = narrowed
        made = {"scope": scope, "subject": subject, "workspace": workspace, "amount": amount, "action": action}
        try:
            budget = stored.create(self.settings, **made, period="request" if scope == "request" else period)
        except StateConflict:
            return
        self.known[budget.id], self.made[budget.id] = budget, self.now
        self.do(self.budgets.reload())
        if not self.shared:
            for call in self.open:
                if self.counts(budget, call.at):
                    call.held[budget.id] = part(budget, call.tenant, call.reservation.amounts)

    @rule(amount=st.integers(1, 100), action=st.sampled_from(ACTIONS), which=st.integers(0, 20))
    def change(self, amount: int, action: str, which: int) -> None:
        if self.known:
            found = list(self.known)[which % len(self.known)]
            self.known[found] = stored.update(self.settings, found, amount=amount, action=action)
            self.do(self.budgets.reload())

    @rule(which=st.integers(0, 20))
    def delete(self, which: int) -> None:
        if self.known:
            found = list(self.known)[which % len(self.known)]
            stored.delete(self.settings, found)
            del self.known[found]
            self.do(self.budgets.reload())
            for call in self.open:
                call.held.pop(found, None)

    # Calls ---------------------------------------------------------------------------------------------------------

    def counts(self, budget: Budget, at: float) -> bool:
        """Whether a budget has to do with a call of that moment: in one process, this period and the one before are
        known, as far as the budget was there."""
        start = self.start(budget, at)
        kept = start == self.start(budget) or (
            start == self.before.get(budget.period) and self.start(budget, self.made[budget.id]) <= start
        )
        return budget.scope != "request" and (self.shared or kept)

    def wanted(self, tenant: Tenant, amounts: Mapping[str, int], at: float) -> dict[str, dict[str, int]]:
        counted = (budget for budget in self.known.values() if self.counts(budget, at))
        return {budget.id: part(budget, tenant, amounts) for budget in counted}

    def short(self, call: Call | None, tenant: Tenant, amounts: Mapping[str, int], at: float) -> set[str]:
        """Budgets that the model says have no room."""
        found = set()
        total = sum(amounts.values())
        for budget in self.known.values():
            if budget.scope == "request":
                held = call.reservation.total if call is not None and call in self.open else 0
                if budget.workspace in ("", tenant.workspace) and total > max(held, budget.amount):
                    found.add(budget.id)
                continue
            start = self.start(budget, at)
            for subject, amount in self.wanted(tenant, amounts, at).get(budget.id, {}).items():
                held = call.held.get(budget.id, {}).get(subject, 0) if call is not None and call in self.open else 0
                others = self.reserved(budget, start).get(subject, 0) - held
                spent = self.spent.get((budget.id, start, subject), 0)
                if amount > held and spent + others + amount > budget.amount:
                    found.add(budget.id)
        found = {one for one in found if self.known[one].action != "alert"}
        # What bounds each request needs no counter and is looked at first.
        return {one for one in found if self.known[one].scope == "request"} or found

    def reserved(self, budget: Budget, start: float) -> dict[str, int]:
        sums: dict[str, int] = {}
        for call in self.open:
            if self.start(budget, call.at) == start:
                for subject, amount in call.held.get(budget.id, {}).items():
                    sums[subject] = sums.get(subject, 0) + amount
        return sums

    @rule(target=calls, tenant=TENANTS, amounts=AMOUNTS, downgraded=st.booleans())
    def reserve(self, tenant: Tenant, amounts: dict[str, int], downgraded: bool) -> Any:
        self.number += 1
        short = self.short(None, tenant, amounts, self.now)
        step = self.budgets.reserve(f"c{self.number}", tenant, amounts, downgraded=downgraded)
        call = Call(tenant, self.expect(short if sum(amounts.values()) else set(), downgraded, step), self.now)
        if call.reservation is None:
            return Call(tenant, self.do(self.budgets.reserve(f"c{self.number}", tenant, {})), self.now)
        if sum(amounts.values()):
            call.held = self.wanted(tenant, amounts, self.now)
            self.open.append(call)
        return call

    @rule(call=calls, amounts=AMOUNTS, downgraded=st.booleans(), more=st.booleans())
    def replace(self, call: Call, amounts: dict[str, int], downgraded: bool, more: bool) -> None:
        if call.reservation.state == "settled":
            with pytest.raises(StateConflict):
                self.do(self.budgets.replace(call.reservation, amounts))
            return
        whole = dict(amounts)
        if more:
            for provider, amount in call.reservation.amounts.items():
                whole[provider] = whole.get(provider, 0) + amount
        # What holds something for the first time now belongs to this day, unless that is refused.
        first = call not in self.open and not self.shared and call.reservation.counters is None
        at = self.now if first else call.at
        nothing = not sum(whole.values()) and call not in self.open
        short = set() if nothing else self.short(call, call.tenant, whole, at)
        change = self.budgets.extend if more else self.budgets.replace
        done = self.expect(short, downgraded, change(call.reservation, amounts, downgraded=downgraded))
        if done is not None:
            call.at = at
        if done is not None and not nothing:
            assert done is call.reservation
            call.held = self.wanted(call.tenant, whole, call.at)
            if call not in self.open:
                self.open.append(call)

    def expect(self, short: set[str], downgraded: bool, step: Any) -> Reservation | None:
        if not short:
            return self.do(step)
        with pytest.raises(BudgetExceeded) as refused:
            self.do(step)
        told = refused.value.details
        assert told["budget"] in short
        refuses = any(self.known[one].action == "refuse" for one in short)
        assert told["action"] == ("refuse" if refuses or downgraded else "downgrade")
        return None

    @rule(call=consumes(calls), actual=AMOUNTS, twice=st.booleans())
    def settle(self, call: Call, actual: dict[str, int], twice: bool) -> None:
        settled = call.reservation.state == "settled"
        self.finish(call, {} if settled else actual, self.budgets.settle(call.reservation, actual))
        if twice:
            self.do(self.budgets.settle(call.reservation, actual))
            self.do(self.budgets.release(call.reservation))

    @rule(call=calls)
    def release(self, call: Call) -> None:
        self.finish(call, {}, self.budgets.release(call.reservation))

    def finish(self, call: Call, actual: Mapping[str, int], step: Any) -> None:
        self.do(step)
        for name, budget in self.known.items():
            if not self.counts(budget, call.at):
                continue
            start = self.start(budget, call.at)
            for subject, amount in part(budget, call.tenant, actual).items():
                key = (name, start, subject)
                self.spent[key] = self.spent.get(key, 0) + amount
        if call in self.open:
            self.open.remove(call)

    # Time passes -----------------------------------------------------------------------------------------------------

    @rule(hours=st.sampled_from((0.05, 5, 24, 24 * 31)))
    def wait(self, hours: float) -> None:
        began = {period: period_start(period, self.now) for period in ("day", "month")}
        self.now += hours * 3600
        self.before |= {period: start for period, start in began.items() if period_start(period, self.now) != start}
        self.do(self.budgets._counters.tick())
        if not self.shared and hours > 0.25:
            # Nobody touched them for more than a quarter of an hour.
            assert all(call.reservation.state == "free" for call in self.open)
            self.open.clear()
        elif not self.shared:
            for call in list(self.open):
                if call.reservation.state == "free":
                    self.open.remove(call)

    @rule(call=calls)
    def touch(self, call: Call) -> None:
        self.do(self.budgets.touch(call.reservation))

    @invariant()
    def adds_up(self) -> None:
        seen = {name: {} for name in self.known}
        for status in self.do(self.budgets.status(subjects=100)):
            if status.spent or status.reserved:
                seen[status.budget.id][status.subject] = (status.spent, status.reserved)
        for name, budget in self.known.items():
            if budget.scope == "request":
                assert seen[name] == {}
                continue
            start = self.start(budget)
            reserved = self.reserved(budget, start)
            spent = {key[2]: amount for key, amount in self.spent.items() if key[:2] == (name, start)}
            both = {subject: (spent.get(subject, 0), reserved.get(subject, 0)) for subject in {*spent, *reserved}}
            assert seen[name] == {subject: counts for subject, counts in both.items() if any(counts)}


def run(machine: Callable[[], Machine], count: int) -> None:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    steps = examples(max_examples=count, stateful_step_count=30, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(machine, settings=steps)


NOBODY = Tenant(workspace="a")


def test_a_budget_that_changes_after_its_day_counts_as_it_is_now(settings: Settings) -> None:
    """A reservation of the day before that expired, or was released, and holds something again."""
    machine = Machine(settings, shared=False)
    machine.begin([(("organisation", "default", ""), "day", 1, "alert")])
    call = machine.reserve(NOBODY, {"x": 1}, False)
    machine.wait(24)
    machine.change(1, "downgrade", 0)
    machine.replace(call, {"x": 2}, False, False)
    machine.change(2, "refuse", 0)
    machine.replace(call, {"x": 2}, False, False)
    machine.adds_up()
    machine.teardown()


@pytest.mark.parametrize("narrowed", [("provider", "", ""), ("provider", "y", "")])
def test_another_provider_counts_in_the_day_before_too(settings: Settings, narrowed: tuple[str, str, str]) -> None:
    """A call that was asked before midnight, and goes to a provider after it that nothing was reserved for."""
    machine = Machine(settings, shared=False)
    machine.begin([(narrowed, "day", 3, "refuse")])
    call = machine.reserve(NOBODY, {"x": 1}, False)
    machine.settle(machine.reserve(NOBODY, {"y": 2}, False), {"y": 2}, False)
    machine.wait(24)
    machine.replace(call, {"y": 2}, False, False)
    machine.replace(call, {"x": 1, "y": 1}, False, False)
    # The day before that is over for good.
    machine.wait(24)
    machine.replace(call, {"y": 40}, False, False)
    machine.adds_up()
    machine.teardown()


def test_in_this_process(settings: Settings) -> None:
    run(lambda: Machine(settings, shared=False), 60)


def test_in_redis(settings: Settings, redis_url: str) -> None:
    settings = settings.model_copy(update={"redis_url": SecretStr(redis_url)})
    run(lambda: Machine(settings, shared=True), 25)
