"""Pieces as the events that a client of Anthropic's format expects, whichever provider they came from."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.call.providers.anthropic_answer import STOP_REASONS, anthropic_usage, message_id
from gateway.call.providers.openai_request import objects
from gateway.call.providers.provenance import anthropic_id
from gateway.call.providers.reasoning_blocks import shown_to_client
from gateway.call.providers.wire import Piece
from gateway.usage import Usage

Event = tuple[str, dict[str, Any]]

PING: Event = ("ping", {"type": "ping"})


class AnthropicEncoder:
    """Turns the pieces of one answer into events; events that a provider sent in this format pass unchanged.

    A block is closed before the next begins, so calls of tools that arrive interleaved are held back until the one
    that is being written is whole.

    Parameters
    ----------
    model : name to show.
    input_tokens : an estimate for the first event, which comes before anybody knows.
    """

    def __init__(self, model: str, input_tokens: int = 0) -> None:
        self._model = model
        self._input_tokens = input_tokens
        self._begun = False
        self._over = False
        self._index = -1
        self._open: tuple[str, Any] | None = None
        self._arguments = ""
        self._held: dict[Any, tuple[dict[str, Any], str]] = {}
        self._seen: set[Any] = set()
        self._reasoning: dict[str, Any] = {}
        self._stop_reason = "end_turn"
        self._usage: Usage | None = None

    def encode(self, piece: Piece) -> list[Event]:
        """The events of one piece, often none or one."""
        if piece.usage is not None:
            self._usage = piece.usage
        if piece.native:
            self._begun = True
            self._over = self._over or any(name == "message_stop" for name, _ in piece.native)
            return list(piece.native)
        chunk = piece.chunk
        if chunk is None or self._over:
            return []
        events: list[Event] = []
        if not self._begun:
            events.append(self._start(chunk.get("id")))
        choices = chunk.get("choices")
        choice = choices[0] if choices else None
        if choice is None or choice.get("index", 0) != 0:
            return events
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            self._take(delta, events)
        if choice.get("finish_reason"):
            self._stop_reason = STOP_REASONS.get(choice["finish_reason"], "end_turn")
        return events

    def finish(self, usage: Usage | None = None) -> list[Event]:
        """The last events; none where the provider's own have come through.

        Parameters
        ----------
        usage : by default what the pieces told.
        """
        if self._over:
            return []
        self._over = True
        events: list[Event] = [] if self._begun else [self._start(None)]
        self._close(events)
        for key in list(self._held):
            call, arguments = self._held.pop(key)
            self._begin_tool(key, call, events)
            self._add_arguments(arguments, events)
            self._close(events)
        told = anthropic_usage(usage or self._usage or Usage(input=self._input_tokens))
        delta = {"stop_reason": self._stop_reason, "stop_sequence": None}
        events.append(("message_delta", {"type": "message_delta", "delta": delta, "usage": told}))
        events.append(("message_stop", {"type": "message_stop"}))
        return events

    def fail(self, message: str, kind: str = "api_error") -> list[Event]:
        """The event that says the answer broke off; nothing comes after it."""
        self._over = True
        return [("error", {"type": "error", "error": {"type": kind, "message": message}})]

    def _start(self, number: Any) -> Event:
        self._begun = True
        message: dict[str, Any] = {
            "id": message_id(number) if number else f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": anthropic_usage(Usage(input=self._input_tokens)),
        }
        return "message_start", {"type": "message_start", "message": message}

    def _take(self, delta: Mapping[str, Any], events: list[Event]) -> None:
        text = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(text, str) and text:
            if self._open is None or self._open[0] != "thinking":
                self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""}, events)
            self._push({"type": "thinking_delta", "thinking": text}, events)
        for block in objects(delta.get("reasoning_blocks")):
            self._sign(block, events)
        text = delta.get("content") or delta.get("refusal")
        if isinstance(text, str) and text:
            if self._open is None or self._open[0] != "text":
                self._begin("text", {"type": "text", "text": ""}, events)
            self._push({"type": "text_delta", "text": text}, events)
        for call in objects(delta.get("tool_calls")):
            self._call(call, events)

    def _sign(self, block: Mapping[str, Any], events: list[Event]) -> None:
        """What ends a thinking block: its signature, or the mark of whoever thought."""
        if block.get("type") == "reasoning":
            self._reasoning = dict(block)
            return
        for shown in shown_to_client({"reasoning_blocks": [block]}):
            if shown["type"] == "thinking" and self._open is not None and self._open[0] == "thinking":
                self._push({"type": "signature_delta", "signature": shown["signature"]}, events)
                self._open = ("signed", None)
            else:
                self._begin("block", shown, events)
            self._close(events)

    def _call(self, call: Mapping[str, Any], events: list[Event]) -> None:
        key = str(call.get("index", 0))
        arguments = _function(call).get("arguments")
        arguments = arguments if isinstance(arguments, str) else ""
        if self._open == ("tool_use", key):
            self._add_arguments(arguments, events)
        elif key in self._held:
            held, before = self._held[key]
            self._held[key] = (held, before + arguments)
        elif key in self._seen:
            return
        elif self._open is not None and self._open[0] == "tool_use" and not _whole(self._arguments):
            self._held[key] = (dict(call), arguments)
        else:
            self._begin_tool(key, call, events)
            self._add_arguments(arguments, events)
        self._seen.add(key)
        while self._held and _whole(self._arguments):
            first = next(iter(self._held))
            held, before = self._held.pop(first)
            self._begin_tool(first, held, events)
            self._add_arguments(before, events)

    def _begin_tool(self, key: Any, call: Mapping[str, Any], events: list[Event]) -> None:
        name, number = _function(call).get("name"), anthropic_id(call.get("id"))
        block: dict[str, Any] = {"type": "tool_use", "id": number, "name": name, "input": {}}
        self._begin("tool_use", block, events, key)
        self._arguments = ""

    def _add_arguments(self, arguments: str, events: list[Event]) -> None:
        if arguments:
            self._arguments += arguments
            self._push({"type": "input_json_delta", "partial_json": arguments}, events)

    def _begin(self, kind: str, block: dict[str, Any], events: list[Event], key: Any = None) -> None:
        self._close(events)
        self._index += 1
        self._open = (kind, key)
        started = {"type": "content_block_start", "index": self._index, "content_block": block}
        events.append(("content_block_start", started))

    def _push(self, delta: dict[str, Any], events: list[Event]) -> None:
        pushed = {"type": "content_block_delta", "index": self._index, "delta": delta}
        events.append(("content_block_delta", pushed))

    def _close(self, events: list[Event]) -> None:
        if self._open is None:
            return
        if self._open[0] == "thinking":
            # Nobody signed it: then whose it is stands in place of a signature.
            unsigned = {"reasoning_content": "-", "reasoning_blocks": [self._reasoning] if self._reasoning else []}
            self._push({"type": "signature_delta", "signature": shown_to_client(unsigned)[0]["signature"]}, events)
        self._open = None
        events.append(("content_block_stop", {"type": "content_block_stop", "index": self._index}))


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    return function if isinstance(function, Mapping) else {}


def _whole(arguments: str) -> bool:
    """Whether arguments are a complete JSON object."""
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return False
    return True
