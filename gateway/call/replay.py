"""A whole answer told again piece by piece, as if it were streamed; put together again it is the same answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from gateway.call.providers.wire import Piece

# Characters of a piece, about what providers send at once; it ends with a word where it can.
_PIECE = 24
_TEXTS = ("reasoning_content", "content", "refusal")
_HEAD = ("id", "created", "model", "system_fingerprint", "service_tier")


def replay(body: Mapping[str, Any], *, include_usage: bool = False) -> list[dict[str, Any]]:
    """The chunks of a `chat.completion`: the role, what the message holds, why it ended.

    Parameters
    ----------
    include_usage : whether a last chunk without choices tells the usage, as `stream_options` asks for.
    """
    head = {name: body[name] for name in _HEAD if name in body}
    head["object"] = "chat.completion.chunk"
    told: list[dict[str, Any]] = []
    for choice in body.get("choices") or ():
        index = choice.get("index", 0)
        for delta in _deltas(choice.get("message") or {}):
            told.append({**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]})
        last: dict[str, Any] = {"index": index, "delta": {}, "finish_reason": choice.get("finish_reason")}
        if choice.get("logprobs") is not None:
            last["logprobs"] = choice["logprobs"]
        told.append({**head, "choices": [last]})
    if include_usage and "usage" in body:
        told.append({**head, "choices": [], "usage": body["usage"]})
    return told


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # What nobody here knows comes whole, with the role.
    plain = {name: one for name, one in message.items() if name not in _TEXTS and name != "tool_calls"}
    yield {"role": "assistant", **plain}
    for name in _TEXTS:
        text = message.get(name)
        if isinstance(text, str):
            for piece in pieces(text):
                yield {name: piece}
    for place, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        rest = {name: one for name, one in function.items() if name != "arguments"}
        yield {"tool_calls": [{**call, "index": place, "function": {**rest, "arguments": ""}}]}
        for piece in pieces(function.get("arguments") or ""):
            yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}


def pieces(text: str) -> Iterator[str]:
    """A text in pieces, none of them empty."""
    start, length = 0, len(text)
    while start < length:
        end = start + _PIECE
        if end < length:
            space = text.rfind(" ", start + 1, end)
            end = space if space > start else end
        yield text[start:end]
        start = end


class Told:
    """A whole answer as a source of pieces; see `gateway.call.streaming`."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[Piece]:
        for chunk in replay(self._body):
            yield Piece(chunk)
