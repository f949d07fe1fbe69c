"""Closed tasks in code: Python functions that are known here, with a right body and a slip in it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from random import Random

from features.world.llm.task import COMPLEXITIES, Kind, Task

TEMPLATES = (
    "Write a Python function `{signature}` that {does}.",
    "Implement `{signature}` in Python: it {does}. Only the code, please.",
    "I need a Python function `{signature}` which {does}. Can you write it?",
)


@dataclass(frozen=True, slots=True)
class Known:
    """A function: what it does, its body, and the slip: (what stands there, what a weak model writes instead)."""

    complexity: str
    signature: str
    does: str
    body: str
    slip: tuple[str, str]

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]

    def code(self, *, right: bool = True) -> str:
        body = self.body if right else self.body.replace(*self.slip)
        return f"def {self.signature}:\n" + "\n".join(f"    {line}" for line in body.split("\n"))


SIMPLE, MODERATE, COMPLEX, EXPERT = COMPLEXITIES
FUNCTIONS = (
    Known(SIMPLE, "is_even(n)", "tells whether n is even", "return n % 2 == 0", ("== 0", "== 1")),
    Known(SIMPLE, "square(x)", "returns the square of x", "return x * x", ("x * x", "x * 2")),
    Known(SIMPLE, "last(items)", "returns the last element of a list", "return items[-1]", ("[-1]", "[0]")),
    Known(SIMPLE, "shout(text)", "returns the text in capital letters", "return text.upper()", ("upper", "title")),
    Known(SIMPLE, "average(values)", "returns the mean", "return sum(values) / len(values)", ("/", "//")),
    Known(SIMPLE, "backwards(text)", "reverses a string", "return text[::-1]", ("-1", "1")),
    Known(SIMPLE, "absolute(x)", "returns the absolute value", "return x if x >= 0 else -x", (">=", "<=")),
    Known(SIMPLE, "unique(items)", "returns the set of elements", "return set(items)", ("set", "list")),
    Known(MODERATE, "factorial(n)", "returns n!", "return 1 if n < 2 else n * factorial(n - 1)", ("n - 1", "n - 2")),
    Known(
        *(MODERATE, "count_vowels(text)", "counts the vowels of a text"),
        "return sum(letter in 'aeiou' for letter in text.lower())",
        (".lower()", ""),
    ),
    Known(
        *(MODERATE, "is_palindrome(text)", "tells whether a text reads the same backwards, letters alone"),
        "letters = [one.lower() for one in text if one.isalpha()]\nreturn letters == letters[::-1]",
        (" if one.isalpha()", ""),
    ),
    Known(
        *(MODERATE, "clamp(x, low, high)", "keeps x between low and high"),
        "return max(low, min(x, high))",
        ("max(low, min(x, high))", "min(low, max(x, high))"),
    ),
    Known(
        *(MODERATE, "fibonacci(n)", "returns the n-th Fibonacci number, the 0th being 0"),
        "a, b = 0, 1\nfor _ in range(n):\n    a, b = b, a + b\nreturn a",
        ("return a", "return b"),
    ),
    Known(
        *(MODERATE, "word_counts(text)", "counts how often each word occurs"),
        "counts = {}\nfor word in text.split():\n    counts[word] = counts.get(word, 0) + 1\nreturn counts",
        ("0) + 1", "1) + 1"),
    ),
    Known(
        *(MODERATE, "flatten(rows)", "makes one list out of a list of lists"),
        "return [item for row in rows for item in row]",
        ("item for row in rows for item in row", "row for row in rows"),
    ),
    Known(
        *(MODERATE, "is_leap(year)", "tells whether a year is a leap year"),
        "return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)",
        (" or year % 400 == 0", ""),
    ),
    Known(
        *(COMPLEX, "is_prime(n)", "tells whether n is prime"),
        "if n < 2:\n    return False\nreturn all(n % d for d in range(2, int(n**0.5) + 1))",
        (" + 1", ""),
    ),
    Known(
        *(COMPLEX, "gcd(a, b)", "returns the greatest common divisor"),
        "while b:\n    a, b = b, a % b\nreturn a",
        ("b, a % b", "a % b, b"),
    ),
    Known(
        *(COMPLEX, "binary_search(items, wanted)", "returns the index of a value in a sorted list, or -1"),
        "low, high = 0, len(items) - 1\nwhile low <= high:\n    middle = (low + high) // 2\n"
        "    if items[middle] == wanted:\n        return middle\n    if items[middle] < wanted:\n"
        "        low = middle + 1\n    else:\n        high = middle - 1\nreturn -1",
        ("low <= high", "low < high"),
    ),
    Known(
        *(COMPLEX, "chunks(items, size)", "cuts a list into pieces of a size, the last one shorter"),
        "return [items[i : i + size] for i in range(0, len(items), size)]",
        ("len(items)", "len(items) - size"),
    ),
    Known(
        *(COMPLEX, "merge(left, right)", "merges two sorted lists into one sorted list"),
        "merged = []\ni = j = 0\nwhile i < len(left) and j < len(right):\n    if left[i] <= right[j]:\n"
        "        merged.append(left[i])\n        i += 1\n    else:\n        merged.append(right[j])\n        j += 1\n"
        "return merged + left[i:] + right[j:]",
        (" + left[i:] + right[j:]", ""),
    ),
    Known(
        *(COMPLEX, "moving_average(values, width)", "returns the means of all windows of a width"),
        "return [sum(values[i : i + width]) / width for i in range(len(values) - width + 1)]",
        ("- width + 1", "- width"),
    ),
    Known(
        *(COMPLEX, "roman(number)", "writes a number from 1 to 3999 in Roman numerals"),
        "signs = [(1000, 'M'), (900, 'CM'), (500, 'D'), (400, 'CD'), (100, 'C'), (90, 'XC'), (50, 'L'),\n"
        "         (40, 'XL'), (10, 'X'), (9, 'IX'), (5, 'V'), (4, 'IV'), (1, 'I')]\nwritten = ''\n"
        "for value, sign in signs:\n    while number >= value:\n        written += sign\n        number -= value\n"
        "return written",
        ("(9, 'IX'), ", ""),
    ),
    Known(
        *(COMPLEX, "balanced(text)", "tells whether the brackets (), [] and {} of a text are balanced"),
        "pairs = {')': '(', ']': '[', '}': '{'}\nwaiting = []\nfor sign in text:\n    if sign in pairs.values():\n"
        "        waiting.append(sign)\n    elif sign in pairs:\n"
        "        if not waiting or waiting.pop() != pairs[sign]:\n            return False\nreturn not waiting",
        ("return not waiting", "return True"),
    ),
    Known(
        *(EXPERT, "levenshtein(a, b)", "returns the edit distance of two strings"),
        "before = list(range(len(b) + 1))\nfor i, x in enumerate(a, 1):\n    now = [i]\n"
        "    for j, y in enumerate(b, 1):\n"
        "        now.append(min(before[j] + 1, now[-1] + 1, before[j - 1] + (x != y)))\n    before = now\n"
        "return before[-1]",
        ("(x != y)", "1"),
    ),
    Known(
        *(EXPERT, "permutations(items)", "returns all orders of the elements of a list"),
        "if len(items) < 2:\n    return [list(items)]\n"
        "return [[one, *rest] for i, one in enumerate(items) for rest in permutations(items[:i] + items[i + 1 :])]",
        ("items[:i] + items[i + 1 :]", "items[i + 1 :]"),
    ),
    Known(
        *(EXPERT, "shortest_path(graph, start, goal)", "returns the least weight from start to goal (Dijkstra)"),
        "import heapq\nqueue, done = [(0, start)], set()\nwhile queue:\n    far, node = heapq.heappop(queue)\n"
        "    if node == goal:\n        return far\n    if node in done:\n        continue\n    done.add(node)\n"
        "    for other, weight in graph[node].items():\n        heapq.heappush(queue, (far + weight, other))\n"
        "return None",
        ("far + weight", "weight"),
    ),
    Known(
        *(EXPERT, "longest_increasing(values)", "returns the length of the longest strictly increasing subsequence"),
        "from bisect import bisect_left\ntails = []\nfor value in values:\n    place = bisect_left(tails, value)\n"
        "    tails[place : place + 1] = [value]\nreturn len(tails)",
        ("bisect_left(tails, value)", "len(tails)"),
    ),
    Known(
        *(EXPERT, "topological(graph)", "orders the nodes of a directed graph, or returns None where it has a cycle"),
        "waits = {node: 0 for node in graph}\nfor others in graph.values():\n    for other in others:\n"
        "        waits[other] += 1\nready = [node for node, count in waits.items() if not count]\norder = []\n"
        "while ready:\n    node = ready.pop()\n    order.append(node)\n    for other in graph[node]:\n"
        "        waits[other] -= 1\n        if not waits[other]:\n            ready.append(other)\n"
        "return order if len(order) == len(graph) else None",
        ("return order if len(order) == len(graph) else None", "return order"),
    ),
    Known(
        *(EXPERT, "knapsack(weights, values, room)", "returns the greatest value that fits, each item once"),
        "best = [0] * (room + 1)\nfor weight, value in zip(weights, values):\n"
        "    for left in range(room, weight - 1, -1):\n"
        "        best[left] = max(best[left], best[left - weight] + value)\n"
        "return best[room]",
        ("range(room, weight - 1, -1)", "range(weight, room + 1)"),
    ),
    Known(
        *(EXPERT, "sieve(limit)", "returns all primes below a limit by the sieve of Eratosthenes"),
        "marked = [True] * limit\nmarked[:2] = [False] * min(2, limit)\nfor i in range(2, int(limit**0.5) + 1):\n"
        "    if marked[i]:\n        for k in range(i * i, limit, i):\n            marked[k] = False\n"
        "return [i for i, prime in enumerate(marked) if prime]",
        ("i * i", "i"),
    ),
    Known(
        *(EXPERT, "n_queens(n)", "counts the ways to place n queens that do not attack each other"),
        "def place(row, columns, rising, falling):\n    if row == n:\n        return 1\n"
        "    return sum(\n        place(row + 1, columns | {c}, rising | {row + c}, falling | {row - c})\n"
        "        for c in range(n)\n"
        "        if c not in columns and row + c not in rising and row - c not in falling\n    )\n"
        "return place(0, set(), set(), set())",
        (" and row - c not in falling", ""),
    ),
)

_BY_NAME = {one.name: one for one in FUNCTIONS}
_ASKED = re.compile(r"`(\w+)\(")
_FENCE = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)


def _draw(rng: Random, complexity: str) -> Task:
    known = rng.choice([one for one in FUNCTIONS if one.complexity == complexity])
    found = _recognise(rng.choice(TEMPLATES).format(signature=known.signature, does=known.does))
    assert found is not None
    return found


def _recognise(text: str) -> Task | None:
    match = _ASKED.search(text)
    known = _BY_NAME.get(match[1]) if match else None
    if known is None or "ython" not in text:
        return None
    return Task(text, "code", known.complexity, "function", known.code(), terse="Only" in text)


def _wrong(task: Task, _rng: Random) -> str:
    match = re.match(r"def (\w+)", task.right)
    assert match is not None
    return _BY_NAME[match[1]].code(right=False)


def _same(task: Task, answer: str) -> bool:
    """Whether the code is the known one, but for layout: nothing is run that somebody else wrote."""
    fence = _FENCE.search(answer)
    return _shape(fence[1] if fence else answer) == _shape(task.right)


def _shape(code: str) -> str | None:
    try:
        return ast.dump(ast.parse(code.strip()))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


CODED = Kind("function", "code", _draw, _recognise, _wrong, _same)
