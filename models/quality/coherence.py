"""Whether an answer hangs together: said once, in whole sentences, in the language that was asked for."""

from __future__ import annotations

from models.quality.shown import Shown
from models.quality.vocabulary import FUNCTION
from models.quality.wanted import Wanted, language_of

# What a text that is nothing but repetition and filler loses, each place where a sentence breaks off, another language.
_WASTE, _BROKEN, _FOREIGN = 0.6, 0.15, 0.3
_MOST_BROKEN = 4
# Words that a word which says something usually has with it.
_AROUND = 2.5
# Below this many words nobody can tell the language.
_TELLING = 8
_PLAINLY = 0.2


def coherence(wanted: Wanted, shown: Shown) -> float:
    """0 to 1."""
    made = 1.0 - (_WASTE * shown.waste / (shown.waste + _AROUND * shown.content) if shown.waste else 0.0)
    made *= 1.0 - _BROKEN * min(_MOST_BROKEN, shown.broken)
    if wanted.language is not None:
        told = set().union(*shown.fresh)
        if len(told) >= _TELLING:
            plainly = len(FUNCTION[wanted.language] & told) >= _PLAINLY * len(told)
            spoken = None if plainly else language_of(told)
            if spoken is not None and spoken != wanted.language:
                made *= _FOREIGN
    return made
