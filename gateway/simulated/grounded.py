"""How a simulated model answers a question from numbered rows: with citations, and now and then with a wrong number."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import orjson

_ROW = re.compile(r"^\[(r\d+)\] (\{.*\})$", re.MULTILINE)
_DATA = re.compile(r"Question: .*\n\nRows:\n\[r1\] \{")
# What rows are compared by, the first that they have.
_MEASURES = ("cost_usd", "expected_usd", "excess_usd", "spent_usd", "customers", "calls")
_SAYING = ("{name} has the highest {what}, {value} [{row}].", "The highest {what} is that of {name}: {value} [{row}].")
_ALL = ("In all, {what} is {value} [{row}].", "{what} comes to {value} in all [{row}].")

Cited = tuple[str, dict[str, Any]]


def rows_of(text: str) -> list[Cited]:
    """The rows that a prompt brings, each with how it is cited; none where it is no question about rows."""
    if _DATA.match(text) is None:
        return []
    found: list[Cited] = []
    for name, body in _ROW.findall(text):
        try:
            row = orjson.loads(body)
        except orjson.JSONDecodeError:
            continue
        if isinstance(row, dict):
            found.append((name, row))
    return found


def grounded_answer(rows: list[Cited], right: bool, rng: Random) -> str:
    """A few sentences on the rows. A model that is not right gets one number wrong, or more."""
    tables: dict[str, list[Cited]] = {}
    for cited in rows:
        tables.setdefault(str(cited[1].get("about")), []).append(cited)
    total: Cited | None = None
    said: list[tuple[str, float, str, str]] = []
    for about, table in tables.items():
        what = next((one for one in _MEASURES if one in table[0][1]), "")
        if not what:
            continue
        if len(table) == 1 and "in all" in about:
            total = table[0]
            said.append((rng.choice(_ALL), total[1][what], what, total[0]))
            continue
        row, values = max(table, key=lambda one: one[1].get(what, 0.0))
        said.append((rng.choice(_SAYING).replace("{name}", _name_of(values)), values[what], what, row))
        if total is not None and total[1].get(what):
            share = 100.0 * values[what] / total[1][what]
            said.append((f"That is {{value}}% of all [{row}/{total[0]}].", share, "", row))
        if len(said) > 5:
            break
    if not said:
        return "The rows do not tell."
    wrong = () if right else rng.sample(range(len(said)), rng.randint(1, min(2, len(said))))
    lines = []
    for place, (pattern, value, what, row) in enumerate(said):
        stated = value * rng.choice((1.1, 0.9, 10.0, 1.37)) + 0.2 if place in wrong else value
        lines.append(pattern.format(value=_written(stated, what), what=what, row=row))
    return " ".join(lines)


def _name_of(values: dict[str, Any]) -> str:
    names = [str(value) for name, value in values.items() if name != "about" and isinstance(value, str)]
    return " of ".join(f'"{name}"' for name in names[:2][::-1]) if names else "one row"


def _written(value: float, what: str) -> str:
    if what.endswith("_usd"):
        return f"${value:,.2f}" if value >= 1 else f"${value:.6f}"
    return f"{value:,.0f}" if what else f"{value:.1f}"
