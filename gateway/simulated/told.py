"""What an answer is told with: the model's words, its id, and the tokens, before any shape is given to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from features.world.llm.tokens import pieces
from gateway.simulated.answers import Reply


@dataclass(frozen=True, slots=True)
class Told:
    """An answer on its way.

    Attributes
    ----------
    id : unique, without the prefix that a shape gives it.
    name : of the model, as the caller called it.
    input : tokens of the prompt; `cached` and `written` (to the prompt cache) are parts of it.
    usage : how tokens are told: "" as the shape says, or one of `gateway.simulated.faults.USAGES`.
    """

    id: str
    created: int
    name: str
    reply: Reply
    input: int
    cached: int
    written: int
    include_usage: bool
    usage: str = ""

    @property
    def output(self) -> int:
        return self.reply.output


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a stream, in its shape.

    Attributes
    ----------
    tokens : generated when it can be sent, all before it included.
    last : of the words: what was generated is all there, and is billed before this is sent.
    """

    data: bytes
    tokens: int
    last: bool = False


def spoken(reply: Reply) -> Iterator[tuple[bool, str, int]]:
    """(whether it is a thought, piece of text, tokens so far)."""
    for thought, text, first, total in (
        (True, reply.reasoning, 0, reply.reasoning_tokens),
        (False, reply.text, reply.reasoning_tokens, reply.output - reply.reasoning_tokens),
    ):
        found = pieces(text)
        for number, piece in enumerate(found, start=1):
            yield thought, piece, first + total * number // len(found)


def in_two(text: str) -> tuple[str, ...]:
    """A text in two parts, as arguments of a tool come in parts; in one where it is too short."""
    middle = len(text) // 2
    return (text[:middle], text[middle:]) if middle else (text,)
