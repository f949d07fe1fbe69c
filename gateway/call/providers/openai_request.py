"""Reads a request in OpenAI's shape for the formats that are not OpenAI's, whatever a caller has put into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.call.providers.wire import ProviderFailure

Object = Mapping[str, Any]

JSON_ONLY = "Answer with one JSON object and nothing else: no text around it, no code fence."
LEFT_OUT = "(What came before is left out.)"


def refused(message: str, field: str | None = None) -> ProviderFailure:
    """What a format cannot say: no request is sent."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": field, "code": None}}
    return ProviderFailure("refused", message, sent=False, body=body)


def objects(value: Any) -> list[Object]:
    """The objects of a list; none of anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def asked_messages(body: Object) -> list[Object]:
    """The thread; raises "refused" for what is none."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise refused("`messages` is not a list of objects.", "messages")
    return messages


def asked_tools(body: Object) -> list[Object]:
    """Tools, those of the older `functions` among them; raises "refused" for what is none."""
    tools: list[Object] = []
    for name in ("tools", "functions"):
        given = body.get(name)
        if given is None:
            continue
        if not isinstance(given, list) or not all(isinstance(tool, Mapping) for tool in given):
            raise refused(f"`{name}` is not a list of objects.", name)
        tools.extend(given if name == "tools" else ({"type": "function", "function": tool} for tool in given))
    if any(tool.get("type") == "custom" and "custom" in tool for tool in tools):
        raise refused("This format knows tools with named arguments only, not custom ones.", "tools")
    return tools


def asked_choice(body: Object) -> tuple[str | None, list[str] | None]:
    """How to choose among tools, and among which: auto, required, none, or one by its name; None: not said."""
    asked = body.get("tool_choice", body.get("function_call"))
    if isinstance(asked, str):
        return {"required": "required", "any": "required", "none": "none"}.get(asked, "auto"), None
    if not isinstance(asked, Mapping):
        return None, None
    allowed = asked.get("allowed_tools")
    if isinstance(allowed, Mapping):
        functions = (tool.get("function") for tool in objects(allowed.get("tools")))
        names = [str(function.get("name")) for function in functions if isinstance(function, Mapping)]
        return "required" if allowed.get("mode") == "required" else "auto", names
    named = asked.get("function", asked)
    if isinstance(named, Mapping) and isinstance(named.get("name"), str):
        return "named", [named["name"]]
    return None, None


def asked_limit(body: Object) -> int | None:
    """Most tokens of the answer."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = body.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            return limit
    return None


def asked_stops(body: Object) -> list[str]:
    """Texts that end the answer."""
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    return [text for text in stops if isinstance(text, str) and text.strip()]


def asked_number(body: Object, name: str) -> float | None:
    value = body.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def asked_schema(body: Object) -> tuple[bool, Object | None, bool]:
    """Whether JSON is asked for, under which schema, and whether strictly."""
    asked = body.get("response_format")
    if not isinstance(asked, Mapping) or asked.get("type") not in ("json_object", "json_schema"):
        return False, None, False
    described = asked.get("json_schema")
    schema = described.get("schema") if isinstance(described, Mapping) else None
    if not isinstance(described, Mapping) or not isinstance(schema, Mapping):
        return True, None, False
    return True, schema, described.get("strict") is True


def wants_usage(body: Object) -> bool:
    """Whether a stream is to end with a chunk that tells usage."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


def arguments_of(arguments: Any) -> dict[str, Any]:
    """A tool call's arguments as an object; what is none is put into one."""
    try:
        found = orjson.loads(arguments) if isinstance(arguments, str) and arguments.strip() else arguments or {}
    except orjson.JSONDecodeError:
        found = None
    return dict(found) if isinstance(found, Mapping) else {"arguments": arguments}
