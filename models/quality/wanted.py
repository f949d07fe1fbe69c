"""What a prompt asks for, as far as an answer can be held to it: what to speak of, how much, which form and language.

Read with fixed patterns, most of them English; what they do not find is not asked for, and nobody is held to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from models.quality.shown import stem, words_of
from models.quality.vocabulary import FUNCTION, GENERIC, LANGUAGES, NUMBERS

# Of a long prompt, the beginning and the end.
HEAD, TAIL = 2_400, 1_200
# Of a prompt with material, the instruction: before the first empty line or colon at the end of a line, and the end.
_BEFORE, _AFTER = 400, 200
_MOST_WORDS = 40

_ABOUT = re.compile(
    r"\b(?P<how>about|around|approximately|roughly|at most|no more than|up to|maximum of|max|under|fewer than|"
    r"less than|at least|no fewer than|minimum of|exactly|in|etwa|ungefähr|höchstens|mindestens|environ|au plus)?\s*"
    r"(?P<count>\d{1,5}|one|a single|two|three|four|five|six|seven|eight|nine|ten|twelve)[ -]+"
    r"(?P<unit>words?|sentences?|wörtern?|sätzen?|mots|phrases)\b"
)
_ITEMS = re.compile(
    r"\b(\d{1,2}|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?: \w+){0,2}? "
    r"(bullet points?|bullets|reasons|examples|ideas|tips|steps|ways|points|suggestions|arguments|advantages|"
    r"disadvantages|questions|titles|names|options|items|recommendations|headlines|benefits|risks|key points)\b"
)
_NAMES = re.compile(
    r"\b(?:consider|covers?|covering|mention|includ(?:e|ing)|discuss|address|describe|weigh|compare|work in|touch on|"
    r"comment on|with regard to|regarding|sections? (?:on|for|about)|chat about|talk about|focus(?:ing)? on|"
    r"tell[\w' ]{0,20} about|write about)[: ]+"
)
# Where a list of parts ends.
_STOPS = re.compile(r"[.?!;:\n]|,? (?:in|against|within|for|to|from|with|about)\b")
_BETWEEN = re.compile(r",\s+(?:and |or )?| and | or ")
_OPTIONS = re.compile(r"(?m)^[ \t]*\(?([A-Ha-h])[.):][ \t]+(\S.*)$")
_MATERIAL = re.compile(r":[ \t]*\n|\n[ \t]*\n|:\s*(?=\{|\[|\"|“)")
_BARE = re.compile(
    r"\b(?:(?:only|just|nothing but) (?:the|a|with|one|give|return|answer|output|code)|(?:the|give|answer|code) only|"
    r"only,? please|no explanations?|without (?:any )?(?:explanations?|comments?)|one word|single word|"
    r"nur (?:das|die|den)|seulement)\b|\bonly the\b"
)
_COUNTING = frozenset(
    ("many", "much", "calculate", "compute", "convert", "percentage", "wieviel", "wieviele", "combien", "cuántos",
     "cuántas", "quanti", "hoeveel")
)  # fmt: skip
_OPERATION = re.compile(r"\d\s*[-+*/×÷^]\s*\d|\b(?:sum|product|average|square root) of\b")
_TRANSLATING = frozenset(
    ("translate", "translation", "translating", "übersetze", "übersetzen", "übersetzung", "traduis", "traduisez",
     "traduire", "traduce", "traducir", "traducción", "traduci", "vertaal")
)  # fmt: skip
_INTO = frozenset(("in", "into", "to", "auf", "ins", "en", "nach", "naar"))
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w-]+")
_UNITS = frozenset(
    ("word", "words", "sentence", "sentences", "wörter", "wörtern", "satz", "sätze", "sätzen", "mots",
     "phrases")
)  # fmt: skip
_NAMING = frozenset(
    ("consider", "cover", "covers", "covering", "mention", "include", "including", "discuss", "address", "describe",
     "weigh", "compare", "work", "touch", "comment", "regard", "regarding", "section", "sections", "chat", "talk",
     "focus", "focusing", "tell", "write", "say")
)  # fmt: skip
_FINDING = frozenset(
    ("extract", "find", "list", "sort", "reverse", "rank", "arrange", "identify", "summarise", "summarize", "summary",
     "tl", "tldr", "key", "according", "value", "following", "this", "below", "these")
)  # fmt: skip
_ENTRIES = frozenset(
    ("bullet", "bullets", "reasons", "examples", "ideas", "tips", "steps", "ways", "points", "suggestions",
     "arguments", "advantages", "disadvantages", "questions", "titles", "names", "options", "items",
     "recommendations", "headlines", "benefits", "risks")
)  # fmt: skip
_ONLY = frozenset(("only", "just", "no", "nothing", "without", "one", "single", "nur", "seulement"))
_VERBS_OPEN = frozenset(
    "explain describe write draft compose analyse analyze compare discuss summarise summarize evaluate assess argue "  # noqa: SIM905
    "outline elaborate review debug brainstorm suggest recommend advise chat essay article story poem letter report "
    "summary tl pros cons why how erkläre beschreibe schreibe expliquez décrivez".split()
)
_FROM_MATERIAL = re.compile(
    r"\b(?:extract|find (?:all|the|every)|list (?:all|only|the|every)|sort|reverse|rank|arrange|identify|summari[sz]e|"
    r"summary|tl;?dr|key points|according to|value of|"
    r"(?:following|this|below|these) (?:text|list|words|article|report|passage|json|document|e-?mail|table|data))\b"
)
_TABLE = re.compile(r"\b(?:as|in|into|a|make|markdown|comparison) (?:a )?(?:markdown |comparison |short )?table\b")
_CODE = re.compile(
    r"\b(?:write|implement|code|give|create|need|complete|fix|provide|want)\b[^.?!\n]{0,40}?\b(?:function|class|method|script|"
    r"program|query|regex|code|implementation|unit test)s?\b"
)
_CODING = frozenset(("implement", "write", "code", "function", "script", "program", "class", "method"))
_LANGUAGE_OF_CODE = re.compile(
    r"\b(python|javascript|typescript|java|sql|rust|golang|ruby|bash|html|css|c\+\+|c#|kotlin|swift|php)(?![\w])"
)
# What is to be found all of, and what it looks like.
_MONEY = r"(?:eur|usd|€|\$|£|euros?|dollars?)"
_FOUND = (
    (re.compile(r"\be-?mail"), re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    (re.compile(r"\bdates?\b"), re.compile(r"\b(?:\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4})\b")),
    (re.compile(r"\b(?:urls?|links?|web addresses)\b"), re.compile(r"https?://[^\s)>\]\"',]+")),
    (
        re.compile(r"\b(?:amounts?|prices?|sums?|costs?)\b"),
        re.compile(rf"(?<=eur )\d[\d.,]*\d|(?<=[€$£])\d[\d.,]*\d|\d[\d.,]*\d(?= ?{_MONEY}\b)"),
    ),
)
_ALL = re.compile(r"\b(?:all|only|every|each|extract|list|find)\b")
# Function words of one language, of all different words, that leave no doubt.
_PLAINLY = 0.3
_JSON = re.compile(r"\b(?:as|in|valid|only|return|output|a|with) (?:valid )?json\b")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; empty or None: not asked for.

    Attributes
    ----------
    text : of the prompt, shortened, in small letters.
    words : stem → weight of the words that an answer would take up, rare ones (long words, names, numbers) more.
    parts : stems of each part that the prompt names.
    open : whether an answer is expected to be prose of some length.
    material : whether the answer is to be found in the prompt, or made of it.
    numeric : whether the answer is a number; `options` : letters and words of a choice.
    items : entries of a list; `least`, `most`, `about` : words; `most_sentences`.
    form : "json", "code" or "table"; `schema` : of the JSON; `code` : its language.
    language : of the answer; `translate` : number of words to be translated.
    finds : everything in the material that is to be found: addresses, dates, amounts.
    bare : whether nothing but the answer is wanted.
    """

    text: str
    words: Mapping[str, float]
    parts: tuple[frozenset[str], ...] = ()
    open: bool = False
    material: bool = False
    numeric: bool = False
    options: tuple[tuple[str, str], ...] = ()
    items: int | None = None
    least: int | None = None
    most: int | None = None
    about: int | None = None
    most_sentences: int | None = None
    form: str | None = None
    schema: Mapping[str, Any] | None = None
    code: str | None = None
    language: str | None = None
    translate: int | None = None
    finds: frozenset[str] = frozenset()
    bare: bool = False


