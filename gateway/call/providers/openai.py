"""OpenAI's format, which most providers speak: the caller's body goes through as it came, but for the model's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.call.providers.endpoints import Endpoint, encode, endpoint
from gateway.call.providers.failures import failure_in_answer
from gateway.call.providers.http import Http
from gateway.call.providers.openai_quirks import Quirks, quirks_of
from gateway.call.providers.openai_request import wants_usage
from gateway.call.providers.openai_usage import read_usage, usage_of_chunk
from gateway.call.providers.provenance import REASONING_FIELDS, source_of, strip_foreign
from gateway.call.providers.streaming import PieceStream
from gateway.call.providers.wire import Answer, Piece, Provider, ProviderFailure
from gateway.prompt import Prompt
from gateway.usage import Usage

# Of Anthropic's requests, what OpenAI's format has no word for.
_ANTHROPIC_ONLY = (
    "top_k",
    "thinking",
    "cache_control",
    "container",
    "context_management",
    "mcp_servers",
    "output_config",
)
_USAGE = {"include_usage": True}
_NO_PIECES: Sequence[Piece] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    """What is the same in every request to one provider."""

    provider: Provider
    source: str
    quirks: Quirks
    chat: Endpoint
    embeddings: Endpoint
    models: Endpoint


class OpenAIWire:
    """Speaks to whoever takes `/chat/completions`, `/embeddings` and `/models` below its base URL."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lines: dict[str, _Line] = {}

    async def complete(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> Answer:
        line = self._line(provider)
        body = chat_body(prompt, model, line.source, line.quirks)
        raw = await self._http.request(line.chat, encode(body), timeout_s)
        return read_answer(provider, line.source, raw)

    def stream(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> PieceStream:
        line = self._line(provider)
        body = chat_body(prompt, model, line.source, line.quirks)
        body["stream"] = True
        if line.quirks.asks_usage:
            options = prompt.body.get("stream_options")
            body["stream_options"] = {**options, **_USAGE} if isinstance(options, Mapping) else _USAGE
        opened = self._http.open(line.chat, encode(body), timeout_s)
        return PieceStream(opened, ChunkDecoder(provider, line.source, wants_usage(prompt.body)))

    async def embed(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> Answer:
        line = self._line(provider)
        raw = await self._http.request(line.embeddings, encode({**prompt.body, "model": model}), timeout_s)
        body = read_object(provider, raw)
        if not isinstance(body.get("data"), list):
            raise _unexpected(provider, body, "data")
        return Answer(body, read_usage(body.get("usage")))

    async def models(self, provider: Provider, timeout_s: float) -> list[str]:
        line = self._line(provider)
        raw = await self._http.request(line.models, None, timeout_s, method="GET")
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise not_json(provider) from None
        # Together sends the list itself.
        offered = body.get("data") if isinstance(body, Mapping) else body
        if not isinstance(offered, list):
            raise _unexpected(provider, body, "data")
        return [str(model["id"]) for model in offered if isinstance(model, Mapping) and "id" in model]

    def _line(self, provider: Provider) -> _Line:
        line = self._lines.get(provider.name)
        if line is None or line.provider is not provider:
            headers = {} if provider.key is None else {"Authorization": f"Bearer {provider.key}"}
            line = self._lines[provider.name] = _Line(
                provider,
                source_of(provider),
                quirks_of(provider),
                endpoint(provider, "/chat/completions", headers),
                endpoint(provider, "/embeddings", headers),
                endpoint(provider, "/models", headers),
            )
        return line


def chat_body(prompt: Prompt, model: str, source: str, quirks: Quirks) -> dict[str, Any]:
    """The body to send: the caller's, and of it changed only what this provider would refuse."""
    body = dict(prompt.body)
    body["model"] = model
    body.pop("stream", None)
    body.pop("stream_options", None)
    messages = body.get("messages")
    if isinstance(messages, list):
        body["messages"] = strip_foreign(
            messages,
            source,
            wire="openai",
            keep_untagged=quirks.reasoning,
            strict=quirks.strict,
            longest_id=quirks.longest_id,
        )
    if quirks.max_tokens is not None:
        other = "max_tokens" if quirks.max_tokens == "max_completion_tokens" else "max_completion_tokens"
        if other in body:
            limit = body.pop(other)
            body.setdefault(quirks.max_tokens, limit)
    if prompt.wire == "anthropic":
        for name in _ANTHROPIC_ONLY:
            body.pop(name, None)
        if not quirks.cache_control:
            body["messages"] = [_uncached(message) for message in body.get("messages", ())]
            if isinstance(body.get("tools"), list):
                body["tools"] = [_without_mark(tool) for tool in body["tools"]]
    return body


def read_answer(provider: Provider, source: str, raw: bytes) -> Answer:
    """A whole answer from its bytes; nothing in it is changed but that reasoning gets its provenance."""
    body = read_object(provider, raw)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _unexpected(provider, body, "choices")
    finish_reason = None
    for choice in choices:
        if not isinstance(choice, dict):
            raise _unexpected(provider, body, "choices")
        if finish_reason is None:
            finish_reason = choice.get("finish_reason")
        if "error" in choice and isinstance(choice["error"], dict):
            raise failure_in_answer(provider, choice)
        message = choice.get("message")
        if isinstance(message, dict):
            tag(message, source)
    usage = read_usage(body.get("usage")) or usage_of_chunk(body)
    return Answer(body, usage, finish_reason if isinstance(finish_reason, str) else None)


class ChunkDecoder:
    """Chunks as they come.

    Parameters
    ----------
    wanted : whether the caller asked for usage, and so expects the chunk that holds nothing else.
    """

    __slots__ = ("_begun", "_finished", "_provider", "_source", "_tagged", "_wanted", "ended")

    def __init__(self, provider: Provider, source: str, wanted: bool) -> None:
        self.ended = False
        self._provider = provider
        self._source = source
        self._wanted = wanted
        self._begun: set[Any] = set()
        self._finished: set[Any] = set()
        self._tagged: set[Any] = set()

    def event(self, name: str, data: bytes) -> Sequence[Piece]:
        if data == b"[DONE]":
            self.ended = True
            return _NO_PIECES
        if not data or data.isspace():
            return _NO_PIECES
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            if data.strip() == b"[DONE]":
                self.ended = True
                return _NO_PIECES
            raise ProviderFailure("malformed", f"{self._provider.name} sent a chunk that is not JSON.") from None
        if not isinstance(chunk, dict):
            raise ProviderFailure("malformed", f"{self._provider.name} sent a chunk that is not an object.")
        if name == "error" or chunk.get("error"):
            raise failure_in_answer(self._provider, chunk)
        usage: Usage | None = None
        if "usage" in chunk or "x_groq" in chunk:
            usage = usage_of_chunk(chunk)
            if usage is None and not self._wanted and chunk.get("usage", 0) is None:
                # OpenAI says null on every chunk once it was asked; the caller did not.
                del chunk["usage"]
        choices = chunk.get("choices")
        if choices:
            self._look(choices)
        elif chunk.get("object") == "error":
            raise failure_in_answer(self._provider, chunk)
        elif usage is not None and not self._wanted:
            return (Piece(None, usage),)
        return (Piece(chunk, usage),)

    def finish(self) -> Sequence[Piece]:
        if self._finished and self._begun <= self._finished:
            return _NO_PIECES
        raise ProviderFailure("closed", f"{self._provider.name} ended the stream before the answer was finished.")

    def _look(self, choices: Any) -> None:
        try:
            for choice in choices:
                index = choice.get("index", 0)
                self._begun.add(index)
                if choice.get("finish_reason"):
                    self._finished.add(index)
                delta = choice.get("delta")
                if delta and index not in self._tagged and tag(delta, self._source):
                    self._tagged.add(index)
        except (AttributeError, TypeError):
            raise ProviderFailure("malformed", f"{self._provider.name} sent a chunk of another shape.") from None


def tag(message: dict[str, Any], source: str) -> bool:
    """Note on a message or delta with reasoning whose it is; whether there was any."""
    for field in REASONING_FIELDS:
        if message.get(field):
            message["reasoning_blocks"] = [{"provider": source, "type": "reasoning"}]
            return True
    return False


def read_object(provider: Provider, raw: bytes) -> dict[str, Any]:
    """A JSON object, or the failure that its absence is."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise not_json(provider) from None
    if not isinstance(body, dict):
        raise ProviderFailure("malformed", f"{provider.name} answered with JSON that is not an object.", status=200)
    return body


def not_json(provider: Provider) -> ProviderFailure:
    return ProviderFailure("malformed", f"{provider.name} answered with something that is not JSON.", status=200)


def _unexpected(provider: Provider, body: Any, missing: str) -> ProviderFailure:
    if isinstance(body, Mapping) and (body.get("error") or body.get("object") == "error"):
        return failure_in_answer(provider, body)
    return ProviderFailure("malformed", f"{provider.name} answered without `{missing}`.", status=200)


def _uncached(message: Any) -> Any:
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(content, list) or not any(
        isinstance(part, Mapping) and "cache_control" in part for part in content
    ):
        return message
    return {**message, "content": [_without_mark(part) for part in content]}


def _without_mark(part: Any) -> Any:
    if not isinstance(part, Mapping) or "cache_control" not in part:
        return part
    return {key: value for key, value in part.items() if key != "cache_control"}
