"""Every number of an answer against the rows that it cites; what does not hold is taken out, with the reason.

A number belongs to the citations that follow it next in its sentence, or where none does to those before it. It holds
where one of these rows has it, or the working that is cited gives it, to the last digit that was written. Names with
digits and dates must stand in the cited rows as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.insights.citations import CITED, Citation, citations
from models.insights.numerals import DATE, Stated, names, normalised, stated
from models.insights.row import Row

UNTOLD = "The rows do not tell."
"""What a model says where the rows hold no answer."""
LONGEST_ANSWER = 8_000

_MARKS = re.compile(r"\*\*|__|`|^\s*#+\s*", re.MULTILINE)
_ITEM = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+")
_END = re.compile(r"(?<=[.!?])\s+(?=[^\s\[])")
_ONLY_CITED = re.compile(r"^[\s.,;]*(?:\[[^\[\]]*\][\s.,;]*)+$")
_UNLIKE_A_WORD = re.compile(r"[\d/_=@|:-]")
# Words of which one must stand in a sentence whose number has no unit, where the column has one: "3" may be calls.
_SAID: Mapping[str, tuple[str, ...]] = {
    "usd": ("usd", "dollar", "cost", "spen", "bill", "money"),
    "eur": ("eur", "value", "revenue", "worth"),
    "ms": ("ms", "milli", "latenc"),
    "share": ("share", "probab", "fraction"),
}
# Beyond half of the last digit: what adding and dividing numbers loses.
_SLACK = 1e-6
_LOOSE = 0.5 * (1.0 + 1e-9)


@dataclass(frozen=True)
class Checked:
    """A sentence that holds.

    Attributes
    ----------
    cells : what its numbers are, `r3.cost_usd` or `r2/r1.cost_usd`; of a sentence without numbers, its rows.
    rows : cited.
    """

    text: str
    cells: frozenset[str]
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Removed:
    """A sentence that was taken out, and why."""

    text: str
    reason: str
    wrong: bool


@dataclass(frozen=True)
class Verdict:
    """One model's answer after the check.

    Attributes
    ----------
    untold : whether it said that the rows do not tell.
    """

    kept: tuple[Checked, ...]
    removed: tuple[Removed, ...]
    untold: bool = False

    @property
    def refused(self) -> str | None:
        """Why nothing of the answer is used; None where something is."""
        wrong = sum(one.wrong for one in self.removed)
        if not self.kept:
            return None if self.untold and not wrong else "no sentence of it holds"
        if wrong > len(self.kept):
            return f"{wrong} of its {wrong + len(self.kept)} sentences with numbers do not hold"
        return None


def check(answer: str, rows: Sequence[Row]) -> Verdict:
    """Check an answer sentence by sentence.

    Examples
    --------
    >>> rows = [Row(1, "usage", {"calls": 12, "cost_usd": 3.1416}), Row(2, "usage", {"calls": 3, "cost_usd": 1.0})]
    >>> found = check("All cost $3.14 [r1]. A third of it, 32 %, is ads [r2/r1]. It was $4 [r2].", rows)
    >>> [one.text for one in found.kept], [one.reason for one in found.removed]
    (['All cost $3.14 [r1].'], ['third is not in r2/r1', '$4 is not in r2'])
    """
    known = {row.number: row for row in rows}
    kept: list[Checked] = []
    removed: list[Removed] = []
    untold = False
    for sentence in sentences(answer[:LONGEST_ANSWER]):
        if sentence.strip(' "') == UNTOLD:
            untold = True
            continue
        found = _checked(sentence, known)
        if isinstance(found, Checked):
            kept.append(found)
        else:
            removed.append(found)
    return Verdict(tuple(kept), tuple(removed), untold)


def sentences(answer: str) -> list[str]:
    """The sentences of an answer without the marks of a list or a heading; a citation belongs to what it follows."""
    text = _MARKS.sub("", normalised(answer))
    found: list[str] = []
    for line in text.splitlines():
        for part in _END.split(_ITEM.sub("", line)):
            if found and _ONLY_CITED.match(part):
                found[-1] = f"{found[-1]} {part.strip()}"
            elif part.strip():
                found.append(re.sub(r"\s+", " ", part).strip())
    return found


def _checked(sentence: str, rows: Mapping[int, Row]) -> Checked | Removed:
    groups = _groups(sentence)
    blank = CITED.sub(lambda match: " " * len(match[0]), sentence)
    numbers = stated(blank)
    has_number = bool(numbers or names(blank))
    if not groups:
        return Removed(sentence, "it cites no row", has_number)
    parts = [part for _, found in groups for part in found]
    for part in parts:
        missing = [number for number in part.rows if number not in rows]
        if part.node is None or missing:
            return Removed(sentence, f"there is no row {part.text[:40]}", True)
    cited = tuple(dict.fromkeys(number for part in parts for number in part.rows))
    if (strange := _strange_name(blank, [rows[number] for number in cited], rows)) is not None:
        return Removed(sentence, f"{strange!r} is not in {_listed(parts)}", True)
    cells = set()
    for number in numbers:
        own = _group_of(number, groups)
        cell = _cell(number, own, rows, sentence.casefold())
        if cell is None:
            return Removed(sentence, f"{number.text} is not in {_listed(own)}", True)
        cells.add(cell)
    return Checked(sentence, frozenset(cells or {f"r{number}" for number in cited}), cited)


def _listed(parts: Sequence[Citation]) -> str:
    return ", ".join(dict.fromkeys(part.text for part in parts))


def _groups(sentence: str) -> list[tuple[int, list[Citation]]]:
    """(where they begin, citations), those that stand side by side together."""
    found: list[tuple[int, list[Citation]]] = []
    last = -1
    for match in CITED.finditer(sentence):
        if found and not sentence[last : match.start()].strip(" ,;"):
            found[-1][1].extend(citations(match[0]))
        else:
            found.append((match.start(), citations(match[0])))
        last = match.end()
    return found


def _group_of(number: Stated, groups: Sequence[tuple[int, list[Citation]]]) -> list[Citation]:
    return next((parts for begin, parts in groups if begin >= number.end), groups[-1][1])


def _cell(number: Stated, parts: Sequence[Citation], rows: Mapping[int, Row], sentence: str) -> str | None:
    """The cell that a number is; None where there is none."""
    if number.value is None:
        return None
    for part in parts:
        for cell, value, unit in part.results(rows):
            if _fits(number, unit, sentence) and _same(number, value):
                return cell
    return None


def _fits(number: Stated, unit: str, sentence: str) -> bool:
    """Whether a number may be said of a unit: one without a unit of its own, where the sentence says what it is."""
    if unit == "ratio":
        return number.unit in ("", "share")
    if number.unit or not unit:
        return number.unit == unit
    return any(word in sentence for word in _SAID[unit])


def _same(number: Stated, value: float) -> bool:
    assert number.value is not None
    if not number.signed and number.value >= 0:
        value = abs(value)  # "fell by 5" of a row that says -5
    if number.value == 0 and value != 0 and number.step >= 1:
        return False  # "0" for 0.4 says that there is none
    return abs(number.value - value) <= number.step * _LOOSE + _SLACK * min(abs(value), number.step or abs(value))


def _strange_name(sentence: str, cited: Sequence[Row], rows: Mapping[int, Row]) -> str | None:
    """A name with digits or a date that no cited row has, or the name of another row; None where there is none."""
    allowed = " \n ".join(text for row in cited for text in (*row.texts, *row.values)).casefold()
    words = {_bare(word) for word in re.split(r"[\s\"',;()]+", allowed)} | set(DATE.findall(allowed))
    parts = {part for word in words for part in re.split("[_=|]", word)}
    for name in names(sentence):
        if name.casefold() not in words and name.casefold() not in parts:
            return name
    said = {_bare(word) for word in re.split(r"[\s\"',;()]+", sentence.casefold())}
    for row in rows.values():
        for text in row.texts[1:]:
            lowered = text.casefold()
            if _UNLIKE_A_WORD.search(lowered) and lowered in said and lowered not in words and lowered not in parts:
                return text
    return None


def _bare(word: str) -> str:
    return word.strip(".:!?")
