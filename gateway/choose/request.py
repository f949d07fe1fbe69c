"""What stands in the body of a request, read without trusting it: its words, its needs, its own bound of the answer.

Any JSON may arrive here; what is not of the known shape is passed over, and the provider will say what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Of long words of a user, this much of the beginning and the end is looked at.
HEAD, TAIL = 2_400, 1_200
_SYSTEM = 800
_SHORT = 48
_MOST_CHOICES = 128

_PARTS = {
    "image_url": "vision",
    "input_image": "vision",
    "image": "vision",
    "input_audio": "audio",
    "audio": "audio",
    "file": "documents",
    "input_file": "documents",
    "document": "documents",
}
_FORMATS = {"json_object": "json", "json_schema": "json_schema"}
# How much more a model writes when it is told to think so hard.
EFFORT = {"minimal": 1.0, "low": 1.5, "medium": 2.5, "high": 4.0, "xhigh": 5.0}


def messages_of(body: Mapping[str, Any]) -> Sequence[Any]:
    """The messages, as far as they are a list."""
    messages = body.get("messages")
    return messages if isinstance(messages, list | tuple) else ()


def needs_of(body: Mapping[str, Any], messages: Sequence[Any]) -> frozenset[str]:
    """Capabilities that the request cannot do without.

    Tools, also those called earlier in the conversation, need "tools"; `response_format` "json" or "json_schema";
    images "vision"; recordings, or an answer wanted as sound, "audio"; files "documents"; an effort or a budget of
    reasoning "reasoning".
    """
    found: set[str] = set()
    if body.get("tools") or body.get("functions"):
        found.add("tools")
    wanted = body.get("response_format")
    if isinstance(wanted, dict):
        kind = wanted.get("type")
        if isinstance(kind, str) and kind in _FORMATS:
            found.add(_FORMATS[kind])
    modalities = body.get("modalities")
    if isinstance(modalities, list | tuple) and "audio" in modalities:
        found.add("audio")
    if effort_of(body) is not None:
        found.add("reasoning")
    for message in messages:
        if not isinstance(message, dict):
            continue
        if message.get("role") in ("tool", "function") or message.get("tool_calls"):
            found.add("tools")
        content = message.get("content")
        if isinstance(content, list | tuple):
            for part in content:
                kind = part.get("type") if isinstance(part, dict) else None
                if isinstance(kind, str) and kind in _PARTS:
                    found.add(_PARTS[kind])
    return frozenset(found) if found else NO_NEEDS


NO_NEEDS: frozenset[str] = frozenset()


def effort_of(body: Mapping[str, Any]) -> str | None:
    """How hard a model is told to think; None: not told, or not to."""
    effort = body.get("reasoning_effort")
    if effort is None:
        reasoning = body.get("reasoning")
        effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if isinstance(effort, str) and effort != "none":
        return effort
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled":
        return "medium"
    return None


def asks_for_hour_cache(body: Mapping[str, Any], messages: Sequence[Any]) -> bool:
    """Whether a part of the prompt is marked to be cached for an hour (`cache_control` with a `ttl`)."""
    if _marked(body):
        return True
    for message in messages:
        if isinstance(message, dict):
            content = message.get("content")
            if (type(content) is list and any(_marked(part) for part in content)) or _marked(message):
                return True
    tools = body.get("tools")
    return type(tools) is list and any(_marked(tool) for tool in tools)


def _marked(part: Any) -> bool:
    if not isinstance(part, Mapping):
        return False
    mark = part.get("cache_control")
    return isinstance(mark, dict) and mark.get("ttl") == "1h"


def bound_of(body: Mapping[str, Any]) -> int | None:
    """The caller's own bound of the answer in tokens."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def choices_of(body: Mapping[str, Any]) -> int:
    """How many answers are wanted at once."""
    value = body.get("n")
    return min(value, _MOST_CHOICES) if isinstance(value, int) and value > 1 else 1


def in_tool_loop(body: Mapping[str, Any]) -> bool:
    """Whether the last message is what a tool returned, so that the model which called it should read it."""
    messages = messages_of(body)
    last = messages[-1] if messages else None
    return isinstance(last, dict) and last.get("role") in ("tool", "function")


def text_of(body: Mapping[str, Any]) -> str:
    """The last words of the user, head and tail where they are long; "" where there are none."""
    return last_words(messages_of(body))[0]


def last_words(messages: Sequence[Any]) -> tuple[str, str, str]:
    """What is asked for.

    Returns
    -------
    The user's last words, shortened to `HEAD` and `TAIL` characters; the words before them where the last ones are too
    few to tell ("and now in French"); the beginning of the system's instructions.
    """
    last = before = None
    for message in reversed(messages):
        if not isinstance(message, dict) or message.get("role") != "user":
            continue
        words = content_text(message.get("content"))
        if not words:
            continue
        if last is None:
            last = words
            if len(last) > _SHORT:
                break
        else:
            before = words
            break
    if last is None:
        last = content_text(messages[-1].get("content")) if messages and isinstance(messages[-1], dict) else ""
    system = ""
    if messages and isinstance(messages[0], dict) and messages[0].get("role") in ("system", "developer"):
        system = content_text(messages[0].get("content"))
    return shortened(last), shortened(before or ""), system[:_SYSTEM]


def shortened(text: str) -> str:
    """Head and tail of a long text."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def content_text(content: Any) -> str:
    """The words of a message, whether given as they are or in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str) and text:
            texts.append(text)
    return texts[0] if len(texts) == 1 else "\n".join(texts)
