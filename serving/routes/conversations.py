"""Conversations that the gateway keeps: begun, listed, read, forgotten. A turn is a chat with `merit.conversation`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.account.contents import Contents
from gateway.account.workspaces import Workspaces
from gateway.call.conversations import Conversation, Conversations, described
from gateway.prompt import Tenant
from serving.access import Caller
from serving.dependencies import Application, GatewayDep, GatewayServices
from serving.known_query import ONLY_KNOWN
from serving.llm_scope import own_workspace
from serving.moments import Moment
from serving.prompts import MOST_MESSAGES
from store.errors import AccessDenied, SettingsError, StateConflict

router = APIRouter(prefix="/v1/llm/conversations", tags=["LLM gateway"], dependencies=[ONLY_KNOWN])

Id = Annotated[str, Path(description="Id of a conversation", pattern="^[0-9a-f]{32}$")]
Workspace = Annotated[
    str | None, Query(description="For keys of the platform; default: the caller's own", min_length=1, max_length=256)
]


class ConversationRequest(BaseModel):
    """A conversation to begin."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    messages: Annotated[list[dict[str, Any]], Field(max_length=MOST_MESSAGES)] = Field(
        default_factory=list, description="Instructions, or what was said before; in OpenAI's shape"
    )
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(None, description="For whom it is kept")


class ConversationAnswer(BaseModel):
    """A conversation without its words."""

    id: str
    title: str | None
    user: str | None
    key_name: str | None
    model: str | None = Field(description="That answered last")
    in_tool_loop: bool = Field(description="It waits for a tool's result")
    turns: int
    encrypted: bool
    version: int = Field(description="Counts up with every turn")
    created_at: Moment
    updated_at: Moment


class SaidAnswer(BaseModel):
    """A message, and the model that said it."""

    message: dict[str, Any]
    model: str | None
    at: Moment
    local_only: bool = Field(description="It was said privately: models elsewhere are never sent it")


class ConversationDetail(ConversationAnswer):
    """A conversation with its words; turns that became too many are no longer among them."""

    messages: list[SaidAnswer]


class ConversationPage(BaseModel):
    """Conversations, newest first."""

    conversations: list[ConversationAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


_BEGUN: dict[str, Any] = {
    "with instructions": {
        "value": {"title": "Rivers", "messages": [{"role": "system", "content": "Answer in one sentence."}]}
    }
}


@router.post("", status_code=201, summary="Begin a conversation")
def create(
    body: Annotated[ConversationRequest, Body(openapi_examples=_BEGUN)],
    response: Response,
    services: GatewayDep,
    caller: Application,
    workspace: Workspace = None,
) -> ConversationDetail:
    """Each chat with `"merit": {"conversation": id}` then brings only what is new, whichever model answers. The
    workspace must keep words, plain or encrypted."""
    tenant = _tenant(caller, workspace, body.user)
    known = services.gateway.parts.workspaces if services.llm.runs else Workspaces(services.settings)
    with _sealed():
        made = _kept(services).create(tenant, known.get(tenant.workspace), messages=body.messages, title=body.title)
    response.headers["Location"] = f"{router.prefix}/{made.id}"
    return _detail(made)


@router.get("", summary="List conversations")
def listing(
    services: GatewayDep,
    caller: Application,
    user: Annotated[str | None, Query(description="Only this person's", min_length=1, max_length=256)] = None,
    workspace: Workspace = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9a-f]{1,32}$")
    ] = None,
) -> ConversationPage:
    """Without their words. A key of the role application sees those that it began, other keys those of their
    workspace."""
    found = _kept(services).page(_tenant(caller, workspace, user), limit=limit, cursor=cursor)
    return ConversationPage(
        conversations=[ConversationAnswer(**described(one)) for one in found.items], next_cursor=found.next_cursor
    )


@router.get("/{conversation_id}", summary="One conversation")
def read(
    conversation_id: Id, services: GatewayDep, caller: Application, workspace: Workspace = None
) -> ConversationDetail:
    """With its words, for the key that began it and for admins."""
    return _detail(_own(services, caller, workspace, conversation_id))


@router.delete("/{conversation_id}", summary="Forget a conversation")
def delete(
    conversation_id: Id, services: GatewayDep, caller: Application, workspace: Workspace = None
) -> ConversationAnswer:
    """Its words are gone; the ledger keeps what its turns cost."""
    found = _own(services, caller, workspace, conversation_id)
    _kept(services).delete(_tenant(caller, workspace, None), conversation_id)
    return ConversationAnswer(**described(found.record))


def _own(services: GatewayServices, caller: Caller, workspace: str | None, conversation_id: str) -> Conversation:
    found = _kept(services).get(_tenant(caller, workspace, None), conversation_id)
    if caller.role != "admin" and found.record.key_name != caller.name:
        raise AccessDenied(
            f"The words of this conversation are for the key that began it, and for admins, not for {caller.name!r}.",
            remedy="Use one of those keys.",
            field="role",
            value=caller.role,
        )
    return found


def _tenant(caller: Caller, workspace: str | None, user: str | None) -> Tenant:
    return replace(caller.tenant, workspace=own_workspace(caller, workspace), user=user)


def _kept(services: GatewayServices) -> Conversations:
    contents = services.gateway.parts.contents if services.llm.runs else Contents(services.settings)
    return Conversations(services.settings, contents)


@contextmanager
def _sealed() -> Iterator[None]:
    """A workspace wants its words encrypted and the server has no key: no fault of the request, and nothing broke."""
    try:
        yield
    except SettingsError as error:
        raise StateConflict(error.message, remedy=error.remedy, field="keep", value="encrypted") from None


def _detail(found: Conversation) -> ConversationDetail:
    return ConversationDetail(**found.explain())
