"""The words of a prompt and its structure, looked up once: which domain they speak of, how much thought they ask for.

**Domain.** Each known word or phrase gives its weight to a domain; the domain with the largest sum wins.

| where it stands | counts |
|---|---|
| the first three words | 2.2 × |
| among the first or last 14 words | 1.7 × |
| in between, in a prompt of up to 60, up to 200, more words | 1 ×, ½ ×, ¼ × (it may be material, not instruction) |
| in the system's instructions, or in the words before very short last ones | ½ × |

Structure adds: a code fence or source code 4 for code, LaTeX or mathematical symbols 3 and arithmetic 4 for math, a
schema of the answer 1.5 for extraction. Without any sign, up to 6 words are conversation and more are knowledge.

**Complexity.** A sum of points: below 1 simple, below 2.2 moderate, below 4.5 complex, from there on expert.

| sign | points |
|---|---|
| the domain: conversation, knowledge 0, translation, summary, extraction ¼, writing 0.7, others | 1 to 1.1 |
| words: log₂(words / 16); in translation, summary and extraction no more than 0 | 0.35 each, from −0.7 to 1.05 |
| words that ask for depth (prove, architecture, …) | their weights, the strongest four |
| conditions (must, without, exactly, …), from the second on | 0.2 each, at most 0.8 |
| a numbered or bulleted list of three or more | 0.5 |
| three questions or more | 0.4 |
| a long answer is asked for: more than 450, 900 tokens | 0.4, 0.8 |
| code to work on | 0.3, in a long prompt 0.6 |
| more than 2,000, 8,000 tokens in all | 0.3, 0.7 |
| easy words (hello, capital, simply, …) | minus their weights, at most 1.2 |
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence, Set

from gateway.choose.catalogue import DOMAINS
from gateway.choose.vocabulary import (
    BRIEF,
    CONSTRAINTS,
    COUNTS,
    DEPTH,
    EASY,
    LENGTHS,
    LONG,
    PHRASES,
    WORDS,
)

_FIRST, _EDGE = 3, 14
_CODE, _MATH = DOMAINS.index("code"), DOMAINS.index("math")
_NONE = (0.0,) * len(DOMAINS)
_NOTHING: frozenset[str] = frozenset()
_POINTS = {
    "conversation": 0.0, "knowledge": 0.0, "translation": 0.25, "summary": 0.25, "extraction": 0.25, "writing": 0.7,
    "code": 1.0, "math": 1.0, "reasoning": 1.1, "analysis": 1.1,
}  # fmt: skip
# Most of the prompt is material there, not instruction.
_ON_MATERIAL = frozenset({"translation", "summary", "extraction"})
_KNOWN = frozenset(WORDS) | frozenset(DEPTH) | frozenset(EASY) | frozenset(PHRASES) | frozenset(LENGTHS)
_KNOWN |= CONSTRAINTS | BRIEF | LONG
# Known word → (domain, weight) pairs, (phrase, domain, weight) it begins, depth, ease, conditions: one look for all.
_TOLD = {
    word: (
        WORDS.get(word, ()),
        PHRASES.get(word, ()),
        DEPTH.get(word, 0.0),
        EASY.get(word, 0.0),
        float(word in CONSTRAINTS),
    )
    for word in _KNOWN
}

# What an application's instructions speak of, which come again with each of its calls. The texts are not kept.
_MOST_BESIDE = 1_024
_beside: dict[tuple[int, int], tuple[tuple[int, float, str], ...]] = {}

# Every ASCII character that parts words becomes a space; hyphens and plus signs stay (trade-off, c++).
_PARTING = bytes(32 if chr(code) in "\t\n\r.,;:!?()[]{}\"'`*_#<>=/\\|~^&%$@" else code for code in range(256))
_QUOTES = ("’", "¿", "¡", "«", "»", "„", "“", "”", "…", "—")
_SOURCE = ("def ", "#include", "import ", "select ", "</", "=> ", "function(", "public static", "console.log", "();")
_SYMBOLS = ("∫", "∑", "√", "≤", "≥", "∂", "∞", "≠", "π", "∀", "∃", "∈")
_LATEX = ("\\frac", "\\int", "\\sum", "\\sqrt", "$$", "\\begin{")
_ARITHMETIC = re.compile(r"\d(?:\s*[+*×÷^=]\s*\(?-?[\da-z]|\s[-/]\s\d)", re.ASCII)


class Reading:
    """One pass over the words of a prompt.

    Attributes
    ----------
    hits : words of the user that the tables know.
    scores : by number of the domain.
    asked_length : tokens of the answer as "in 200 words" or "three paragraphs" say; None where nothing does.
    reasons : what was found, in words.
    """

    __slots__ = ("_constraints", "_count", "_depth", "_easy", "_found", "_lower", "_source",
                 "asked_length", "hits", "reasons", "scores")  # fmt: skip

    def __init__(self, last: str, before: str = "", system: str = "") -> None:
        """Read.

        Parameters
        ----------
        last, before, system : as `gateway.choose.request.last_words` returns them.
        """
        self.reasons: list[str] = []
        self.scores = list(_NONE)
        self._lower = last.lower()
        words = split(self._lower)
        self._count = len(words)
        self.hits: Set[str] = _KNOWN & set(words)
        self.asked_length = _asked_length(words, self._lower) if self.hits & LENGTHS.keys() or "-word" in last else None
        self._depth = self._easy = self._constraints = 0.0
        # (weight, word) of what spoke for a domain; the user's last words first, the strongest of them foremost.
        self._found: list[tuple[float, str]] = []
        inner = 1.0 if self._count <= 60 else 0.5 if self._count <= 200 else 0.25
        edge = set(words[:_EDGE])
        edge.update(words[-_EDGE:])
        if self.hits:
            self._read(self._lower, words[:_FIRST], edge, inner)
        if before:
            self._read_beside(before)
        if system:
            self._read_beside(system)
        self._source = self._structure()

    def _read(self, lower: str, first: Sequence[str], edge: Set[str], inner: float) -> None:
        """The user's own words."""
        scores, found = self.scores, self._found
        deep: list[tuple[float, str]] = []
        for word in self.hits:
            pairs, phrases, depth, ease, condition = _TOLD[word]
            near = word in edge
            place = inner if not near else 1.7 if word not in first else 2.2
            for domain, weight in pairs:
                scores[domain] += weight * place
                if weight >= 2.0:
                    found.append((weight * place, word))
            for phrase, domain, weight in phrases:
                if phrase in lower:
                    scores[domain] += weight * place
                    found.append((weight * place, phrase))
            if depth:
                deep.append((depth if near else depth * inner, word))
            if condition:
                self._constraints += 1.0 if near else inner
            if ease and near:
                self._easy += ease
        if deep:
            deep.sort(reverse=True)
            self._depth = sum([weight for weight, _ in deep[:4]])
            self.reasons += [f"asks for depth: {word}" for weight, word in deep[:2] if weight >= 0.5]
        if len(found) > 1:
            found.sort(reverse=True)

    def _read_beside(self, text: str) -> None:
        """Words that are not the user's last ones: they speak of a domain, and ask for nothing."""
        key = (hash(text), len(text))
        spoken = _beside.get(key)
        if spoken is None:
            if len(_beside) >= _MOST_BESIDE:
                _beside.clear()
            spoken = _beside[key] = _spoken(text)
        for domain, weight, word in spoken:
            self.scores[domain] += weight
            if weight >= 1.0:
                self._found.append((weight, word))

    def _structure(self) -> bool:
        lower, scores = self._lower, self.scores
        source = "```" in lower
        if not source and ("(" in lower or "<" in lower):
            source = sum([sign in lower for sign in _SOURCE]) >= 2
        if source:
            scores[_CODE] += 4.0
            self.reasons.append("code in the prompt")
        if (("\\" in lower or "$$" in lower) and any(sign in lower for sign in _LATEX)) or (
            not lower.isascii() and any(sign in lower for sign in _SYMBOLS)
        ):
            scores[_MATH] += 3.0
            self.reasons.append("mathematical notation")
        elif not source and ("^" in lower or _ARITHMETIC.search(lower, 0, 400)):
            scores[_MATH] += 4.0
            self.reasons.append("arithmetic")
        return source

    def domain(self) -> tuple[str, float]:
        """The domain, and how certain it is, ½ to 1: its lead over the second one in what both got."""
        scores = self.scores
        top = max(scores)
        if top < 1.0:
            return ("conversation", 0.5) if self._count <= 6 else ("knowledge", 0.5)
        place = scores.index(top)
        scores[place] = -1.0
        second = max(scores)
        scores[place] = top
        self.reasons.extend([f"says {word!r}" for _, word in self._found[:2]])
        return DOMAINS[place], 0.5 + 0.5 * (top - second) / (top + second + 1.0)

    def points(self, domain: str, input_tokens: int) -> float:
        """How much thought it asks for; see the table above."""
        lower, reasons, count = self._lower, self.reasons, self._count
        length = min(1.05, max(-0.7, 0.35 * math.log2((count + 1) / 16)))
        points = _POINTS[domain] + (min(0.0, length) if domain in _ON_MATERIAL else length) + self._depth
        if self._constraints > 1:
            points += min(0.8, 0.2 * (self._constraints - 1))
            if self._constraints >= 3:
                reasons.append("several conditions")
        if "\n" in lower and ("\n3." in lower or "\n3)" in lower or lower.count("\n- ") + lower.count("\n* ") >= 3):
            points += 0.5
            reasons.append("a list")
        if lower.count("?") >= 3:
            points += 0.4
            reasons.append("several questions")
        if self.asked_length is not None and self.asked_length > 450:
            points += 0.4 if self.asked_length <= 900 else 0.8
            reasons.append("a long answer is asked for")
        if self._source:
            points += 0.3 if count < 150 else 0.6
        if input_tokens > 2_000:
            points += 0.3 if input_tokens <= 8_000 else 0.7
            reasons.append("a long prompt")
        elif count <= 12:
            reasons.append("a short prompt")
        return points - min(1.2, self._easy)


