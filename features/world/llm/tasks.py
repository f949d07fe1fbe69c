"""All kinds of tasks together: draw one of a domain and complexity, or recognise which one a prompt states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from features.world.llm import open_tasks
from features.world.llm.arithmetic import ARITHMETIC, CONVERTED
from features.world.llm.choices import CHOSEN
from features.world.llm.extraction import EXTRACTED, FIELD
from features.world.llm.functions import CODED
from features.world.llm.puzzles import DATED, LISTED, ORDERED
from features.world.llm.task import COMPLEXITIES, Kind, Task, drawn_from
from features.world.llm.translation import TRANSLATED
from store.errors import InvalidValue

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (CODED, CHOSEN, DATED, ORDERED, TRANSLATED, CONVERTED, LISTED, FIELD, EXTRACTED, ARITHMETIC)
}
DOMAINS = (
    *("code", "math", "reasoning", "analysis", "writing", "translation", "summary", "extraction", "conversation"),
    "knowledge",
)

# Share of open tasks in domains that have both; the others are all open or all closed.
_OPEN_SHARE: Mapping[str, float] = {
    "code": 0.4,
    "knowledge": 0.4,
    "analysis": 1.0,
    "writing": 1.0,
    "summary": 1.0,
    "conversation": 1.0,
}
_CLOSED: Mapping[str, tuple[Kind, ...]] = {
    domain: tuple(kind for kind in KINDS.values() if kind.domain == domain) for domain in DOMAINS
}
# Prompts longer than this are read as open ones: nobody draws such a closed task.
_LONGEST_CLOSED = 20_000


def draw(rng: Random, domain: str, complexity: str) -> Task:
    """A task of a domain and complexity.

    Raises
    ------
    InvalidValue : there is no such domain or complexity.
    """
    for name, value, allowed in (("domain", domain, DOMAINS), ("complexity", complexity, COMPLEXITIES)):
        if value not in allowed:
            raise InvalidValue(
                f"There is no {name} {value!r}.",
                remedy=f"Use one of {', '.join(allowed)}.",
                field=name,
                value=value,
            )
    if rng.random() < _OPEN_SHARE.get(domain, 0.0):
        return open_tasks.draw(rng, domain, complexity)
    return rng.choice(_CLOSED[domain]).draw(rng, complexity)


def recognise(prompt: str) -> Task:
    """The task that a prompt states: a closed one where it is of a known kind, otherwise an open one."""
    if len(prompt) <= _LONGEST_CLOSED:
        for kind in KINDS.values():
            if (found := kind.recognise(prompt)) is not None:
                return found
    return open_tasks.recognise(prompt)


def grade(task: Task, answer: str) -> float:
    """How good an answer truly is, 0 to 1: right or not; of an open task, the share of it that is spoken of."""
    if task.closed:
        return float(KINDS[task.kind].same(task, answer))
    return open_tasks.covered(task, answer)


def generate(
    seed: int, count: int, *, domains: Sequence[str] = DOMAINS, complexities: Sequence[str] = COMPLEXITIES
) -> Iterator[Task]:
    """`count` tasks of all the domains and complexities given, the same ones for the same seed."""
    rng = drawn_from("tasks", seed)
    for _ in range(count):
        yield draw(rng, rng.choice(domains), rng.choice(complexities))
