"""Closed tasks in extraction: addresses, amounts, or the field of a JSON document, out of a text."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from features.world.llm.task import Kind, Sizes, Task, final, same_text

ITEMS = Sizes((1, 2), (3, 4), (5, 7), (8, 12))
# Fields of the document, all levels together.
FIELDS = Sizes((2, 4), (5, 9), (10, 16), (17, 28))

FIRST = ("anna", "ben", "clara", "david", "elif", "felix", "greta", "hugo", "ines", "jonas", "karin", "lars", "mira")
PLACES = ("nordwind", "sunpark", "gridworks", "stadtwerk", "metering", "hydroline", "volta", "kilowatt")
REMARKS = (
    "The meter in the cellar was read on time.",
    "Nobody was at home when the technician came.",
    "The tariff changes with the next quarter.",
    "Our records show no outage in that week.",
    "The contract runs on without a change.",
    "A reply is expected before the end of the month.",
)
KEYS = (
    *(
        "customer",
        "contract",
        "meter",
        "tariff",
        "site",
        "status",
        "region",
        "phase",
        "owner",
        "grid",
        "serial",
        "unit",
    ),
    *("period", "reading", "quality", "source", "model", "install", "voltage", "branch", "street", "depot", "feeder"),
)

_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.[\w.-]{0,64}\w")
_AMOUNT = re.compile(r"\bEUR (\d+(?:\.\d+)?)")
_FIELD = re.compile(r"""value of ["'`]([\w.]+)["'`]""", re.IGNORECASE)


def _draw(rng: Random, complexity: str) -> Task:
    money = rng.random() < 0.5
    wanted = ITEMS.draw(rng, complexity)
    found: list[str] = []
    while len(found) < wanted:
        item = (
            f"{rng.randint(3, 4999)}.{rng.randint(10, 99)}"
            if money
            else f"{rng.choice(FIRST)}.{rng.choice(FIRST)}@{rng.choice(PLACES)}.example"
        )
        if item not in found:
            found.append(item)
    lines = []
    for item in found:
        text = f"We received EUR {item} for it." if money else f"Please write to {item} about it."
        lines += [text] if rng.random() < 0.4 else [rng.choice(REMARKS), text]
    what = "amounts in EUR" if money else "e-mail addresses"
    asked = rng.choice(
        (f"Extract all {what} from this text, separated by commas:", f"List only the {what} in the following text:")
    )
    task = _recognise(f"{asked}\n{' '.join(lines)}")
    assert task is not None
    return task


def _recognise(text: str) -> Task | None:
    head = text[:4000].lower()
    if not ("extract" in head or "list" in head or "find" in head):
        return None
    if "e-mail address" in head or "email address" in head:
        found = _MAIL.findall(text)
    elif "amounts" in head:
        found = _AMOUNT.findall(text)
    else:
        return None
    found = list(dict.fromkeys(found))
    if not found:
        return None
    complexity = ITEMS.complexity(len(found))
    return Task(text, "extraction", complexity, "extraction", ", ".join(found), terse="only" in text)


def _wrong(task: Task, rng: Random) -> str:
    items = task.right.split(", ")
    place = rng.randrange(len(items))
    if len(items) > 1 and rng.random() < 0.6:
        del items[place]
    else:
        items[place] = items[place][:-1] + ("0" if items[place][-1] != "0" else "1")
    return ", ".join(items)


def _draw_field(rng: Random, complexity: str) -> Task:
    names = rng.sample(KEYS, min(len(KEYS), FIELDS.draw(rng, complexity)))
    document: dict[str, Any] = {}
    paths: list[str] = []
    inner: dict[str, Any] = {}
    for name in names:
        value: Any = rng.choice((rng.randint(100, 99_999), f"{rng.choice(PLACES)}-{rng.randint(10, 99)}"))
        if inner and rng.random() < 0.5:
            place = rng.choice(sorted(inner))
            inner[place][name] = value
            paths.append(f"{place}.{name}")
        elif len(names) > 3 and rng.random() < 0.3:
            document[name] = inner[name] = {"id": rng.randint(100, 999)}
            paths.append(f"{name}.id")
        else:
            document[name] = value
            paths.append(name)
    asked = rng.choice(
        ('What is the value of "{}" in this JSON?', 'Give only the value of "{}" in the following document.')
    )
    task = _recognise_field(f"{asked.format(rng.choice(paths))}\n{json.dumps(document)}")
    assert task is not None
    return task


def _recognise_field(text: str) -> Task | None:
    match, begin = _FIELD.search(text), text.find("{")
    if match is None or begin < 0:
        return None
    try:
        document, _ = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    found = document
    for name in match[1].split("."):
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    if isinstance(found, (dict, list)) or found is None or found == "":
        return None
    complexity = FIELDS.complexity(_leaves(document))
    return Task(text, "extraction", complexity, "field", str(found), terse="only" in text)


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    return sum(map(_leaves, value)) if isinstance(value, list) else 1


def _wrong_field(task: Task, rng: Random) -> str:
    document, _ = json.JSONDecoder().raw_decode(task.prompt, task.prompt.find("{"))
    others = sorted(set(map(str, _values(document))) - {task.right})
    return rng.choice(others) if others else f"{task.right}0"


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in _values(one)]
    return [leaf for one in value for leaf in _values(one)] if isinstance(value, list) else [value]


def _same_items(task: Task, answer: str) -> bool:
    pattern = _MAIL if "@" in task.right else re.compile(r"\d+(?:\.\d+)?")
    return pattern.findall(final(answer)) == task.right.split(", ")


EXTRACTED = Kind("extraction", "extraction", _draw, _recognise, _wrong, _same_items)
FIELD = Kind("field", "extraction", _draw_field, _recognise_field, _wrong_field, same_text)
