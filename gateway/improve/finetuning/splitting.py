"""What is learned from and what is held out: everything of a person, or of a conversation, on one side."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from gateway.improve.finetuning.examples import Example

# The gate needs so many groups to tell anything from chance; and asking many more costs more than it tells.
FEWEST_GROUPS, MOST_HELD_OUT = 12, 200
_FEWEST_PERSONS = 24
# A group that is a larger part of the share that is held out is learned from.
_LARGEST = 1 / 3


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example], str]:
    """Examples to learn from, those held out, and what kept them apart in words.

    Groups are persons where there are enough of them, else conversations; a call of neither is its own group. Which are
    held out is a matter of chance that depends on the seed and their names alone. Calls of tools are learned from, and
    never held out: nothing tells how good another call is.
    """
    by_person = len({one.group for one in examples}) >= _FEWEST_PERSONS
    grouped = list(examples) if by_person else [replace(one, group=one.conversation or one.call) for one in examples]
    groups: defaultdict[str, list[Example]] = defaultdict(list)
    for one in grouped:
        groups[one.group].append(one)
    wanted = min(MOST_HELD_OUT, max(FEWEST_GROUPS, round(share * len(examples))))
    held: list[Example] = []
    names: set[str] = set()
    for name in sorted(groups, key=lambda one: _chance(seed, one)):
        if len(held) >= wanted and len(names) >= FEWEST_GROUPS:
            break
        members = groups[name]
        if any(not one.answer for one in members) or len(members) > max(1.0, _LARGEST * wanted):
            continue
        held += members
        names.add(name)
    learned = [one for one in grouped if one.group not in names]
    told = (
        "persons and conversations" if by_person else "conversations, since there are too few persons to hold some out"
    )
    return learned, held, told


def _chance(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
