"""Closed tasks in reasoning: lists to sort, letters to count, days between dates, who stands where in an order."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise
from random import Random

from features.world.llm.glossary import ENGLISH
from features.world.llm.task import Kind, Sizes, Task, final, same_text

WORDS = Sizes((3, 4), (5, 8), (9, 14), (15, 22))
PEOPLE = Sizes((3, 3), (4, 5), (6, 7), (8, 10))
# Most days between the two dates of a task of each complexity.
DAYS = Sizes((3, 28), (40, 330), (500, 2_900), (4_000, 20_000))

LISTS = (
    "Sort these words alphabetically: {}.",
    "Reverse the order of this list: {}.",
    "How many words are in this list: {}?",
    "How many times does the letter '{letter}' occur in: {}?",
)
BETWEEN = (
    "How many days are there between {} and {}?",
    "How many days lie between {} and {}? The number only.",
    "A contract runs from {} to {}; how many days are between the two dates?",
)
NAMES = ("Anna", "Ben", "Clara", "David", "Elif", "Felix", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Lars")

_LIST = re.compile(
    r"(sort these words alphabetically|reverse the order of this list|how many words are in this list|"
    r"how many times does the letter '(\w)' occur in): ([^.?\n]+)",
    re.IGNORECASE,
)
_DATES = re.compile(r"\b(\d{4}-\d{2}-\d{2})\b.{1,12}?\b(\d{4}-\d{2}-\d{2})\b")
_TALLER = re.compile(r"\b([A-Z]\w+) is taller than ([A-Z]\w+)")
_WHO = re.compile(r"who is the (tallest|shortest)", re.IGNORECASE)


def _draw_list(rng: Random, complexity: str) -> Task:
    words = rng.sample(ENGLISH, WORDS.draw(rng, complexity))
    letter = rng.choice(sorted(set("".join(words)) - {" "}))
    text = rng.choice(LISTS).format(", ".join(words), letter=letter)
    found = _recognise_list(text + rng.choice(("", " Give only the result.")))
    assert found is not None
    return found


def _recognise_list(text: str) -> Task | None:
    if (match := _LIST.search(text)) is None:
        return None
    what, letter, written = match[1].lower(), match[2], match[3].strip()
    words = [word.strip() for word in written.split(",") if word.strip()]
    if letter:
        right = str(written.lower().count(letter.lower()))
    elif what.startswith("sort"):
        right = ", ".join(sorted(words, key=str.lower))
    elif what.startswith("reverse"):
        right = ", ".join(reversed(words))
    else:
        right = str(len(words))
    return Task(text, "reasoning", WORDS.complexity(len(words)), "lists", right, terse="only" in text)


def _wrong_list(task: Task, rng: Random) -> str:
    words = task.right.split(", ")
    if task.right.isdigit():
        return str(int(task.right) + rng.choice((1, 1, 2)) * (1 if int(task.right) < 3 else rng.choice((1, -1))))
    if len(words) < 2 or len(set(words)) < len(words):
        return ", ".join(words[:-1]) or "nothing"
    place = rng.randrange(len(words) - 1)
    words[place], words[place + 1] = words[place + 1], words[place]
    return ", ".join(words)


def _draw_dates(rng: Random, complexity: str) -> Task:
    first = date(1960, 1, 1) + timedelta(days=rng.randrange(15_000))
    last = first + timedelta(days=DAYS.draw(rng, complexity))
    found = _recognise_dates(rng.choice(BETWEEN).format(first.isoformat(), last.isoformat()))
    assert found is not None
    return found


def _recognise_dates(text: str) -> Task | None:
    match = _DATES.search(text)
    if match is None or "how many days" not in text.lower():
        return None
    try:
        days = abs((date.fromisoformat(match[2]) - date.fromisoformat(match[1])).days)
    except ValueError:
        return None
    return Task(text, "reasoning", DAYS.complexity(days), "dates", str(days), terse="only" in text)


def _wrong_dates(task: Task, rng: Random) -> str:
    return str(int(task.right) + rng.choice((1, 2, 30, 31, 365)))


def _same_days(task: Task, answer: str) -> bool:
    found = re.findall(r"\d+", final(answer).replace(",", ""))
    return bool(found) and found[-1] == task.right


def _draw_order(rng: Random, complexity: str) -> Task:
    people = rng.sample(NAMES, PEOPLE.draw(rng, complexity))
    facts = [f"{taller} is taller than {shorter}." for taller, shorter in pairwise(people)]
    rng.shuffle(facts)
    asked = rng.choice(("Who is the tallest?", "Who is the shortest? Give only the name."))
    found = _recognise_order(f"{' '.join(facts)} {asked}")
    assert found is not None
    return found


def _recognise_order(text: str) -> Task | None:
    asked, facts = _WHO.search(text), _TALLER.findall(text)
    if asked is None or not facts:
        return None
    taller, shorter = {one for one, _ in facts}, {other for _, other in facts}
    ends = taller - shorter if asked[1].lower() == "tallest" else shorter - taller
    if len(ends) != 1:
        return None
    complexity = PEOPLE.complexity(len(taller | shorter))
    return Task(text, "reasoning", complexity, "order", ends.pop(), terse="only" in text)


def _wrong_order(task: Task, rng: Random) -> str:
    people: list[str] = sorted({name for pair in _TALLER.findall(task.prompt) for name in pair} - {task.right})
    return rng.choice(people or [name for name in NAMES if name != task.right])


LISTED = Kind("lists", "reasoning", _draw_list, _recognise_list, _wrong_list, same_text)
DATED = Kind("dates", "reasoning", _draw_dates, _recognise_dates, _wrong_dates, _same_days)
ORDERED = Kind("order", "reasoning", _draw_order, _recognise_order, _wrong_order, same_text)
