"""Closed tasks in mathematics: expressions to work out and units to convert."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from random import Random

from features.world.llm.task import Kind, Sizes, Task, final, same_text

TERMS = Sizes((2, 2), (3, 4), (5, 6), (7, 9))
VALUES = Sizes((1, 1), (2, 3), (4, 6), (7, 9))

EXPRESSION = (
    "What is {}?",
    "Calculate {}.",
    "Work out {} and give the number only.",
    "How much is {}? Answer with the number only.",
    "Could you compute {} for me?",
)
CONVERSION = (
    "Convert {} to {}.",
    "Convert {} to {}, two decimals, the numbers only.",
    "Please convert {} to {}; round to two decimals.",
)

# unit → (what it measures, how many of the base unit one is)
UNITS: Mapping[str, tuple[str, float]] = {
    "metres": ("length", 1.0),
    "kilometres": ("length", 1000.0),
    "miles": ("length", 1609.344),
    "feet": ("length", 0.3048),
    "inches": ("length", 0.0254),
    "kilograms": ("mass", 1.0),
    "pounds": ("mass", 0.45359237),
    "ounces": ("mass", 0.028349523125),
    "litres": ("volume", 1.0),
    "gallons": ("volume", 3.785411784),
    "kilowatt hours": ("energy", 1.0),
    "megajoules": ("energy", 1 / 3.6),
    "megawatt hours": ("energy", 1000.0),
    "minutes": ("time", 1.0),
    "hours": ("time", 60.0),
    "days": ("time", 1440.0),
}

_CUE = r"\b(?:what is|calculate|work out|how much is|compute|evaluate)\s+"
_ASKED = re.compile(_CUE + r"([-(]*\d[\d\s.+*/()×÷-]{0,200})", re.IGNORECASE)
_UNIT = "|".join(sorted(UNITS, key=len, reverse=True))
_CONVERT = re.compile(
    rf"\bconvert\s+([\d.,\s]{{1,200}}?(?:and\s+[\d.]+\s+)?)({_UNIT})\s+(?:in)?to\s+({_UNIT})", re.IGNORECASE
)
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _draw(rng: Random, complexity: str) -> Task:
    count = TERMS.draw(rng, complexity)
    words = [str(rng.randint(2, 99))]
    for _ in range(count - 1):
        times = rng.random() < 0.4
        words += ["*" if times else rng.choice("+-"), str(rng.randint(2, 12) if times else rng.randint(2, 99))]
    found = _recognise(rng.choice(EXPRESSION).format(" ".join(words)))
    assert found is not None
    return found


def _recognise(text: str) -> Task | None:
    if (match := _ASKED.search(text)) is None:
        return None
    written = match[1].replace("×", "*").replace("÷", "/").rstrip(" \n.-+*/(")
    try:
        tree = ast.parse(written.strip(), mode="eval").body
        value = _number(_value(tree))
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError, MemoryError):
        return None
    terms = sum(isinstance(node, ast.Constant) for node in ast.walk(tree))
    if terms < 2:
        return None
    return Task(text, "math", TERMS.complexity(terms), "arithmetic", value, terse="only" in text)


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner)
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
            return _OPERATORS[type(kind)](_value(left), _value(right))
    raise ValueError("not an expression of numbers")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def _same_number(task: Task, answer: str) -> bool:
    found = re.findall(r"-?\d+(?:\.\d+)?", final(answer).replace(",", "").replace("−", "-"))
    return bool(found) and abs(float(found[-1]) - float(task.right)) < 1e-6


def _wrong(task: Task, rng: Random) -> str:
    right = float(task.right)
    slip = rng.choice((1, -1, 2, 10, -10, 9, 100)) * (1 if abs(right) < 1000 else rng.choice((1, 10, 100)))
    return _number(right + slip)


def _draw_units(rng: Random, complexity: str) -> Task:
    unit = rng.choice(list(UNITS))
    others = [name for name, (what, _) in UNITS.items() if what == UNITS[unit][0] and name != unit]
    values = [str(rng.choice((rng.randint(2, 500), rng.randint(20, 999) / 10))) for _ in range(99)]
    values = list(dict.fromkeys(values))[: VALUES.draw(rng, complexity)]
    listed = f"{', '.join(values[:-1])} and {values[-1]}" if len(values) > 1 else values[0]
    found = _recognise_units(rng.choice(CONVERSION).format(f"{listed} {unit}", rng.choice(others)))
    assert found is not None
    return found


def _recognise_units(text: str) -> Task | None:
    if (match := _CONVERT.search(text)) is None:
        return None
    source, target = UNITS[match[2].lower()], UNITS[match[3].lower()]
    values = re.findall(r"\d+(?:\.\d+)?", match[1])
    if source[0] != target[0] or not values:
        return None
    right = ", ".join(f"{float(value) * source[1] / target[1]:.2f}" for value in values)
    return Task(text, "math", VALUES.complexity(len(values)), "units", right, terse="only" in text)


def _wrong_units(task: Task, rng: Random) -> str:
    values = [float(value) for value in task.right.split(", ")]
    place = rng.randrange(len(values))
    values[place] += rng.choice((0.1, 1.0, 1.0 + values[place]))
    return ", ".join(f"{value:.2f}" for value in values)


ARITHMETIC = Kind("arithmetic", "math", _draw, _recognise, _wrong, _same_number)
CONVERTED = Kind("units", "math", _draw_units, _recognise_units, _wrong_units, same_text)
