"""Anthropic's shape: `POST /v1/messages`, whole and streamed, with thinking, tools and marks for the prompt cache."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from gateway.simulated.asked import Asked, Refused, Tool, invalid, number, whole, words_of
from gateway.simulated.told import Chunk, Told, in_two, spoken

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
MALFORMED = b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": \n\n'


def parse(body: Mapping[str, Any]) -> Asked:
    """A request.

    Raises
    ------
    Refused : 400, what Anthropic refuses as well: no `max_tokens`, a signature of another model's thought, …
    """
    messages, model = body.get("messages"), body.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("model: Field required", "model")
    if body.get("max_tokens") is None:
        raise invalid("max_tokens: Field required", "max_tokens")
    if not isinstance(messages, list) or not messages:
        raise invalid("messages: at least one message is required", "messages")
    system, _ = words_of(body.get("system"), "system")
    texts, images, last, named = [f"system: {system}"] if system else [], 0, "", dict[str, str]()
    result: tuple[str, str] | None = None
    awaited: set[str] = set()
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant") or (place == 0 and role != "user"):
            raise invalid(f"messages.{place}.role: the roles are user and assistant, and user comes first", "messages")
        blocks = message.get("content")
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        if not isinstance(blocks, list) or not blocks:
            raise invalid(f"messages.{place}: all messages must have non-empty content", "messages")
        said, answered = [], set()
        result = None
        for block in blocks:
            match block:
                case {"type": "thinking", "thinking": str() as thought}:
                    if block.get("signature") != signature(model, thought):
                        raise invalid(f"messages.{place}: Invalid `signature` in `thinking` block", "messages")
                case {"type": "redacted_thinking"}:
                    raise invalid(f"messages.{place}: Invalid `data` in `redacted_thinking` block", "messages")
                case {"type": "tool_use", "id": str() as call, "name": str() as name, "input": arguments}:
                    named[call] = name
                    awaited.add(call)
                    said.append(f"{name}({orjson.dumps(arguments).decode()})")
                case {"type": "tool_result", "tool_use_id": str() as call}:
                    text, found = words_of(block.get("content"), "messages")
                    if call not in awaited:
                        raise invalid(f"messages.{place}: unexpected `tool_use_id` found: {call[:60]}", "messages")
                    answered.add(call)
                    result, images = (named[call], text), images + found
                    said.append(text)
                case _:
                    text, found = words_of([block], "messages")
                    images += found
                    said.append(text)
        if role == "user":
            if awaited - answered:
                raise invalid(f"messages.{place}: `tool_use` ids were found without `tool_result` blocks", "messages")
            awaited.clear()
            last = "\n".join(said)
        texts.append(f"{role}: {' '.join(said)}")
    tools = tuple(
        Tool(str(one.get("name")), str(one.get("description") or ""), one.get("input_schema") or {})
        for one in body.get("tools") or ()
        if isinstance(one, dict)
    )
    if tools:
        texts.append(orjson.dumps(body["tools"]).decode())
    return Asked(
        model=model,
        text=last,
        context="\n".join(texts),
        messages=len(messages),
        stream=bool(body.get("stream")),
        max_tokens=whole(body, "max_tokens"),
        stop=tuple(map(str, body.get("stop_sequences") or ())),
        temperature=number(body, "temperature", 0, 1),
        images=images,
        tools=tools,
        tool_choice=_choice(body.get("tool_choice"), tools),
        tool_result=result,
        thinking=(body.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
        mark_cache=b'"cache_control"' in orjson.dumps(body),
    )


def response(told: Told) -> bytes:
    """A whole answer."""
    content: list[dict[str, Any]] = []
    if told.reply.reasoning:
        thought = told.reply.reasoning
        content.append({"type": "thinking", "thinking": thought, "signature": signature(told.name, thought)})
    if told.reply.text:
        content.append({"type": "text", "text": told.reply.text})
    if told.reply.tool is not None:
        name, arguments = told.reply.tool
        content.append({"type": "tool_use", "id": f"toolu_{told.id}", "name": name, "input": orjson.loads(arguments)})
    message = {**_message(told), "content": content, "stop_reason": _STOPS[told.reply.finish]}
    if told.usage == "never":
        del message["usage"]
    return orjson.dumps(message)


def stream(told: Told) -> list[Chunk]:
    """The same as events, each block of content by itself."""
    made: list[Chunk] = []
    usage = _usage(told)

    def say(event: str, tokens: int, last: bool = False, **content: Any) -> None:
        data = orjson.dumps({"type": event, **content})
        made.append(Chunk(b"event: " + event.encode() + b"\ndata: " + data + b"\n\n", tokens, last))

    def begin(index: int, block: dict[str, Any], tokens: int) -> None:
        say("content_block_start", tokens, index=index, content_block=block)

    message = {**_message(told), "usage": {**usage, "output_tokens": told.output if told.usage == "early" else 1}}
    if told.usage in ("never", "late"):
        message["usage"] = {"input_tokens": 0, "output_tokens": 0}
    say("message_start", 0, message=message)
    say("ping", 0)
    index, thinking = -1, False
    for thought, piece, tokens in spoken(told.reply):
        if index < 0 or thought != thinking:
            if index >= 0:
                _sign(say, told, index, tokens)
            index, thinking = index + 1, thought
            begin(index, {"type": "thinking", "thinking": "", "signature": ""} if thought else _EMPTY, tokens)
        delta = {"type": "thinking_delta", "thinking": piece} if thought else {"type": "text_delta", "text": piece}
        say("content_block_delta", tokens, index=index, delta=delta)
    if index >= 0:
        if thinking:
            _sign(say, told, index, told.output)
        else:
            say("content_block_stop", told.output, index=index)
    if told.reply.tool is not None:
        name, arguments = told.reply.tool
        index += 1
        begin(index, {"type": "tool_use", "id": f"toolu_{told.id}", "name": name, "input": {}}, 8)
        for part in in_two(arguments):
            delta = {"type": "input_json_delta", "partial_json": part}
            say("content_block_delta", told.output // 2, index=index, delta=delta)
        say("content_block_stop", told.output, index=index)
    end: dict[str, Any] = {"delta": {"stop_reason": _STOPS[told.reply.finish], "stop_sequence": None}}
    if told.usage not in ("early", "never"):
        end["usage"] = usage
    say("message_delta", told.output, last=True, **end)
    say("message_stop", told.output)
    return made


def error(refused: Refused) -> bytes:
    """An error's body."""
    content = {"type": _KINDS.get(refused.status, "api_error"), "message": refused.message}
    return orjson.dumps({"type": "error", "error": content})


