"""Workspaces: who may use what, and what is kept of what they say."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

from anyio import from_thread
from fastapi import APIRouter, Body, Path, Request
from pydantic import BaseModel

from gateway.account.workspace_settings import DEFAULTS, WorkspaceSettings, as_json
from gateway.account.workspaces import Workspaces
from serving.access import Caller
from serving.audited import note
from serving.dependencies import Admin, GatewayDep, GatewayServices, WorkspaceAdmin, WorkspaceAnalyst
from serving.direct import inlined_schema
from serving.llm_scope import own_workspace, scope_of
from store.errors import AccessDenied, ServiceUnavailable, SettingsError, StateConflict, UnknownEntity

log = logging.getLogger("merit.serving")

router = APIRouter(prefix="/v1/workspaces", tags=["Workspaces"])

Name = Annotated[str, Path(description="Name of a workspace", examples=["default"], min_length=1, max_length=128)]
# Who pays, where data may go and how much may be asked are the platform's to say; the rest is the workspace's choice.
OF_THE_PLATFORM = (
    "organisation", "allowed_models", "regions", "local_only", "requests_per_minute", "tokens_per_minute",
    "concurrent", "calls_days",
)  # fmt: skip

_SCHEMA = {"requestBody": {"content": {"application/json": {"schema": inlined_schema(WorkspaceSettings)}}}}
_SETTINGS: dict[str, Any] = {
    "keeps words for a month": {"value": {"keep": "plain", "contents_days": 30, "filters": {"secrets": True}}},
    "on the own machines": {"value": {"local_only": True, "cache": "exact"}},
}
_CHANGES: dict[str, Any] = {"masks secrets": {"value": {"filters": {"secrets": True}}}}


class WorkspaceAnswer(BaseModel):
    """A workspace and everything that is set for it."""

    name: str
    settings: WorkspaceSettings


class WorkspaceList(BaseModel):
    workspaces: list[WorkspaceAnswer]


@router.get("", summary="Workspaces")
def listing(services: GatewayDep, caller: WorkspaceAnalyst) -> WorkspaceList:
    """All that were made, and `default`, which there always is; for a key of a workspace, that one."""
    known = _known(services)
    known.refresh()
    only = scope_of(caller).workspace
    shown = known.every() if only is None else {only: known.get(only)}
    return WorkspaceList(workspaces=[WorkspaceAnswer(name=name, settings=one) for name, one in shown.items()])


@router.get("/{name}", summary="One workspace")
def read(name: Name, services: GatewayDep, caller: WorkspaceAnalyst) -> WorkspaceAnswer:
    """What is set for it: limits, what is kept, filters, cache."""
    own_workspace(caller, name)
    known = _known(services)
    known.refresh()
    if name not in known.every() and caller.workspace is None:
        raise _unknown(name)
    return WorkspaceAnswer(name=name, settings=known.get(name))


@router.put("/{name}", summary="Make a workspace, or replace what is set", openapi_extra=_SCHEMA)
def put(
    name: Name,
    body: Annotated[dict[str, Any], Body(openapi_examples=_SETTINGS)],
    request: Request,
    services: GatewayDep,
    caller: WorkspaceAdmin,
) -> WorkspaceAnswer:
    """What is left out has its default. Counts at once in this process, within seconds in others. Who pays, where data
    may go, and how much may be asked is set with a key of the platform; the rest also by the workspace's own admins."""
    return _change(services, request, caller, name, body, whole=True)


@router.patch("/{name}", summary="Change some of what is set", openapi_extra=_SCHEMA)
def change(
    name: Name,
    body: Annotated[dict[str, Any], Body(openapi_examples=_CHANGES)],
    request: Request,
    services: GatewayDep,
    caller: WorkspaceAdmin,
) -> WorkspaceAnswer:
    """What is left out stays as it is; objects within are merged."""
    return _change(services, request, caller, name, body, whole=False)


@router.delete("/{name}", summary="Forget what is set for a workspace")
def delete(name: Name, request: Request, services: GatewayDep, caller: Admin) -> WorkspaceAnswer:
    """The defaults count for it from now on. Its calls stay in the ledger, its keys stay valid."""
    gone = _known(services).delete(name)
    services.access.forget()
    _forget_answers(services, name)
    note(services, request, caller, "workspace.delete", name, workspace=name, before=as_json(gone))
    return WorkspaceAnswer(name=name, settings=gone)


def _change(
    services: GatewayServices, request: Request, caller: Caller, name: str, body: Mapping[str, Any], *, whole: bool
) -> WorkspaceAnswer:
    own_workspace(caller, name)
    known = _known(services)
    known.refresh()
    before = as_json(known.get(name))
    if caller.workspace is not None:
        _check_own(caller, before, body, whole=whole)
    try:
        after = known.put(name, body) if whole else known.change(name, body)
    except SettingsError as error:  # nothing that the server could do now would let it be
        raise StateConflict(error.message, remedy=error.remedy, field="keep", value=body.get("keep")) from None
    services.access.forget()  # a caller's organisation is remembered with its key
    if after.keep != before["keep"]:
        _forget_answers(services, name)
    note(services, request, caller, "workspace.change", name, workspace=name, before=before, after=as_json(after))
    return WorkspaceAnswer(name=name, settings=after)


def _forget_answers(services: GatewayServices, name: str) -> None:
    """Answers that were kept under another choice are not kept on to be given again."""
    if not services.llm.runs:
        return
    try:
        from_thread.run(services.gateway.parts.recall.exact.erase, name)
    except ServiceUnavailable as error:  # nobody finds them any more, and within the cache's time they are gone
        log.warning("%s", error)


def _check_own(caller: Caller, before: Mapping[str, Any], body: Mapping[str, Any], *, whole: bool) -> None:
    """Refuse what a key of the workspace itself may not change."""
    defaults = as_json(DEFAULTS)
    for name in OF_THE_PLATFORM:
        wanted = body.get(name, defaults[name] if whole else before[name])
        if wanted != before[name]:
            raise AccessDenied(
                f"{name} of a workspace is not for the key {caller.name!r} to change, which is bound to it.",
                remedy="Leave it as it is, or use a key of the platform.",
                field=name,
                value=str(wanted)[:100],
            )


def _known(services: GatewayServices) -> Workspaces:
    return services.gateway.parts.workspaces if services.llm.runs else Workspaces(services.settings)


def _unknown(name: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no workspace {name!r}.",
        remedy="Make it first, by `PUT /v1/workspaces/NAME`.",
        field="workspace",
        value=name,
    )
