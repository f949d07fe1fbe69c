"""What a model says to a task: right or wrong, whole or with gaps, in the way that weak and strong answers differ."""

from __future__ import annotations

from functools import lru_cache
from random import Random

from features.world.llm.functions import CODED
from features.world.llm.open_tasks import CODE
from features.world.llm.task import Task, drawn_from
from features.world.llm.tasks import KINDS

BEFORE = (
    "Let me go through this step by step, taking what is given in the order in which it stands.",
    "Here is how one gets there: read the question once more, take its parts one by one, and put them together.",
    "Sure. The question is short, so the way to the result is short as well.",
)
AFTER = (
    "Please check this against your own records before you rely on it.",
    "If you need the steps in more detail, just say so.",
)
ON_PART = (
    "As to {part}, the first thing to settle is who decides and by when.",
    "With {topic}, {part} deserve a look before anything is signed.",
    "The records of the last two years show that {part} weigh more than most people expect.",
    "For {part} there are two ways: to begin small and learn, or to plan for the full size at once.",
    "Experience with similar projects suggests that {part} are best handled by one named person.",
    "Where {part} are concerned, a short list of figures says more than a long description.",
    "It pays to measure {part} from the first day, because nobody can rebuild the numbers later.",
    "On {part} opinions differ, yet the evidence at hand points in one direction.",
    "The effect of {part} is small in a quiet month and large in a cold one.",
)
MORE = (
    "A simple table with one line for each site is enough to keep track of it.",
    "This can be tried with three sites before it is done everywhere.",
    "The numbers should be looked at again after one quarter, by somebody who did not collect them.",
    "Two neighbours who went this way report that it took them about half a year.",
    "In practice this means one meeting, one page and one person who answers for it.",
    "What matters here is the order of the steps more than their speed.",
    "If it fails, the damage is limited and can be undone within a week.",
    "That is why the budget should name it in a line of its own.",
    "It also helps to write down what was tried before and why it was given up.",
)
FILLER = (
    "There are many things that one could say here, and many of them have been said before.",
    "In general it is important to keep in mind that this is an important subject.",
    "As is well known, it depends, and it will always depend.",
    "This is a very interesting matter that many people find very interesting.",
    "Overall, one should think about it carefully, because careful thinking is worthwhile.",
    "At the end of the day, everything is connected with everything else in some way.",
)
ASTRAY = (
    "The museum opens at ten and offers guided tours on Sundays.",
    "To bake the bread, let the dough rest for an hour and heat the oven.",
    "The match was decided in the last minute by a penalty.",
    "Our choir meets on Thursdays and is looking for more voices.",
    "The old bridge was painted in the summer, and the paint is still wet.",
)
CUT = (
    "To answer this one first has to",
    "The way to the result is as follows: one begins with",
    "Well, as far as I can",
)
THOUGHT = (
    "The question has to be read closely.",
    "What is given, and what is wanted?",
    "One part after the other, then together.",
    "Does the result fit what was asked?",
    "Another way to check: go backwards from the result.",
    "There may be a trap in the wording.",
)


def closed_answer(task: Task, right: bool, rng: Random, wordiness: float = 1.0) -> str:
    """An answer to a closed task.

    A wrong one is mostly a plausible slip; one in seven is cut off and one in seven about something else.
    """
    said = task.right
    if not right:
        way = rng.random()
        if way < 0.14:
            return rng.choice(CUT)
        if way < 0.28:
            return " ".join(rng.sample(ASTRAY, 2))
        said = KINDS[task.kind].wrong(task, rng)
    if task.kind == CODED.name:
        said = f"```python\n{said}\n```"
        return said if task.terse or wordiness < 0.85 else f"Here is the function:\n\n{said}"
    if task.terse:
        return said
    before = rng.choice(BEFORE) if wordiness > 0.8 and rng.random() < wordiness / 2 else ""
    after = rng.choice(AFTER) if wordiness > 1.1 else ""
    # What the answer comes down to stands in the last line, as people ask for it.
    return "\n".join(one for one in (" ".join(one for one in (before, after) if one), f"The answer is: {said}") if one)


def open_answer(task: Task, chance: float, rng: Random, wordiness: float = 1.0) -> str:
    """An answer to an open task: each part is spoken of with the given chance, and what is not leaves filler behind.

    The share that is spoken of is expected to be `chance`; see `features.world.llm.open_tasks.covered`.
    """
    spoken = [part for part in task.parts if rng.random() < chance]
    sentences = max(len(task.parts), round(task.words * wordiness / 16))
    # Weak answers are not much shorter: they fill the room with nothing, or with something else.
    for_parts = round(sentences * len(spoken) / len(task.parts))
    lines: list[str] = []
    for number, part in enumerate(spoken):
        lines.append(rng.choice(ON_PART).format(part=part, topic="all this" if part in task.topic else task.topic))
        lines += _some(rng, MORE, for_parts * (number + 1) // len(spoken) - len(lines))
    lines += _some(rng, ASTRAY if chance < 0.3 and rng.random() < 0.3 else FILLER, (sentences - for_parts) * 2 // 3)
    text = " ".join(lines) or rng.choice(FILLER)
    if task.domain == "code" and "```" in task.prompt and rng.random() < chance:
        text = f"{text}\n\n```python\n{rng.choice(CODE)}\n```"
    if rng.random() < 0.35 * (1 - chance):
        text = text[: -rng.randint(8, 20)].rstrip()
    return text[0].upper() + text[1:]


def thoughts(task: Task, shown_words: int, thinking: float, rng: Random) -> str:
    """What a model thinks before it answers: `thinking` words for each one it shows, more for harder tasks."""
    harder = {"simple": 0.5, "moderate": 1.0, "complex": 1.5, "expert": 2.5}[task.complexity]
    wanted = max(6, round(thinking * harder * max(shown_words, 12)))
    lines, count = [], 0
    while count < min(wanted, 3_000):
        line = rng.choice(THOUGHT)
        lines.append(line)
        count += len(line.split())
    return " ".join(lines)


def _some(rng: Random, lines: tuple[str, ...], count: int) -> list[str]:
    """`count` of the lines, none twice before all were there."""
    if count <= 0:
        return []
    shuffled = _shuffled(lines, rng.randrange(64))
    return [shuffled[number % len(shuffled)] for number in range(min(count, 400))]


@lru_cache(maxsize=512)
def _shuffled(lines: tuple[str, ...], number: int) -> tuple[str, ...]:
    return tuple(drawn_from(number).sample(lines, len(lines)))
