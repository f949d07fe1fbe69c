"""A text in pieces: what must stay byte for byte, and the prose between.

Protected are: code (fenced, indented, in backticks, lines that look like it), quotations, JSON, markup, tables and CSV,
formulas, addresses, and every word with a digit in it. In doubt a piece is protected: what is lost is a saving.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

# Beyond so many brackets that may begin JSON, the rest of a text counts as data.
_MOST_TRIES = 500

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n?", re.MULTILINE)
_CODE_LINE = re.compile(
    r"^(?:\s*(?:def |class |import |from \S+ import|function |const |var |let \w+ =|public |private |return[ ;]"
    r"|#include|SELECT |INSERT |UPDATE |DELETE |CREATE |ALTER |WITH \w+ AS|//|/\*|\*/|>>> |\.\.\. |\$ |@\w|<[?!/\w])"
    r"|.*[;{}\\]\s*$|.*(?:\(\)|=>|->|:=|==|&&|\|\|)).*$"
)
_INDENTED = re.compile(r"^(?: {4,}|\t|>)")
# Columns that are set apart by blanks, or by a sign.
_ALIGNED = re.compile(r"\S(?: {2,}|\t)\S")
# Bounded, so that a text full of signs that open and never close takes no longer than any other.
_INLINE = re.compile(
    r"(?P<tick>`+)(?s:.{1,4000}?)(?P=tick)"  # `code`
    r"|\$\$(?s:.{1,4000}?)\$\$|\$[^$\s](?:[^$\n]{0,1000}[^$\s])?\$"  # formulas
    r"|\\\((?s:.{1,4000}?)\\\)|\\\[(?s:.{1,4000}?)\\\]"
    r"|“[^”]{0,4000}”|„[^“”]{0,4000}[“”]|«[^»]{0,4000}»|»[^«]{0,4000}«|‘[^’\n]{0,1000}’|「[^」]{0,4000}」"
    r'|"[^"]*(?:"|\Z)'
    r"|(?<![\w'])'[^'\n]{1,1000}'(?!\w)"
    r"|\{\{?[^{}\n]*\}\}?"  # {placeholder}
    r"|<[^<>\n]{1,1000}>"
)
_WORD = re.compile(r"\S+")
# A word with one of these in it is an amount, a name, an address or a path.
_DATA_SIGNS = frozenset("0123456789@\\_=/|#%€$£<>{}[]")
_AFTER = ".,;:!?)"
_MARKUP = re.compile(r"<([A-Za-z][\w.:-]*)(?:\s[^<>]*)?>")
_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a text.

    Attributes
    ----------
    kept : why it must stay as it is: "code", "quote", "data" or "number"; "" for prose.
    """

    text: str
    kept: str = ""


def segments(text: str) -> list[Segment]:
    """Pieces whose texts joined are the text again; no two pieces of prose follow each other."""
    found: list[Segment] = []
    for piece in _outer(text):
        if piece.kept:
            _add(found, piece)
        else:
            for inner in _of_prose(piece.text):
                _add(found, inner)
    return found


def protected(text: str) -> list[str]:
    """The pieces that must stay, in their order."""
    return [piece.text for piece in segments(text) if piece.kept]


def _add(found: list[Segment], piece: Segment) -> None:
    if not piece.text:
        return
    if not piece.kept and found and not found[-1].kept:
        found[-1] = Segment(found[-1].text + piece.text)
    else:
        found.append(piece)


def _outer(text: str) -> Iterator[Segment]:
    """Fenced code, JSON and markup, which may hold anything."""
    begin = place = 0
    tries = 0
    while place < len(text):
        end, kept = _block_at(text, place, tries)
        if text[place] in "{[<":
            tries += 1
        if end > place:
            if place > begin:
                yield Segment(text[begin:place])
            yield Segment(text[place:end], kept)
            begin = place = end
            continue
        place = _next(text, place + 1)
    if begin < len(text):
        yield Segment(text[begin:])


_STARTS = re.compile(r"[{\[<]|^ {0,3}(?:`{3}|~{3})", re.MULTILINE)


def _next(text: str, place: int) -> int:
    found = _STARTS.search(text, place)
    return found.start() if found else len(text)


