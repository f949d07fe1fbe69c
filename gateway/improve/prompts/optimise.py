"""A request made shorter at the same meaning, with every change explained and counted.

What is done, in this order: blanks and empty lines that mean nothing go; what stands in the conversation already goes;
where it is asked for, old answers are compacted; what changes from call to call moves behind what is always the same.
Code, quotations and data stay byte for byte (see `gateway.improve.prompts.segments`). A message that would not get
shorter in tokens stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.account.tokens import count_prompt, count_text
from gateway.choose.catalogue import Model
from gateway.improve.prompts.history import compacted
from gateway.improve.prompts.ordering import stable_first, stable_length
from gateway.improve.prompts.shortening import Seen, without_blanks
from gateway.money import dollars
from gateway.usage import Usage

What = Literal["blanks", "repeats", "history", "order"]
INSTRUCTIONS = ("system", "developer")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Options:
    """What may be done.

    Attributes
    ----------
    repeated_data : whether a passage with code, quotations or data in it may be left out where it stands before.
    history : messages at the end that stay whole; of answers before them only what later turns are likely to need is
        kept. None: all stay.
    order : whether what changes from call to call is moved to the end of the instructions.
    """

    repeated_data: bool = False
    history: int | None = None
    order: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes
    ----------
    message : its number in the request.
    tokens : that went; 0 of what only moved.
    words : what was done and why, for people.
    """

    what: What
    message: int
    tokens: int
    words: str

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "message": self.message, "tokens": self.tokens, "words": self.words}


@dataclass(frozen=True)
class Optimised:
    """A request, shorter.

    Attributes
    ----------
    body : in OpenAI's shape; nothing but the texts of messages has changed.
    tokens_before, tokens_after : of the whole prompt.
    stable_before, stable_after : tokens at its beginning that are the same in every call, as far as one can tell.
    """

    body: dict[str, Any]
    tokens_before: int
    tokens_after: int
    stable_before: int
    stable_after: int
    changes: Sequence[Change] = field(default=())

    def costs(self, models: Iterable[Model]) -> list[dict[str, Any]]:
        """Dollars of the prompt at each model, before and after, cheapest saving last; and after, once the model's
        provider has the stable beginning in its cache."""
        rows = []
        for model in models:
            if model.kind != "chat":
                continue
            cost = model.price.cost
            known = Usage(input=self.tokens_after, cached=min(self.stable_after, self.tokens_after))
            before, after = cost(Usage(input=self.tokens_before)), cost(Usage(input=self.tokens_after))
            rows.append(
                {
                    "model": model.id,
                    "before": dollars(before),
                    "after": dollars(after),
                    "after_cached": dollars(cost(known)),
                    "saved": dollars(before - after),
                }
            )
        return sorted(rows, key=lambda row: (-row["saved"], row["model"]))


def optimise(body: Mapping[str, Any], options: Options | None = None) -> Optimised:
    """Shorten a request of OpenAI's shape.

    Whatever of it is not a text of a message stays as it is, also what is not known here.
    """
    options = options or Options()
    messages = body.get("messages")
    before = count_prompt(body)
    if not isinstance(messages, list):
        return Optimised(dict(body), before, before, 0, 0)
    made = _Made(options, len(messages))
    shortened = [made.message(number, message) for number, message in enumerate(messages)]
    after = {**body, "messages": shortened}
    return Optimised(after, before, count_prompt(after), _stable(messages), _stable(shortened), tuple(made.changes))


def optimise_text(text: str, options: Options | None = None) -> tuple[str, Optimised]:
    """Shorten instructions that stand alone, a system prompt in a file; returns the text and what was done."""
    found = optimise({"messages": [{"role": "system", "content": text}]}, options)
    return str(found.body["messages"][0]["content"]), found


class _Made:
    """What was done so far."""

    def __init__(self, options: Options, count: int) -> None:
        self._options = options
        self._count = count
        self._seen = Seen(data_too=options.repeated_data)
        self.changes: list[Change] = []

    def message(self, number: int, message: Any) -> Any:
        if not isinstance(message, Mapping) or message.get("role") not in (*INSTRUCTIONS, "user", "assistant"):
            return message  # what a tool returned is data
        content = message.get("content")
        role = str(message["role"])
        if isinstance(content, str):
            return {**message, "content": self._text(number, role, content)}
        if isinstance(content, list):
            return {**message, "content": [self._part(number, role, part) for part in content]}
        return message

    def _part(self, number: int, role: str, part: Any) -> Any:
        if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
            return {**part, "text": self._text(number, role, part["text"])}
        return part

    def _text(self, number: int, role: str, text: str) -> str:
        instructions = role in INSTRUCTIONS
        shorter = self._step("blanks", number, text, without_blanks(text), "Blanks that mean nothing are gone.")
        left, gone = self._seen.without_repeats(shorter, number, instructions=instructions)
        if gone:
            words = "; ".join(_repeat(one.text, one.earlier, number) for one in gone[:5])
            more = f"; and {len(gone) - 5} more" if len(gone) > 5 else ""
            shorter = self._step("repeats", number, shorter, without_blanks(left), f"{words}{more}.")
        keep = self._options.history
        if keep is not None and role == "assistant" and number < self._count - keep:
            words = "Of this old answer the first and last sentence and everything with data in it is left."
            shorter = self._step("history", number, shorter, compacted(shorter), words)
        if instructions and self._options.order:
            ordered, moved = stable_first(shorter)
            if moved and stable_length(ordered) > stable_length(shorter):
                first = " ".join(moved[0].split())[:_SHOWN]
                words = f"{first!r} changes from call to call and stands last now: a provider's cache knows the rest."
                self.changes.append(Change("order", number, 0, words))
                shorter = ordered
        return shorter

    def _step(self, what: What, number: int, before: str, after: str, words: str) -> str:
        if after == before:
            return before
        saved = count_text(before) - count_text(after)
        if saved <= 0 or not after.strip():
            return before
        self.changes.append(Change(what, number, saved, words))
        return after


def _repeat(text: str, earlier: int, number: int) -> str:
    where = "before" if earlier == number else f"in message {earlier + 1}"
    return f"{text[:_SHOWN] + ('…' if len(text) > _SHOWN else '')!r} stands {where}"


def _stable(messages: Sequence[Any]) -> int:
    """Tokens of the instructions at the beginning before anything that changes."""
    tokens = 0
    for message in messages:
        if not isinstance(message, Mapping) or message.get("role") not in INSTRUCTIONS:
            break
        content = message.get("content")
        if not isinstance(content, str):
            break
        stable = stable_length(content)
        tokens += count_text(content[:stable]) if stable else 0
        if stable < len(content):
            break
    return tokens
