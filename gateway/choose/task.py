"""What a prompt asks for, told from its words and its structure in microseconds, with the reasons.

No model is asked and nothing leaves the process. The last words of the user are read once (head and tail where they
are long), besides the beginning of the system's instructions; how domain and complexity follow from them stands in
`gateway.choose.reading`. Being told to think hard adds half a point of complexity (effort medium) or one (high).

**Length of the answer.** The usual tokens for the domain × {½, 1, 1.7, 2.4} for its complexity; translation, summary
and extraction go by the length of the prompt; "in 200 words", "two sentences", "briefly" and the effort of reasoning
move it; the caller's own maximum bounds it. What is reserved for is four times as much, between 256 and 4,096 tokens,
and never less than 1¼ times the expected: the 95th percentile where lengths are log-normal around it with σ = 0.85.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.choose.catalogue import DOMAINS
from gateway.choose.decision import Task
from gateway.choose.policy import COMPLEXITIES
from gateway.choose.reading import Reading, split
from gateway.choose.request import (
    EFFORT,
    asks_for_hour_cache,
    bound_of,
    choices_of,
    effort_of,
    last_words,
    messages_of,
    needs_of,
)
from gateway.choose.vocabulary import BRIEF, LONG, SYNONYMS

THRESHOLDS = (1.0, 2.2, 4.5)
MOST_OUTPUT, LEAST_RESERVED = 4_096, 256
_EXTRACTION = DOMAINS.index("extraction")
_USUAL = {
    "conversation": 80, "knowledge": 180, "writing": 450, "code": 400, "math": 350, "reasoning": 350, "analysis": 500,
}  # fmt: skip
_LONGER = {"simple": 0.5, "moderate": 1.0, "complex": 1.7, "expert": 2.4}
_EFFORT_POINTS = {"medium": 0.5, "high": 1.0, "xhigh": 1.0}
_EMBEDDINGS = ("what is embedded has no answer to be hard or easy",)


def analyse(body: Mapping[str, Any], kind: str, input_tokens: int, hint: str | None = None) -> Task:
    """What a request asks for. Any JSON body gives a task; none raises.

    Parameters
    ----------
    kind : "chat" or "embeddings".
    input_tokens : of the prompt, counted before.
    hint : the caller's own word for the task: a domain, a complexity, both ("expert code"), or a synonym; it wins over
        what the prompt looks like. A word that says neither changes nothing.
    """
    if kind == "embeddings":
        return Task("simple", "knowledge", frozenset(), input_tokens, 0, 0, 1.0, _EMBEDDINGS)
    messages = messages_of(body)
    reading = Reading(*last_words(messages))
    needs, effort = needs_of(body, messages), effort_of(body)
    structured = "json" in needs or "json_schema" in needs
    if structured:
        reading.scores[_EXTRACTION] += 1.5
    domain, certain = reading.domain()
    said = said_domain = said_complexity = None
    if hint:
        said_domain, said_complexity = said = told(hint)
    if said_domain is not None:
        domain, certain = said_domain, 1.0
    points = reading.points(domain, input_tokens)
    reasons = reading.reasons
    if effort is not None:
        points += _EFFORT_POINTS.get(effort, 0.0)
        reasons.append(f"reasoning effort {effort[:16]}")
    complexity, clear = _complexity(points)
    if said_complexity is not None:
        complexity, clear = said_complexity, 1.0
    if said is not None and said != (None, None):
        reasons.append(f"the caller calls it {(hint or '')[:40]!r}")
    expected = _expected(reading, domain, complexity, input_tokens)
    if structured:
        expected = min(expected, 400.0)
    if effort is not None:
        expected *= EFFORT.get(effort, 1.0)
    bound, choices = bound_of(body), choices_of(body)
    if bound is None:
        most = max(LEAST_RESERVED, min(MOST_OUTPUT, round(4 * expected)), round(1.25 * expected))
    else:
        most = bound
        expected = min(expected, bound)
    return Task(
        complexity,
        domain,
        needs,
        input_tokens,
        max(1, round(expected)) * choices,
        most * choices,
        0.5 * (certain + clear),
        tuple(reasons),
        bound is not None,
        choices,
        asks_for_hour_cache(body, messages),
    )


def told(hint: str) -> tuple[str | None, str | None]:
    """Domain and complexity that a caller's own words name."""
    domain = complexity = None
    for word in split(hint[:80].lower().replace("-", " ")):
        meant = SYNONYMS.get(word, word)
        if meant in DOMAINS:
            domain = domain or meant
        elif meant in COMPLEXITIES:
            complexity = complexity or meant
    return domain, complexity


def _complexity(points: float) -> tuple[str, float]:
    """The level, and how clear it is, ½ to 1: the distance to the nearest threshold, full at one point."""
    low, middle, high = THRESHOLDS
    level = (points >= low) + (points >= middle) + (points >= high)
    nearest = min(abs(points - low), abs(points - middle), abs(points - high))
    return COMPLEXITIES[level], 0.5 + 0.5 * min(1.0, nearest)


def _expected(reading: Reading, domain: str, complexity: str, input_tokens: int) -> float:
    """Tokens of one answer, what is thought and not shown left out."""
    if reading.asked_length is not None:
        return reading.asked_length
    if domain == "translation":
        expected = max(20.0, 1.1 * input_tokens)
    elif domain == "summary":
        expected = 60.0 + min(400.0, 0.2 * input_tokens)
    elif domain == "extraction":
        expected = 40.0 + min(600.0, 0.25 * input_tokens)
    else:
        expected = _USUAL[domain] * _LONGER[complexity]
    if not BRIEF.isdisjoint(reading.hits):
        expected *= 0.5
    elif not LONG.isdisjoint(reading.hits):
        expected *= 1.4
    return expected
