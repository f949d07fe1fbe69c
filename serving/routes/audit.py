"""Who changed what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.dependencies import GatewayDep, WorkspaceAdmin
from serving.llm_scope import scope_of
from serving.moments import GivenMoment, Moment
from store import audit

router = APIRouter(prefix="/v1/audit", tags=["Workspaces"])

Name = Annotated[str | None, Query(max_length=256)]


class AuditLine(BaseModel):
    """A line of the audit log."""

    id: int
    at: Moment
    actor: str = Field(description="Name of the key, or of the person at the command line")
    role: str
    workspace: str | None = Field(description="The one that it concerns; null: the platform")
    action: str = Field(examples=["key.create", "budget.change", "workspace.change", "provider.drain", "person.erase"])
    subject: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None


class AuditPage(BaseModel):
    """Lines, newest first."""

    lines: list[AuditLine]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


@router.get("", summary="The audit log")
def listing(
    services: GatewayDep,
    caller: WorkspaceAdmin,
    workspace: Annotated[
        str | None, Query(description="Only this one's; keys of a workspace see no other", max_length=256)
    ] = None,
    actor: Name = None,
    action: Annotated[
        str | None, Query(description="`key.create`, or all that begin so: `key.`", max_length=64)
    ] = None,
    subject: Annotated[str | None, Query(description="What was changed, by name or id", max_length=256)] = None,
    since: Annotated[GivenMoment | None, Query(description="At or after this moment, UTC unless it says")] = None,
    until: Annotated[GivenMoment | None, Query(description="Before this moment")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9]{1,9}$")] = None,
) -> AuditPage:
    """Keys, budgets, workspaces, providers, the configuration, exports and erasures of people. Newest first."""
    found = audit.entries(
        services.settings,
        workspace=scope_of(caller, workspace).workspace,
        actor=actor,
        action=action,
        subject=subject,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return AuditPage(
        lines=[AuditLine(**{name: getattr(one, name) for name in AuditLine.model_fields}) for one in found.items],
        next_cursor=found.next_cursor,
    )
