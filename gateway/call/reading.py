"""Reads a streamed answer while it passes: its text, its usage, how it ended; nothing is held back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.account.tokens import count_text
from gateway.call.providers.wire import Piece
from gateway.usage import Usage


class Reading:
    """What has been streamed so far.

    Attributes
    ----------
    usage : the last one that the provider told; None as long as it told none.
    finish_reason : of the first choice.
    """

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self._head: dict[str, Any] = {}
        self._texts: dict[int, list[str]] = {}
        self._thoughts: dict[int, list[str]] = {}
        self._refusals: dict[int, list[str]] = {}
        self._calls: dict[int, dict[int, dict[str, Any]]] = {}
        self._finish: dict[int, str | None] = {}
        self._extras: dict[int, dict[str, Any]] = {}

    def take(self, piece: Piece) -> None:
        """Note one piece."""
        if piece.usage is not None:
            self.usage = piece.usage
        chunk = piece.chunk
        if chunk is None:
            return
        if not self._head:
            self._head = {
                name: chunk[name] for name in ("id", "created", "model", "system_fingerprint") if name in chunk
            }
        for choice in chunk.get("choices") or ():
            index = choice.get("index", 0)
            delta = choice.get("delta") or {}
            if content := delta.get("content"):
                self._texts.setdefault(index, []).append(content)
            if finish := choice.get("finish_reason"):
                self._finish[index] = finish
                if index == 0:
                    self.finish_reason = finish
            if len(delta) > ("content" in delta) + ("role" in delta):
                self._take_rest(index, delta)
            elif index not in self._finish:
                self._finish[index] = None

    def _take_rest(self, index: int, delta: Mapping[str, Any]) -> None:
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            self._thoughts.setdefault(index, []).append(str(thought))
        if refusal := delta.get("refusal"):
            self._refusals.setdefault(index, []).append(refusal)
        if blocks := delta.get("reasoning_blocks"):
            self._extras.setdefault(index, {}).setdefault("reasoning_blocks", []).extend(blocks)
        for place, part in enumerate(delta.get("tool_calls") or ()):
            known = self._calls.setdefault(index, {}).setdefault(part.get("index", place), {"type": "function"})
            function = known.setdefault("function", {"name": "", "arguments": ""})
            if part.get("id"):
                known["id"] = part["id"]
            told = part.get("function") or {}
            if told.get("name"):
                function["name"] = told["name"]
            function["arguments"] += told.get("arguments") or ""
            for name in part.keys() - {"index", "id", "type", "function"}:
                known[name] = part[name]
        self._finish.setdefault(index, None)

    @property
    def text(self) -> str:
        """Of the first choice."""
        return "".join(self._texts.get(0, ()))

    def counted(self, input_tokens: int, *, ended: bool = True) -> Usage:
        """What the provider told, or what is counted here when it told nothing.

        Parameters
        ----------
        ended : by itself. Otherwise what was told is of some earlier moment, and there may be more than that.
        """
        told = self.usage
        if told is not None and ended and told.output:
            return told
        found = self._count(input_tokens)
        if told is None or not told.total:
            return found
        if found.output <= told.output:
            return told
        reasoning = max(told.reasoning, found.reasoning)
        return replace(told, output=found.output, reasoning=reasoning, estimated=True)

    def _count(self, input_tokens: int) -> Usage:
        thoughts = sum(count_text("".join(parts)) for parts in self._thoughts.values())
        output = thoughts + sum(count_text("".join(parts)) for parts in self._texts.values())
        for calls in self._calls.values():
            output += sum(count_text(one["function"]["name"] + one["function"]["arguments"]) for one in calls.values())
        return Usage(input=input_tokens, output=output, reasoning=thoughts, estimated=True)

    def body(self) -> dict[str, Any]:
        """The whole answer as if it had not been streamed."""
        choices = []
        for index in sorted(self._finish.keys() | self._texts.keys()):
            content = "".join(self._texts[index]) if index in self._texts else None
            message: dict[str, Any] = {"role": "assistant", "content": content}
            if index in self._thoughts:
                message["reasoning_content"] = "".join(self._thoughts[index])
            if index in self._refusals:
                message["refusal"] = "".join(self._refusals[index])
            if index in self._calls:
                message["tool_calls"] = [one for _, one in sorted(self._calls[index].items())]
            message.update(self._extras.get(index, {}))
            choices.append({"index": index, "message": message, "finish_reason": self._finish.get(index)})
        body: dict[str, Any] = {**self._head, "object": "chat.completion", "choices": choices}
        if self.usage is not None:
            body["usage"] = self.usage.as_openai()
        return body


def text_of_answer(body: Mapping[str, Any]) -> str:
    """Everything that a whole answer says: of all choices, with thoughts and tool calls; for counting."""
    parts: list[str] = []
    for choice in body.get("choices") or ():
        message = choice.get("message") or {}
        for name in ("content", "reasoning_content", "refusal"):
            if isinstance(message.get(name), str):
                parts.append(message[name])
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            parts.append(f"{function.get('name', '')}{function.get('arguments', '')}")
    return "".join(parts)
