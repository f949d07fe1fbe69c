"""Prompts of a benchmark: one JSON object a line.

{"prompt": "What is 17 * 23?", "expected": "391"}
{"id": "t-17", "group": "ticket 17", "messages": [{"role": "user", "content": "…"}], "reference": "A good answer."}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from store.errors import EmptyData, InvalidValue

MOST_PROMPTS = 10_000
_FIELDS = ("id", "group", "prompt", "system", "messages", "expected", "reference", "response_format", "max_tokens")
_LONGEST_NAME = 200
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


@dataclass(frozen=True, slots=True)
class BenchmarkPrompt:
    """One prompt.

    Attributes
    ----------
    group : prompts that are not independent of each other share one; default: each its own.
    messages : in OpenAI's shape, the last one not the assistant's.
    expected : texts of which a right answer is one, or ends with one; none: not told.
    reference : a good answer; None: not told.
    """

    id: str
    group: str
    messages: tuple[Mapping[str, Any], ...]
    expected: tuple[str, ...] = ()
    reference: str | None = None
    response_format: Mapping[str, Any] | None = None
    max_tokens: int | None = None

    def body(self, model: str) -> dict[str, Any]:
        """The request to a model, in OpenAI's shape."""
        body: dict[str, Any] = {"model": model, "messages": list(self.messages)}
        if self.response_format is not None:
            body["response_format"] = dict(self.response_format)
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        return body

    @property
    def asked(self) -> str:
        """The last words of the user."""
        for message in reversed(self.messages):
            if message["role"] == "user" and isinstance(message.get("content"), str):
                return str(message["content"])
        return ""


def read_prompts(lines: Iterable[bytes | str | Mapping[str, Any]]) -> list[BenchmarkPrompt]:
    """Prompts of a file's lines, or of objects; empty lines are skipped.

    Raises
    ------
    EmptyData : there is none.
    InvalidValue : a line is none; the message names it and what is wrong.
    """
    made: list[BenchmarkPrompt] = []
    ids: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if isinstance(line, bytes | str):
            if not line.strip():
                continue
            try:
                given = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise _wrong(number, "", f"is not JSON: {error.msg}", None) from None
        else:
            given = line
        one = _prompt(number, given)
        if one.id in ids:
            raise _wrong(number, "id", "is the id of an earlier line", one.id)
        ids.add(one.id)
        made.append(one)
        if len(made) > MOST_PROMPTS:
            raise InvalidValue(
                f"There are more than {MOST_PROMPTS:,} prompts.",
                remedy="Draw some of them: a few hundred tell models apart.",
                field="prompts",
            )
    if not made:
        raise EmptyData("There is no prompt.", remedy='Write one a line: {"prompt": "…"}.', field="prompts")
    return made


def digest_of(prompts: Sequence[BenchmarkPrompt]) -> str:
    """SHA-256 of what is asked and of what is expected, in the given order."""
    hashed = hashlib.sha256()
    for one in prompts:
        parts = [list(one.messages), one.expected, one.reference, one.response_format, one.max_tokens, one.group]
        hashed.update(orjson.dumps(parts) + b"\n")
    return hashed.hexdigest()


def _prompt(number: int, given: Any) -> BenchmarkPrompt:
    if not isinstance(given, Mapping):
        raise _wrong(number, "", "is not an object", given)
    for name in given:
        if name not in _FIELDS:
            raise _wrong(number, str(name)[:80], f"is not known; there are {', '.join(_FIELDS)}", given[name])
    prompt_id = _name(number, given, "id") or str(number)
    expected = given.get("expected") or ()
    expected = (expected,) if isinstance(expected, str) else expected
    if not isinstance(expected, Sequence) or not all(isinstance(one, str) and one.strip() for one in expected):
        raise _wrong(number, "expected", "is not a text or a list of texts", given["expected"])
    reference, form, most = given.get("reference"), given.get("response_format"), given.get("max_tokens")
    if reference is not None and (not isinstance(reference, str) or not reference.strip()):
        raise _wrong(number, "reference", "is not a text", reference)
    if form is not None and not isinstance(form, Mapping):
        raise _wrong(number, "response_format", "is not an object", form)
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 1_000_000):
        raise _wrong(number, "max_tokens", "is not a whole number from 1", most)
    return BenchmarkPrompt(
        id=prompt_id,
        group=_name(number, given, "group") or prompt_id,
        messages=_messages(number, given),
        expected=tuple(expected),
        reference=reference,
        response_format=form,
        max_tokens=most,
    )


def _messages(number: int, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    prompt, messages, system = given.get("prompt"), given.get("messages"), given.get("system")
    if (prompt is None) == (messages is None):
        raise _wrong(number, "prompt", "and `messages`: one of them is needed, and not both", None)
    if system is not None and (not isinstance(system, str) or not system.strip()):
        raise _wrong(number, "system", "is not a text", system)
    first = () if system is None else ({"role": "system", "content": system},)
    if prompt is not None:
        if not isinstance(prompt, str) or not prompt.strip():
            raise _wrong(number, "prompt", "is not a text", prompt)
        return (*first, {"role": "user", "content": prompt})
    if not isinstance(messages, list) or not messages:
        raise _wrong(number, "messages", "is not a list of messages", messages)
    for one in messages:
        if not isinstance(one, Mapping) or one.get("role") not in _ROLES:
            raise _wrong(number, "messages", f"holds something whose role is none of {', '.join(sorted(_ROLES))}", one)
    if messages[-1]["role"] == "assistant":
        raise _wrong(number, "messages", "ends with the assistant: there is nothing to answer", None)
    return (*first, *messages)


def _name(number: int, given: Mapping[str, Any], field: str) -> str | None:
    value = given.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or not 0 < len(str(value)) <= _LONGEST_NAME:
        raise _wrong(number, field, f"is not a text of 1 to {_LONGEST_NAME} characters", value)
    return str(value)


def _wrong(number: int, field: str, what: str, value: Any) -> InvalidValue:
    name = f" {field}" if field else ""
    return InvalidValue(
        f"Line {number} of the prompts:{name} {what}.",
        remedy='Write one object a line, such as {"prompt": "What is 17 * 23?", "expected": "391"}.',
        field=f"prompts.{number - 1}{'.' + field if field else ''}",
        value=None if value is None else str(value)[:200],
    )
