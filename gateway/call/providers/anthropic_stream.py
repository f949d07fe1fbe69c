"""Anthropic's stream of events as pieces in OpenAI's shape."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson

from gateway.call.providers.anthropic_answer import FINISH_REASONS, openai_usage, read_anthropic_usage, tool_call
from gateway.call.providers.failures import failure_in_answer
from gateway.call.providers.reasoning_blocks import THINKING, mark, thought
from gateway.call.providers.wire import Piece, Provider, ProviderFailure
from gateway.usage import Usage

_NO_PIECES: Sequence[Piece] = ()


class AnthropicDecoder:
    """Events as they come.

    Parameters
    ----------
    source : whose reasoning it is.
    wanted : whether the caller asked for the chunk with usage.
    native : whether the caller speaks Anthropic's format, and wants the events themselves.
    """

    __slots__ = (
        "_block", "_calls", "_created", "_id", "_length", "_model", "_native", "_provider", "_source", "_stopped",
        "_usage", "_wanted", "ended",
    )  # fmt: skip

    def __init__(self, provider: Provider, source: str, wanted: bool, native: bool) -> None:
        self.ended = False
        self._provider = provider
        self._source = source
        self._wanted = wanted
        self._native = native
        self._id = ""
        self._model = ""
        self._created = int(time.time())
        self._block: dict[str, Any] | None = None
        self._calls = 0
        self._length = 0
        self._stopped = False
        self._usage: Usage | None = None

    def event(self, name: str, data: bytes) -> Sequence[Piece]:
        if not data:
            return _NO_PIECES
        try:
            event = orjson.loads(data)
            kind = event["type"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise ProviderFailure("malformed", f"{self._provider.name} sent an event without a type.") from None
        if kind == "error":
            raise failure_in_answer(self._provider, event)
        try:
            pieces = self._read(kind, event)
        except (KeyError, TypeError, AttributeError):
            raise ProviderFailure("malformed", f"{self._provider.name} sent an event of another shape.") from None
        if not self._native:
            return pieces
        first = pieces[0] if pieces else Piece(None)
        first.native = ((name or kind, event),)
        return pieces or (first,)

    def finish(self) -> Sequence[Piece]:
        if self._stopped:
            # The stop reason came, and only the empty last event was lost.
            return self._last()
        raise ProviderFailure("closed", f"{self._provider.name} ended the stream before the answer was finished.")

    def _read(self, kind: str, event: dict[str, Any]) -> Sequence[Piece]:
        if kind == "content_block_delta":
            return self._delta(event["delta"])
        if kind == "content_block_start":
            return self._begin(event["content_block"])
        if kind == "content_block_stop":
            return self._end()
        if kind == "message_start":
            message = event["message"]
            self._id, self._model = f"chatcmpl-{message['id']}", message.get("model")
            self._usage = read_anthropic_usage(message.get("usage"))
            return (self._piece({"role": "assistant", "content": ""}, usage=self._usage),)
        if kind == "message_delta":
            self._usage = read_anthropic_usage(event.get("usage"), self._usage)
            reason = event["delta"].get("stop_reason")
            if reason is None:
                return (Piece(None, self._usage),)
            self._stopped = True
            delta: dict[str, Any] = {}
            details = event["delta"].get("stop_details")
            if reason == "refusal" and isinstance(details, dict) and details.get("explanation"):
                delta["refusal"] = details["explanation"]
            return (self._piece(delta, FINISH_REASONS.get(reason, "stop"), self._usage),)
        if kind == "message_stop":
            self.ended = True
            return self._last()
        return _NO_PIECES

    def _delta(self, delta: dict[str, Any]) -> Sequence[Piece]:
        kind = delta["type"]
        if kind == "text_delta":
            text = delta["text"]
            self._length += len(text)
            return (self._piece({"content": text}),)
        block = self._block
        if kind == "input_json_delta":
            given = delta["partial_json"]
            if block is None or block["type"] != "tool_use" or not given:
                return _NO_PIECES
            block["given"] = True
            call = {"index": self._calls - 1, "function": {"arguments": given}}
            return (self._piece({"tool_calls": [call]}),)
        if block is None:
            return _NO_PIECES
        if kind == "thinking_delta":
            block["thinking"] += delta["thinking"]
            return (self._piece({"reasoning_content": delta["thinking"]}),)
        if kind == "signature_delta":
            if not block["signature"] and self._native:
                block["signature"] = delta["signature"]
                delta["signature"] = mark(delta["signature"], self._source)
            else:
                block["signature"] += delta["signature"]
        return _NO_PIECES

    def _begin(self, given: dict[str, Any]) -> Sequence[Piece]:
        kind = given["type"]
        self._block = block = dict(given)
        if kind == "tool_use":
            self._calls += 1
            call = tool_call(given["id"], given["name"], "")
            return (self._piece({"tool_calls": [{"index": self._calls - 1, **call}]}),)
        if kind == "text" and given.get("text"):
            self._length += len(given["text"])
            return (self._piece({"content": given["text"]}),)
        if kind == "thinking":
            block["thinking"] = given.get("thinking") or ""
            block["signature"] = given.get("signature") or ""
            if block["thinking"]:
                return (self._piece({"reasoning_content": block["thinking"]}),)
        elif kind == "redacted_thinking" and self._native:
            given["data"] = mark(given.get("data") or "", self._source)
        return _NO_PIECES

    def _end(self) -> Sequence[Piece]:
        block, self._block = self._block, None
        if block is None:
            return _NO_PIECES
        if block["type"] in THINKING:
            kept = thought(block, self._source, self._length, self._calls)
            return (self._piece({"reasoning_blocks": [kept]}),)
        if block["type"] == "tool_use" and "given" not in block:
            # Arguments that came whole with the beginning, or a call without any.
            arguments = orjson.dumps(block.get("input") or {}).decode()
            call = {"index": self._calls - 1, "function": {"arguments": arguments}}
            return (self._piece({"tool_calls": [call]}),)
        return _NO_PIECES

    def _last(self) -> Sequence[Piece]:
        if not self._wanted or self._usage is None:
            return _NO_PIECES
        piece = self._piece({}, usage=self._usage)
        assert piece.chunk is not None
        piece.chunk["choices"] = []
        piece.chunk["usage"] = openai_usage(self._usage)
        return (piece,)

    def _piece(self, delta: dict[str, Any], finish_reason: str | None = None, usage: Usage | None = None) -> Piece:
        return Piece(
            {
                "id": self._id,
                "object": "chat.completion.chunk",
                "created": self._created,
                "model": self._model,
                "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
            },
            usage,
        )
