"""OpenAI's shape: chat completions, whole and streamed, as `POST /v1/chat/completions` has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.simulated.asked import Asked, Refused, Tool, invalid, number, whole, words_of
from gateway.simulated.told import Chunk, Told, in_two, spoken

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_DONE = b"data: [DONE]\n\n"
MALFORMED = b'data: {"id": "chatcmpl-0", "choices": [{"delta": \n\n'


def parse(body: Mapping[str, Any]) -> Asked:
    """A request.

    Raises
    ------
    Refused : 400, what OpenAI refuses as well: no messages, answers of tools that nobody called, …
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages must be an array with at least one message.", "messages")
    texts, images, last, named = [], 0, "", dict[str, str]()
    awaited: set[str] = set()
    result: tuple[str, str] | None = None
    for place, message in enumerate(messages):
        where = f"messages[{place}].content"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise invalid(
                f"messages[{place}].role must be one of {', '.join(sorted(_ROLES))}.", f"messages[{place}].role"
            )
        role = message["role"]
        text, found = words_of(message.get("content"), where)
        images += found
        if role == "tool":
            call = str(message.get("tool_call_id"))
            if call not in awaited:
                raise invalid(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.", where
                )
            awaited.discard(call)
            result = (named[call], text)
        else:
            if awaited:
                raise invalid(
                    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                    f"'tool_call_id'. Missing: {', '.join(sorted(awaited))}.",
                    f"messages[{place}].role",
                )
            result = None
        if role == "user":
            last = text
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            awaited.add(str(call.get("id")))
            named[str(call.get("id"))] = str(function.get("name"))
            text += f"\n{function.get('name')}({function.get('arguments')})"
        texts.append(f"{role}: {text}")
    if awaited:
        raise invalid(f"No tool message answers {', '.join(sorted(awaited))}.", "messages")
    tools = tuple(_tool(one, place) for place, one in enumerate(body.get("tools") or ()))
    if tools:
        texts.append(orjson.dumps(body["tools"]).decode())
    if body.get("n") not in (None, 1):
        raise invalid("n must be 1 here: each request has one answer.", "n")
    stop = body.get("stop") or ()
    options = body.get("stream_options") or {}
    seed = body.get("seed")
    return Asked(
        model=_name(body),
        text=last,
        context="\n".join(texts),
        messages=len(messages),
        stream=bool(body.get("stream")),
        max_tokens=whole(body, "max_completion_tokens") or whole(body, "max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(map(str, stop)),
        temperature=number(body, "temperature", 0, 2),
        seed=seed if isinstance(seed, int) else None,
        images=images,
        tools=tools,
        tool_choice=_choice(body.get("tool_choice"), tools),
        tool_result=result,
        schema=_schema(body.get("response_format")),
        include_usage=bool(options.get("include_usage")),
        thinking=body.get("reasoning_effort") not in ("none", "minimal"),
    )


def response(told: Told) -> bytes:
    """A whole answer."""
    message: dict[str, Any] = {"role": "assistant", "content": told.reply.text, "refusal": None}
    if told.reply.reasoning:
        message["reasoning_content"] = told.reply.reasoning
    if told.reply.tool is not None:
        message["content"] = None
        message["tool_calls"] = [_called(told)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": told.reply.finish}
    content = _frame(told, "chat.completion", [choice])
    if told.usage != "never":
        content["usage"] = _usage(told)
    return orjson.dumps(content)


def stream(told: Told) -> list[Chunk]:
    """The same piece by piece."""
    made: list[Chunk] = []
    begin = _frame(told, "chat.completion.chunk", [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": None}])

    def say(delta: dict[str, Any], tokens: int, finish: str | None = None, usage: bool = False) -> None:
        begin["choices"][0]["delta"], begin["choices"][0]["finish_reason"] = delta, finish
        content = begin if not usage else {**begin, "usage": _usage(told)}
        made.append(Chunk(b"data: " + orjson.dumps(content) + b"\n\n", tokens, last=finish is not None))

    say({"role": "assistant", "content": ""}, 0, usage=told.usage == "early")
    twice = told.usage == "twice"
    for thought, piece, tokens in spoken(told.reply):
        say({"reasoning_content" if thought else "content": piece}, tokens, usage=twice)
    if told.reply.tool is not None:
        name, arguments = told.reply.tool
        call = {"index": 0, **_called(told)}
        say({"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]}, 8)
        for number_, part in enumerate(in_two(arguments), start=1):
            say({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, told.output * number_ // 2)
    say({}, told.output, told.reply.finish)
    wrong = told.usage == "wrong-choices"
    if (told.include_usage and told.usage not in ("early", "never")) or told.usage in (
        "late",
        "twice",
        "wrong-choices",
    ):
        choices = [{"index": 0, "delta": {"content": ""}, "finish_reason": told.reply.finish}] if wrong else []
        end = {**_frame(told, "chat.completion.chunk", choices), "usage": _usage(told)}
        data = b"data: " + orjson.dumps(end) + b"\n\n"
        # Too late is after the end.
        made.append(Chunk(_DONE + data if told.usage == "late" else data + _DONE, told.output))
    else:
        made.append(Chunk(_DONE, told.output))
    return made


def error(refused: Refused) -> bytes:
    """An error's body."""
    content = {"message": refused.message, "type": refused.kind, "param": refused.param, "code": refused.code}
    return orjson.dumps({"error": content})


def _frame(told: Told, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{told.id}",
        "object": kind,
        "created": told.created,
        "model": told.name,
        "choices": choices,
        "system_fingerprint": "fp_simulated",
    }


def _usage(told: Told) -> dict[str, Any]:
    return {
        "prompt_tokens": told.input,
        "completion_tokens": told.output,
        "total_tokens": told.input + told.output,
        "prompt_tokens_details": {"cached_tokens": told.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": told.reply.reasoning_tokens, "audio_tokens": 0},
    }


def _called(told: Told) -> dict[str, Any]:
    assert told.reply.tool is not None
    name, arguments = told.reply.tool
    return {"id": f"call_{told.id}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _name(body: Mapping[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("you must provide a model parameter", "model")
    return name


def _tool(given: Any, place: int) -> Tool:
    function = given.get("function") if isinstance(given, dict) else None
    if not isinstance(function, dict) or not function.get("name"):
        raise invalid(f"tools[{place}].function needs a name.", f"tools[{place}].function.name")
    return Tool(str(function["name"]), str(function.get("description") or ""), function.get("parameters") or {})


def _choice(given: Any, tools: tuple[Tool, ...]) -> str:
    if given is None or given in ("auto", "none", "required"):
        return given or "auto"
    name = (given.get("function") or {}).get("name") if isinstance(given, dict) else None
    if name not in {tool.name for tool in tools}:
        raise invalid(f"tool_choice names {name!r}, which is not among the tools.", "tool_choice")
    return str(name)


def _schema(given: Any) -> Mapping[str, Any] | None:
    if given is None:
        return None
    match given:
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {}
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
    raise invalid("response_format is none of text, json_object and json_schema with a schema.", "response_format")
