"""Whether an answer is all there: not cut off, with the entries, parts and words that were asked for, not evasive."""

from __future__ import annotations

from models.quality.relevance import credited, on_topic, parts_met
from models.quality.shown import Shown
from models.quality.wanted import Wanted

# What is left of completeness where the answer was cut off by its limit, held back, breaks off at the end, evades.
_CUT, _HELD, _UNENDED, _EVASIVE = 0.35, 0.2, 0.45, 0.25
# Of the words asked for, those that say something in an answer of about that length.
_TELLING, _ENOUGH = 0.4, 0.6
_FEW = 40

_EVASIONS = (
    "i cannot help", "i can't help", "i cannot answer", "i can't answer", "i cannot provide", "i can't provide",
    "i cannot assist", "i can't assist", "i am unable to", "i'm unable to", "i am not able to", "i'm not able to",
    "as an ai", "i do not know", "i don't know", "i'm sorry", "i am sorry", "i do not have access",
    "i don't have access", "ich kann dabei nicht", "ich weiß nicht", "je ne peux pas", "je ne sais pas", "no puedo",
)  # fmt: skip


def completeness(wanted: Wanted, shown: Shown, finish_reason: str | None) -> float:
    """0 to 1.

    Parameters
    ----------
    finish_reason : as OpenAI says it: "stop", "length", "content_filter", "tool_calls"; None: not known.
    """
    made = parts_met(wanted, shown) if wanted.open else 1.0
    if wanted.items is not None:
        # Where nothing is marked as one, sentences are taken for entries: those that speak of what was asked.
        entries = shown.items or (max(1, on_topic(wanted, shown)) if shown.fresh else 0)
        made *= min(1.0, entries / max(1, wanted.items))
    if wanted.finds:
        made *= sum([one in shown.lower for one in wanted.finds]) / len(wanted.finds)
    least, content = wanted.least or wanted.about, credited(wanted, shown)
    if least is not None and least > 20:
        made *= 0.7 + 0.3 * min(1.0, content / (_ENOUGH * _TELLING * least))
    if finish_reason == "length":
        made *= _CUT
    elif not shown.ends:
        made *= _UNENDED
    if finish_reason == "content_filter":
        made *= _HELD
    if content < _FEW and any(one in shown.lower for one in _EVASIONS):
        made *= _EVASIVE
    return made
