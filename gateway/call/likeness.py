"""Whether two questions ask the same thing: what must not differ, however similar they look.

A similarity of vectors finds candidates; it cannot tell "capital of France" from "capital of Germany", or "safe" from
"not safe". So the words themselves decide: case, contractions and politeness around a question may differ, nothing else
may, unless an embedding model that tells such pairs apart says that one ordinary word means the same as another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

# Around a question, never a part of it. "Can you tell me what …" asks what; "can you swim" does not ask to swim.
_WH = r"(?=(?:what|who|whom|whose|which|where|when|why|how|if|whether)\b)"
_VERBS = (
    r"(?=(?:explain|write|translate|summari[sz]e|list|describe|convert|calculate|compute|define|compare|name|show|give|"
    r"tell)\b)"
)
_POLITE = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?:hi|hello|hey|good morning|good afternoon|good evening)(?: there)?[,.!]\s*",
        rf"^(?:can|could|would|will) you (?:please |kindly )?{_VERBS}",
        rf"^(?:please|kindly),? (?:{_VERBS}|{_WH})",
        rf"^(?:tell me|do you know|i want to know|i would like to know|i need to know) {_WH}",
    )
)
_THANKS = re.compile(r"\s*[,.;!?]\s*(?:please|thanks|thank you|thanks in advance)[\s.!]*$")
_CONTRACTIONS = (
    (re.compile(r"\bcan(?:'t|not)\b"), "can not"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(what|who|where|when|how|why|that|there|here|it|he|she)'s\b"), r"\1 is"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'ll\b"), " will"),
    (re.compile(r"'ve\b"), " have"),
)
# Words with what joins them into names, numbers and versions; in scripts without spaces each character; each symbol.
_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0e7f]"
    r"|[^\W_]+(?:[_.@/\\:#'-]+[^\W_]+)*|[^\w\s]|_"
)
_QUOTED = re.compile(r"```.*?```|`[^`]+`|\"[^\"]+\"|“[^”]+”|«[^»]+»|(?<!\w)'[^']+'(?!\w)", re.DOTALL)
# An end of a sentence, but not 5!.
_END = re.compile(r"(?:[\s.?]|(?<!\d)!)+$")
_LOOSE = frozenset({"the"})
# Put in the place of another word, these always ask for something else.
_WORDS = (
    "no not never none nothing nobody without neither nor except unless only all any some every each both who whom "
    "whose what which when where why how much many more most less least few fewer to from in into out of off on "
    "onto over under above below before after since until during between by with for against about than as at up "
    "down first last next previous same other another one two three four five six seven eight nine ten hundred "
    "thousand million billion half double yes true false and or but if then else can could should must may might "
    "will would was were did had has have be is are do does i you he she it we they my your his her its our their "
    "us them ne pas non sans jamais aucun nicht kein keine ohne nie sin nunca ningún não sem senza mai geen niet"
)
_NEVER_REPLACED = frozenset(_WORDS.split())
_MOST_REPLACED = 2


@dataclass(frozen=True, slots=True)
class Question:
    """What a text asks, as far as words tell.

    Attributes
    ----------
    plain : the text without politeness, in lower case; what is made a vector of.
    tokens : words and symbols in their order.
    exact : what is written with capitals inside: acronyms and identifiers, which are others in lower case.
    names : words that are written like names.
    verbatim : what stands in quotation marks or code; of several lines, all of them.
    """

    plain: str
    tokens: tuple[str, ...]
    exact: frozenset[str]
    names: frozenset[str]
    verbatim: tuple[str, ...]


def read(text: str) -> Question:
    """The question that a text asks."""
    text = text.strip()
    # Lines may be code, whose indentation counts, or a list, whose order does.
    verbatim = (text,) if "\n" in text else tuple(_QUOTED.findall(text))
    trimmed = _END.sub("", " ".join(text.replace("’", "'").split()))
    plain = trimmed.casefold()
    for pattern, full in _CONTRACTIONS:
        plain = pattern.sub(full, plain)
    for pattern in _POLITE:
        plain = pattern.sub("", plain, count=1)
    plain = _END.sub("", _THANKS.sub("", plain))
    tokens = tuple(token for token in _TOKEN.findall(plain) if token not in _LOOSE)
    exact = frozenset(token for token in _TOKEN.findall(trimmed) if any(one.isupper() for one in token[1:]))
    return Question(plain, tokens, exact, _names(trimmed), verbatim)


def replaced(one: Question, other: Question) -> tuple[tuple[str, str], ...] | None:
    """The words that stand in one for those in the other, where nothing else differs.

    Returns
    -------
    Pairs that an embedding model must find to mean the same; none where the words agree. None: they ask for different
    things, whatever any model says.
    """
    if not one.tokens or one.verbatim != other.verbatim or one.exact != other.exact:
        return None
    if one.tokens == other.tokens:
        return ()
    pairs = []
    blocks = SequenceMatcher(None, one.tokens, other.tokens, autojunk=False).get_opcodes()
    for kind, start, end, other_start, other_end in blocks:
        if kind == "equal":
            continue
        left, right = one.tokens[start:end], other.tokens[other_start:other_end]
        # A word more or less, or several for several, is another question until somebody has looked at it.
        if len(left) != 1 or len(right) != 1 or not (_is_plain(left[0], one) and _is_plain(right[0], other)):
            return None
        if left[0].startswith(right[0]) or right[0].startswith(left[0]) or _opposites(left[0], right[0]):
            return None
        pairs.append((left[0], right[0]))
    # Of a short question one word is most of it.
    return tuple(pairs) if len(pairs) <= min(_MOST_REPLACED, len(one.tokens) // 3) else None


def _is_plain(word: str, question: Question) -> bool:
    return word.isalpha() and len(word) > 2 and word not in _NEVER_REPLACED and word not in question.names


def _opposites(one: str, other: str) -> bool:
    """Whether one is the other with something in front: legal and illegal, agree and disagree."""
    return one.endswith(other) or other.endswith(one)


def _names(text: str) -> frozenset[str]:
    """Words with a capital that the beginning of a sentence does not explain, or with several."""
    found = []
    for match in _TOKEN.finditer(text):
        word, before = match[0], text[: match.start()].rstrip()
        begins = not before or before[-1] in ".?!:"
        if any(one.isupper() for one in (word[1:] if begins else word)):
            found.append(word.casefold())
    return frozenset(found)