def wanted(prompt: str, response_format: Mapping[str, Any] | None = None) -> Wanted:
    """Read what is asked for.

    Parameters
    ----------
    prompt : the last words of the user.
    response_format : of the request, as OpenAI has it.
    """
    text = prompt if len(prompt) <= HEAD + TAIL else f"{prompt[:HEAD]}\n{prompt[-TAIL:]}"
    lower = text.lower()
    order, rest = _instruction(lower)
    said = words_of(order)
    # Most patterns cannot match without one of a few words: looking for those first costs next to nothing.
    known = set(said)
    options = _OPTIONS.findall(text) if "\n" in text else []
    translating = not known.isdisjoint(_TRANSLATING)
    length = _length(order) if not known.isdisjoint(_UNITS) else {}
    parts = () if translating or known.isdisjoint(_NAMING) else _parts(order)
    long = max((length.get(name) or 0 for name in ("about", "least", "most")), default=0) >= 25
    numeric = not known.isdisjoint(_COUNTING) or _OPERATION.search(order) is not None
    is_open = not translating and not options and (bool(parts) or long or not known.isdisjoint(_VERBS_OPEN))
    if numeric and not parts and not long:
        is_open = False
    form, schema, code = _form(order, lower, known, response_format)
    material = (
        not (translating or form or numeric or known.isdisjoint(_FINDING)) and _FROM_MATERIAL.search(order) is not None
    )
    items = None if form is not None or known.isdisjoint(_ENTRIES) else _ITEMS.search(order)
    bare = not known.isdisjoint(_ONLY) and _BARE.search(order) is not None
    return Wanted(
        text=lower,
        words=_weights(text, said, rest if material else ""),
        parts=parts,
        open=is_open and not (bare and not long),
        material=material,
        numeric=numeric and not options,
        options=tuple((label.upper(), words.strip().lower()) for label, words in options) if len(options) > 1 else (),
        items=_count(items[1]) if items is not None else None,
        **length,
        form=form,
        schema=schema,
        code=code,
        language=_language(said, known, translating),
        translate=max(1, len(words_of(rest)) if rest.strip() else len(said) - 8) if translating else None,
        finds=_finds(order, rest or lower) if material and not is_open else frozenset(),
        bare=bare,
    )


