"""Closed tasks in translation: words of the glossary between English, German and French."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from features.world.llm.glossary import ENGLISH, FRENCH, GERMAN
from features.world.llm.task import Kind, Sizes, Task, same_text

WORDS = Sizes((1, 2), (3, 5), (6, 9), (10, 15))

LANGUAGES: Mapping[str, tuple[str, ...]] = {"English": ENGLISH, "German": GERMAN, "French": FRENCH}

TEMPLATES = (
    "Translate from {source} to {target}: {words}",
    "Please translate the following from {source} to {target}: {words}",
    "Translate from {source} to {target}, giving only the translation: {words}",
)

_ASKED = re.compile(r"translate(?: the following)? from (\w+) (?:in)?to (\w+)[^:\n]{0,60}: ?([^\n.]+)", re.IGNORECASE)

# (source, target) → word → word
_BOOKS: Mapping[tuple[str, str], Mapping[str, str]] = {
    (source, target): {word.casefold(): other for word, other in zip(words, others, strict=True)}
    for source, words in LANGUAGES.items()
    for target, others in LANGUAGES.items()
    if source != target
}


def _draw(rng: Random, complexity: str) -> Task:
    source, target = rng.sample(list(LANGUAGES), 2)
    words = rng.sample(LANGUAGES[source], WORDS.draw(rng, complexity))
    text = rng.choice(TEMPLATES).format(source=source, target=target, words=", ".join(words))
    found = _recognise(text)
    assert found is not None
    return found


def _recognise(text: str) -> Task | None:
    if (match := _ASKED.search(text)) is None:
        return None
    book = _BOOKS.get((match[1].capitalize(), match[2].capitalize()))
    words = [word.strip().casefold() for word in match[3].split(",") if word.strip()]
    if book is None or not words or any(word not in book for word in words):
        return None
    right = ", ".join(book[word] for word in words)
    return Task(text, "translation", WORDS.complexity(len(words)), "translation", right, terse="only" in text)


def _wrong(task: Task, rng: Random) -> str:
    words = task.right.split(", ")
    language = next(one for one in LANGUAGES.values() if set(words) <= set(one))
    place = rng.randrange(len(words))
    words[place] = rng.choice([other for other in language if other not in words])
    return ", ".join(words)


TRANSLATED = Kind("translation", "translation", _draw, _recognise, _wrong, same_text)
