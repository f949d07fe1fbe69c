"""What a question is about: which kinds of rows it needs, by what they are broken down, and of which days."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

DAYS = 30
MOST_DAYS = 366

# Beginnings of words, in English and German; what begins a longer word of another meaning is bounded by "\b".
_TOPICS: Mapping[str, str] = {
    "usage": r"cost|spen[dt]|usage|calls?\b|tokens?\b|latenc|slow|fast|fail|error|cheap|expens|dear|bill|request|cach"
    r"|kosten|ausga|teuer|billig|langsam|aufruf",
    "forecast": r"forecast|expect|predict|next (?:week|month|quarter)|will\b(?! churn| leave| cancel)"
    r"|project(?:ed|ion)|prognos|vorhersag|nächst",
    "budgets": r"budget|overspen|run out|use[sd]? up|exhaust|limit\b|reicht",
    "anomalies": r"anomal|unusual|spike|surge|sudden|runaway|strange|suspicious|why\b|ungewöhn|warum|ausreißer",
    "recommendations": r"recommend|save[sd]?\b|saving|reduce|cut\b|empfehl|sparen",
    "promotions": r"promot|champion|rollback|rolled back|version|policy|deploy|befördert",
    "churn": r"churn|at risk|leav(?:e|ing)|cancel|retention|kündig|abwander",
    "segments": r"segment|cluster|customer groups?|kundengrupp",
}
_DIMENSIONS: Mapping[str, str] = {
    "user": r"users?\b|person|people|employee|who\b|whom\b|nutzer|wer\b",
    "model": r"models?\b|llms?\b|modell",
    "workspace": r"workspaces?\b|teams?\b|department|abteilung",
    "provider": r"providers?\b|vendor|anbieter",
    "task": r"tasks?\b|domains?\b|kinds? of|aufgabe",
    "day": r"dai?ly|days?\b|trend|over time|develop|when\b|yesterday|peak|täglich|verlauf|tage?\b",
}
_BEFORE = (
    r"compar|chang|than (?:before|last|the)|previous|increas|decreas|ris(?:e|en|ing)|rose|grow|grew|fell|fall|drop"
)
_SPAN = re.compile(
    r"(?:last|past|previous|letzten)\s+(\d{1,3})\s*(days?|weeks?|months?|tage?n?|wochen?|monate?n?)", re.I
)
_SPANS: Mapping[str, int] = {"day": 1, "tag": 1, "week": 7, "woche": 7, "month": 30, "monat": 30}
_NAMED: Mapping[str, int] = {
    r"\byesterday\b|\bgestern\b": 1, r"\b(?:this|last|past) week\b": 7, r"\b(?:this|last|past) month\b": 30,
    r"\b(?:last|past|this) quarter\b": 90, r"\b(?:last|past|this) year\b": 365,
}  # fmt: skip


@dataclass(frozen=True)
class Need:
    """What rows a question needs.

    Attributes
    ----------
    topics : keys of the kinds of rows, the most wanted first.
    by : what usage is broken down by, each by itself.
    days : looked at, up to now.
    before : whether the same number of days before are needed as well.
    """

    topics: tuple[str, ...]
    by: tuple[str, ...]
    days: int
    before: bool


def need_of(question: str, days: int | None = None) -> Need:
    """What a question needs. One about nothing that is known is taken as one about usage by model and workspace.

    Parameters
    ----------
    days : as the caller says; default: as the question says ("last 7 days"), else 30.

    Examples
    --------
    >>> need_of("Which model cost most last week?")
    Need(topics=('usage',), by=('model',), days=7, before=False)
    """
    text = " ".join(question.casefold().split())
    topics = [name for name, words in _TOPICS.items() if re.search(rf"\b(?:{words})", text)]
    # "the last 14 days" says of when, not by what.
    bare = _SPAN.sub(" ", text)
    by = tuple(name for name, words in _DIMENSIONS.items() if re.search(rf"\b(?:{words})", bare))
    others = [name for name in topics if name != "usage"]
    if not others or "usage" in topics or "anomalies" in others:
        # What is asked for by its name comes before what every question about money mentions.
        topics = [*others, "usage"]
    if "usage" in topics:
        by = by or ("model", "workspace")
    return Need(tuple(topics), by, days or _days(text), re.search(rf"\b(?:{_BEFORE})", text) is not None)


def _days(text: str) -> int:
    if (match := _SPAN.search(text)) is not None:
        unit = next(days for name, days in _SPANS.items() if match[2].startswith(name))
        return min(MOST_DAYS, max(1, int(match[1]) * unit))
    return next((days for words, days in _NAMED.items() if re.search(words, text)), DAYS)
