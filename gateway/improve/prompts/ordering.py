"""The stable part first: providers charge a fraction for a beginning that they have seen a moment ago.

A prompt whose first line is the date of today begins anew with every call. What is different each time belongs behind
what is always the same; it is moved within the message that it stands in, and nothing of it is changed.
"""

from __future__ import annotations

import re

from gateway.improve.prompts.marked import PARAGRAPHS, Marked

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# What tells of the moment or the caller, in a paragraph of a line or two.
_CHANGES = re.compile(
    r"(?:\b(?:today|now|current (?:date|time|user)|date|time|timestamp|as of|session|request[ -]?id|trace[ -]?id"
    r"|user(?: ?name| ?id)?|customer(?: ?id)?|conversation id)\b[^\n]{0,40}?"
    r"(?::|\bis\b|=)[^\n]*\S)|" + _UUID + r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d",
    re.IGNORECASE,
)
_VALUE = re.compile(r"\d|\{[^{}\n]*\}")
_MOST_LINES, _MOST_LETTERS = 2, 300


def stable_first(text: str) -> tuple[str, list[str]]:
    """Instructions with what changes from call to call at their end, and the paragraphs that were moved there.

    A paragraph changes where it is short and tells the date, the time, a session or whose request it is.
    """
    marked = Marked(text)
    paragraphs = [marked.original(part) for part in PARAGRAPHS.split(marked.text)[0::2]]
    changing = [one for one in paragraphs if changes(one)]
    stable = [one for one in paragraphs if not changes(one)]
    if not changing or not any(one.strip() for one in stable) or paragraphs == [*stable, *changing]:
        return text, []
    return "\n\n".join([*(one.strip("\n") for one in stable), *(one.strip("\n") for one in changing)]), changing


def changes(paragraph: str) -> bool:
    """Whether a paragraph is likely to be another one with the next call."""
    if len(paragraph) > _MOST_LETTERS or paragraph.strip().count("\n") >= _MOST_LINES:
        return False
    return bool(_CHANGES.search(paragraph) and _VALUE.search(paragraph))


def stable_length(text: str) -> int:
    """Characters before the first paragraph that changes."""
    marked = Marked(text)
    place = 0
    for part in PARAGRAPHS.split(marked.text):
        original = marked.original(part)
        if changes(original):
            return place
        place += len(original)
    return place
