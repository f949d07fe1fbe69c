"""From an HTTP request to a `Prompt`: checked by hand, since this is the path where a microsecond counts.

Fields of OpenAI's schema are checked as far as the gateway itself relies on them and passed on as they came; unknown
ones pass, too. Fields inside `merit` are ours: an unknown one is refused, so that a misspelt limit is never ignored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
from starlette.requests import Request

from gateway.choose.catalogue import CAPABILITIES
from gateway.prompt import Kind, Limits, Options, Prompt, Tenant
from serving.access import Caller
from serving.direct import body_of
from store.errors import InvalidValue, MissingColumn, WrongType
from store.tables.base import new_id

MOST_MESSAGES = 4096
MOST_CHOICES = 16
LONGEST_NAME = 256
MOST_SECONDS = 3600.0
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_NO_LIMITS = Limits()
_NO_OPTIONS = Options()


async def read_json(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises
    ------
    InvalidValue, WrongType : it is none.
    """
    content = await body_of(request)
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidValue(
            f"The body is not valid JSON: {error.msg} (at position {error.pos}).",
            remedy="Send one JSON object with the header `Content-Type: application/json`.",
            field="body",
        ) from None
    if not isinstance(body, dict):
        raise WrongType("The body is not a JSON object.", remedy="Send one JSON object.", field="body")
    return body


def prompt_of(
    body: dict[str, Any],
    caller: Caller,
    *,
    kind: Kind = "chat",
    request_id: str | None = None,
) -> Prompt:
    """A checked prompt.

    Parameters
    ----------
    body : a JSON object in OpenAI's shape; the field `merit` is taken out of it.

    Raises
    ------
    MissingColumn, WrongType, InvalidValue : a field is missing or does not fit; the message names it.
    """
    merit = body.pop("merit", None)
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= LONGEST_NAME:
        raise _wrong("model", model, "the name of a model or a strategy, `auto` for example")
    if kind == "chat":
        _check_chat(body)
    else:
        _check_embeddings(body)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _wrong("stream", stream, "true or false")
    user = body.get("user")
    if user is not None and (not isinstance(user, str) or len(user) > LONGEST_NAME):
        raise _wrong("user", user, f"a text of at most {LONGEST_NAME} characters")
    limits, options = (_NO_LIMITS, _NO_OPTIONS) if merit is None else merit_of(merit)
    return Prompt(
        id=new_id(),
        tenant=tenant_of(caller, user or None),
        kind=kind,
        model=model,
        body=body,
        limits=limits,
        options=options,
        stream=bool(stream),
        deadline=None if options.timeout_s is None else time.monotonic() + options.timeout_s,
        request_id=request_id,
    )


def tenant_of(caller: Caller, user: str | None) -> Tenant:
    """Who pays: the key's workspace and project, and the user that the application names."""
    tenant = caller.tenant
    return tenant if user is None else replace(tenant, user=user)


