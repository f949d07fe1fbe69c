"""A thread without any reasoning, for a model that refuses the reasoning in it.

Reasoning is kept apart by provider (`gateway.call.providers.provenance`), but whether it is good for another model of
the same one, or with another key, only the provider knows. One that says no is asked once more without it: what was
said and done is all still there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.call.providers.provenance import REASONING_FIELDS
from gateway.call.providers.wire import ProviderFailure
from gateway.prompt import Prompt

# How Anthropic, Gemini and the imitators of OpenAI say that it is the reasoning that they do not take.
_REFUSED = re.compile(r"signature|thinking|thought|reasoning", re.IGNORECASE)
_FIELDS = ("reasoning_blocks", *REASONING_FIELDS)


def without_reasoning(prompt: Prompt, failure: ProviderFailure) -> Prompt | None:
    """The prompt without the reasoning that a provider refused; None: it refused something else."""
    messages = prompt.body.get("messages")
    if failure.kind != "refused" or not isinstance(messages, list) or _REFUSED.search(failure.message) is None:
        return None
    bare = [_bare(one) for one in messages]
    if all(new is old for new, old in zip(bare, messages, strict=True)):
        return None
    # The caller's own body holds the same reasoning once more: it is made anew from this one.
    return replace(prompt, body={**prompt.body, "messages": bare}, native=None)


def _bare(message: Any) -> Any:
    if not isinstance(message, Mapping) or not any(name in message for name in _FIELDS):
        return message
    return {name: value for name, value in message.items() if name not in _FIELDS}
