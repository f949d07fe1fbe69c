"""Makes a thread that other models took part in valid for the one that is asked next.

Reasoning belongs to the provider that made it: signatures are refused by every other, and some refuse the field
itself. An assistant's message therefore carries `reasoning_blocks`, each with the `provider` that it came from; here
foreign ones are taken out before a provider sees the thread. What was said and done stays: texts, tool calls with
names that the target accepts, and a result for each of them, since one that is missing stops a thread for good.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from gateway.call.providers.wire import Provider

Message = Mapping[str, Any]

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")
NO_RESULT = "No result of this call was recorded."
ORPHAN = "Result of a tool call that is no longer part of this conversation"

# The same signatures are good wherever the same company serves them, under whatever name it is configured.
_OWNERS = {"api.anthropic.com": "anthropic", "generativelanguage.googleapis.com": "gemini"}
_ANTHROPIC_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REASONING = frozenset({"reasoning_blocks", *REASONING_FIELDS})
_SPECIAL = _REASONING | {"tool_calls", "function_call"}
# All that the strictest of OpenAI's imitators take in an assistant's message.
_STRICT = frozenset({"role", "content", "name", "tool_calls", "prefix"})


def source_of(provider: Provider) -> str:
    """Under which name the reasoning of a provider is kept."""
    return _OWNERS.get(urlsplit(provider.base_url).hostname or "", provider.name)


def strip_foreign(
    messages: Sequence[Any],
    source: str,
    *,
    wire: str | None = None,
    keep_untagged: bool = True,
    strict: bool = False,
    longest_id: int | None = None,
) -> Sequence[Any]:
    """The thread as one provider may see it; the very same object when there is nothing to change.

    Parameters
    ----------
    source : whose reasoning is kept, see `source_of`.
    wire : format of the target; by default what `source` names, or else OpenAI's.
    keep_untagged : whether reasoning that carries no provider is left alone; only where the format is OpenAI's.
    strict : whether an assistant's messages keep only the fields that every provider takes.
    longest_id : longest id of a tool call that the target takes.
    """
    if wire is None:
        wire = source if source in ("anthropic", "gemini") else "openai"
    sound = _sound(messages, strict, longest_id) if wire == "openai" else all(map(_plain, messages))
    if sound:
        return messages
    thread = _Thread(source, wire, keep_untagged, strict, longest_id)
    thread.take(_modern(messages) if wire != "openai" else messages)
    return thread.messages if thread.changed else messages


def _plain(message: Any) -> bool:
    """Whether a message can hold nothing that needs a look."""
    if not isinstance(message, dict):
        return False
    role = message.get("role")
    return _SPECIAL.isdisjoint(message) if role == "assistant" else role not in ("tool", "function")


def _sound(messages: Sequence[Any], strict: bool, longest_id: int | None) -> bool:
    """Whether OpenAI's format can take a thread as it is: no reasoning in it, and every call with its result.

    Most threads are, and long ones go through here with each further question.
    """
    waiting: set[str] = set()
    for message in messages:
        if not isinstance(message, dict):
            return False
        role = message.get("role")
        if role == "tool":
            number = message.get("tool_call_id")
            if not isinstance(number, str) or number not in waiting or not isinstance(message.get("content"), str):
                return False
            if "is_error" in message:
                return False
            waiting.remove(number)
            continue
        if waiting:
            return False
        if role != "assistant":
            continue
        if not _REASONING.isdisjoint(message) or (strict and not _STRICT.issuperset(message)):
            return False
        if "tool_calls" in message:
            calls = message["tool_calls"]
            if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
                return False
            numbers = [call.get("id") for call in calls]
            if not all(isinstance(number, str) and 0 < len(number) <= (longest_id or 10**6) for number in numbers):
                return False
            waiting = set(numbers)
            if not waiting or len(waiting) < len(numbers):
                return False
    return not waiting


class _Thread:
    """Rebuilds a thread message by message."""

    def __init__(self, source: str, wire: str, keep_untagged: bool, strict: bool, longest_id: int | None) -> None:
        self.messages: list[Any] = []
        self.changed = wire != "openai"
        self._source = source
        self._wire = wire
        self._keep_untagged = keep_untagged
        self._strict = strict
        self._longest_id = longest_id
        self._ids: set[str] = set()

    def take(self, messages: Sequence[Any]) -> None:
        at, end = 0, len(messages)
        while at < end:
            message = messages[at]
            at += 1
            role = message.get("role") if isinstance(message, Mapping) else None
            if role == "assistant":
                message = self._own(message)
                calls = message.get("tool_calls")
                if isinstance(calls, list) and calls:
                    first = at
                    while at < end and isinstance(messages[at], Mapping) and messages[at].get("role") == "tool":
                        at += 1
                    self._answered(message, calls, messages[first:at])
                    continue
            elif role == "tool":
                self.changed = True
                message = _as_text(message)
            self.messages.append(message)

    def _own(self, message: Message) -> Message:
        """An assistant's message with no reasoning but the target's own."""
        kept = dict(message)
        blocks = [block for block in message.get("reasoning_blocks") or () if isinstance(block, Mapping)]
        own = [block for block in blocks if block.get("provider") == self._source]
        if self._wire == "openai":
            kept.pop("reasoning_blocks", None)
            keeps_text = bool(own) if blocks else self._keep_untagged
        else:
            keeps_text = False
            if own:
                kept["reasoning_blocks"] = own
            else:
                kept.pop("reasoning_blocks", None)
        if not keeps_text:
            for field in REASONING_FIELDS:
                kept.pop(field, None)
        if self._strict:
            kept = {
                key: value for key, value in kept.items() if key in _STRICT or (keeps_text and key in REASONING_FIELDS)
            }
        if not kept.get("tool_calls"):
            kept.pop("tool_calls", None)
        if len(kept) == len(message) and len(own) == len(blocks):
            return message
        self.changed = True
        return kept

    def _answered(self, message: Message, calls: list[Any], results: Sequence[Message]) -> None:
        """A message that calls tools, then one result for each call, then what else was given as a result."""
        waiting: list[tuple[Any, str]] = []
        renamed = []
        for number, call in enumerate(calls):
            old = call.get("id") if isinstance(call, Mapping) else None
            new = self._id(old, number)
            waiting.append((old, new))
            if new != old and isinstance(call, Mapping):
                call = {**call, "id": new}
                self.changed = True
            renamed.append(call)
        self.messages.append({**message, "tool_calls": renamed})
        orphans, pictures = [], []
        for given in results:
            result, old = given, given.get("tool_call_id")
            place = next((at for at, (asked, _) in enumerate(waiting) if asked == old), None)
            if place is None:
                orphans.append(_as_text(result))
                continue
            _, new = waiting.pop(place)
            if new != old:
                result = {**result, "tool_call_id": new}
            if self._wire == "openai":
                result, shown = _for_openai(result)
                pictures.extend(shown)
            self.messages.append(result)
            self.changed = self.changed or result is not given
        for _, new in waiting:
            self.messages.append({"role": "tool", "tool_call_id": new, "content": NO_RESULT})
        if pictures:
            self.messages.append({"role": "user", "content": pictures})
        self.messages.extend(orphans)
        self.changed = self.changed or bool(waiting or pictures or orphans)

    def _id(self, old: Any, number: int) -> str:
        """An id that the target takes: the old one where it can be, else one that depends on it alone."""
        usable = isinstance(old, str) and old != ""
        if usable and self._wire == "anthropic":
            usable = _ANTHROPIC_ID.fullmatch(old) is not None and old not in self._ids
        elif usable and self._longest_id is not None:
            usable = len(old) <= self._longest_id
        new = old if usable else ""
        attempt = 0
        while not new or (new != old and new in self._ids):
            named = isinstance(old, str) and old != ""
            seed = f"{old}#{attempt}" if named else f"{len(self.messages)}#{number}#{attempt}"
            new = valid_id(seed)
            attempt += 1
        self._ids.add(new)
        return str(new)


def valid_id(seed: str) -> str:
    """An id of a tool call that every provider takes."""
    return "call_" + hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def anthropic_id(old: Any) -> str:
    """An id as Anthropic's format demands it; the same one for the same id."""
    if isinstance(old, str) and _ANTHROPIC_ID.fullmatch(old):
        return old
    return valid_id(str(old))