def _check_chat(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise MissingColumn(
            "messages is missing.", remedy='Add `messages`, for example [{"role": "user", "content": "Hello"}].',
            field="messages",
        )  # fmt: skip
    if not isinstance(messages, list) or not 0 < len(messages) <= MOST_MESSAGES:
        raise _wrong("messages", messages, f"a list of 1 to {MOST_MESSAGES} messages")
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong(f"messages.{place}", message, 'an object such as {"role": "user", "content": "Hello"}')
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise _wrong(f"messages.{place}.role", role, f"one of {', '.join(sorted(ROLES))}")
        content = message.get("content")
        if content is None or isinstance(content, str):
            continue
        if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
            raise _wrong(f"messages.{place}.content", content, "a text, a list of parts, or null")
    if len(body) == 2:
        return  # model and messages, as most requests are
    for name in ("max_tokens", "max_completion_tokens"):
        most = body.get(name)
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= 10_000_000):
            raise _wrong(name, most, "a whole number from 1")
    choices = body.get("n")
    if choices is not None and (
        not isinstance(choices, int) or isinstance(choices, bool) or not 1 <= choices <= MOST_CHOICES
    ):
        raise _wrong("n", choices, f"a whole number from 1 to {MOST_CHOICES}")
    for name in ("tools", "functions"):
        tools = body.get(name)
        if tools is not None and (not isinstance(tools, list) or not all(isinstance(one, dict) for one in tools)):
            raise _wrong(name, tools, "a list of objects")
    for name in ("response_format", "stream_options"):
        value = body.get(name)
        if value is not None and not isinstance(value, dict):
            raise _wrong(name, value, "an object")
    for name, low, high in (("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)):
        value = body.get(name)
        if value is not None and (
            not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high
        ):
            raise _wrong(name, value, f"a number from {low:g} to {high:g}")


def _check_embeddings(body: Mapping[str, Any]) -> None:
    given = body.get("input")
    if given is None:
        raise MissingColumn("input is missing.", remedy="Add `input`, a text or a list of texts.", field="input")
    fits = isinstance(given, str) or (
        isinstance(given, list)
        and 0 < len(given) <= 2048
        and (
            all(isinstance(one, str) for one in given)
            or all(isinstance(one, int) and not isinstance(one, bool) for one in given)
            or all(isinstance(one, list) and all(isinstance(token, int) for token in one) for one in given)
        )
    )
    if not fits:
        raise _wrong("input", given, "a text, a list of at most 2,048 texts, or lists of tokens")
    size = body.get("dimensions")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 65_536):
        raise _wrong("dimensions", size, "a whole number from 1")


def merit_of(merit: Any) -> tuple[Limits, Options]:
    """The field `merit` of a request.

    Raises
    ------
    InvalidValue, WrongType : an unknown field, or a value that does not fit.
    """
    if not isinstance(merit, dict):
        raise _wrong("merit", merit, "an object")
    limits: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, value in merit.items():
        if value is None:
            continue
        if name in _LIMITS:
            limits[name] = _LIMITS[name](f"merit.{name}", value)
        elif name in _OPTIONS:
            options[name] = _OPTIONS[name](f"merit.{name}", value)
        else:
            known = ", ".join(sorted((*_LIMITS, *_OPTIONS)))
            raise InvalidValue(
                f"merit has no field {str(name)[:100]!r}.",
                remedy=f"Its fields are {known}.",
                field=f"merit.{str(name)[:100]}",
                value=value,
            )
    return (Limits(**limits) if limits else _NO_LIMITS, Options(**options) if options else _NO_OPTIONS)


def _number(low: float, high: float) -> Callable[[str, Any], float]:
    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _wrong(name, value, f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        raise _wrong(name, value, f"a text of 1 to {LONGEST_NAME} characters")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 64:
        raise _wrong(name, value, "a list of at most 64 texts")
    return tuple(_text(name, one) for one in value)


def _set(name: str, value: Any) -> frozenset[str]:
    return frozenset(_texts(name, value))


def _capabilities(name: str, value: Any) -> frozenset[str]:
    found = _set(name, value)
    if unknown := sorted(found.difference(CAPABILITIES)):
        raise InvalidValue(
            f"{name} holds {unknown[0]!r}, which is no capability.",
            remedy=f"Capabilities are {', '.join(CAPABILITIES)}.",
            field=name,
            value=value,
        )
    return found


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            raise _wrong(name, value, f"one of {', '.join(choices)}")
        return str(value)

    return check


def _weights(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or len(value) > 64:
        raise _wrong(name, value, "an object of numbers by model")
    number = _number(0.0, 1e6)
    return {_text(name, model): number(f"{name}.{model}", weight) for model, weight in value.items()}


_LIMITS: Mapping[str, Callable[[str, Any], Any]] = {
    "max_cost": _number(0.0, 1e6),
    "max_latency_ms": _number(0.0, 1e9),
    "min_quality": _number(0.0, 1.0),
    "capabilities": _capabilities,
    "regions": _set,
    "providers": _set,
    "exclude": _set,
    "local_only": _flag,
}
_OPTIONS: Mapping[str, Callable[[str, Any], Any]] = {
    "cache": _one_of("off", "exact", "semantic"),
    "conversation": _text,
    "explore": _flag,
    "fallbacks": _flag,
    "timeout_s": _number(0.001, MOST_SECONDS),
    "task": _text,
    "tags": _texts,
    "members": _texts,
    "weights": _weights,
    "judge": _text,
}


def _wrong(name: str, value: Any, expected: str) -> InvalidValue | WrongType:
    if value is None:
        return MissingColumn(f"{name} is missing.", remedy=f"Add `{name}`: {expected}.", field=name)  # type: ignore[return-value]
    return InvalidValue(f"{name} is not {expected}.", remedy=f"Correct `{name}`.", field=name, value=value)
