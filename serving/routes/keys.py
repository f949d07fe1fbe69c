"""API keys: make, list and end them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from serving.audited import note
from serving.dependencies import GatewayDep, WorkspaceAdmin
from serving.moments import GivenMoment, Moment
from store import keys
from store.errors import AccessDenied
from store.keys import KeyInfo

router = APIRouter(prefix="/v1/keys", tags=["Keys"])

Role = Literal["application", "analyst", "admin"]


class KeyRequest(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "shop", "role": "application"}]})

    name: Annotated[str, Field(min_length=1, max_length=200, description="Whose key it is; shown in the ledger")]
    role: Role = Field(description="application: predict; analyst: also read the registry and run flows; admin: all")
    expires: GivenMoment | None = Field(None, description="From when it is refused; default: never")
    workspace: Annotated[str | None, Field(min_length=1, max_length=200)] = Field(
        None, description="Binds the key to a workspace: it sees nothing of the others; default: the maker's own"
    )
    project: Annotated[str | None, Field(max_length=200)] = Field(None, description="What its calls count for")
    requests_per_minute: Annotated[int | None, Field(ge=1, lt=2**31)] = Field(None, description="Of the LLM gateway")
    tokens_per_minute: Annotated[int | None, Field(ge=1, lt=2**31)] = Field(None, description="Of the LLM gateway")


class KeyAnswer(BaseModel):
    """A key without its secret."""

    id: str
    name: str
    role: Role
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    workspace: str | None = Field(description="None: the whole platform")
    project: str | None
    requests_per_minute: int | None
    tokens_per_minute: int | None


class NewKey(KeyAnswer):
    """A new key with its secret, which is shown this once."""

    secret: str


class KeyList(BaseModel):
    keys: list[KeyAnswer]


@router.post("", status_code=201, summary="Make a key")
def create(body: KeyRequest, request: Request, services: GatewayDep, caller: WorkspaceAdmin) -> NewKey:
    """The secret is in this answer and nowhere else; only its hash is kept.

    The first key closes an API that ran open, at once in this process and within seconds in others: make it one of
    the role admin.
    """
    if caller.workspace is not None and body.workspace not in (None, caller.workspace):
        raise AccessDenied(
            f"The key {caller.name!r} makes keys of the workspace {caller.workspace!r} alone.",
            remedy="Leave `workspace` out, or use a key of the platform.",
            field="workspace",
            value=body.workspace,
        )
    info, secret = keys.create(
        services.settings,
        body.name,
        body.role,
        body.expires,
        workspace=body.workspace or caller.workspace,
        project=body.project,
        requests_per_minute=body.requests_per_minute,
        tokens_per_minute=body.tokens_per_minute,
    )
    services.access.forget()
    note(services, request, caller, "key.create", info.name, workspace=info.workspace, after=_told(info))
    return NewKey(**_fields(info), secret=secret)


@router.get("", summary="List keys")
def listing(services: GatewayDep, caller: WorkspaceAdmin) -> KeyList:
    """Every key ever made, oldest first, without secrets; for an admin of a workspace, those of it."""
    found = keys.list_keys(services.settings, workspace=caller.workspace)
    return KeyList(keys=[KeyAnswer(**_fields(info)) for info in found])


@router.delete("/{key_id}", summary="End a key")
def revoke(
    key_id: Annotated[str, Path(description="Id of the key", max_length=200)],
    request: Request,
    services: GatewayDep,
    caller: WorkspaceAdmin,
) -> KeyAnswer:
    """Refused at once by this process, and within two seconds by others. Ending it twice changes nothing."""
    info = keys.revoke(services.settings, key_id, workspace=caller.workspace)
    services.access.forget()
    note(services, request, caller, "key.revoke", info.name, workspace=info.workspace, before=_told(info))
    return KeyAnswer(**_fields(info))


def _told(info: KeyInfo) -> dict[str, object]:
    """What the audit log says of a key."""
    return {"id": info.id, "role": info.role, "expires_at": info.expires_at, "project": info.project}


def _fields(info: KeyInfo) -> dict[str, object]:
    return {name: getattr(info, name) for name in KeyAnswer.model_fields}
