"""A request in OpenAI's shape as Anthropic's messages format has it.

What has no counterpart there is left out where that changes nothing a caller could miss (penalties, seed, logprobs),
and refused where it would (several answers, audio). `response_format` becomes an instruction, and for a strict schema
on models that can be held to one, `output_config.format`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.call.providers.anthropic_blocks import Block, blocks_of
from gateway.call.providers.anthropic_models import Claude, claude
from gateway.call.providers.openai_request import (
    JSON_ONLY,
    LEFT_OUT,
    arguments_of,
    asked_choice,
    asked_limit,
    asked_messages,
    asked_number,
    asked_schema,
    asked_stops,
    asked_tools,
    objects,
    refused,
)
from gateway.call.providers.provenance import strip_foreign
from gateway.call.providers.reasoning_blocks import THINKING

DEFAULT_MAX_TOKENS = 4096
# Of an answer's tokens, how many may be thought, for models that want a number.
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
# Fields of Anthropic's own that a caller may put into a request of OpenAI's shape.
_THROUGH = (
    "cache_control",
    "container",
    "context_management",
    "inference_geo",
    "mcp_servers",
    "output_config",
    "speed",
)
_EMPTY_SCHEMA = {"type": "object", "properties": {}}


def to_anthropic_request(body: Mapping[str, Any], model: str, source: str = "anthropic") -> dict[str, Any]:
    """The request to send.

    Parameters
    ----------
    source : whose reasoning may stay in the thread.

    Raises
    ------
    ProviderFailure : "refused", for what the format cannot say.
    """
    if body.get("n") not in (None, 1):
        raise refused(f"Anthropic gives one answer, {str(body['n'])[:20]} were asked for.", "n")
    able = claude(model)
    system, messages = _thread(asked_messages(body), source)
    request: dict[str, Any] = {
        "model": model,
        "max_tokens": asked_limit(body) or DEFAULT_MAX_TOKENS,
        "messages": messages,
    }
    tools, choice = _tools(body)
    if not tools:
        tools = _tools_of_history(messages)
        choice = {"type": "none"} if tools else None
    if tools:
        request["tools"] = tools
        if choice is not None:
            request["tool_choice"] = choice
    for name in _THROUGH:
        if name in body:
            request[name] = body[name]
    _think(request, body, able, forced=choice is not None and choice["type"] in ("any", "tool"))
    _sample(request, body, able)
    instruction = _format(request, body, able)
    if instruction is not None:
        system.append({"type": "text", "text": instruction})
    if system:
        plain = all(block.keys() == {"type", "text"} for block in system)
        request["system"] = "\n\n".join(block["text"] for block in system) if plain else system
    user = body.get("user") or body.get("safety_identifier")
    if isinstance(user, str) and user:
        request["metadata"] = {"user_id": user[:256]}
    if body.get("service_tier") in ("auto", "standard_only"):
        request["service_tier"] = body["service_tier"]
    return request


def _thread(given: list[Mapping[str, Any]], source: str) -> tuple[list[Block], list[dict[str, Any]]]:
    """System blocks, and turns that alternate between user and assistant and begin with the user."""
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for message in strip_foreign(given, source, wire="anthropic"):
        role = message.get("role")
        if role in ("system", "developer"):
            # Wherever they stand: the format knows instructions only as what comes before everything.
            system.extend(blocks_of(message.get("content")))
        elif role == "assistant":
            _add(turns, "assistant", _said(message))
        elif role == "tool":
            _add(turns, "user", [_result(message)])
        else:
            _add(turns, "user", blocks_of(message.get("content")))
    if not turns and system:
        # Instructions alone are refused.
        return [], [{"role": "user", "content": system}]
    if turns and turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": LEFT_OUT})
    if turns and turns[-1]["role"] == "assistant":
        last = turns[-1]["content"][-1]
        if last["type"] == "text":
            # A beginning that the model is to continue must not end in white space.
            last["text"] = last["text"].rstrip()
    for turn in turns:
        content = turn["content"]
        if len(content) == 1 and content[0].keys() == {"type", "text"}:
            turn["content"] = content[0]["text"]
    return system, turns


def _add(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"].extend(blocks)
    else:
        turns.append({"role": role, "content": blocks})


def _said(message: Mapping[str, Any]) -> list[Block]:
    """An assistant's blocks: its thinking where it was between them, its text, its tool calls."""
    texts = blocks_of(message.get("content") or message.get("refusal"))
    calls = [_call(call) for call in objects(message.get("tool_calls"))]
    thoughts = [thought for thought in objects(message.get("reasoning_blocks")) if thought.get("type") in THINKING]
    if not thoughts:
        return texts + calls
    blocks: list[Block] = []
    text = "".join(block["text"] for block in texts) if all(block["type"] == "text" for block in texts) else None
    said = called = 0
    for thought in thoughts:
        before, after_calls = thought.get("after_text", 0), thought.get("after_calls", 0)
        if text is not None and isinstance(before, int) and said < before <= len(text):
            blocks.extend(blocks_of(text[said:before]))
            said = before
        if isinstance(after_calls, int) and called < after_calls <= len(calls):
            blocks.extend(calls[called:after_calls])
            called = after_calls
        blocks.append(
            {key: value for key, value in thought.items() if key in ("type", "thinking", "signature", "data")}
        )
    rest = texts if text is None or said == 0 else blocks_of(text[said:])
    return blocks + rest + calls[called:]