def signature(model: str, thought: str) -> str:
    """What proves that a thought is this model's own."""
    return b64encode(blake2b(f"{model}\x1f{thought}".encode(), digest_size=32).digest()).decode()


_EMPTY: dict[str, Any] = {"type": "text", "text": ""}


def _sign(say: Any, told: Told, index: int, tokens: int) -> None:
    delta = {"type": "signature_delta", "signature": signature(told.name, told.reply.reasoning)}
    say("content_block_delta", tokens, index=index, delta=delta)
    say("content_block_stop", tokens, index=index)


def _message(told: Told) -> dict[str, Any]:
    return {
        "id": f"msg_{told.id}",
        "type": "message",
        "role": "assistant",
        "model": told.name,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(told),
    }


def _usage(told: Told) -> dict[str, Any]:
    # Unlike OpenAI's, the tokens of the input here are those that were neither read from the cache nor written to it.
    return {
        "input_tokens": told.input - told.cached - told.written,
        "cache_read_input_tokens": told.cached,
        "cache_creation_input_tokens": told.written,
        "output_tokens": told.output,
    }


def _choice(given: Any, tools: tuple[Tool, ...]) -> str:
    match given:
        case None | {"type": "auto"}:
            return "auto"
        case {"type": "any"}:
            return "required"
        case {"type": "none"}:
            return "none"
        case {"type": "tool", "name": str() as name} if name in {tool.name for tool in tools}:
            return name
    raise invalid("tool_choice: names a tool that is not there, or is of no known type", "tool_choice")
