"""Where providers that speak OpenAI's format differ from it, by the host that is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from gateway.call.providers.wire import Provider


@dataclass(frozen=True, slots=True)
class Quirks:
    """How one provider differs.

    Attributes
    ----------
    max_tokens : the one name by which it knows the limit of an answer; None: leave what the caller wrote.
    asks_usage : whether it must and may be asked for usage in a stream; those who may not tell it anyway.
    strict : refuses fields of an assistant's message that others send.
    reasoning : takes an assistant's reasoning back.
    longest_id : longest id of a tool call.
    cache_control : takes Anthropic's marks of what to cache.
    """

    max_tokens: Literal["max_tokens", "max_completion_tokens"] | None = None
    asks_usage: bool = True
    strict: bool = False
    reasoning: bool = True
    longest_id: int | None = None
    cache_control: bool = False


_BY_HOST = {
    "api.openai.com": Quirks(max_tokens="max_completion_tokens", reasoning=False, longest_id=40),
    "api.mistral.ai": Quirks(max_tokens="max_tokens", asks_usage=False, strict=True, reasoning=False),
    "api.groq.com": Quirks(strict=True, reasoning=False),
    "api.cerebras.ai": Quirks(max_tokens="max_completion_tokens", strict=True, reasoning=False),
    "api.deepseek.com": Quirks(max_tokens="max_tokens"),
    "api.together.xyz": Quirks(max_tokens="max_tokens"),
    "api.together.ai": Quirks(max_tokens="max_tokens"),
    "api.fireworks.ai": Quirks(max_tokens="max_tokens"),
    "openrouter.ai": Quirks(cache_control=True),
}
# Everyone else gets the body as it is.
_NONE = Quirks()


def quirks_of(provider: Provider) -> Quirks:
    return _BY_HOST.get(urlsplit(provider.base_url).hostname or "", _NONE)
