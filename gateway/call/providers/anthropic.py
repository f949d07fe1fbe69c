"""Anthropic's messages format: requests made from OpenAI's shape, answers and streams turned back into it.

A caller who speaks the same format gets through untouched, but for the model's name and for thinking blocks that
another provider made, which Anthropic would refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gateway.call.providers.anthropic_answer import from_anthropic_answer, to_anthropic_answer
from gateway.call.providers.anthropic_caller import from_anthropic_request
from gateway.call.providers.anthropic_events import PING, AnthropicEncoder
from gateway.call.providers.anthropic_request import to_anthropic_request
from gateway.call.providers.anthropic_stream import AnthropicDecoder
from gateway.call.providers.endpoints import Endpoint, encode, endpoint
from gateway.call.providers.failures import failure_in_answer
from gateway.call.providers.http import Http
from gateway.call.providers.openai import read_object
from gateway.call.providers.openai_request import wants_usage
from gateway.call.providers.provenance import source_of
from gateway.call.providers.reasoning_blocks import THINKING, bare, mark, seen_by_client
from gateway.call.providers.streaming import PieceStream
from gateway.call.providers.wire import Answer, Provider, ProviderFailure
from gateway.prompt import Prompt

__all__ = [
    "PING",
    "AnthropicEncoder",
    "AnthropicWire",
    "from_anthropic_answer",
    "from_anthropic_request",
    "to_anthropic_answer",
    "to_anthropic_request",
]

# The newer 2026-10-21 refuses temperature even on models that take it; a provider's `headers` can ask for it.
VERSION = "2023-06-01"


@dataclass(frozen=True, slots=True)
class _Line:
    """What is the same in every request to one provider."""

    provider: Provider
    source: str
    messages: Endpoint
    models: Endpoint


class AnthropicWire:
    """Speaks to whoever takes `/v1/messages` below its base URL, which may end in `/v1` already."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lines: dict[str, _Line] = {}

    async def complete(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> Answer:
        line = self._line(provider)
        raw = await self._http.request(line.messages, encode(_body(prompt, model, line.source)), timeout_s)
        body = read_object(provider, raw)
        if not isinstance(body.get("content"), list):
            if body.get("type") == "error" or body.get("error"):
                raise failure_in_answer(provider, body)
            raise ProviderFailure("malformed", f"{provider.name} answered without `content`.", status=200)
        answer, usage = from_anthropic_answer(body, line.source)
        native = _marked(body, line.source) if prompt.wire == "anthropic" else None
        told = usage if isinstance(body.get("usage"), Mapping) else None
        return Answer(answer, told, answer["choices"][0]["finish_reason"], native)

    def stream(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> PieceStream:
        line = self._line(provider)
        body = _body(prompt, model, line.source)
        body["stream"] = True
        decoder = AnthropicDecoder(provider, line.source, wants_usage(prompt.body), prompt.wire == "anthropic")
        return PieceStream(self._http.open(line.messages, encode(body), timeout_s), decoder)

    async def embed(
        self,
        provider: Provider,
        model: str,  # noqa: ARG002
        prompt: Prompt,  # noqa: ARG002
        timeout_s: float,  # noqa: ARG002
    ) -> Answer:
        """There are none in this format."""
        raise ProviderFailure("unknown_model", f"{provider.name} has no embeddings.", sent=False)

    async def models(self, provider: Provider, timeout_s: float) -> list[str]:
        raw = await self._http.request(self._line(provider).models, None, timeout_s, method="GET")
        offered = read_object(provider, raw).get("data")
        if not isinstance(offered, list):
            raise ProviderFailure("malformed", f"{provider.name} answered without `data`.", status=200)
        return [str(model["id"]) for model in offered if isinstance(model, Mapping) and "id" in model]

    def _line(self, provider: Provider) -> _Line:
        line = self._lines.get(provider.name)
        if line is None or line.provider is not provider:
            headers = {"anthropic-version": VERSION}
            if provider.key is not None:
                headers["x-api-key"] = provider.key
            version = "" if urlsplit(provider.base_url).path.rstrip("/").endswith("/v1") else "/v1"
            line = self._lines[provider.name] = _Line(
                provider,
                source_of(provider),
                endpoint(provider, f"{version}/messages", headers),
                endpoint(provider, f"{version}/models?limit=1000", headers),
            )
        return line


def _body(prompt: Prompt, model: str, source: str) -> dict[str, Any]:
    if prompt.wire != "anthropic" or prompt.native is None:
        return to_anthropic_request(prompt.body, model, source)
    body = {**prompt.native, "model": model}
    body.pop("stream", None)
    messages = body.get("messages")
    if isinstance(messages, list) and any(_thinks(message) for message in messages):
        body["messages"] = _native_thread(messages, source)
    return body


def _thinks(message: Any) -> bool:
    if not isinstance(message, Mapping) or message.get("role") != "assistant":
        return False
    content = message.get("content")
    return isinstance(content, list) and any(
        isinstance(block, Mapping) and block.get("type") in THINKING for block in content
    )


def _native_thread(messages: list[Any], source: str) -> list[Any]:
    """The turns of a client's own request without thinking of other providers, and with this one's as it was made."""
    thread: list[Any] = []
    for message in messages:
        if not _thinks(message):
            thread.append(message)
            continue
        kept: list[Any] = []
        for block in message["content"]:
            if not isinstance(block, Mapping) or block.get("type") not in THINKING:
                kept.append(block)
                continue
            whose = seen_by_client(block)
            if whose["provider"] == source:
                kept.append({**block, **bare(whose)})
        # A turn of nothing but foreign thinking: without it the turns around it come together, which is allowed.
        if kept:
            thread.append({**message, "content": kept})
    return thread


def _marked(body: dict[str, Any], source: str) -> dict[str, Any]:
    """The provider's own answer; where it is not Anthropic, its thinking says so when it comes back."""
    if source == "anthropic":
        return body
    content: list[Any] = []
    for block in body["content"]:
        if isinstance(block, Mapping) and block.get("type") in THINKING:
            field = "data" if block["type"] == "redacted_thinking" else "signature"
            block = {**block, field: mark(str(block.get(field) or ""), source)}
        content.append(block)
    return {**body, "content": content}
