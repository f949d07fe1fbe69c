"""What was said in a conversation, in turns: how it is continued, and what goes when it becomes too long.

A turn is what a user says and everything that follows until the user says something else: calls of tools and their
results are never parted. When there is too much, the oldest turns go, whole; what stands before the first turn, the
system's instructions, stays, and so does the last turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.account.tokens import count_prompt
from store.errors import InvalidValue

Message = Mapping[str, Any]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
INSTRUCTIONS = frozenset({"system", "developer"})
_ANSWERS = frozenset({"assistant", "tool", "function"})
# What `count_prompt` adds once for a whole prompt.
_ONCE = 3


def head_length(messages: Sequence[Message]) -> int:
    """How many messages stand before the first turn."""
    return next((at for at, one in enumerate(messages) if one.get("role") not in INSTRUCTIONS), len(messages))


def turns(messages: Sequence[Message]) -> list[int]:
    """Where each turn begins. Instructions between two turns belong to the later one."""
    begins: list[int] = []
    open_calls: set[str] = set()
    answered_later = {str(one.get("tool_call_id")) for one in messages if one.get("role") == "tool"}
    for at in range(head_length(messages), len(messages)):
        message = messages[at]
        role = message.get("role")
        after_answer = at > 0 and messages[at - 1].get("role") in _ANSWERS
        if not begins or (role not in _ANSWERS and after_answer and not open_calls & answered_later):
            begins.append(at)
        if role == "assistant":
            open_calls |= set(call_ids(message))
        elif role == "tool":
            open_calls.discard(str(message.get("tool_call_id")))
    return begins


def call_ids(message: Message) -> list[str]:
    """Ids of the tool calls in an assistant's message."""
    calls = message.get("tool_calls")
    return [str(one.get("id")) for one in calls if isinstance(one, Mapping)] if isinstance(calls, list) else []


def awaited(messages: Sequence[Message]) -> set[str]:
    """Ids of the tool calls at the end that have no result yet; empty when the model has said its last word."""
    answered: set[str] = set()
    for message in reversed(messages):
        role = message.get("role")
        if role == "tool":
            answered.add(str(message.get("tool_call_id")))
        elif role == "assistant":
            return set(call_ids(message)) - answered
        else:
            return set()
    return set()


def joined(history: Sequence[Message], new: Sequence[Any]) -> list[Message]:
    """The history continued by what a request brings. Instructions at its beginning replace those of the history.

    Raises
    ------
    InvalidValue : it brings nothing, something that is no message, or the result of a call that nobody waits for.
    """
    _check(history, new)
    begin = head_length(new)
    if not begin:
        return [*history, *new]
    return [*new[:begin], *history[head_length(history) :], *new[begin:]]


def fit(
    messages: Sequence[Message],
    tokens: int,
    count: Callable[[Sequence[Message]], int] | None = None,
) -> list[Message]:
    """The messages without their oldest turns, so that no more than `tokens` are left where that is possible.

    Parameters
    ----------
    count : tokens of some messages.
    """
    count = count or count_messages
    begins = turns(messages)
    if len(begins) < 2:
        return list(messages)
    head = messages[: begins[0]]
    left = tokens - (count(head) if head else 0)
    keep = len(messages)
    for begin, end in zip(reversed(begins), [len(messages), *reversed(begins[1:])], strict=True):
        left -= count(messages[begin:end])
        if left < 0 and keep < len(messages):
            break
        keep = begin
    return [*head, *messages[keep:]]


def count_messages(messages: Sequence[Message]) -> int:
    """Tokens of some messages, without what a whole prompt adds."""
    return max(0, count_prompt({"messages": list(messages)}) - _ONCE)


def _check(history: Sequence[Message], new: Sequence[Any]) -> None:
    if not new:
        raise InvalidValue(
            "messages is empty: the conversation is not continued.",
            remedy="Send what the user says next; what was said before is kept here.",
            field="messages",
        )
    waiting = awaited(history)
    for at, message in enumerate(new):
        role = message.get("role") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or role not in ROLES:
            raise InvalidValue(
                f"messages[{at}] has the role {role!r}." if isinstance(message, Mapping) else _no_message(at, message),
                remedy=f"Use one of {', '.join(sorted(ROLES))}.",
                field=f"messages[{at}].role",
                value=str(role)[:64],
            )
        if role == "assistant":
            waiting |= set(call_ids(message))
        elif role == "tool":
            given = str(message.get("tool_call_id"))
            if given not in waiting:
                raise InvalidValue(
                    f"messages[{at}] is the result of the tool call {given[:64]!r}, which nobody waits for.",
                    remedy=f"{_told(waiting)} Send only what is new: what was said before is kept here.",
                    field=f"messages[{at}].tool_call_id",
                    value=given[:64],
                )
            waiting.discard(given)


def _no_message(at: int, value: object) -> str:
    return f"messages[{at}] is {type(value).__name__}, not a message."


def _told(waiting: Iterable[str]) -> str:
    names = sorted(waiting)
    return f"Calls that wait for a result: {', '.join(names)}." if names else "No call waits for a result."
