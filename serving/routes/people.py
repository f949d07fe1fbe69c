"""What is kept of a person: told to whoever has a right to it, and erased."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from gateway.account.erasure import erase_person, export_person
from serving.access import Caller
from serving.dependencies import GatewayDep, GatewayServices, WorkspaceAdmin
from serving.llm_runs import flushed
from serving.llm_scope import own_workspace
from store.errors import ServiceUnavailable

router = APIRouter(prefix="/v1/workspaces/{name}/people", tags=["Workspaces"])

Name = Annotated[str, Path(description="Name of a workspace", examples=["default"], min_length=1, max_length=256)]
Person = Annotated[
    str,
    Path(description="The person as applications name them in `user`", examples=["ada"], min_length=1, max_length=256),
]


class PersonAnswer(BaseModel):
    """Everything that is stored of a person."""

    workspace: str
    user: str
    exported_at: str
    calls: list[dict[str, Any]] = Field(description="With what was said, where it is kept")
    usage_days: list[dict[str, Any]] = Field(description="Of calls that are summed up")
    conversations: list[dict[str, Any]]
    feedback: list[dict[str, Any]]
    preferences: list[dict[str, Any]]
    batches: list[dict[str, Any]]
    batch_requests: list[dict[str, Any]] = Field(description="Those that name the person among others")
    files: list[dict[str, Any]]


class Erasure(BaseModel):
    """How many of each were erased, or renamed where money hangs on them."""

    model_config = ConfigDict(extra="allow")

    pseudonym: str = Field(description="The name under which the ledger keeps their calls")
    calls: int
    contents: int
    conversations: int
    preferences: int
    feedback: int
    cached: int


@router.get("/{user:path}", summary="Everything about a person")
def export(name: Name, user: Person, request: Request, services: GatewayDep, caller: WorkspaceAdmin) -> PersonAnswer:
    """Decrypted, as JSON. The audit log says that it was asked for."""
    workspace = own_workspace(caller, name)
    flushed(services)
    return PersonAnswer(**export_person(services.settings, workspace, user, **_by(request, caller)))


@router.delete("/{user:path}", summary="Erase a person")
async def erase(name: Name, user: Person, request: Request, services: GatewayDep, caller: WorkspaceAdmin) -> Erasure:
    """What they said and were answered, also in the cache, their name, and what was learned of them. The ledger keeps
    what was spent, under a name that leads nowhere."""
    workspace = own_workspace(caller, name)
    if not await asyncio.to_thread(flushed, services):
        raise ServiceUnavailable(
            "The ledger cannot be written now: calls of this person may still be on their way to it.",
            remedy="Try again shortly; `merit doctor` tells what is wrong with the database.",
        )
    cached = await _forget(services, workspace, user)
    erased = await asyncio.to_thread(
        erase_person, services.settings, workspace, user, forget=lambda *_: cached, **_by(request, caller)
    )
    opened = services.llm.opened
    if services.llm.runs and opened is not None:
        await asyncio.to_thread(opened.preferences.erase, workspace, user)  # what is remembered of them here
    return Erasure(**erased)


async def _forget(services: GatewayServices, workspace: str, user: str) -> int:
    """Answers that were kept to be given again."""
    if not services.llm.runs:
        return 0
    recall = services.gateway.parts.recall
    recall.semantic.erase(workspace, user)  # questions; their answers are counted once
    return await recall.exact.erase(workspace, user)


def _by(request: Request, caller: Caller) -> dict[str, Any]:
    return {"actor": caller.name, "role": caller.role, "request_id": request.scope.get("request_id")}
