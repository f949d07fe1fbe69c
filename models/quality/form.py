"""Whether an answer has the form that was asked for: JSON and its schema, code that parses, a table, few words."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

from models.quality.schema import fits
from models.quality.shown import Shown
from models.quality.wanted import Wanted

# Longer code is not parsed; what is too deep for the parser is no code.
_LONGEST = 20_000
_BARE_WORDS = 8
_PAIRS = {")": "(", "]": "[", "}": "{"}
_STRINGS = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\.)*`|//[^\n]*|/\*.*?\*/", re.DOTALL)
_CODE_LINE = re.compile(
    r"^\s*(?:def|class|function|import|from|const|let|var|select|public|return|if|for)\b|[{};=]\s*$"
)


def form(wanted: Wanted, shown: Shown) -> float | None:
    """0 to 1; None where no form was asked for."""
    made = [
        one
        for one in (
            _json(wanted, shown) if wanted.form == "json" else None,
            _code(wanted, shown) if wanted.form == "code" or shown.code else None,
            _table(shown) if wanted.form == "table" else None,
            _length(wanted, shown),
        )
        if one is not None
    ]
    # Code that nobody asked for counts only where it is wrong.
    if not made or (wanted.form is None and made == [1.0] and not _bounded(wanted)):
        return None
    return min(made)


def data_of(text: str) -> Any:
    """The JSON that an answer is, or that stands in its only fence.

    Raises
    ------
    ValueError : there is none.
    """
    if text[:3] == "```":
        text = text.strip("`").removeprefix("json")
    return json.loads(text)


def _json(wanted: Wanted, shown: Shown) -> float:
    fenced = shown.code[0][1] if len(shown.code) == 1 else None
    try:
        data = data_of(shown.text if fenced is None else fenced)
    except (ValueError, RecursionError):
        return 0.0
    made = 1.0 if wanted.schema is None else fits(data, wanted.schema)
    # Words around it have to be taken off first.
    return made if fenced is None or not shown.words else 0.8 * made


def _code(wanted: Wanted, shown: Shown) -> float | None:
    blocks = shown.code
    if not blocks:
        # Code without a fence, as an answer that is nothing but code may be.
        lines = [line for line in shown.text.splitlines() if line.strip()]
        coded = sum([_CODE_LINE.search(line) is not None for line in lines])
        if not lines or coded < 0.4 * len(lines):
            return 0.1
        blocks = ((wanted.code or "", shown.text),)
    made = [parses(body, language or wanted.code or "") for language, body in blocks]
    return sum(made) / len(made)


def parses(code: str, language: str) -> float:
    """1 for code that parses (Python) or whose brackets close (all others), less for what does not."""
    if not code.strip() or len(code) > _LONGEST:
        return 0.0 if not code.strip() else 1.0
    if language in ("python", "py"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return 0.2
        return 1.0
    if language in ("json",):
        try:
            json.loads(code)
        except (ValueError, RecursionError):
            return 0.2
        return 1.0
    if language in ("text", "txt", "console", "markdown", "md"):
        return 1.0
    return 1.0 if _closes(_STRINGS.sub("", code)) else 0.4


def _closes(code: str) -> bool:
    opened: list[str] = []
    for one in code:
        if one in "([{":
            opened.append(one)
        elif one in _PAIRS and (not opened or opened.pop() != _PAIRS[one]):
            return False
    return not opened


def _table(shown: Shown) -> float:
    rows = [line.strip() for line in shown.text.splitlines() if line.strip().startswith("|") or " | " in line]
    if len(rows) < 2:
        return 0.1
    counts = [row.strip("|").count("|") for row in rows]
    usual = max(set(counts), key=counts.count)
    return 0.5 + 0.5 * counts.count(usual) / len(counts) if usual else 0.3


def _bounded(wanted: Wanted) -> bool:
    return wanted.bare or any(one is not None for one in (wanted.most, wanted.about, wanted.most_sentences))


def _length(wanted: Wanted, shown: Shown) -> float | None:
    """How well an upper bound is kept; being short is no fault of form."""
    made: list[float] = []
    for bound, room in ((wanted.most, 1.05), (wanted.about, 1.5)):
        if bound is not None and bound > 0:
            made.append(min(1.0, (bound * room + 5) / max(1, shown.words)))
    if wanted.most_sentences is not None:
        made.append(min(1.0, (wanted.most_sentences + 0.5) / max(0.5, shown.sentences)))
    if wanted.bare and not wanted.open and wanted.form != "code":
        told = len(shown.prose.split())
        allowed = _BARE_WORDS + (len(wanted.text.split()) if wanted.material or wanted.translate else 0)
        made.append(1.0 if told <= allowed else max(0.4, allowed / told))
    if wanted.bare and wanted.form == "code" and shown.code:
        made.append(1.0 if shown.words <= _BARE_WORDS else 0.7)
    return min(made) if made else None
