"""Budgets: how much may be spent, on what, in which period, and what happens at the end of it.

A budget names what it limits by its scope and subject. An empty subject stands for each one by itself: one row lets
every user spend five dollars a day. Users and projects are names that a workspace gives, so that "each one by itself"
tells the `ada` of one workspace from that of another; a budget that names `ada` without a workspace counts both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import InvalidValue, StateConflict, UnknownEntity
from store.pages import storable
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import BudgetAlertRow, BudgetRow
from store.tables.platform import ApiKeyRow

Scope = Literal["organisation", "workspace", "project", "user", "provider", "key", "request"]
Period = Literal["day", "month", "request"]
Action = Literal["alert", "downgrade", "refuse"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PERIODS: tuple[Period, ...] = get_args(Period)
ACTIONS: tuple[Action, ...] = get_args(Action)
NANOS = 1_000_000_000
# A billion dollars: what is added up below it stays far from the end of a database's and of Redis's integers.
MOST = 1_000_000_000 * NANOS
_LONGEST = 256


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One budget.

    Attributes
    ----------
    scope : what is limited; "request" bounds every single request, all attempts and members of an ensemble together.
    subject : the name of what is limited (of a key: its id); "" for each one by itself. A call that names no user,
        project or key counts, for budgets of each one, as one that is called "".
    workspace : the workspace whose calls count; "" for all.
    period : day or month, both in UTC; "request" for the scope of that name.
    amount : nanos.
    action : alert never refuses; downgrade lets the gateway look for a cheaper model and refuses where there is none.
    created_at, updated_at : naive UTC.
    """

    id: str
    scope: Scope
    subject: str
    workspace: str
    period: Period
    amount: int
    action: Action
    created_at: datetime
    updated_at: datetime
    created_by: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; the amount in dollars."""
        made = {item.name: getattr(self, item.name) for item in fields(self)}
        made["amount"] = self.amount / NANOS
        made["created_at"] = self.created_at.isoformat()
        made["updated_at"] = self.updated_at.isoformat()
        return made


@dataclass(frozen=True, kw_only=True)
class BudgetAlert:
    """A threshold that was passed.

    Attributes
    ----------
    subject : whose spending it was, for a budget of each one by itself.
    period_start : its first day, 2026-11-01.
    threshold : per cent.
    spent : nanos at that moment.
    """

    budget_id: str
    subject: str
    period_start: str
    threshold: int
    at: datetime
    spent: int


_BUDGET = tuple(item.name for item in fields(Budget))
_ALERT = tuple(item.name for item in fields(BudgetAlert))


def create(
    settings: Settings,
    *,
    scope: str,
    amount: int,
    subject: str = "",
    workspace: str = "",
    period: str | None = None,
    action: str = "refuse",
    created_by: str | None = None,
) -> Budget:
    """Make a budget.

    Parameters
    ----------
    amount : nanos, more than 0 and at most a billion dollars.
    subject : a key is named by its id or its name.
    workspace : a budget of one workspace belongs to that workspace.
    period : None for a month, or for a request where that is the scope.

    Raises
    ------
    InvalidValue : an unknown scope, period or action, an amount out of bounds, parts that do not fit together.
    UnknownEntity : no such key.
    StateConflict : there is such a budget already, whatever its amount.
    """
    _one_of("scope", scope, SCOPES)
    _one_of("action", action, ACTIONS)
    period = period or ("request" if scope == "request" else "month")
    _one_of("period", period, PERIODS)
    _checked_amount(amount)
    subject, workspace = _name("subject", subject), _name("workspace", workspace)
    workspace = _fitting(scope, subject, workspace, period)
    migrate(settings)
    row = BudgetRow(
        id=new_id(),
        scope=scope,
        subject=subject,
        workspace=workspace,
        period=period,
        amount=amount,
        action=action,
        created_by=None if created_by is None else storable(created_by)[:_LONGEST],
    )
    try:
        with session(settings) as opened:
            if scope == "key" and subject:
                row.subject = subject = _key_id(opened, subject)
            row.created_at = row.updated_at = _now(opened)
            opened.add(row)
    except IntegrityError:
        raise StateConflict(
            f"There is a budget of this {scope} ({subject or 'each one'}) for a {period} already"
            + (f" in the workspace {workspace!r}." if workspace else "."),
            remedy="Change the one there is, or delete it first.",
            field="subject",
            value=subject,
        ) from None
    return _budget(row)


def get(settings: Settings, budget_id: str) -> Budget:
    """One budget.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        return _budget(_existing(opened, budget_id))


def unknown(budget_id: str) -> UnknownEntity:
    """The error for a budget that there is not, or that the caller may not see: nothing tells which."""
    return UnknownEntity(
        f"There is no budget {budget_id[:64]!r}.",
        remedy="See `merit budgets list`.",
        field="budget_id",
        value=budget_id[:64],
    )


def list_budgets(settings: Settings, *, workspace: str | None = None) -> list[Budget]:
    """Every budget, oldest first; or those of one workspace."""
    migrate(settings)
    query = sa.select(BudgetRow).order_by(BudgetRow.created_at, BudgetRow.id)
    if workspace is not None:
        query = query.where(BudgetRow.workspace == storable(workspace))
    with session(settings, readonly=True) as opened:
        return [_budget(row) for row in opened.scalars(query)]


