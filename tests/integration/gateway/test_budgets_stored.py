"""Budgets in real SQLite and real Postgres: what can be made, what is refused, when they change, alerts once."""

from __future__ import annotations

from typing import Any

import pytest

from store import budgets, keys
from store.budgets import BudgetAlert
from store.errors import InvalidValue, StateConflict, UnknownEntity
from store.settings import Settings
from store.tables.base import utc_now

DOLLAR = 1_000_000_000


def test_a_budget_comes_back_whole_and_its_workspace_lists_it(on_both: Settings) -> None:
    made = budgets.create(
        on_both, scope="user", subject=" ada ", workspace="acme", period="day", amount=5 * DOLLAR, created_by="root"
    )
    assert (made.scope, made.subject, made.workspace, made.period, made.action) == (
        "user", "ada", "acme", "day", "refuse",
    )  # fmt: skip
    assert budgets.get(on_both, made.id) == made
    whole = budgets.create(on_both, scope="organisation", amount=DOLLAR, action="alert")
    assert whole.period == "month"
    assert budgets.list_budgets(on_both) == [made, whole]
    assert budgets.list_budgets(on_both, workspace="acme") == [made]
    assert made.to_dict()["amount"] == 5.0
    own = budgets.create(on_both, scope="workspace", subject="acme", amount=1)
    assert own.workspace == "acme"
    assert budgets.delete(on_both, made.id) == made
    assert budgets.list_budgets(on_both, workspace="acme") == [own]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"scope": "team"}, "scope"),
        ({"action": "explode"}, "action"),
        ({"period": "week"}, "period"),
        ({"period": "request"}, "period"),
        ({"scope": "request", "period": "day"}, "period"),
        ({"scope": "request", "subject": "x"}, "subject"),
        ({"amount": 0}, "amount"),
        ({"amount": -DOLLAR}, "amount"),
        ({"amount": 1.5}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 10**18 + 1}, "amount"),
        ({"amount": 10**400}, "amount"),
        ({"subject": "a\nb"}, "subject"),
        ({"subject": "a" * 257}, "subject"),
        ({"workspace": "\x00"}, "workspace"),
        ({"scope": "organisation", "workspace": "acme"}, "workspace"),
        ({"scope": "workspace", "subject": "acme", "workspace": "other"}, "workspace"),
        ({"scope": "workspace", "workspace": "other"}, "workspace"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(settings: Settings, given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        budgets.create(settings, **{"scope": "user", "amount": DOLLAR, **given})
    assert refused.value.field == field
    assert refused.value.remedy


def test_one_budget_for_one_thing(on_both: Settings) -> None:
    budgets.create(on_both, scope="workspace", subject="acme", period="day", amount=DOLLAR)
    with pytest.raises(StateConflict, match="acme"):
        budgets.create(on_both, scope="workspace", subject="acme", workspace="acme", period="day", amount=2 * DOLLAR)
    budgets.create(on_both, scope="workspace", subject="acme", period="month", amount=DOLLAR)
    budgets.create(on_both, scope="workspace", period="day", amount=DOLLAR)


def test_a_key_is_named_by_id_or_name_and_must_be_there(on_both: Settings) -> None:
    info, _ = keys.create(on_both, "shop", "application")
    assert budgets.create(on_both, scope="key", subject="shop", amount=1, period="day").subject == info.id
    assert budgets.create(on_both, scope="key", subject=info.id, amount=1).subject == info.id
    with pytest.raises(StateConflict):
        budgets.create(on_both, scope="key", subject="shop", amount=1)
    with pytest.raises(UnknownEntity, match="nobody"):
        budgets.create(on_both, scope="key", subject="nobody", amount=1)
    assert budgets.create(on_both, scope="key", amount=1).subject == ""


def test_every_change_shows_in_the_version(on_both: Settings) -> None:
    seen = [budgets.version(on_both)]

    def changed() -> bool:
        seen.append(budgets.version(on_both))
        return seen[-1] not in seen[:-1]

    one = budgets.create(on_both, scope="organisation", amount=DOLLAR)
    assert changed()
    budgets.create(on_both, scope="provider", amount=DOLLAR)
    assert changed()
    assert budgets.update(on_both, one.id, amount=2 * DOLLAR).amount == 2 * DOLLAR
    assert changed()
    assert budgets.update(on_both, one.id, action="alert").action == "alert"
    assert changed()
    budgets.delete(on_both, one.id)
    assert changed()
    for unknown in (one.id, "\x00", "x" * 1000):
        with pytest.raises(UnknownEntity):
            budgets.update(on_both, unknown, amount=1)
        with pytest.raises(UnknownEntity):
            budgets.delete(on_both, unknown)
        with pytest.raises(UnknownEntity):
            budgets.get(on_both, unknown)
    with pytest.raises(InvalidValue):
        budgets.update(on_both, one.id, amount=0)


def test_an_alert_is_kept_once_and_armed_again_by_a_larger_amount(on_both: Settings) -> None:
    one = budgets.create(on_both, scope="user", amount=10 * DOLLAR)

    def alert(threshold: int, spent: int, day: str = "2026-11-01", subject: str = "a\x00/ada") -> BudgetAlert:
        return BudgetAlert(
            budget_id=one.id, subject=subject, period_start=day, threshold=threshold, at=utc_now(), spent=spent * DOLLAR
        )

    assert budgets.record_alert(on_both, alert(50, 5))
    assert not budgets.record_alert(on_both, alert(50, 6))
    assert budgets.record_alert(on_both, alert(50, 5, day="2026-12-01"))
    assert budgets.record_alert(on_both, alert(50, 5, subject="a/bob"))
    assert budgets.record_alert(on_both, alert(80, 9, subject="a/bob"))
    assert [kept.threshold for kept in budgets.list_alerts(on_both, one.id)] == [50, 50, 50, 80]
    # 9 of 11 are still more than 80 %, but 5 are less than half.
    budgets.update(on_both, one.id, amount=11 * DOLLAR)
    assert [kept.threshold for kept in budgets.list_alerts(on_both, one.id)] == [80]
    assert budgets.record_alert(on_both, alert(50, 6))
    budgets.delete(on_both, one.id)
    assert budgets.list_alerts(on_both, one.id) == []
