"""One value of one customer as a phrase, beside what is usual or what came before. Nothing here claims a cause."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from features.tabular import Column
from models.churn.reasons.vocabulary import Term

STEADY = 0.05
MONTH, YEAR = 30.44, 365.25
_PLURAL = re.compile(r"\b(ticket|invoice|change|login|export|automation|invitation|key|error|visit)s\b")


def phrase(column: Column, term: Term, value: Any, usual: Any, record: Mapping[str, Any]) -> str:
    """A phrase such as "support tickets up from 0 to 4 in 30 days" or "Contract is Month-to-month (usual: Two year)".

    Parameters
    ----------
    value : as `values_of` reads it: a float (NaN when missing; flags 1/0), or text or None.
    usual : median, commonest level or commonest answer in training; None when it is not known.
    record : all values of the customer, for what came before.
    """
    if column.kind != "number":
        return _level(column, term, value, usual)
    if math.isnan(value):
        beside = "" if term.form in ("trend", "change", "gap") else _beside(_told(term, usual))
        return f"{_missing(term)} not known{beside}"
    if term.form == "trend":
        return _trend(term, value)
    if term.form == "change":
        return f"price {_percent(value)} in {term.days} days" if abs(value) > 0.001 else _unchanged(term)
    if term.form == "gap":
        same = usual is None or _beyond(value) == _beyond(usual)
        near = usual is not None and _beyond(usual) == "about"
        return f"pays {_beyond(value)} {term.noun}{'' if same else _beside('about it' if near else _beyond(usual))}"
    if term.before:
        earlier = _before(term, value, record)
        if earlier is not None and abs(value - earlier) > STEADY * max(abs(value), abs(earlier), 1e-9):
            way = "up" if value > earlier else "down"
            if term.form == "count" and earlier != round(earlier):
                # Nobody ever had 0.3 of them: both windows as they were counted.
                longer, past = record[term.before[0]] - value, term.before[1] - (term.days or 0)
                return f"{term.noun} {way}: {number(value)} in {term.days} days, {number(longer)} in the {past} before"
            return f"{term.noun} {way} from {number(earlier)} to {number(value)}{_pace(term)} in {term.days} days"
    said, known = _told(term, value), _told(term, usual)
    same = known is not None and said == known
    beside = ", like most" if same else _beside(known)
    if term.form == "count":
        noun = _PLURAL.sub(r"\1", term.noun, count=1) if value == 1 else term.noun
        return f"{said} {noun} in {term.days} days{beside}"
    if term.form == "days":
        return f"{term.noun} {said}{beside}"
    if term.form == "mean":
        return f"{said} {term.noun}{_pace(term)} in {term.days} days{beside}"
    if term.noun == "days without an active user":
        return f"no active user on {said} of the last {term.days} days{beside}"
    window = f" in {term.days} days" if term.days else ""
    return f"{term.noun} is {said}{window}{beside}"


def number(value: float) -> str:
    """A number as a person writes it: 4, 0.25, 1,394, 12.5."""
    if not math.isfinite(value):
        return "not known"
    if abs(value) >= 1000 or value == round(value):
        return f"{value + 0.0:,.0f}"
    text = f"{value:.3g}"
    return text if "e" not in text else f"{value:.2e}"


def _level(column: Column, term: Term, value: Any, usual: Any) -> str:
    if column.kind == "flag":
        said = "not known" if math.isnan(value) else "yes" if value else "no"
        known = None if usual is None else "yes" if usual else "no"
    else:
        said = "not known" if value is None else _short(str(value))
        known = None if usual is None else "not known" if usual == "(missing)" else _short(str(usual))
    beside = ", like most" if said == known else _beside(known)
    return f"{term.noun} is {said}{beside}"


def _told(term: Term, value: Any) -> str | None:
    if value is None or math.isnan(value):
        return None
    if term.form == "money":
        return f"EUR {number(round(value, 2) if abs(value) < 100 else round(value))}"
    if term.form == "days":
        return _span(value)
    if term.noun == "days without an active user":
        return f"{100 * value:.0f} %"
    return number(value)


def _trend(term: Term, value: float) -> str:
    if abs(value) < STEADY:
        return f"{term.noun} steady over {term.days} days"
    return f"{term.noun} {_percent(math.expm1(min(value, 20.0)))} over {term.days} days against the time before"


def _percent(share: float) -> str:
    """`up 8 %`; beyond a thousand percent it is only many times as much."""
    if share > 10:
        return "up more than tenfold"
    points = abs(100 * share)
    return f"{'up' if share > 0 else 'down'} {f'{points:.0f}' if points >= 10 else f'{points:.2g}'} %"


def _beyond(share: float) -> str:
    if abs(share) < 0.005:
        return "about"
    points = abs(100 * share)
    return f"{f'{points:.0f}' if points >= 10 else f'{points:.2g}'} % {'above' if share > 0 else 'below'}"


def _unchanged(term: Term) -> str:
    return f"price unchanged in {term.days} days"


def _before(term: Term, value: float, record: Mapping[str, Any]) -> float | None:
    """What the longer window holds beyond the shorter one, for as long a time (counts) or per day (means)."""
    assert term.before is not None
    assert term.days is not None
    name, days = term.before
    longer = record.get(name)
    if not isinstance(longer, float) or math.isnan(longer):
        return None
    if term.form == "count":
        return round(max(0.0, (longer - value) * term.days / (days - term.days)), 1)
    return max(0.0, (longer * days - value * term.days) / (days - term.days))


def _pace(term: Term) -> str:
    return " a day" if term.form == "mean" else ""


def _span(days: float) -> str:
    if abs(days) < 60:
        return f"{days:.0f} day{'' if round(abs(days)) == 1 else 's'}"
    if abs(days) < 2 * YEAR:
        return f"{days / MONTH:.0f} months"
    return f"{days / YEAR:.1f} years"


def _missing(term: Term) -> str:
    if term.form == "trend":
        return (
            f"the way {term.noun} goes is"
            if term.noun in ("energy", "storage", "compute time")
            else f"the way {term.noun} go is"
        )
    if term.form == "change":
        return f"change of price in {term.days} days is"
    if term.form == "gap":
        return f"distance from {term.noun} is"
    window = f" in {term.days} days" if term.days else ""
    return f"{term.noun} a time that is" if term.noun.endswith((" for", " in")) else f"{term.noun}{window} is"


def _beside(known: str | None) -> str:
    return f" (usual: {known})" if known is not None else ""


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