def text_of(content: Any) -> str:
    """The text of a message's content, parts that are no text left out."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") or part.get("refusal") for part in content if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _as_text(result: Message) -> dict[str, Any]:
    """A result that no call waits for, as something the user says."""
    name = result.get("name")
    title = f"{ORPHAN} ({name})" if isinstance(name, str) and name else ORPHAN
    content = result.get("content")
    pictures = [part for part in content if not _is_text(part)] if isinstance(content, list) else []
    text = f"{title}:\n{text_of(content)}"
    return {"role": "user", "content": [{"type": "text", "text": text}, *pictures] if pictures else text}


def _for_openai(result: Message) -> tuple[Message, list[Any]]:
    """A result as OpenAI's format knows it: text alone. Returns it with the pictures, which a user has to show."""
    content = result.get("content")
    pictures = [part for part in content if not _is_text(part)] if isinstance(content, list) else []
    if not pictures and "is_error" not in result:
        return result, []
    plain = {key: value for key, value in result.items() if key != "is_error"}
    if pictures:
        plain["content"] = text_of(content) or "See the next message."
    if result.get("is_error") is True:
        plain["content"] = f"Error: {text_of(plain['content'])}"
    return plain, pictures


def _is_text(part: Any) -> bool:
    return not isinstance(part, Mapping) or part.get("type") in ("text", "refusal")


def _modern(messages: Sequence[Any]) -> list[Any]:
    """OpenAI's older `function_call` and role `function` as tool calls and their results."""
    turned: list[Any] = []
    waiting: dict[str, str] = {}
    for at, message in enumerate(messages):
        if not isinstance(message, Mapping):
            turned.append(message)
            continue
        call = message.get("function_call")
        if message.get("role") == "assistant" and isinstance(call, Mapping) and not message.get("tool_calls"):
            name = str(call.get("name", ""))
            waiting[name] = valid_id(f"{name}#{at}")
            calls = [{"id": waiting[name], "type": "function", "function": dict(call)}]
            message = {**message, "tool_calls": calls}
        elif message.get("role") == "function":
            name = str(message.get("name", ""))
            message = {**message, "role": "tool", "tool_call_id": waiting.pop(name, None)}
        turned.append(message)
    return turned
