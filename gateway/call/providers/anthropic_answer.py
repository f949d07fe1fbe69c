"""Whole answers in Anthropic's format and in OpenAI's shape, one for the other, with stop reasons and usage."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.call.providers.openai_request import arguments_of, objects
from gateway.call.providers.openai_usage import read_usage
from gateway.call.providers.provenance import anthropic_id, text_of
from gateway.call.providers.reasoning_blocks import THINKING, shown_to_client, thought
from gateway.usage import Usage

FINISH_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
STOP_REASONS: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_MOST = 10**9


def read_anthropic_usage(told: Any, before: Usage | None = None) -> Usage | None:
    """Tokens as Anthropic tells them: its `input_tokens` are those that no cache had a part in.

    Parameters
    ----------
    before : what an earlier event told; a later one only repeats the counts that changed.
    """
    if not isinstance(told, Mapping):
        return before
    before = before or Usage()
    plain, cached, written = (
        _count(told.get(name), default)
        for name, default in (
            ("input_tokens", before.input - before.cached - before.cache_write),
            ("cache_read_input_tokens", before.cached),
            ("cache_creation_input_tokens", before.cache_write),
        )
    )
    output = _count(told.get("output_tokens"), before.output)
    by_age, details = told.get("cache_creation"), told.get("output_tokens_details")
    hour = by_age.get("ephemeral_1h_input_tokens") if isinstance(by_age, Mapping) else None
    thought = details.get("thinking_tokens") if isinstance(details, Mapping) else None
    return Usage(
        input=plain + cached + written,
        cached=cached,
        cache_write=written,
        output=output,
        reasoning=min(output, _count(thought, before.reasoning)),
        cache_write_hour=min(written, _count(hour, before.cache_write_hour)),
    )


def openai_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` object of an OpenAI answer, with what was written to a cache where something was."""
    shown: dict[str, Any] = usage.as_openai()
    if usage.cache_write:
        shown["prompt_tokens_details"]["cache_write_tokens"] = usage.cache_write
    return shown


def anthropic_usage(usage: Usage) -> dict[str, Any]:
    """The `usage` object of an Anthropic answer."""
    shown: dict[str, Any] = {
        "input_tokens": max(0, usage.input - usage.cached - usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    }
    if usage.cache_write_hour:
        minutes = usage.cache_write - usage.cache_write_hour
        shown["cache_creation"] = {
            "ephemeral_5m_input_tokens": minutes,
            "ephemeral_1h_input_tokens": usage.cache_write_hour,
        }
    if usage.reasoning:
        shown["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return shown


def from_anthropic_answer(body: Mapping[str, Any], source: str = "anthropic") -> tuple[dict[str, Any], Usage]:
    """An answer in OpenAI's shape, and its usage.

    Parameters
    ----------
    source : whose reasoning it holds.
    """
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []
    length = 0
    for block in body.get("content") or ():
        if not isinstance(block, Mapping):
            continue
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text") or ""))
            length += len(texts[-1])
        elif kind == "tool_use":
            calls.append(tool_call(block.get("id"), block.get("name"), orjson.dumps(block.get("input") or {}).decode()))
        elif kind in THINKING:
            thoughts.append(thought(block, source, length, len(calls)))
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_blocks"] = thoughts
        shown = "\n\n".join(str(block["thinking"]) for block in thoughts if block.get("thinking"))
        if shown:
            message["reasoning_content"] = shown
    usage = read_anthropic_usage(body.get("usage")) or Usage()
    finish_reason = FINISH_REASONS.get(str(body.get("stop_reason")), "stop")
    if finish_reason == "content_filter" and not texts:
        details = body.get("stop_details")
        message["refusal"] = str((details if isinstance(details, Mapping) else {}).get("explanation") or "Refused.")
    answer = {
        "id": f"chatcmpl-{body.get('id', '')}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": openai_usage(usage),
    }
    return answer, usage


def to_anthropic_answer(
    body: Mapping[str, Any], model: str | None = None, usage: Usage | None = None
) -> dict[str, Any]:
    """An answer in OpenAI's shape as a client of Anthropic's format expects it; the first choice is taken.

    Parameters
    ----------
    model : name to show; by default that of the body.
    usage : by default what the body tells.
    """
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    content = shown_to_client(message)
    text = text_of(message.get("content")) or message.get("refusal")
    if text:
        content.append({"type": "text", "text": text})
    for call in objects(message.get("tool_calls")):
        function = call.get("function")
        function = function if isinstance(function, Mapping) else {}
        content.append(
            {
                "type": "tool_use",
                "id": anthropic_id(call.get("id")),
                "name": function.get("name"),
                "input": arguments_of(function.get("arguments")),
            }
        )
    if usage is None:
        usage = read_usage(body.get("usage")) or Usage()
    return {
        "id": message_id(body.get("id")),
        "type": "message",
        "role": "assistant",
        "model": model or body.get("model"),
        "content": content,
        "stop_reason": STOP_REASONS.get(str(choice.get("finish_reason")), "end_turn"),
        "stop_sequence": None,
        "usage": anthropic_usage(usage),
    }


def message_id(openai_id: Any) -> str:
    """An id of a message in Anthropic's form; the original one where the answer came from there."""
    text = str(openai_id or "").removeprefix("chatcmpl-")
    return text if text.startswith("msg_") else f"msg_{text or uuid.uuid4().hex}"


def tool_call(number: Any, name: Any, arguments: str) -> dict[str, Any]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


def _count(value: Any, default: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return min(max(0, value), _MOST)
    return default
