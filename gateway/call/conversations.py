"""Conversations that the gateway keeps, so that each request brings only what is new, whichever model answers.

Every message of a model says which one it came from. What only its own provider can read, reasoning and signatures,
is taken out when another is asked: `gateway.call.providers.provenance`. While a tool's result is awaited the model that
asked for it goes on.

A workspace that keeps nothing of what is said has no conversations; one that keeps it encrypted has them so. What was
said privately stays private: as long as it is part of what is sent, only local models go on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from gateway.account.contents import Contents
from gateway.account.encryption import no_key
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.call.history import Message, awaited, head_length, joined, turns
from gateway.prompt import Tenant
from store import conversations as stored
from store.conversations import ConversationRecord
from store.errors import InvalidValue, StateConflict
from store.pages import Page
from store.settings import Settings
from store.tables.base import utc_now

# What is kept of one conversation: beyond, the oldest turns go.
MOST_MESSAGES = 1_000
MOST_BYTES = 1024 * 1024
_LONGEST_TITLE = 200


@dataclass(frozen=True, slots=True)
class Said:
    """One message.

    Attributes
    ----------
    message : in OpenAI's shape; an assistant's `reasoning_blocks` name the provider that each came from.
    model : id of the model that said it; None for everybody else.
    at : naive UTC, ISO.
    local_only : it was said where nothing may leave the own machines, and so it stays there.
    """

    message: dict[str, Any]
    model: str | None
    at: str
    local_only: bool = False

    def explain(self) -> dict[str, Any]:
        """JSON of it."""
        return {"message": self.message, "model": self.model, "at": self.at + "Z", "local_only": self.local_only}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation as it was read.

    Attributes
    ----------
    said : what is kept, oldest first; turns that became too many are no longer among it.
    title : as its caller named it.
    """

    record: ConversationRecord
    said: tuple[Said, ...]
    title: str | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def messages(self) -> list[Message]:
        """In OpenAI's shape."""
        return [one.message for one in self.said]

    def explain(self) -> dict[str, Any]:
        """JSON of it, with what was said."""
        return {**described(self.record), "title": self.title, "messages": [one.explain() for one in self.said]}


