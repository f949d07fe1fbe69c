"""How much may be spent, by whom, in a day or a month: set, looked at, changed, taken away."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.money import dollars, nanos
from serving.access import Caller
from serving.audited import note
from serving.dependencies import GatewayDep, GatewayServices, WorkspaceAdmin, WorkspaceAnalyst
from serving.known_query import ONLY_KNOWN
from serving.llm_scope import scope_of
from serving.moments import Moment
from store import budgets as stored
from store import keys
from store.budgets import Action, Budget, Period, Scope
from store.errors import AccessDenied, UnknownEntity

router = APIRouter(prefix="/v1/budgets", tags=["Money"], dependencies=[ONLY_KNOWN])

Id = Annotated[str, Path(description="Id of a budget", pattern="^[0-9a-f]{32}$")]
Dollars = Annotated[float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]
MOST_SUBJECTS = 1_000


class BudgetRequest(BaseModel):
    """A budget to set."""

    model_config = ConfigDict(extra="forbid")

    scope: Scope = Field(description="What is limited; request: every single one")
    amount: Dollars = Field(description="Dollars")
    subject: Annotated[str, Field(max_length=256)] = Field(
        "", description="Its name, of a key also its id; empty: each one by itself"
    )
    workspace: Annotated[str, Field(max_length=256)] = Field(
        "", description="The workspace whose calls count; empty: all, or the caller's own"
    )
    period: Period | None = Field(None, description="UTC; default: month, of a request the request")
    action: Action = Field(
        "refuse",
        description="At its end: alert tells, downgrade takes a cheaper model (for a model that is named only where "
        "`merit.fallbacks` lets another one answer), refuse answers 402",
    )


class BudgetChange(BaseModel):
    """What to change; what was spent goes on counting."""

    model_config = ConfigDict(extra="forbid")

    amount: Dollars | None = Field(None, description="Dollars")
    action: Action | None = None


class BudgetAnswer(BaseModel):
    """A budget and how it stands; money in dollars. Of a budget of each one by itself, the part of one of them."""

    id: str
    scope: Scope
    subject: str
    workspace: str
    period: Period
    amount: float
    action: Action
    created_at: Moment
    updated_at: Moment
    created_by: str | None
    counted: str = Field(description="Whose spending it is")
    spent: float
    reserved: float = Field(description="By calls under way")
    remaining: float
    used: float = Field(description="Share of the amount")
    period_start: Moment | None
    period_end: Moment | None
    projected: float | None = Field(description="By the end of the period at the present pace; null: too early to say")
    runs_out: Moment | None = Field(description="When it is used up at that pace; null: not within the period")


class AlertAnswer(BaseModel):
    """A threshold that was passed."""

    subject: str
    period_start: str
    threshold: int = Field(description="Per cent")
    at: Moment
    spent: float


class BudgetList(BaseModel):
    budgets: list[BudgetAnswer]


class BudgetDetail(BudgetList):
    """A budget: of one of each one by itself, those that spent most; and the alerts it gave."""

    alerts: list[AlertAnswer]


_BUDGETS: dict[str, Any] = {
    "every user, five dollars a day": {
        "value": {"scope": "user", "amount": 5, "workspace": "default", "period": "day", "action": "downgrade"}
    },
    "a workspace, a month": {"value": {"scope": "workspace", "subject": "default", "amount": 200}},
}
_CHANGES: dict[str, Any] = {"more": {"value": {"amount": 300}}}


@router.get("", summary="Budgets and how they stand")
async def listing(
    services: GatewayDep,
    caller: WorkspaceAnalyst,
    workspace: Annotated[str | None, Query(description="Only budgets of this one", max_length=256)] = None,
    subjects: Annotated[
        int, Query(ge=1, le=MOST_SUBJECTS, description="Of a budget of each one, those that spent most")
    ] = 20,
) -> BudgetList:
    """Amount, spent, reserved by calls under way, left, and where the present pace leads. A key of a workspace sees the
    budgets of that workspace."""
    scope = scope_of(caller, workspace)
    found = await services.gateway.parts.budgets.status(workspace=scope.workspace, subjects=subjects)
    return BudgetList(budgets=[BudgetAnswer(**one.to_dict()) for one in found])


@router.post("", status_code=201, summary="Set a budget")
async def create(
    body: Annotated[BudgetRequest, Body(openapi_examples=_BUDGETS)],
    request: Request,
    response: Response,
    services: GatewayDep,
    caller: WorkspaceAdmin,
) -> BudgetAnswer:
    """Counts from now on, with what was spent in its period already. What a workspace as a whole may spend is set with
    a key of the platform; its own admins set how that is shared out among projects, users, keys and requests."""
    budgets = services.gateway.parts.budgets
    workspace, subject = body.workspace, body.subject
    if caller.workspace is not None:
        workspace, subject = await asyncio.to_thread(_within, services, caller, body)
    made = await asyncio.to_thread(
        stored.create,
        services.settings,
        scope=body.scope,
        amount=nanos(body.amount),
        subject=subject,
        workspace=workspace,
        period=body.period,
        action=body.action,
        created_by=caller.name,
    )
    await budgets.reload()
    await _noted(services, request, caller, "budget.create", None, made)
    response.headers["Location"] = f"{router.prefix}/{made.id}"
    return await _standing(services, made)


@router.get("/{budget_id}", summary="One budget")
async def read(
    budget_id: Id,
    services: GatewayDep,
    caller: WorkspaceAnalyst,
    subjects: Annotated[
        int, Query(ge=1, le=MOST_SUBJECTS, description="Of a budget of each one, those that spent most")
    ] = 20,
) -> BudgetDetail:
    """How it stands, and the thresholds that were passed."""
    await _visible(services, caller, budget_id)
    found = await services.gateway.parts.budgets.status(budget_id=budget_id, subjects=subjects)
    alerts = await asyncio.to_thread(stored.list_alerts, services.settings, budget_id)
    return BudgetDetail(
        budgets=[BudgetAnswer(**one.to_dict()) for one in found],
        alerts=[
            AlertAnswer(
                subject=one.subject,
                period_start=one.period_start,
                threshold=one.threshold,
                at=one.at,
                spent=dollars(one.spent),
            )
            for one in alerts
        ],
    )


@router.patch("/{budget_id}", summary="Change a budget")
async def change(
    budget_id: Id,
    body: Annotated[BudgetChange, Body(openapi_examples=_CHANGES)],
    request: Request,
    services: GatewayDep,
    caller: WorkspaceAdmin,
) -> BudgetAnswer:
    """Another amount, or another action at its end."""
    budgets = services.gateway.parts.budgets
    before = await _changeable(services, caller, budget_id)
    amount = None if body.amount is None else nanos(body.amount)
    after = await asyncio.to_thread(stored.update, services.settings, budget_id, amount=amount, action=body.action)
    await budgets.reload()
    await _noted(services, request, caller, "budget.change", before, after)
    return await _standing(services, after)


@router.delete("/{budget_id}", summary="Take a budget away")
async def remove(budget_id: Id, request: Request, services: GatewayDep, caller: WorkspaceAdmin) -> BudgetAnswer:
    """Answers what it was. What was spent stays in the ledger."""
    budgets = services.gateway.parts.budgets
    before = await _changeable(services, caller, budget_id)
    last = await _standing(services, before)
    await asyncio.to_thread(stored.delete, services.settings, budget_id)
    await budgets.reload()
    await _noted(services, request, caller, "budget.delete", before, None)
    return last


def _within(services: GatewayServices, caller: Caller, body: BudgetRequest) -> tuple[str, str]:
    """Workspace and subject of a budget that a key of a workspace sets; a key is named by its id then."""
    own = caller.workspace
    assert own is not None
    if body.workspace not in ("", own):
        raise AccessDenied(
            f"The key {caller.name!r} sets budgets of the workspace {own!r} alone.",
            remedy="Leave `workspace` out, or use a key of the platform.",
            field="workspace",
            value=body.workspace,
        )
    _check_scope(caller, body.scope)
    if body.scope != "key" or not body.subject:
        return own, body.subject
    for one in keys.list_keys(services.settings, workspace=own):
        if body.subject == one.id or (body.subject == one.name and one.revoked_at is None):
            return own, one.id
    # Keys of other workspaces are not said to exist.
    raise UnknownEntity(
        f"There is no API key {body.subject!r}.",
        remedy="`GET /v1/keys` lists those of your workspace.",
        field="subject",
        value=body.subject,
    )


def _check_scope(caller: Caller, scope: str) -> None:
    """Nobody grants the own workspace more than the platform does."""
    if caller.workspace is not None and scope in ("organisation", "workspace"):
        raise AccessDenied(
            f"What the {scope} as a whole may spend is not for the key {caller.name!r}, which is of a workspace.",
            remedy="Use a key of the platform; budgets of projects, users, keys and requests are yours to set.",
            field="scope",
            value=scope,
        )


async def _visible(services: GatewayServices, caller: Caller, budget_id: str) -> Budget:
    found = await asyncio.to_thread(stored.get, services.settings, budget_id)
    if not caller.sees(found.workspace):
        # As for one that is not there: another workspace's is not even said to exist.
        raise stored.unknown(budget_id)
    return found


async def _changeable(services: GatewayServices, caller: Caller, budget_id: str) -> Budget:
    found = await _visible(services, caller, budget_id)
    _check_scope(caller, found.scope)
    return found


async def _standing(services: GatewayServices, budget: Budget) -> BudgetAnswer:
    budgets = services.gateway.parts.budgets
    found = await budgets.status(budget_id=budget.id, subjects=1)
    if not found:  # another process has taken it away meanwhile
        raise stored.unknown(budget.id)
    return BudgetAnswer(**found[0].to_dict())


async def _noted(
    services: GatewayServices,
    request: Request,
    caller: Caller,
    action: str,
    before: Budget | None,
    after: Budget | None,
) -> None:
    budget = after or before
    assert budget is not None
    await asyncio.to_thread(
        note,
        services,
        request,
        caller,
        action,
        budget.id,
        workspace=budget.workspace or None,
        before=None if before is None else before.to_dict(),
        after=None if after is None else after.to_dict(),
    )
