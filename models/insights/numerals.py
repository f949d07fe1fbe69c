"""The numbers that a sentence states, each with how exactly it was written.

Everything that can be read as a number is one, unless it belongs to a name or a date; what cannot be read is told as
such, so that no amount passes for lack of understanding.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

DATE = re.compile(r"\b\d{4}-\d{2}(?:-\d{2})?(?:T\d{2}:\d{2})?\b")
# A word with a digit in it that begins with a letter: `user-07`, `simulated/gpt-4`, `p95`.
NAME = re.compile(r"(?<![\w.,$€])[^\W\d_][\w./:@+=|-]*\d[\w./:@+=|-]*")
_CURRENCY_FIRST = re.compile(r"(?:usd|us|eur|gbp|chf)[.:]?(?=\d)", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)])[-+])?\s?(?P<before>US\$|\$|€|£|USD|EUR)?\s?"
    r"(?P<sign2>[-+])?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<exponent>[eE][-+]?\d{1,2})?"
    r"(?P<after>\s?%|\s?¢|[^\W\d_]+|×|\s(?:percent|per cent|thousand|million|billion|trillion|bn|ms|milliseconds?|s|sec"
    r"|seconds?|min|minutes?|h|hours?|cents?|dollars?|usd|eur|euros?|k|times)\b)?"
    r"(?P<rest>\s(?:dollars?|usd|eur|euros?|cents?)\b)?",
    re.IGNORECASE,
)
_SCALES: Mapping[str, float] = {
    "k": 1e3, "thousand": 1e3, "M": 1e6, "million": 1e6, "B": 1e9, "bn": 1e9, "billion": 1e9, "trillion": 1e12,
}  # fmt: skip
# (unit, how many of it one is)
_UNITS: Mapping[str, tuple[str, float]] = {
    "%": ("share", 0.01), "percent": ("share", 0.01), "per cent": ("share", 0.01),
    "ms": ("ms", 1.0), "millisecond": ("ms", 1.0), "milliseconds": ("ms", 1.0),
    "s": ("ms", 1e3), "sec": ("ms", 1e3), "second": ("ms", 1e3), "seconds": ("ms", 1e3),
    "min": ("ms", 6e4), "minute": ("ms", 6e4), "minutes": ("ms", 6e4),
    "h": ("ms", 3.6e6), "hour": ("ms", 3.6e6), "hours": ("ms", 3.6e6),
    "cent": ("usd", 0.01), "cents": ("usd", 0.01), "¢": ("usd", 0.01),
    "dollar": ("usd", 1.0), "dollars": ("usd", 1.0), "usd": ("usd", 1.0),
    "eur": ("eur", 1.0), "euro": ("eur", 1.0), "euros": ("eur", 1.0),
    "x": ("", 1.0), "×": ("", 1.0), "times": ("", 1.0),
}  # fmt: skip
_BEFORE: Mapping[str, str] = {"$": "usd", "us$": "usd", "usd": "usd", "€": "eur", "eur": "eur"}
# "one" and "second" say something else too often.
_SMALL = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS: Mapping[str, float] = {
    **{name: float(value) for value, name in enumerate(_SMALL.split(), 2)},
    **{name: 10.0 * value for value, name in enumerate(_TENS.split(), 2)},
    "zero": 0, "dozen": 12, "dozens": 12, "hundred": 1e2, "hundreds": 1e2, "thousand": 1e3, "thousands": 1e3,
    "million": 1e6, "millions": 1e6, "billion": 1e9, "billions": 1e9, "half": 0.5, "third": 1 / 3, "thirds": 2 / 3,
    "quarter": 0.25, "quarters": 0.75, "fifth": 0.2, "tenth": 0.1, "twice": 2, "double": 2, "doubled": 2, "thrice": 3,
    "triple": 3, "tripled": 3, "tenfold": 10,
}  # fmt: skip
_WORD = re.compile(rf"(?<![\w-])(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})(?![\w])", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """One number of a sentence.

    Attributes
    ----------
    text : as it stands there.
    begin, end : where.
    value : in `unit`; None where it cannot be read.
    step : of its last digit, in the same unit: it stands for everything within half of that.
    unit : "usd", "eur", "ms", "share", or "" where none is given.
    signed : whether a sign stands before it.
    """

    text: str
    begin: int
    end: int
    value: float | None
    step: float = 0.0
    unit: str = ""
    signed: bool = False


def normalised(text: str) -> str:
    """A text whose digits, signs and spaces are the plain ones."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(str(unicodedata.digit(one)) if one.isdecimal() else one for one in text)
    return re.sub("[‐‑‒–—−]", "-", text).replace("\u2044", "/")


