"""Kept conversations as a call sees them: what was said comes before what is asked, and the answer is added to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.account.workspace_settings import WorkspaceSettings
from gateway.call.conversations import Conversation, Conversations, model_for, stays_local
from gateway.call.history import fit
from gateway.prompt import Prompt
from store.errors import MeritError

log = logging.getLogger("merit.gateway")
# Of the longest context of any model, so much is left to a conversation.
_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation that a call continues.

    Attributes
    ----------
    new : the messages that the request brought.
    """

    conversation: Conversation
    new: Sequence[Any]


class Threads:
    """Joins calls and conversations.

    Attributes
    ----------
    conversations : where they are kept; its methods wait for the database.
    """

    def __init__(self, conversations: Conversations) -> None:
        self.conversations = conversations

    async def continued(
        self, prompt: Prompt, workspace: WorkspaceSettings, longest_context: int
    ) -> tuple[Prompt, Thread]:
        """The prompt with everything that was said before, and with the model that waits for a tool's result.

        Raises
        ------
        InvalidValue : the workspace keeps no conversations, or the messages do not continue this one.
        UnknownEntity : there is none of that id that the caller may see.
        """
        number = prompt.options.conversation
        assert number is not None
        self.conversations.check(prompt.tenant, workspace)
        conversation = await asyncio.to_thread(self.conversations.get, prompt.tenant, number)
        new = prompt.body["messages"]
        messages = fit(self.conversations.continued(conversation, new), int(_SHARE * longest_context))
        limits = prompt.limits
        if not limits.local_only and stays_local(conversation, messages):
            limits = replace(limits, local_only=True)
        continued = replace(
            prompt,
            body={**prompt.body, "messages": messages},
            limits=limits,
            native=None,
            stay=model_for(conversation, new),
        )
        return continued, Thread(conversation, new)

    async def append(
        self, prompt: Prompt, workspace: WorkspaceSettings, thread: Thread, body: Mapping[str, Any], model: str | None
    ) -> str | None:
        """Keep the turn.

        Returns
        -------
        Why it was not kept; None when it was. The answer has been paid for by then, so that it is given all the same.
        """
        choices = body.get("choices") or [{}]
        message = choices[0].get("message") or {}
        try:
            await asyncio.to_thread(
                self.conversations.append, prompt.tenant, workspace, thread.conversation, thread.new, message, model,
                local_only=prompt.limits.local_only,
            )  # fmt: skip
        except MeritError as error:
            log.warning("A turn of the conversation %s was not kept: %s", thread.conversation.id, error.message)
            return error.message
        return None