def split(lower: str) -> list[str]:
    """Words of a text in lower case, without punctuation."""
    if not lower.isascii():
        for quote in _QUOTES:
            lower = lower.replace(quote, " ")
    return lower.encode("utf-8", "replace").translate(_PARTING).decode("utf-8", "replace").split()


def _spoken(text: str) -> tuple[tuple[int, float, str], ...]:
    lower = text.lower()
    spoken: list[tuple[int, float, str]] = []
    for word in _KNOWN & set(split(lower)):
        pairs, phrases, *_ = _TOLD[word]
        spoken += [(domain, 0.5 * weight, word) for domain, weight in pairs]
        spoken += [(domain, 0.5 * weight, phrase) for phrase, domain, weight in phrases if phrase in lower]
    return tuple(spoken)


def _asked_length(words: Sequence[str], lower: str) -> float | None:
    if "-word" in lower:
        words = [part for word in words for part in word.split("-")]
    for place, word in enumerate(words):
        each = LENGTHS.get(word)
        if each is None:
            continue
        for number in words[max(0, place - 2) : place][::-1]:
            count = int(number) if number.isascii() and number.isdigit() and len(number) <= 5 else COUNTS.get(number)
            # "a word about" and "the page" ask for no length.
            if count and (count > 1 or number in ("1", "one", "single")):
                return min(8_000.0, count * each + 8)
    return None
