"""OpenAI's chat format for supervised fine-tuning: what is written, what is refused, and how many tokens it has.

The rules are those of https://platform.openai.com/docs/guides/supervised-fine-tuning: one JSON object a line with
`messages`, roles system, user, assistant and tool, the last message the assistant's, an answer of a tool only to a call
before it, `weight` 0 or 1 on the assistant's messages, and at least ten examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.account.tokens import count_prompt
from gateway.improve.finetuning.examples import Example
from store.errors import InvalidValue

FEWEST = 10
MOST_BYTES = 512 * 1024 * 1024
ROLES = frozenset({"system", "user", "assistant", "tool"})
_FIELDS = frozenset({"messages", "tools", "parallel_tool_calls"})
_MESSAGE_FIELDS = frozenset({"role", "content", "name", "weight", "tool_calls", "tool_call_id", "refusal"})
# Passes over the examples: as OpenAI's cookbook reckons them, so that few examples are seen more often.
_EPOCHS, _FEWEST_SEEN, _MOST_SEEN, _MOST_EPOCHS = 3, 100, 25_000, 25


@dataclass(frozen=True, slots=True)
class Written:
    """A file of examples.

    Attributes
    ----------
    tokens : of all examples, once.
    too_long : examples that are left out since they have more tokens than the model takes.
    """

    content: bytes
    examples: tuple[Example, ...]
    tokens: int
    too_long: int


def write(examples: Sequence[Example], longest: int) -> Written:
    """Examples as lines.

    Parameters
    ----------
    longest : most tokens of an example.

    Raises
    ------
    InvalidValue : one of them breaks a rule: what collects them is wrong.
    """
    lines: list[bytes] = []
    kept: list[Example] = []
    total = 0
    for one in examples:
        made = line_of(one)
        if problems := problems_of(made):
            raise InvalidValue(
                f"The call {one.call} makes no example: {problems[0]}.", remedy="Leave it out.", field="examples"
            )
        tokens = tokens_of(made)
        if tokens > longest:
            continue
        total += tokens
        kept.append(one)
        lines.append(orjson.dumps(made))
    return Written(b"\n".join(lines) + b"\n" if lines else b"", tuple(kept), total, len(examples) - len(kept))


def check_enough(written: Written, what: str = "examples to learn from") -> None:
    """
    Raises
    ------
    InvalidValue : there are fewer than the provider takes, or the file is larger.
    """
    if len(written.examples) < FEWEST:
        raise InvalidValue(
            f"There are {len(written.examples)} {what}, {FEWEST} are the fewest that a provider takes.",
            remedy="Let workspaces keep words and people judge answers, look further back, or ask less of examples.",
            field="examples",
            value=len(written.examples),
        )
    if len(written.content) > MOST_BYTES:
        raise InvalidValue(
            f"The examples have {len(written.content):,} bytes, {MOST_BYTES:,} are the most.",
            remedy="Take fewer examples.",
            field="most",
        )


def line_of(example: Example) -> dict[str, Any]:
    """One example as an object."""
    made: dict[str, Any] = {"messages": [dict(message) for message in example.messages]}
    if example.tools:
        made["tools"] = [dict(tool) for tool in example.tools]
    return made


def problems_of(given: Any) -> list[str]:
    """What is wrong with an object as an example; nothing where a provider takes it."""
    if not isinstance(given, Mapping):
        return ["it is not an object"]
    problems = [f"it has a field {name!r}" for name in given if name not in _FIELDS]
    messages = given.get("messages")
    if not isinstance(messages, list) or len(messages) < 2:
        return [*problems, "messages is not a list of two or more"]
    awaited: set[str] = set()
    for place, message in enumerate(messages):
        problems += [f"messages[{place}] {why}" for why in _wrong(message, awaited)]
    if awaited and messages[-1].get("role") != "assistant":
        problems.append("a tool's call is not answered")
    last = messages[-1] if isinstance(messages[-1], Mapping) else {}
    if last.get("role") != "assistant":
        problems.append("the last message is not the assistant's")
    elif last.get("weight") == 0:
        problems.append("the last message has weight 0: nothing would be learned")
    if not any(isinstance(one, Mapping) and one.get("role") == "user" for one in messages):
        problems.append("no message is the user's")
    return problems


def _wrong(message: Any, awaited: set[str]) -> list[str]:
    if not isinstance(message, Mapping):
        return ["is not an object"]
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    found = [f"has a field {name!r}" for name in message if name not in _MESSAGE_FIELDS]
    if role not in ROLES:
        return [*found, f"has the role {role!r}, which is none of {', '.join(sorted(ROLES))}"]
    if content is not None and not isinstance(content, str):
        found.append("has a content that is no text")
    elif not content and not (role == "assistant" and calls):
        found.append("has no content")
    weight = message.get("weight")
    if weight is not None and (role != "assistant" or weight not in (0, 1)):
        found.append(f"has the weight {weight!r}: 0 and 1 are possible, on the assistant's messages alone")
    if role == "tool":
        call = message.get("tool_call_id")
        if call not in awaited:
            found.append("answers a tool's call that nobody made")
        awaited.discard(str(call))
    elif awaited:
        found.append("comes before every tool's call is answered")
        awaited.clear()
    if calls is not None:
        if role != "assistant" or not isinstance(calls, list):
            found.append("has tool_calls that are none")
        else:
            for call in calls:
                if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping) or not call.get("id"):
                    found.append("has a tool's call without id or function")
                else:
                    awaited.add(str(call["id"]))
    return found


def tokens_of(line: Mapping[str, Any]) -> int:
    """Tokens of an example, counted offline with the vocabulary of OpenAI's models."""
    return count_prompt(line)


def epochs_for(examples: int) -> int:
    """How often a provider goes over the examples where nobody says it."""
    if examples * _EPOCHS < _FEWEST_SEEN:
        return min(_MOST_EPOCHS, max(1, _FEWEST_SEEN // max(examples, 1)))
    if examples * _EPOCHS > _MOST_SEEN:
        return max(1, _MOST_SEEN // examples)
    return _EPOCHS