def _instruction(lower: str) -> tuple[str, str]:
    """What is to be done, and what it is to be done with."""
    found = _MATERIAL.search(lower)
    if found is None or found.start() > _BEFORE:
        if len(lower) <= _BEFORE + _AFTER:
            head, colon, rest = lower.partition(": ")
            return (lower, rest) if colon and len(rest) > len(head) else (lower, "")
        return f"{lower[:_BEFORE]}\n{lower[-_AFTER:]}", lower[_BEFORE:-_AFTER]
    head, rest = lower[: found.end()], lower[found.end() :]
    tail = rest[-_AFTER:].rpartition("\n\n")[2] if len(rest) > 2 * _AFTER else ""
    return f"{head}\n{tail}", rest


def _weights(text: str, said: list[str], rest: str) -> dict[str, float]:
    names = {one.lower() for one in _NAME.findall(text[:_BEFORE])}
    found: dict[str, float] = {}
    for word in said:
        if word not in GENERIC and len(word) > 2:
            key = stem(word)
            found.setdefault(key, (1.2 if len(word) >= 8 else 1.0) * (1.3 if word in names else 1.0))
            if len(found) >= _MOST_WORDS:
                break
    if rest:
        for word in words_of(rest[:HEAD]):
            if word not in GENERIC and len(word) > 2:
                key = stem(word)
                found[key] = min(2.0, found.get(key, 0.0) + 0.5)
    return found


def _parts(order: str) -> tuple[frozenset[str], ...]:
    found: list[frozenset[str]] = []
    for match in _NAMES.finditer(order):
        told = order[match.end() : match.end() + 400]
        stop = _STOPS.search(told)
        for phrase in _BETWEEN.split(told if stop is None else told[: stop.start()])[:20]:
            stems = frozenset(stem(word) for word in words_of(phrase) if word not in FUNCTION["English"])
            if 0 < len(stems) <= 5 and stems not in found:
                found.append(stems)
    return tuple(found[:20])


def _finds(order: str, rest: str) -> frozenset[str]:
    if _ALL.search(order) is not None:
        for named, looks in _FOUND:
            if named.search(order) is not None:
                return frozenset(looks.findall(rest)[:200])
    return frozenset()


def _length(order: str) -> dict[str, int | None]:
    made: dict[str, int | None] = {}
    for match in _ABOUT.finditer(order):
        how, count, unit = match["how"] or "", _count(match["count"]), match["unit"]
        if count is None:
            continue
        if unit[0] in "sp":  # sentences
            made["most_sentences"] = count
        elif how in ("at least", "no fewer than", "minimum of", "mindestens"):
            made["least"] = count
        elif how in ("about", "around", "approximately", "roughly", "etwa", "ungefähr", "environ", "", "in", "exactly"):
            made["about"] = count
        else:
            made["most"] = count
    return made


def _count(word: str) -> int | None:
    if word.isdigit():
        return int(word)
    return NUMBERS.get(word.removeprefix("a "))


def _form(
    order: str, lower: str, known: set[str], response_format: Mapping[str, Any] | None
) -> tuple[str | None, Mapping[str, Any] | None, str | None]:
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "json_schema":
        told = response_format.get("json_schema") if response_format is not None else None
        schema = told.get("schema") if isinstance(told, Mapping) else None
        return "json", schema if isinstance(schema, Mapping) else None, None
    if kind == "json_object" or ("json" in order and _JSON.search(order) is not None and "in this json" not in order):
        return "json", None, None
    if not known.isdisjoint(_CODING) and (
        (language := _LANGUAGE_OF_CODE.search(lower)) is not None or _CODE.search(order) is not None
    ):
        return "code", None, language[1] if language is not None else None
    if "table" in order and _TABLE.search(order) is not None:
        return "table", None, None
    return None, None, None


def _language(said: list[str], known: set[str], translating: bool) -> str | None:
    if not known.isdisjoint(LANGUAGES):
        named = [word for before, word in pairwise(said) if before in _INTO and word in LANGUAGES]
        if named:
            return LANGUAGES[named[-1]]
    return None if translating else language_of(known)


def language_of(words: set[str]) -> str | None:
    """The language most of whose function words are met, where that is clear; None where it is not."""
    if len(words) < 6:
        return None
    best, most, second = None, 0, 0
    for name, known in FUNCTION.items():
        count = len(known & words)
        if count >= _PLAINLY * len(words):
            return name
        if count > most:
            best, most, second = name, count, most
        elif count > second:
            second = count
    return best if most >= 3 and most >= 1.4 * second else None
