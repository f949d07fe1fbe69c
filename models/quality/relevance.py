"""Whether an answer speaks of what was asked: its words, named parts, and an answer of the kind that was wanted.

Every number here can only fall when sentences are added that say nothing of what was asked.
"""

from __future__ import annotations

import re

from models.quality.shown import Shown, words_of
from models.quality.vocabulary import GENERIC
from models.quality.wanted import Wanted

# Of the weight of the prompt's words, the share that a whole answer takes up, and the most that is expected of any.
_TAKEN, _MOST_TAKEN = 0.6, 6.0
_TAKEN_OF_MATERIAL, _MOST_OF_MATERIAL = 0.3, 10.0
# Sentences that speak of what was asked, of all: more are not expected.
_FOCUSED = 0.35
_PARTS, _FOCUS = 0.6, 0.25
# An answer of a few words to a plain question need not take up any of it; of a longer one it is expected more and more.
_SHORT, _LONG, _UNRELATED = 8, 30, 0.25
_BRIEF = 0.8

_NUMBER = re.compile(r"\d")
_LABEL = re.compile(r"(?:^|[\s(:*`])([A-H])(?=[).:*`]|$|\s*$)", re.MULTILINE)
_SPECIFIC = re.compile(r"[\w.+-]*[\w+-]@[\w.-]+\w|\w*\d[\w.,:/-]*\w|\d")


def relevance(wanted: Wanted, shown: Shown) -> float:
    """0 to 1."""
    if not wanted.open:
        return _closed(wanted, shown)
    taken = _taken(wanted, shown)
    focus = (
        min(1.0, on_topic(wanted, shown) / (_FOCUSED * shown.sentences)) if shown.sentences else float(bool(shown.code))
    )
    if wanted.parts:
        return _PARTS * parts_met(wanted, shown) + (1.0 - _PARTS - _FOCUS) * taken + _FOCUS * focus
    return (1.0 - _FOCUS) * taken + _FOCUS * focus


def credited(wanted: Wanted, shown: Shown) -> int:
    """Words that are no filler in the sentences that speak of what was asked: the others may be true of anything, and
    are worth no more for being many."""
    if not wanted.words:
        return shown.content
    known = wanted.words.keys()
    pairs = zip(shown.by_sentence, shown.telling, strict=False)
    return sum([count for stems, count in pairs if not known.isdisjoint(stems)])


def on_topic(wanted: Wanted, shown: Shown) -> int:
    """Sentences that speak of what was asked; all that add something where the prompt has no words to tell by."""
    known = wanted.words.keys()
    return sum([not known.isdisjoint(stems) for stems in shown.by_sentence]) if known else len(shown.fresh)


def parts_met(wanted: Wanted, shown: Shown) -> float:
    """Share of the named parts that are spoken of; 1 where none is named."""
    if not wanted.parts:
        return 1.0
    # What is wanted of a part is most of its words: "running costs" may be told as "what it costs to run".
    return sum([2 * len(one & shown.stems) > len(one) for one in wanted.parts]) / len(wanted.parts)


def _taken(wanted: Wanted, shown: Shown) -> float:
    total = sum(wanted.words.values())
    if not total:
        return 1.0
    if wanted.material:
        needed = min(max(_TAKEN_OF_MATERIAL * total, 1.0), _MOST_OF_MATERIAL)
    else:
        needed = min(max(_TAKEN * total, 1.0), _MOST_TAKEN)
    stems = shown.stems
    found = sum([weight for word, weight in wanted.words.items() if word in stems])
    if shown.code:
        found = max(found, sum([weight for word, weight in wanted.words.items() if word in shown.lower]))
    return min(1.0, found / needed)


def _closed(wanted: Wanted, shown: Shown) -> float:
    """Of a question with one answer: whether what is said is of the kind of that answer."""
    if wanted.form is not None:
        return _formed(wanted, shown)
    if wanted.options:
        return _chosen(wanted, shown)
    if wanted.numeric:
        return 1.0 if _NUMBER.search(shown.text) else 0.1
    if wanted.translate is not None:
        return _translated(wanted, shown)
    if wanted.material:
        return _grounded(wanted, shown)
    taken = _taken(wanted, shown)
    if wanted.items is not None:
        return max(taken, _BRIEF)
    longer = min(1.0, max(0.0, (shown.length - _SHORT) / (_LONG - _SHORT)))
    return max(taken, _BRIEF + (_UNRELATED - _BRIEF) * longer)


def _formed(wanted: Wanted, shown: Shown) -> float:
    # Code and data are judged by their form; here, whether anything of the prompt is in them.
    if not wanted.words:
        return 1.0
    lower = shown.lower
    found = sum([weight for word, weight in wanted.words.items() if word in lower])
    return min(1.0, 0.3 + found / min(sum(wanted.words.values()), 3.0))


def _chosen(wanted: Wanted, shown: Shown) -> float:
    letters = {label for label, _ in wanted.options}
    if not letters.isdisjoint(_LABEL.findall(shown.text)):
        return 1.0
    return 0.9 if any(words in shown.lower for _, words in wanted.options) else 0.1


def _translated(wanted: Wanted, shown: Shown) -> float:
    assert wanted.translate is not None
    ratio = shown.length / wanted.translate
    # Words around a translation are common, and languages differ in how many they need.
    if ratio < 0.4:
        return max(0.2, ratio / 0.4)
    allowed = 2.5 + 20.0 / wanted.translate
    return 1.0 if ratio <= allowed else max(0.1, allowed / ratio - 0.2)


def _grounded(wanted: Wanted, shown: Shown) -> float:
    """Share of what is specific in the answer that stands in the prompt."""
    text = wanted.text
    specific = {one.rstrip(".,:;") for one in _SPECIFIC.findall(shown.lower)}
    if specific:
        known = {one.rstrip(".,:;") for one in _SPECIFIC.findall(text)}
        return len(specific & known) / len(specific)
    told = set().union(*shown.fresh) - GENERIC
    return len(told & set(words_of(text))) / len(told) if told else 0.0
