"""What a prompt asks for, with the truth about it: how hard it is and what a right answer says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

COMPLEXITIES = ("simple", "moderate", "complex", "expert")


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt and the truth about it.

    Attributes
    ----------
    kind : "arithmetic", "translation", …; see `features.world.llm.tasks.KINDS`.
    right : the right answer of a closed task; "" for an open one.
    topic, parts : of an open task: what it is about, and what a complete answer speaks of.
    words : about as many does a whole answer of an open task have.
    terse : the prompt wants the bare answer.
    """

    prompt: str
    domain: str
    complexity: str
    kind: str
    right: str = ""
    topic: str = ""
    parts: tuple[str, ...] = ()
    words: int = 0
    terse: bool = False

    @property
    def closed(self) -> bool:
        return bool(self.right)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of closed task.

    Attributes
    ----------
    draw : a task of a complexity, from a random generator.
    recognise : the task that a prompt states; the inverse of `draw`, and lenient about words around it.
    wrong : an answer that looks like the right one and is not.
    same : whether a text gives the right answer.
    """

    name: str
    domain: str
    draw: Callable[[Random, str], Task]
    recognise: Callable[[str], Task | None]
    wrong: Callable[[Task, Random], str]
    same: Callable[[Task, str], bool]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many things there are in a task of each complexity: (least, most), rising."""

    simple: tuple[int, int]
    moderate: tuple[int, int]
    complex: tuple[int, int]
    expert: tuple[int, int]

    def draw(self, rng: Random, complexity: str) -> int:
        return rng.randint(*getattr(self, complexity))

    def complexity(self, size: int) -> str:
        """The complexity whose tasks have so many things."""
        for name in COMPLEXITIES[:-1]:
            if size <= getattr(self, name)[1]:
                return name
        return COMPLEXITIES[-1]


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but its arguments: the same in every process and on every day."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64


def drawn_from(*parts: object) -> Random:
    """A random generator that depends on nothing but its arguments."""
    return Random(int(fraction(*parts) * 2**53))  # noqa: S311


def final(answer: str) -> str:
    """What an answer comes down to: its last line, after the last colon, without dressing."""
    line = next((one for one in reversed(answer.strip().splitlines()) if one.strip()), "")
    return line.rpartition(": ")[2].strip(" \t*`\"'").rstrip(".").strip(" *`\"'")


def same_text(task: Task, answer: str) -> bool:
    """Whether an answer comes down to the right one, whatever its capitals and spaces."""
    return "".join(final(answer).casefold().split()) == "".join(task.right.casefold().split())
