"""What a sentence cites: rows, `[r3]`, or how a number was worked out of rows, `[r1+r2]`, `[r1-r2]`, `[r2/r1]`.

derivation = term {("+" | "-") term}
term       = operand ["/" operand]
operand    = row ["." column] | "(" derivation ")"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from models.insights.row import Row, unit_of

CITED = re.compile(r"\[\s*(?=[^\[\]]*\br\d)[^\[\]]*\]")
_TOKEN = re.compile(r"\s*(?:r(?P<row>\d{1,4})(?:\.(?P<column>\w+))?|(?P<sign>[-+/()]))")
MOST_OPERANDS = 24


@dataclass(frozen=True)
class Operand:
    row: int
    column: str | None


@dataclass(frozen=True)
class Working:
    """Two things put together by "+", "-" or "/"."""

    sign: str
    left: Node
    right: Node


Node = Operand | Working


@dataclass(frozen=True)
class Citation:
    """What stands between square brackets, one of its parts.

    Attributes
    ----------
    text : without spaces: "r3", "r2/r1".
    node : None where it cannot be read.
    """

    text: str
    node: Node | None

    @property
    def rows(self) -> tuple[int, ...]:
        """Numbers of the rows, in order."""
        return tuple(dict.fromkeys(one.row for one in _operands(self.node)))

    def results(self, rows: Mapping[int, Row]) -> Iterator[tuple[str, float, str]]:
        """(cell, value, unit) of everything that it can stand for: each number of a row, or the same working over each
        column that all of its rows have. A cell is named like `r3.cost_usd`.
        """
        if self.node is None or any(number not in rows for number in self.rows):
            return
        operands = list(_operands(self.node))
        if isinstance(self.node, Operand):
            for column, value in rows[self.node.row].numbers.items():
                if self.node.column in (None, column):
                    yield f"r{self.node.row}.{column}", value, unit_of(column)
            return
        open_ones = [one for one in operands if one.column is None]
        # Where every operand names its column there is one working, whatever the rows have.
        columns = rows[open_ones[0].row].numbers if open_ones else {"": 0.0}
        for column in columns:
            found = _value(self.node, rows, column)
            if found is not None:
                yield f"{self.text}.{column}" if column else self.text, *found


def citations(bracketed: str) -> list[Citation]:
    """The parts of one pair of brackets: `[r1, r2/r1]` has two."""
    return [_parsed(part.strip()) for part in re.split("[,;]", bracketed.strip("[] \t"))]


def _parsed(text: str) -> Citation:
    bare = re.sub(r"\s+", "", text)
    tokens: list[str | Operand] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.end() == place:
            return Citation(bare, None)
        tokens.append(match["sign"] or Operand(int(match["row"]), match["column"]))
        place = match.end()
    if len(tokens) > 4 * MOST_OPERANDS:
        return Citation(bare, None)
    node, rest = _sum(tokens)
    return Citation(bare, None if rest else node)


def _sum(tokens: list[str | Operand]) -> tuple[Node | None, list[str | Operand]]:
    node, rest = _term(tokens)
    while node is not None and rest and rest[0] in ("+", "-"):
        right, after = _term(rest[1:])
        if right is None:
            return None, rest
        node, rest = Working(str(rest[0]), node, right), after
    return node, rest


def _term(tokens: list[str | Operand]) -> tuple[Node | None, list[str | Operand]]:
    node, rest = _operand(tokens)
    if node is not None and rest and rest[0] == "/":
        right, after = _operand(rest[1:])
        return (None, rest) if right is None else (Working("/", node, right), after)
    return node, rest


def _operand(tokens: list[str | Operand]) -> tuple[Node | None, list[str | Operand]]:
    if not tokens:
        return None, tokens
    first = tokens[0]
    if isinstance(first, Operand):
        return first, tokens[1:]
    if first == "(":
        node, rest = _sum(tokens[1:])
        if node is not None and rest and rest[0] == ")":
            return node, rest[1:]
    return None, tokens


def _operands(node: Node | None) -> Iterator[Operand]:
    if isinstance(node, Operand):
        yield node
    elif node is not None:
        yield from _operands(node.left)
        yield from _operands(node.right)


def _value(node: Node, rows: Mapping[int, Row], column: str) -> tuple[float, str] | None:
    """Value and unit; None where a row lacks the column, units do not go together, or something is divided by zero."""
    if isinstance(node, Operand):
        name = node.column or column
        value = rows[node.row].numbers.get(name)
        return None if value is None else (value, unit_of(name))
    left, right = _value(node.left, rows, column), _value(node.right, rows, column)
    if left is None or right is None:
        return None
    if node.sign == "/":
        if right[0] == 0:
            return None
        # Dollars over dollars is a share, dollars over calls is dollars.
        if left[1] == right[1]:
            return left[0] / right[0], "ratio"
        return (left[0] / right[0], left[1]) if not right[1] else None
    if left[1] != right[1]:
        return None
    return (left[0] + right[0] if node.sign == "+" else left[0] - right[0]), left[1]