class Conversations:
    """Keeps conversations in the database. Its methods wait for it: call them from a thread.

    Parameters
    ----------
    contents : encrypts what is to be.
    """

    def __init__(self, settings: Settings, contents: Contents) -> None:
        self._settings = settings
        self._contents = contents

    def create(
        self,
        tenant: Tenant,
        workspace: WorkspaceSettings,
        *,
        messages: Sequence[Any] = (),
        title: str | None = None,
    ) -> Conversation:
        """Begin a conversation.

        Parameters
        ----------
        messages : what was said before, or the system's instructions.

        Raises
        ------
        InvalidValue : the workspace keeps nothing; something that is no message; too much of it.
        SettingsError : it keeps things encrypted and there is no key.
        """
        self.check(tenant, workspace)
        if title is not None and not (0 < len(title.strip()) <= _LONGEST_TITLE and title.isprintable()):
            raise InvalidValue(
                f"{title[:50]!r} cannot be the title of a conversation.",
                remedy=f"Use 1 to {_LONGEST_TITLE} printable characters.",
                field="title",
                value=title[:50],
            )
        now = utc_now()
        first = joined([], messages) if messages else []
        _check_size(first)
        said = tuple(_said(one, now) for one in first)
        made = ConversationRecord(
            workspace=tenant.workspace,
            key_name=tenant.key_name,
            user=tenant.user,
            title=title if workspace.keep == "plain" else None,
            turns=len(turns(first)),
            in_tool_loop=bool(awaited(first)),
        )
        made, words = self._sealed(tenant, workspace, made, said, title)
        stored.create(self._settings, made, words)
        return Conversation(made, said, title)

    def get(self, tenant: Tenant, conversation_id: str) -> Conversation:
        """A conversation with what was said.

        Raises
        ------
        UnknownEntity : there is none of that id that this caller may see.
        SettingsError, IntegrityFailed : what was said cannot be decrypted.
        """
        record, words = stored.get(self._settings, conversation_id, tenant.workspace, **_sees(tenant))
        kept = orjson.loads(self._contents.read(record.workspace, record.id, record.key_id, words))
        said = tuple(
            Said(one["message"], one["model"], one["at"], one.get("local_only", False)) for one in kept["said"]
        )
        return Conversation(record, said, kept["title"])

    def page(self, tenant: Tenant, *, limit: int = 100, cursor: str | None = None) -> Page[ConversationRecord]:
        """Conversations that a caller may see, newest first, without what was said; of `tenant.user` where it is set.

        Raises
        ------
        InvalidValue : `limit` lies outside 1 to 1,000.
        """
        return stored.page(self._settings, tenant.workspace, **_sees(tenant), limit=limit, cursor=cursor)

    def delete(self, tenant: Tenant, conversation_id: str) -> None:
        """Forget a conversation.

        Raises
        ------
        UnknownEntity : there is none of that id that this caller may see.
        """
        stored.delete(self._settings, conversation_id, tenant.workspace, **_sees(tenant))

    def check(self, tenant: Tenant, workspace: WorkspaceSettings) -> None:
        """Raise when the workspace has no conversations, before anybody is asked.

        Raises
        ------
        InvalidValue : it keeps nothing.
        SettingsError : it keeps things encrypted and there is no key.
        """
        if workspace.keep == "nothing":
            raise InvalidValue(
                f"The workspace {tenant.workspace!r} keeps nothing of what is said (keep = nothing): it has no "
                "conversations.",
                remedy="Set `keep` of the workspace to plain or encrypted, or send all messages with each request.",
                field="merit.conversation",
                value=tenant.workspace,
            )
        if workspace.keep == "encrypted" and self._contents.keyring.key_id is None:
            raise no_key()

    def continued(self, conversation: Conversation, new: Sequence[Any], *, version: int | None = None) -> list[Message]:
        """All messages of the next request: what was said, and what it brings.

        Parameters
        ----------
        version : that the caller has read; None: whichever there is.

        Raises
        ------
        InvalidValue : what it brings does not continue the conversation, or is too much.
        StateConflict : the conversation has gone on since that version.
        """
        if version is not None and version != conversation.record.version:
            raise StateConflict(
                f"The conversation {conversation.id} is at version {conversation.record.version}, not {version}.",
                remedy="Read it again, and say it once more if it still fits.",
                field="merit.conversation",
                value=version,
            )
        _check_size(new)
        return joined(conversation.messages, new)

    def append(
        self,
        tenant: Tenant,
        workspace: WorkspaceSettings,
        conversation: Conversation,
        new: Sequence[Any],
        answer: Mapping[str, Any],
        model: str | None,
        *,
        local_only: bool = False,
    ) -> Conversation:
        """Keep a turn: what a request brought, and what was answered.

        Parameters
        ----------
        conversation : as it was when the request was made.
        answer : the assistant's message.
        model : id of the one that answered.
        local_only : nothing of this turn may leave the own machines, now or later.

        Returns
        -------
        The conversation as it is now. Its oldest turns are gone where there were too many.

        Raises
        ------
        StateConflict : another turn came first, or it was deleted: this one is not kept.
        InvalidValue, SettingsError : as in `check`; the workspace has changed its mind.
        """
        self.check(tenant, workspace)
        now = utc_now()
        known = {id(one.message): one for one in conversation.said}
        every = joined(conversation.messages, new)
        said = [known.get(id(one)) or _said(one, now, local_only=local_only) for one in every]
        said.append(_said({**answer, "role": "assistant"}, now, model, local_only=local_only))
        before = conversation.record
        record = replace(
            before,
            model=model,
            in_tool_loop=bool(awaited([one.message for one in said])),
            # A tool's result continues a turn.
            turns=max(1, before.turns + len(turns(every)) - len(turns(conversation.messages))),
            title=before.title if workspace.keep == "plain" else None,
            version=before.version + 1,
            updated_at=now,
        )
        kept = _bounded(said)
        record, words = self._sealed(tenant, workspace, record, kept, conversation.title)
        stored.replace(self._settings, record, words)
        return Conversation(record, kept, conversation.title)

    def _sealed(
        self,
        tenant: Tenant,
        workspace: WorkspaceSettings,
        record: ConversationRecord,
        said: Sequence[Said],
        title: str | None,
    ) -> tuple[ConversationRecord, bytes]:
        sealed = self._contents.seal(workspace, tenant.workspace, record.id, _json(said, title))
        if sealed is None:
            raise no_key()
        return replace(record, key_id=sealed[0]), sealed[1]


