"""When two answers are the same: wrapping, notation and wording taken off until what was said is left.

Applied in this order; the first that fits decides:

1. JSON, also inside a code fence: compared as data, keys in any order, `1.0` equal to `1`.
2. A code fence: compared as code, white space at line ends and empty lines apart.
3. A stated result, the last of them: `answer: X`, `#### X`, `\\boxed{X}`, in English, German, French or Spanish.
4. Everything else: as the words without case, Markdown, punctuation at the edges, articles and currency signs in front.

Of 3 and 4, a lone number is compared as a number (`1,000`, `1000` and `1000.0` are one answer) and a lone letter of a
choice (`(B)`, `B.`, `Option B`) as that letter. Longer texts that say the same in other words are brought together by
`alike`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

_READ = 100_000
_RESULT_IN = 4_000
_FENCE = re.compile(r"```[\w+#.-]*[ \t]*\n(.*?)```", re.DOTALL)
_BOXED = re.compile(r"\\boxed\{([^{}]{1,200})\}")
_HASHES = re.compile(r"^####[ \t]*(\S.{0,200}?)[ \t]*$", re.MULTILINE)
_STATED = re.compile(
    r"(?:final answer|answer|result|antwort|ergebnis|réponse|reponse|résultat|respuesta|resultado)"
    r"(?:[ \t]+(?:is|ist|lautet|est|es)\b[ \t]*[*_]*[:=]?|[ \t]*[*_]*[ \t]*[:=])[ \t]*[*_]*[ \t]*(\S[^\n]{0,200})",
    re.IGNORECASE,
)
# What an answer says of itself is no part of it.
_SELF = re.compile(
    r"^\W*(?:confidence|certainty|konfidenz|sicherheit|confiance|confianza)\W*[:=].*$", re.IGNORECASE | re.MULTILINE
)
_CHOICE = re.compile(r"(?:option|choice|answer|antwort|réponse|opción)?\s*\(?([a-h])\)?[.:)]?", re.IGNORECASE)
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:[,  '’_]\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d{1,3})?\s?%?", re.IGNORECASE)
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
_MARKUP = re.compile(r"[*_`#>|~]+")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")
_EDGES = " \t\n.,;:!?\"'“”„«»()[]{}"
_ARTICLES = frozenset("the a an der die das ein eine le la les un une el los las una".split())  # noqa: SIM905
_DENIALS = frozenset(
    "not no never none cannot nicht kein keine nie pas jamais aucun sin nunca ningún without n't isn aren doesn don "  # noqa: SIM905
    "false incorrect falsch faux falso".split()
)
# Free texts of at least so many words are compared by their words.
_FREE = 8
ALIKE = 0.6


def normalised(text: str) -> str:
    """What an answer says, as a key: two answers with the same key are the same answer. "" for one without words."""
    text = unicodedata.normalize("NFKC", text[:_READ]).strip()
    fenced = _FENCE.search(text)
    data = _json(fenced[1] if fenced else text)
    if data is not None:
        return data
    if fenced:
        return "code " + "\n".join(line.rstrip() for line in fenced[1].strip().splitlines() if line.strip())
    text = _SELF.sub("", text)
    stated = _stated(text)
    if stated is None:
        return _plain(text)
    # "Answer: 42. For …" is 42, while "Answer: Dr. Who" is no doctor in general.
    short = _plain(stated.split(". ", 1)[0])
    return short if len(short) == 1 or _NUMBER.fullmatch(short) else _plain(stated)


def alike(first: str, second: str) -> float:
    """How alike two free texts are, 0 to 1: the words in both over the words in either (Jaccard).

    0 where their numbers differ or one denies what the other does not: 42 and 43 are no paraphrases. 0 for texts of
    fewer than 8 words, which are the same or are not.
    """
    words = [_WORD.findall(text.lower()) for text in (first[:_READ], second[:_READ])]
    if min(len(one) for one in words) < _FREE:
        return 0.0
    if _numbers(first) != _numbers(second):
        return 0.0
    one, other = (set(found) for found in words)
    if bool(one & _DENIALS) != bool(other & _DENIALS):
        return 0.0
    return len(one & other) / len(one | other)


def groups_of(texts: Sequence[str]) -> list[list[int]]:
    """Places of texts that say the same, whatever the order of the texts.

    Those with the same key are together, and so are those that are `alike` to at least 0.6, directly or by others in
    between. The largest group comes first, then the one with the smallest key.
    """
    keys = [normalised(text) for text in texts]
    first_with: dict[str, int] = {}
    parent = [first_with.setdefault(key, place) for place, key in enumerate(keys)]
    heads = sorted(first_with.values())
    for step, head in enumerate(heads):
        for other in heads[step + 1 :]:
            # By their keys, not their texts: of texts with one key it must not matter which one came first.
            if _free(keys[head]) and _free(keys[other]) and alike(keys[head], keys[other]) >= ALIKE:
                parent[_root(parent, other)] = _root(parent, head)
    found: dict[int, list[int]] = {}
    for place in range(len(texts)):
        found.setdefault(_root(parent, place), []).append(place)
    return sorted(found.values(), key=lambda places: (-len(places), min(keys[place] for place in places)))


def _root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        place = parent[place]
    return place


def _free(key: str) -> bool:
    return not key.startswith(("code ", "data "))


def _json(text: str) -> str | None:
    text = text.strip()
    if not text or text[0] not in "{[":
        return None
    try:
        return "data " + json.dumps(_even(json.loads(text)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _even(value: Any) -> Any:
    """The same data with whole floats as integers."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, dict):
        return {key: _even(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_even(one) for one in value]
    return value


def _stated(text: str) -> str | None:
    end = text[-_RESULT_IN:]
    for pattern in (_BOXED, _HASHES, _STATED):
        found = pattern.findall(end)
        if found:
            return str(found[-1])
    return None


def _plain(text: str) -> str:
    plain = _SPACE.sub(" ", _MARKUP.sub("", text)).strip(_EDGES).casefold()
    choice = _CHOICE.fullmatch(plain)
    if choice and len(plain) <= 12:
        return choice[1]
    number = _number(plain.lstrip("$€£ "))
    if number is not None:
        return number
    words = plain.split(" ")
    while len(words) > 1 and words[0] in _ARTICLES:
        words.pop(0)
    return " ".join(words)


def _number(text: str) -> str | None:
    if not _NUMBER.fullmatch(text):
        return None
    percent = "%" if text.endswith("%") else ""
    digits = text.rstrip("% ").replace("−", "-")
    for grouping in (",", " ", " ", "'", "’", "_"):
        digits = digits.replace(grouping, "")
    try:
        value = Decimal(digits)
    except InvalidOperation:
        return None
    whole = value.normalize()
    return f"{whole:f}{percent}" if abs(whole.adjusted()) < 40 else f"{whole}{percent}"


def _numbers(text: str) -> Counter[str]:
    return Counter(found.replace(",", "") for found in _NUMBERS.findall(text[:_READ]))
