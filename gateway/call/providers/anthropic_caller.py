"""A request of a client that speaks Anthropic's messages format, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.call.providers.anthropic_blocks import parts_of, simplest
from gateway.call.providers.reasoning_blocks import THINKING, seen_by_client
from store.errors import InvalidValue

# What both formats call the same, and what of Anthropic's is kept for a provider that speaks it.
_SAME = ("model", "max_tokens", "temperature", "top_p", "stream", "top_k", "thinking", "cache_control", "container")
_ROLES = ("user", "assistant", "system")


def from_anthropic_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """The request in OpenAI's shape. Tools that Anthropic itself runs stay as they are: no other provider has them.

    Raises
    ------
    InvalidValue : the body is not one of the messages format; `field` names the place.
    """
    if not isinstance(body, Mapping):
        raise _invalid("body", body, "a JSON object")
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        raise _invalid("messages", given, "a list with at least one message")
    if not isinstance(body.get("model"), str):
        raise _invalid("model", body.get("model"), "the name of a model")
    limit = body.get("max_tokens")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise _invalid("max_tokens", limit, "a whole number, which this format requires")
    turned: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
    messages: list[dict[str, Any]] = []
    if body.get("system"):
        messages.append({"role": "system", "content": simplest(parts_of(body["system"]))})
    for at, message in enumerate(given):
        messages.extend(_messages(message, f"messages.{at}"))
    turned["messages"] = messages
    if body.get("tools") is not None:
        if not isinstance(body["tools"], list):
            raise _invalid("tools", body["tools"], "a list")
        turned["tools"] = [_tool(tool, f"tools.{at}") for at, tool in enumerate(body["tools"])]
    _choose(turned, body.get("tool_choice"))
    if body.get("stop_sequences"):
        turned["stop"] = body["stop_sequences"]
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping) and isinstance(metadata.get("user_id"), str):
        turned["user"] = metadata["user_id"]
    output = body.get("output_config")
    if isinstance(output, Mapping):
        turned["output_config"] = output
        held = output.get("format")
        if isinstance(held, Mapping) and held.get("type") == "json_schema":
            described = {"name": "answer", "schema": held.get("schema"), "strict": True}
            turned["response_format"] = {"type": "json_schema", "json_schema": described}
    return turned


def _messages(message: Any, field: str) -> list[dict[str, Any]]:
    """One turn: results of tools are messages of their own, and come before what the user says with them."""
    if not isinstance(message, Mapping):
        raise _invalid(field, message, "an object with role and content")
    role, content = message.get("role"), message.get("content")
    if role not in _ROLES:
        raise _invalid(f"{field}.role", role, f"one of {', '.join(_ROLES)}")
    if not isinstance(content, str | list):
        raise _invalid(f"{field}.content", content, "a text or a list of blocks")
    if role == "assistant":
        return [_said(content, field)]
    turned = []
    rest = []
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, Mapping):
            raise _invalid(field, block, "blocks that are objects")
        if block.get("type") == "tool_result":
            turned.append(_result(block))
        else:
            rest.append(block)
    parts = parts_of(content if isinstance(content, str) else rest)
    if parts or not turned:
        turned.append({"role": role, "content": simplest(parts)})
    return turned


def _said(content: str | list[Any], field: str) -> dict[str, Any]:
    """An assistant's turn: text, tool calls, and reasoning with whose it is."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    thoughts: list[dict[str, Any]] = []
    for block in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if not isinstance(block, Mapping):
            raise _invalid(field, block, "blocks that are objects")
        kind = block.get("type")
        if kind == "tool_use":
            arguments = orjson.dumps(block.get("input") or {}).decode()
            call = {"name": str(block.get("name", "")), "arguments": arguments}
            calls.append({"id": str(block.get("id", "")), "type": "function", "function": call})
        elif kind in THINKING:
            thoughts.append(seen_by_client(block, sum(len(text) for text in texts), len(calls)))
        else:
            texts.extend(part["text"] for part in parts_of([block]) if part["type"] == "text")
    if texts:
        message["content"] = "".join(texts)
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_blocks"] = thoughts
        thought = "\n\n".join(str(block["thinking"]) for block in thoughts if block.get("thinking"))
        if thought:
            message["reasoning_content"] = thought
    return message


def _result(block: Mapping[str, Any]) -> dict[str, Any]:
    parts = parts_of(block.get("content"))
    message: dict[str, Any] = {
        "role": "tool",
        "tool_call_id": str(block.get("tool_use_id", "")),
        "content": simplest(parts),
    }
    if block.get("is_error") is True:
        message["is_error"] = True
    if "cache_control" in block:
        message["cache_control"] = block["cache_control"]
    return message


def _tool(tool: Any, field: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping):
        raise _invalid(field, tool, "an object")
    if "input_schema" not in tool:
        return dict(tool)
    function: dict[str, Any] = {"name": tool.get("name"), "parameters": tool["input_schema"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    if tool.get("strict") is True:
        function["strict"] = True
    made: dict[str, Any] = {"type": "function", "function": function}
    if "cache_control" in tool:
        made["cache_control"] = tool["cache_control"]
    return made


def _choose(turned: dict[str, Any], choice: Any) -> None:
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "tool":
        turned["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in ("auto", "any", "none"):
        turned["tool_choice"] = "required" if kind == "any" else kind
    else:
        raise _invalid("tool_choice", choice, "an object of type auto, any, tool or none")
    if choice.get("disable_parallel_tool_use") is True:
        turned["parallel_tool_calls"] = False


def _invalid(field: str, value: Any, wanted: str) -> InvalidValue:
    shown = repr(value)[:100]
    return InvalidValue(f"`{field}` is {shown}.", remedy=f"It must be {wanted}.", field=field, value=shown)