def model_for(conversation: Conversation, new: Sequence[Any]) -> str | None:
    """The model that must go on: it waits for a tool's result, and the request brings one. None: any may answer."""
    brings = any(isinstance(one, Mapping) and one.get("role") == "tool" for one in new)
    return conversation.record.model if conversation.record.in_tool_loop and brings else None


def stays_local(conversation: Conversation, messages: Sequence[Message]) -> bool:
    """Whether some of these messages were said in the conversation where nothing may leave the own machines."""
    private = {id(one.message) for one in conversation.said if one.local_only}
    return any(id(one) in private for one in messages)


def described(record: ConversationRecord) -> dict[str, Any]:
    """JSON of a conversation without what was said."""
    return {
        "id": record.id,
        "title": record.title,
        "user": record.user,
        "key_name": record.key_name,
        "model": record.model,
        "in_tool_loop": record.in_tool_loop,
        "turns": record.turns,
        "encrypted": record.key_id is not None,
        "version": record.version,
        "created_at": record.created_at.isoformat(timespec="milliseconds") + "Z",
        "updated_at": record.updated_at.isoformat(timespec="milliseconds") + "Z",
    }


def _sees(tenant: Tenant) -> dict[str, str | None]:
    """An application sees what it made; everybody else all of the workspace. A person sees their own."""
    return {"key_name": tenant.key_name if tenant.role == "application" else None, "user": tenant.user}


def _said(message: Message, now: datetime, model: str | None = None, *, local_only: bool = False) -> Said:
    kept = dict(message)
    thought = kept.get("reasoning_content") or kept.get("reasoning")
    if model is not None and thought and not kept.get("reasoning_blocks"):
        # Whose reasoning it is, so that no other provider is ever sent it.
        kept["reasoning_blocks"] = [{"provider": model.partition("/")[0], "type": "reasoning"}]
    return Said(kept, model, now.isoformat(timespec="milliseconds"), local_only)


def _bounded(said: Sequence[Said]) -> tuple[Said, ...]:
    """What is kept: instructions, and as many of the last turns as there is room for; the last one always."""
    messages = [one.message for one in said]
    begins = turns(messages)
    head = head_length(messages) if begins else len(said)
    sizes = [len(_dump(one.message)) for one in said]
    room, places = MOST_BYTES - sum(sizes[:head]), MOST_MESSAGES - head
    keep = len(said)
    for begin in reversed(begins):
        room -= sum(sizes[begin:keep])
        places -= keep - begin
        if (room < 0 or places < 0) and keep < len(said):
            break
        keep = begin
    return (*said[:head], *said[keep:])


def _check_size(messages: Sequence[Any]) -> None:
    size = len(_dump(list(messages)))
    if len(messages) > MOST_MESSAGES or size > MOST_BYTES:
        raise InvalidValue(
            f"messages holds {len(messages):,} messages of {size:,} bytes; a kept conversation takes "
            f"{MOST_MESSAGES:,} of {MOST_BYTES:,} bytes.",
            remedy="Send less at once, or send all messages with each request and keep no conversation.",
            field="messages",
            value=len(messages),
        )


def _json(said: Sequence[Said], title: str | None) -> bytes:
    told = [
        {"message": one.message, "model": one.model, "at": one.at} | ({"local_only": True} if one.local_only else {})
        for one in said
    ]
    return _dump({"title": title, "said": told})


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=dict)
    except TypeError:  # half a character, or a number beyond 64 bits
        return json.dumps(value, default=dict, ensure_ascii=False).encode("utf-8", "replace")
