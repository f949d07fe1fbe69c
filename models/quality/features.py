"""What is read off an answer as numbers: the heuristic's parts, what was asked for, and how the answer is built.

Padding changes none of them but `waste`, `broken` and the parts that can only fall: what is repeated, filler, or speaks
of nothing that was asked is in no other. So nothing that learns from them, with those held to the direction that is
meant, can like an answer for its length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log1p
from typing import Any

from models.quality.heuristic import NOTHING, Scored, judged
from models.quality.relevance import credited, on_topic, parts_met
from models.quality.shown import Shown, read
from models.quality.wanted import Wanted, wanted

# The direction in which an answer gets better: 1 with the number, −1 against it, 0 where it depends.
NUMBERS: Mapping[str, int] = {
    "words": 1, "relevance": 1, "coherence": 1, "completeness": 1, "form": 1, "parts": 1, "ends": 1, "waste": -1,
    "broken": -1, "cut": -1, "content": 0, "content_asked": 0, "sentences": 0, "items": 0, "numbers": 0, "code": 0,
    "brief": 0, "asked_words": 0, "asked_parts": 0, "asked_items": 0, "asked_length": 0, "open": 0, "material": 0,
    "numeric": 0, "choice": 0, "translate": 0, "bare": 0, "wants_json": 0, "wants_code": 0, "wants_table": 0,
}  # fmt: skip
NAMES: tuple[str, ...] = tuple(NUMBERS)


@dataclass(frozen=True, slots=True)
class Features:
    """An answer as numbers.

    Attributes
    ----------
    scored : by the heuristic.
    numbers : in the order of `NAMES`; None where it does not apply.
    """

    scored: Scored
    numbers: tuple[float | None, ...]


def features(
    prompt: str, answer: str, finish_reason: str | None = None, response_format: Mapping[str, Any] | None = None
) -> Features:
    """Read an answer; the parameters are those of `models.quality.heuristic.score`."""
    asked, shown = wanted(prompt, response_format), read(answer)
    scored = judged(asked, shown, finish_reason) if shown.text else NOTHING
    return Features(scored, _numbers(asked, shown, scored, finish_reason))


def _numbers(asked: Wanted, shown: Shown, scored: Scored, finish_reason: str | None) -> tuple[float | None, ...]:
    length = asked.about or asked.least or asked.most or 0
    content, sentences = credited(asked, shown), on_topic(asked, shown)
    made: dict[str, float | None] = {
        "words": scored.score,
        "relevance": scored.relevance,
        "coherence": scored.coherence,
        "completeness": scored.completeness,
        "form": scored.form,
        "parts": parts_met(asked, shown) if asked.parts else None,
        "ends": float(shown.ends),
        "waste": shown.waste / (shown.waste + 2.5 * content) if shown.waste else 0.0,
        "broken": float(min(4, shown.broken)),
        "cut": float(finish_reason in ("length", "content_filter")),
        "content": log1p(content),
        "content_asked": min(3.0, content / (0.4 * length)) if length else None,
        "sentences": log1p(sentences),
        "items": log1p(shown.items),
        "numbers": float(any(word[0].isdigit() for words in shown.fresh for word in words)),
        "code": float(bool(shown.code)),
        "brief": float(content <= 2),
        "asked_words": log1p(len(asked.words)),
        "asked_parts": float(len(asked.parts)),
        "asked_items": float(asked.items or 0),
        "asked_length": log1p(length),
        "open": float(asked.open),
        "material": float(asked.material),
        "numeric": float(asked.numeric),
        "choice": float(bool(asked.options)),
        "translate": float(asked.translate is not None),
        "bare": float(asked.bare),
        "wants_json": float(asked.form == "json"),
        "wants_code": float(asked.form == "code"),
        "wants_table": float(asked.form == "table"),
    }
    return tuple([None if (value := made[name]) is None else round(value, 5) for name in NAMES])


def prompt_of(body: Mapping[str, Any]) -> str:
    """The last words of the user in a request in OpenAI's shape; "" where there are none."""
    messages = body.get("messages")
    for message in reversed(messages) if isinstance(messages, list | tuple) else ():
        if isinstance(message, Mapping) and message.get("role") == "user":
            text = text_of(message.get("content"))
            if text:
                return text
    return ""


def answer_of(body: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Text and finish reason of the first choice of an answer in OpenAI's shape; None where it says nothing, as one
    that calls a tool does."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, Sequence) and not isinstance(choices, str) and choices else None
    if not isinstance(first, Mapping):
        return None
    message = first.get("message")
    if not isinstance(message, Mapping) or message.get("tool_calls"):
        return None
    text = text_of(message.get("content")) or message.get("refusal")
    finish = first.get("finish_reason")
    return (text, finish if isinstance(finish, str) else None) if isinstance(text, str) else None


def text_of(content: Any) -> str:
    """The words of a message, whether given as they are or in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
    return "\n".join([part for part in parts if isinstance(part, str) and part])