def stated(text: str) -> list[Stated]:
    """Every number of a normalised text, names and dates left out, in the order in which they stand there.

    Examples
    --------
    >>> [(one.value, one.step, one.unit) for one in stated("It cost $1,234.50, 12% of all.")]
    [(1234.5, 0.01, 'usd'), (0.12, 0.01, 'share')]
    """
    left = _without(text)
    found: list[Stated] = []
    for match in _NUMBER.finditer(left):
        found.append(_read(match))
        left = left[: match.start()] + " " * (match.end() - match.start()) + left[match.end() :]
    for match in _WORD.finditer(left):
        value = _WORDS[match[0].casefold()]
        found.append(Stated(match[0], match.start(), match.end(), float(value)))
    # Numerals of other scripts, Roman ones as single characters, circled ones: whatever says a number and was not read.
    taken = {place for one in found for place in range(one.begin, one.end)}
    for place, one in enumerate(left):
        if one.isnumeric() and place not in taken:
            found.append(Stated(one, place, place + 1, None))
    return sorted(found, key=lambda one: one.begin)


def names(text: str) -> list[str]:
    """Words with digits that begin with a letter, and dates: what must be in the cited rows as it is."""
    dates = [match[0] for match in DATE.finditer(text)]
    blank = DATE.sub(lambda match: " " * len(match[0]), text)
    return [*dates, *(_trimmed(match[0]) for match in NAME.finditer(blank) if not _CURRENCY_FIRST.match(match[0]))]


def _trimmed(name: str) -> str:
    return name.rstrip("./:@+=|-")


def _without(text: str) -> str:
    """The text with names and dates blanked, in place."""
    text = DATE.sub(lambda match: " " * len(match[0]), text)
    return NAME.sub(lambda match: match[0] if _CURRENCY_FIRST.match(match[0]) else " " * len(match[0]), text)


def _read(match: re.Match[str]) -> Stated:
    digits = match["digits"].replace(",", "")
    before, exponent = (match["before"] or "").casefold(), match["exponent"] or ""
    after, rest = (match["after"] or "").strip(), (match["rest"] or "").strip().casefold()
    sign = match["sign"] or match["sign2"] or ""
    value = float(digits + exponent) * (-1.0 if sign == "-" else 1.0)
    step = 10.0 ** (int(exponent[1:] or 0) - len(digits.partition(".")[2]))
    unit = _BEFORE.get(before, "" if not before else "unknown")
    # Millions are M, as in every invoice; m might be minutes, metres or thousandths.
    scale = _SCALES.get(after, _SCALES.get(after.casefold(), 0.0) if after.casefold() not in ("m", "b") else 0.0)
    told, factor = _UNITS.get(after.casefold(), ("unknown" if after and not scale else "", scale or 1.0))
    if rest:
        more, cents = _UNITS[rest]
        factor *= cents
        told = more if told in ("", more) else "unknown"
    if unit and told and unit != told:
        told = "unknown"
    unit = told or unit
    readable = unit != "unknown"
    return Stated(
        match[0].strip(), match.start(), match.end(), value * factor if readable else None, step * factor,
        unit if readable else "", bool(sign),
    )  # fmt: skip