def _call(call: Mapping[str, Any]) -> Block:
    function = call.get("function")
    function = function if isinstance(function, Mapping) else {}
    arguments = arguments_of(function.get("arguments"))
    block: Block = {"type": "tool_use", "id": call.get("id"), "name": function.get("name"), "input": arguments}
    if "cache_control" in call:
        block["cache_control"] = call["cache_control"]
    return block


def _result(message: Mapping[str, Any]) -> Block:
    content = message.get("content")
    block: Block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
    blocks = blocks_of(content)
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        block["content"] = blocks[0]["text"]
    elif blocks:
        block["content"] = blocks
    if message.get("is_error") is True:
        block["is_error"] = True
    if "cache_control" in message:
        block["cache_control"] = message["cache_control"]
    return block


def _tools(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Tools and the choice among them."""
    tools = [_tool(tool) for tool in asked_tools(body)]
    if not tools:
        return [], None
    how, names = asked_choice(body)
    choice: dict[str, Any] | None = None
    if how == "named" and names:
        choice = {"type": "tool", "name": names[0]}
    elif how is not None:
        choice = {"type": "any" if how == "required" else how}
        if names is not None:
            tools = [tool for tool in tools if tool.get("name") in names]
    if body.get("parallel_tool_calls") is False and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return tools, choice


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)
    parameters = function.get("parameters")
    schema = dict(parameters) if isinstance(parameters, Mapping) and parameters else dict(_EMPTY_SCHEMA)
    schema.setdefault("type", "object")
    made: dict[str, Any] = {"name": function.get("name"), "input_schema": schema}
    if function.get("description"):
        made["description"] = function["description"]
    if function.get("strict") is True:
        made["strict"] = True
    if "cache_control" in tool:
        made["cache_control"] = tool["cache_control"]
    return made


def _tools_of_history(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tools that were called in a thread whose request names none: they must be known, and cannot be called again."""
    called = (block for turn in messages if isinstance(turn["content"], list) for block in turn["content"])
    names = dict.fromkeys(str(block["name"]) for block in called if block["type"] == "tool_use")
    return [{"name": name, "input_schema": {"type": "object"}} for name in names]


def _think(request: dict[str, Any], body: Mapping[str, Any], able: Claude, *, forced: bool) -> None:
    """Thinking as asked for, where the model and the rest of the request allow it."""
    asked, effort = body.get("thinking"), body.get("reasoning_effort")
    if isinstance(asked, Mapping):
        request["thinking"] = dict(asked)
    elif isinstance(effort, str) and effort in _EFFORTS:
        if able.adaptive:
            request["thinking"] = {"type": "adaptive"}
            request["output_config"] = {"effort": _EFFORTS[effort], **_object(request.get("output_config"))}
        elif able.budget:
            # On top of what the caller allows for the answer itself, which it would otherwise eat.
            request["thinking"] = {"type": "enabled", "budget_tokens": _BUDGETS[effort]}
            request["max_tokens"] += _BUDGETS[effort]
    if _object(request.get("thinking")).get("type") == "enabled" and (forced or _unthought(request["messages"])):
        # Refused together with a tool that must be called, and in a tool loop that another model began.
        del request["thinking"]


def _unthought(messages: Sequence[Mapping[str, Any]]) -> bool:
    said = [turn["content"] for turn in messages if turn["role"] == "assistant"]
    if not said or not isinstance(said[-1], list):
        return False
    kinds = [block["type"] for block in said[-1]]
    return "tool_use" in kinds and kinds[0] not in THINKING


def _sample(request: dict[str, Any], body: Mapping[str, Any], able: Claude) -> None:
    stops = asked_stops(body)
    if stops:
        request["stop_sequences"] = stops
    if not able.sampling or _object(request.get("thinking")).get("type") in ("enabled", "adaptive"):
        return
    temperature, top_p, top_k = (asked_number(body, name) for name in ("temperature", "top_p", "top_k"))
    if temperature is not None:
        # OpenAI's goes to 2, Anthropic's to 1; together with top_p newer models refuse it.
        request["temperature"] = min(max(float(temperature), 0.0), 1.0)
    elif top_p is not None:
        request["top_p"] = top_p
    if top_k is not None:
        request["top_k"] = top_k


def _format(request: dict[str, Any], body: Mapping[str, Any], able: Claude) -> str | None:
    """The instruction that a response format becomes; None when it needs none."""
    asked, schema, strict = asked_schema(body)
    if not asked or schema is None:
        return JSON_ONLY if asked else None
    if able.schema and strict:
        held = {"format": {"type": "json_schema", "schema": schema}}
        request["output_config"] = {**held, **_object(request.get("output_config"))}
        return None
    return f"{JSON_ONLY} It must be valid under this JSON schema:\n{orjson.dumps(schema).decode()}"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
