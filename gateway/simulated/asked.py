"""What was asked of the simulated provider, in whichever of the three shapes, and how it says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Refused(Exception):
    """The request is answered by an error.

    Attributes
    ----------
    kind : as OpenAI names it: "invalid_request_error", "not_found_error", "rate_limit_error", "server_error", …
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """A request that is wrong in itself."""
    return Refused(400, "invalid_request_error", message, param=param, code=code)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is its JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, whatever its shape.

    Attributes
    ----------
    text : what the user said last.
    context : all words of the prompt, in order: what is counted, and what the prompt cache looks at.
    messages : how many there are.
    tool_result : what a tool answered, where the prompt ends with that; (name of the tool, its words).
    tool_choice : "auto", "none", "required", or the name of a tool.
    schema : the JSON schema that the answer must have; `{}` for any JSON object; None for plain text.
    include_usage : whether a stream shall end with its usage.
    mark_cache : whether the caller marked what is to be cached, as in Anthropic's shape; None: the provider decides.
    """

    model: str
    text: str
    context: str
    messages: int
    stream: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    seed: int | None = None
    images: int = 0
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    tool_result: tuple[str, str] | None = None
    schema: Mapping[str, Any] | None = None
    include_usage: bool = True
    thinking: bool = True
    mark_cache: bool | None = None


def words_of(content: Any, where: str) -> tuple[str, int]:
    """(text, number of images) of a message's content: a text, a list of parts, or nothing."""
    if content is None:
        return "", 0
    if isinstance(content, str):
        return content, 0
    if not isinstance(content, list):
        raise invalid(f"{where} must be a string or an array of parts.", where)
    texts, images = [], 0
    for part in content:
        if not isinstance(part, dict):
            raise invalid(f"{where} holds a part that is no object.", where)
        match part.get("type", "text"):
            case "text" | "input_text" | "refusal":
                texts.append(str(part.get("text") or part.get("refusal") or ""))
            case "image_url" | "image" | "input_image":
                images += 1
            case "document" | "file" | "input_audio":
                texts.append(str(part.get("type")))
            case kind:
                raise invalid(f"{where} holds a part of type {kind!r}, which is not known here.", where)
    return "\n".join(texts), images


def number(body: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    """A number of the request within its bounds."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(f"{name} = {value!r} is not a number between {low:g} and {high:g}.", name)
    return value


def whole(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number of the request, 1 or more."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise invalid(f"{name} = {value!r} is not a whole number of 1 or more.", name)
    return value