def _block_at(text: str, place: int, tries: int) -> tuple[int, str]:
    """Where a block that begins here ends, and what it is; `place` itself where none begins."""
    if (place == 0 or text[place - 1] == "\n") and (opened := _FENCE.match(text, place)):
        return _fence_end(text, opened), "code"
    sign = text[place]
    if sign not in "{[<":
        return place, ""
    if tries >= _MOST_TRIES:
        return len(text), "data"
    if sign == "<":
        tag = _MARKUP.match(text, place)
        closed = text.find(f"</{tag[1]}>", tag.end()) if tag else -1
        return (closed + len(tag[1]) + 3, "data") if tag and closed >= 0 else (place, "")
    try:
        value, end = _JSON.raw_decode(text, place)
    except (ValueError, RecursionError):
        return place, ""
    return (end, "data") if isinstance(value, dict | list) else (place, "")


def _fence_end(text: str, opened: re.Match[str]) -> int:
    """The end of the line that closes a fence; of the text, where none does."""
    sign = opened[1]
    closing = re.compile(rf"^ {{0,3}}{re.escape(sign[0])}{{{len(sign)},}}[ \t]*$", re.MULTILINE)
    closed = closing.search(text, opened.end())
    return closed.end() if closed else len(text)


def _of_prose(text: str) -> Iterator[Segment]:
    """Lines that are code or data, quotations and the like, and prose."""
    lines = text.split("\n")
    kept = _kept_lines(lines)
    begin = 0
    while begin < len(lines):
        end = begin + 1
        while end < len(lines) and bool(kept[end]) == bool(kept[begin]):
            end += 1
        block = "\n".join(lines[begin:end])
        if kept[begin]:
            yield Segment(block, kept[begin])
        else:
            yield from _inline(block)
        if end < len(lines):
            yield Segment("\n")
        begin = end


def _kept_lines(lines: list[str]) -> list[str]:
    """Of each line why it stays as a whole; "" for prose."""
    kept = []
    for line, is_row in zip(lines, _columns(lines), strict=True):
        if _INDENTED.match(line) and line.strip():
            kept.append("quote" if line.startswith(">") else "code")
        elif line.count("|") >= 2 or "\t" in line.strip() or is_row:
            kept.append("data")
        elif _CODE_LINE.match(line):
            kept.append("code")
        else:
            kept.append("")
    for sign in ",;":
        # Two lines and more with the same number of signs: as likely a table as an enumeration.
        counts = [line.count(sign) for line in lines]
        for place in range(1, len(lines)):
            if counts[place] >= 1 and counts[place] == counts[place - 1] and not kept[place]:
                kept[place] = "data"
                kept[place - 1] = kept[place - 1] or "data"
    return kept


def _columns(lines: list[str]) -> list[bool]:
    """Which lines are rows of columns: blanks within, and either a digit or another such row next to it."""
    apart = [bool(_ALIGNED.search(line)) for line in lines]
    rows = []
    for place, line in enumerate(lines):
        beside = any(apart[max(place - 1, 0) : place]) or any(apart[place + 1 : place + 2])
        rows.append(apart[place] and (beside or any(map(str.isdigit, line))))
    return rows


def _inline(text: str) -> Iterator[Segment]:
    begin = 0
    for found in _INLINE.finditer(text):
        yield from _words(text[begin : found.start()])
        sign = found[0][0]
        yield Segment(found[0], "code" if sign == "`" else "quote" if sign in "\"'“„«»‘「" else "data")
        begin = found.end()
    yield from _words(text[begin:])


def _words(text: str) -> Iterator[Segment]:
    begin = 0
    for found in _WORD.finditer(text):
        word = found[0]
        if word.isalpha() or (_DATA_SIGNS.isdisjoint(word) and not any(map(str.isdigit, word))):
            continue
        end = found.start() + len(word.rstrip(_AFTER))
        if end > found.start():
            yield Segment(text[begin : found.start()])
            yield Segment(text[found.start() : end], "number" if any(map(str.isdigit, word)) else "data")
            begin = end
    yield Segment(text[begin:])