def update(settings: Settings, budget_id: str, *, amount: int | None = None, action: str | None = None) -> Budget:
    """Change how much may be spent, or what happens then; what was spent goes on counting.

    With a larger amount, alerts at thresholds that are no longer passed are forgotten, so that they are given when
    those are passed again.

    Raises
    ------
    InvalidValue : an unknown action, an amount out of bounds.
    UnknownEntity : there is none of that id.
    """
    if action is not None:
        _one_of("action", action, ACTIONS)
    if amount is not None:
        _checked_amount(amount)
    migrate(settings)
    with session(settings) as opened:
        row = _existing(opened, budget_id)
        if amount is not None:
            passed = [alert for alert in _alert_rows(opened, row.id) if alert.spent * 100 < alert.threshold * amount]
            for alert in passed:
                opened.delete(alert)
            row.amount = amount
        row.action = action or row.action
        row.updated_at = _now(opened)
    return _budget(row)


def delete(settings: Settings, budget_id: str) -> Budget:
    """Take a budget away, with the alerts it gave; returns what it was.

    Raises
    ------
    UnknownEntity : there is none of that id.
    """
    migrate(settings)
    with session(settings) as opened:
        row = _existing(opened, budget_id)
        opened.execute(sa.delete(BudgetAlertRow).where(BudgetAlertRow.budget_id == row.id))
        opened.delete(row)
    return _budget(row)


def version(settings: Settings) -> tuple[int, datetime | None]:
    """Something that changes when any budget does; cheap enough to ask every other second."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        count, latest = opened.execute(sa.select(sa.func.count(), sa.func.max(BudgetRow.updated_at))).one()
    return int(count), latest


def record_alert(settings: Settings, alert: BudgetAlert) -> bool:
    """Keep an alert; False where this threshold was passed before in this period, here or in another process."""
    migrate(settings)
    values = {name: getattr(alert, name) for name in _ALERT}
    values["subject"] = storable(alert.subject)
    with session(settings) as opened:
        insert = sqlite.insert if opened.get_bind().dialect.name == "sqlite" else postgresql.insert
        row = insert(BudgetAlertRow).values(values).on_conflict_do_nothing().returning(BudgetAlertRow.threshold)
        return opened.scalar(row) is not None


def list_alerts(settings: Settings, budget_id: str) -> list[BudgetAlert]:
    """The alerts that a budget gave, oldest first."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        rows = _alert_rows(opened, storable(budget_id))
        return [BudgetAlert(**{name: getattr(row, name) for name in _ALERT}) for row in rows]


def _alert_rows(opened: Session, budget_id: str) -> Iterable[BudgetAlertRow]:
    query = sa.select(BudgetAlertRow).where(BudgetAlertRow.budget_id == budget_id)
    return opened.scalars(query.order_by(BudgetAlertRow.at, BudgetAlertRow.threshold)).all()


def _now(opened: Session) -> datetime:
    """This moment, or just after the last change where another host's clock is ahead: `version` must show a change."""
    last = opened.scalar(sa.select(sa.func.max(BudgetRow.updated_at)))
    return utc_now() if last is None else max(utc_now(), last + timedelta(microseconds=1))


def _fitting(scope: str, subject: str, workspace: str, period: str) -> str:
    """The workspace of a budget whose parts fit together."""
    if (scope == "request") != (period == "request"):
        raise InvalidValue(
            f"A budget of the scope {scope!r} cannot have the period {period!r}.",
            remedy="Use day or month; a budget of a request has no period but the request.",
            field="period",
            value=period,
        )
    if scope == "request" and subject:
        raise InvalidValue(
            f"A budget of a request names nothing, but subject is {subject!r}.",
            remedy="Leave the subject out; name a workspace to bound its requests alone.",
            field="subject",
            value=subject,
        )
    if (scope == "organisation" and workspace) or (scope == "workspace" and workspace not in ("", subject)):
        raise InvalidValue(
            f"A budget of the scope {scope!r} cannot be narrowed to the workspace {workspace!r}.",
            remedy="Leave the workspace out.",
            field="workspace",
            value=workspace,
        )
    return subject if scope == "workspace" else workspace


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        shown = str(value)[:50]
        raise InvalidValue(
            f"{name}={shown!r} is unknown.", remedy=f"Use one of {', '.join(allowed)}.", field=name, value=shown
        )


def _name(field: str, text: str) -> str:
    text = text.strip()
    if len(text) > _LONGEST or not text.isprintable():
        raise InvalidValue(
            f"{text[:50]!r} cannot be the {field} of a budget.",
            remedy=f"Use up to {_LONGEST} printable characters.",
            field=field,
            value=text[:50],
        )
    return text


def _checked_amount(amount: int) -> None:
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < amount <= MOST:
        shown = amount / NANOS if isinstance(amount, int) and abs(amount) < MOST**2 else amount
        raise InvalidValue(
            f"A budget of {shown} dollars is not possible.",
            remedy=f"Use more than 0 and at most {MOST // NANOS:,} dollars.",
            field="amount",
            value=shown,
        )


def _key_id(opened: Session, name: str) -> str:
    active = sa.select(ApiKeyRow.id).where(ApiKeyRow.name == name, ApiKeyRow.revoked_at.is_(None))
    found = opened.scalar(sa.select(ApiKeyRow.id).where(ApiKeyRow.id == name)) or opened.scalar(active)
    if found is None:
        raise UnknownEntity(
            f"There is no API key {name!r}.", remedy="See `merit keys list`.", field="subject", value=name
        )
    return found


def _existing(opened: Session, budget_id: str) -> BudgetRow:
    row = opened.get(BudgetRow, storable(budget_id))
    if row is None:
        raise unknown(budget_id)
    return row


def _budget(row: BudgetRow) -> Budget:
    return Budget(**{name: getattr(row, name) for name in _BUDGET})
