"""Rows that an answer may cite: numbered, aggregated, and quoted so that nothing in them reads as an instruction."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_lowercase

Value = str | int | float

# A name that cannot be read as an amount, a sentence or a citation: it begins with a letter, and holds no room for one.
_PLAIN = re.compile(r"[^\W\d_][\w./:@+=|-]{0,119}")
_PERSON = re.compile(r"[^\W\d_]+(?:[ .'-][^\W\d_]+){0,2}")
_AMOUNT = re.compile(r"(?:usd|us|eur|gbp|chf|rs|k|m|bn|x|n|no|nr)[._:=+-]?\d", re.IGNORECASE)
_LONGEST_PERSON = 40
# What a column of this ending is in; every other number has no unit.
UNITS: Mapping[str, str] = {"_usd": "usd", "_eur": "eur", "_ms": "ms", "_share": "share"}


@dataclass(frozen=True)
class Row:
    """One aggregate.

    Attributes
    ----------
    number : as it is cited, `[r3]`.
    about : what it is a row of, in our words: "usage by model, 2026-10-01 to 2026-10-31".
    values : column → name, date or number. Units are the ends of columns: `_usd`, `_eur`, `_ms`, `_share` (0 to 1).
    """

    number: int
    about: str
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, float]:
        """Columns that hold numbers."""
        return {name: float(value) for name, value in self.values.items() if not isinstance(value, str | bool)}

    @property
    def texts(self) -> tuple[str, ...]:
        """Names and dates."""
        return (self.about, *(value for value in self.values.values() if isinstance(value, str)))

    def line(self) -> str:
        """As a model is shown it: one line of JSON behind its number."""
        return f"[r{self.number}] {json.dumps({'about': self.about, **self.values}, ensure_ascii=False)}"

    def to_dict(self) -> dict[str, object]:
        """JSON-ready."""
        return {"row": f"r{self.number}", "about": self.about, "values": dict(self.values)}


def unit_of(column: str) -> str:
    """ "usd", "eur", "ms", "share", or "" for a number without a unit."""
    return next((unit for end, unit in UNITS.items() if column.endswith(end)), "")


class Aliases:
    """Names as models are shown them. A user's name is whatever an application sent: one that is no plain identifier
    might be a sentence, an amount or a citation, and is shown as `name-a`, which says nothing.

    Attributes
    ----------
    known : alias → the name that it stands for.
    """

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self._given: dict[str, str] = {}

    def shown(self, name: str) -> str:
        """The name itself where it is plain, else its alias: the same one for the same name."""
        if is_plain(name):
            return name
        if name not in self._given:
            alias = f"name-{_letters(len(self._given))}"
            self._given[name], self.known[alias] = alias, name
        return self._given[name]


def is_plain(name: str) -> bool:
    """Whether a name can be shown to a model as it is: an identifier such as `simulated/large` or `ada@example.org`, or
    up to three words of letters."""
    if name.casefold().startswith("name-") or _AMOUNT.match(name):
        return False
    if _PLAIN.fullmatch(name):
        return True
    return len(name) <= _LONGEST_PERSON and _PERSON.fullmatch(name) is not None


def _letters(place: int) -> str:
    """a, b, …, z, aa, ab: without digits, since those are what is checked."""
    made = ""
    place += 1
    while place:
        place, last = divmod(place - 1, 26)
        made = ascii_lowercase[last] + made
    return made
