"""Whether an answer hangs together: said once, in whole sentences, in the language that was asked for."""

from __future__ import annotations

from models.quality.relevance import credited
from models.quality.shown import Shown
from models.quality.vocabulary import FUNCTION
from models.quality.wanted import Wanted, language_of

# What a text that is nothing but repetition and filler loses, each place where a sentence breaks off, another language.
_WASTE, _BROKEN, _FOREIGN = 0.6, 0.15, 0.3
_MOST_BROKEN = 4
# Words that a word which says something usually has with it.
_AROUND = 2.5
# Even a short answer may have so many of those.
_LEAST = 4
# Below this many words nobody can tell the language.
_TELLING = 8
_PLAINLY = 0.2


def coherence(wanted: Wanted, shown: Shown) -> float:
    """0 to 1."""
    told = max(credited(wanted, shown), _LEAST) if wanted.words else _LEAST
    made = 1.0 - (_WASTE * shown.waste / (shown.waste + _AROUND * told) if shown.waste else 0.0)
    made *= 1.0 - _BROKEN * min(_MOST_BROKEN, shown.broken)
    if wanted.language is not None:
        words = set().union(*shown.fresh)
        if len(words) >= _TELLING:
            plainly = len(FUNCTION[wanted.language] & words) >= _PLAINLY * len(words)
            spoken = None if plainly else language_of(words)
            if spoken is not None and spoken != wanted.language:
                made *= _FOREIGN
    return made
