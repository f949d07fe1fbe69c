"""Which days a question names: dates, months, yesterday, the last or this month; in English and German.

| words | days |
|---|---|
| 2026-10-02 · 2026-10-02 to 2026-10-09 | that day · those days |
| 2026-10 · October 2026 · in October | that month; without a year the latest one that has begun |
| from August to October · between August and October | from the first day of the one to the last of the other |
| since 2026-10-02 · since October · ab Oktober | from that day on |
| yesterday · last month · this month | that day; the month before this one; this one so far |

A question that names none is about so many days up to now; see `models.insights.topics`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

_MONTHS: Mapping[str, int] = {
    name: number
    for number, names in enumerate(
        ("january jan januar", "february feb februar", "march mar märz", "april apr", "may mai", "june jun juni",
         "july jul juli", "august aug", "september sep sept", "october oct oktober okt", "november nov",
         "december dec dezember dez"), 1,
    )
    for name in names.split()
}  # fmt: skip
# Abbreviations count where a year follows or one of `_LEADS` comes before; so do verbs, after "to" and "and" only when
# they are written like a month.
_SHORT = frozenset(
    {"jan", "feb", "mar", "apr", "mai", "jun", "jul", "aug", "sep", "sept", "oct", "okt", "nov", "dec", "dez"}
)
_VERBS = frozenset({"may", "march"})
_LEADS = r"in|im|of|during|for|since|from|seit|ab|von|until|till|to|bis|and|und|between|zwischen|last|this|early|late"
_JOINING = frozenset({"to", "and", "for", "last", "this"})
_NAMED = re.compile(
    # A model's name may end in a date, too.
    rf"(?<![\w-])(?P<day>20\d\d-\d\d-\d\d)(?![\w-])|(?<![\w-])(?P<iso>20\d\d-\d\d)(?![\w-])"
    rf"|(?:\b(?P<lead>{_LEADS})\s+)?\b(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
    rf"(?:,?\s+(?P<year>20\d\d)\b)?",
    re.IGNORECASE,
)
_ONWARDS = re.compile(r"\b(?:since|from|seit|ab|von)\s*$", re.IGNORECASE)
_WORDS: Mapping[str, str] = {
    "yesterday": r"\byesterday\b|\bgestern\b",
    "last month": r"\b(?:last|previous) month\b|\b(?:letzten|vergangenen|vorigen) monat\b",
    "this month": r"\bthis month\b|\b(?:diesen|diesem) monat\b",
}


@dataclass(frozen=True)
class Period:
    """Days from midnight at the beginning of `first` to the end of `last`, or to now where that comes first."""

    first: date
    last: date


def period_of(question: str, as_of: datetime) -> Period | None:
    """The days that a question names; None where it names none, or none that have begun.

    Parameters
    ----------
    as_of : naive UTC. At a midnight, the day that ends there is the latest one.

    Examples
    --------
    >>> period_of("What did we spend in October?", datetime(2026, 11, 30, 9))
    Period(first=datetime.date(2026, 10, 1), last=datetime.date(2026, 10, 31))
    """
    today = (as_of - timedelta(microseconds=1)).date()
    named = [(match, span) for match in _NAMED.finditer(question) if (span := _span(match, today)) is not None]
    if named:
        first, last = min(span.first for _, span in named), max(span.last for _, span in named)
        if len(named) == 1 and _ONWARDS.search(question[: named[0][0].start()] + _lead(named[0][0])):
            last = today
        return Period(first, min(last, today)) if first <= today else None
    text = " ".join(question.casefold().split())
    found = next((name for name, words in _WORDS.items() if re.search(words, text)), None)
    if found == "yesterday":
        # At a midnight, the day that has just ended.
        day = as_of.date() - timedelta(days=1)
        return Period(day, day)
    if found is None:
        return None
    begin = today.replace(day=1)
    return Period(begin, today) if found == "this month" else _month(begin - timedelta(days=1))


def _span(match: re.Match[str], today: date) -> Period | None:
    """The days that one name stands for; None where it is no date after all."""
    try:
        if match["day"]:
            day = date.fromisoformat(match["day"])
            return Period(day, day)
        if match["iso"]:
            return _month(date.fromisoformat(f"{match['iso']}-01"))
    except ValueError:
        return None
    name, lead = match["month"].casefold(), (match["lead"] or "").casefold()
    if not match["year"]:
        if name in _SHORT | _VERBS and not lead:
            return None
        if name in _VERBS and lead in _JOINING and not match["month"][0].isupper():
            return None
    number = _MONTHS[name]
    year = int(match["year"]) if match["year"] else today.year - (number > today.month)
    return _month(date(year, number, 1))


def _lead(match: re.Match[str]) -> str:
    return f"{match['lead']} " if match["lead"] else ""


def _month(day: date) -> Period:
    return Period(day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1]))
