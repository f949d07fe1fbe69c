"""Whatever a family keeps as details of an evaluation, as tables, sentences and small curves for its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_ROWS = 25
MOST_WORDS = 60
_CURVE_FROM = 8  # fewer numbers are read more easily than seen


@dataclass(frozen=True)
class Block:
    """A titled part of a card: a table, or sentences, or a curve.

    Attributes
    ----------
    rows : cells as text; the first row of a table with `columns` is not its head.
    more : rows that are left out.
    curve : points of an SVG polyline in a box of 300 × 60, "" for none.
    """

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    more: int = 0
    sentences: tuple[str, ...] = ()
    curve: str = ""
    ends: tuple[str, str] = ("", "")


def blocks(details: Mapping[str, Any], title: str = "Settings and findings") -> list[Block]:
    """Details as blocks: single values first, in one table, then everything that has a shape of its own."""
    facts: list[tuple[str, str]] = []
    found: list[Block] = []
    for key, value in details.items():
        name = words(key)
        if _flat(value):
            facts.append((name, text(value)))
        elif isinstance(value, Mapping):
            found += _of_mapping(name, value)
        else:
            found += _of_list(name, value)
    first = [Block(title, rows=tuple(facts))] if facts else []
    return first + found


def words(key: str) -> str:
    """`bands_found` → "Bands found"."""
    spaced = str(key).replace("_", " ").strip()
    return spaced[:1].upper() + spaced[1:]


def text(value: Any) -> str:
    """A value as a person reads it; an estimate with its interval in brackets."""
    if value is None or (isinstance(value, float) and value != value) or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if _is_estimate(value):
        if value["value"] is None:
            return "–"
        interval = f" [{text(value['low'])}, {text(value['high'])}]" if value["low"] is not None else ""
        return text(value["value"]) + interval
    if isinstance(value, Mapping):
        return ", ".join(f"{words(key).lower()} {text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        shown = ", ".join(text(item) for item in value[:MOST_WORDS])
        return shown + (f" and {len(value) - MOST_WORDS} more" if len(value) > MOST_WORDS else "")
    return str(value)


def _of_mapping(name: str, value: Mapping[str, Any]) -> list[Block]:
    if all(isinstance(item, Mapping) and not _is_estimate(item) for item in value.values()):
        return [_table(name, [{"": str(key), **item} for key, item in value.items()])]
    if all(_flat(item) for item in value.values()):
        rows = [(str(key), text(item)) for key, item in value.items()]
        return [Block(name, rows=tuple(rows[:MOST_ROWS]), more=max(0, len(rows) - MOST_ROWS))]
    return [Block(f"{name}: {part.title.lower()}" if part.title else name, *_rest(part)) for part in blocks(value, "")]


def _rest(block: Block) -> tuple[Any, ...]:
    return block.columns, block.rows, block.more, block.sentences, block.curve, block.ends


def _of_list(name: str, value: Sequence[Any]) -> list[Block]:
    if all(isinstance(item, Mapping) for item in value):
        return [_table(name, value)]
    if all(isinstance(item, int | float) for item in value):
        low, high = min(value), max(value)
        return [Block(name, curve=_curve(value, low, high), ends=(text(float(low)), text(float(high))))]
    return [Block(name, sentences=tuple(text(item) for item in value))]


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Block:
    """Columns as the rows have them; what is nested deeper than a cell can hold is left out."""
    columns = [
        key
        for key in dict.fromkeys(key for row in rows for key in row)
        if all(_fits_a_cell(row.get(key)) for row in rows)
    ]
    cells = tuple(tuple(text(row.get(key)) for key in columns) for row in rows[:MOST_ROWS])
    return Block(name, tuple(words(key) for key in columns), cells, max(0, len(rows) - MOST_ROWS))


def _curve(values: Sequence[float], low: float, high: float) -> str:
    wide, tall = 300 / max(1, len(values) - 1), 56 / (high - low) if high > low else 0.0
    return " ".join(f"{place * wide:.1f},{58 - (value - low) * tall:.1f}" for place, value in enumerate(values))


def _is_estimate(value: Any) -> bool:
    return isinstance(value, Mapping) and {"value", "low", "high"} <= set(value) and len(value) <= 5


def _single(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool) or _is_estimate(value)


def _fits_a_cell(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_single(item) and not isinstance(item, Mapping) for item in value.values())
    return _single(value) or (isinstance(value, list | tuple) and all(_single(item) for item in value))


def _flat(value: Any) -> bool:
    """Whether a value is said in one line of a table of facts."""
    if isinstance(value, list | tuple):
        told = all(_single(item) and not _is_sentence(item) for item in value)
        return told and not (len(value) > _CURVE_FROM and all(isinstance(item, int | float) for item in value))
    if isinstance(value, Mapping) and not _is_estimate(value):
        return len(value) <= 4 and all(_single(item) and not _is_estimate(item) for item in value.values())
    return _single(value)


def _is_sentence(value: Any) -> bool:
    return isinstance(value, str) and value.count(" ") > 3
