"""Open tasks: what to write about and what to speak of; complete is an answer that speaks of all of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from features.world.llm.task import Sizes, Task, drawn_from

PARTS = Sizes((1, 1), (2, 3), (4, 5), (6, 8))
WORDS = Sizes((25, 50), (60, 120), (140, 260), (280, 420))
# Complexity of a prompt that nobody drew, by its number of words.
LENGTHS = Sizes((1, 30), (31, 90), (91, 300), (301, 10**9))

TOPICS = (
    *("heat pumps in old houses", "a tariff that changes by the hour", "the new customer portal", "battery storage"),
    *("reading meters from afar", "the closing of the regional depot", "charging points at work", "our pricing page"),
    *("a dashboard for plant operators", "the migration of the billing system", "solar panels on rented roofs"),
    *("an outage in the northern region", "hiring for the night shift", "the annual report to the board"),
    *("a pilot with industrial customers", "the forecast of demand in winter", "support in three languages"),
    *("a contract with a grid operator", "load shifting in cold stores", "the training of new technicians"),
)
ASPECTS = (
    *("running costs", "data protection", "delivery dates", "customer complaints", "technical risks", "staff training"),
    *("legal duties", "expected savings", "spare parts", "seasonal demand", "response times", "open questions"),
    *("next steps", "competing offers", "weather effects", "payment terms", "quality checks", "energy losses"),
    *("installation effort", "warranty claims", "market share", "noise limits", "cyber security", "grid stability"),
    *("public funding", "lessons learned", "carbon emissions", "supplier choice", "user feedback", "backup plans"),
)

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "analysis": (
        "Analyse {topic}. Consider {parts} in about {words} words.",
        "What are the pros and cons of {topic}? Weigh {parts} against each other, about {words} words.",
        "Compare the options for {topic} with regard to {parts}. About {words} words.",
    ),
    "writing": (
        "Write an article of about {words} words on {topic}. Cover {parts}.",
        "Draft an e-mail of about {words} words to the team about {topic}. Mention {parts}.",
        "Write a short story of about {words} words set around {topic}. Work in {parts}.",
    ),
    "conversation": (
        "Hi! I keep thinking about {topic}. Can we chat about {parts}? About {words} words is fine.",
        "Hello, I feel a bit lost with {topic}. What would you tell a friend about {parts}, in about {words} words?",
    ),
    "knowledge": (
        "Explain {topic} to a newcomer in about {words} words. Include {parts}.",
        "What should one know about {topic}? Describe {parts} in about {words} words.",
    ),
    "code": (
        "Debug this Python module for {topic} and comment on {parts} in about {words} words.\n```python\n{code}\n```",
        "Review this code behind {topic}. Discuss {parts}, about {words} words.\n```python\n{code}\n```",
    ),
}
SUMMARIES = (
    "Summarise the following text in about {words} words.\n\n{text}",
    "Give me the key points of this report in about {words} words:\n\n{text}",
    "TL;DR, about {words} words, please:\n\n{text}",
)
VERBS = ("rose", "fell", "stayed flat", "improved", "worsened", "doubled")
WHEN = ("in the third quarter", "after the new tariff came", "against last year", "in the northern region", "by May")
DETAILS = (
    "The figures come from the monthly statement and were checked twice.",
    "Nobody on the board expected it, and the minutes say so.",
    "A longer table with all sites stands in the appendix.",
    "The team will look at it again when the next readings are in.",
    "This is in line with what neighbouring utilities report.",
)
CODE = (
    "def load(rows):\n    total = 0\n    for row in rows:\n        total += row['kwh']\n    return total",
    "class Meter:\n    def __init__(self, serial):\n        self.serial = serial\n        self.readings = []",
    "def price(hour, base):\n    if 17 <= hour < 20:\n        return base * 1.4\n    return base",
)

_ONE = r"[\w -]{1,60}"
_PARTS = re.compile(
    r"\b(?:consider|weigh|with regard to|cover|mention|work in|chat about|tell a friend about|include|describe|"
    rf"comment on|discuss) ({_ONE}(?:, {_ONE}){{0,12}}? and {_ONE}?|[\w-]{{1,40}} [\w-]{{1,40}})"
    r"(?= in about|, about|, in about|[.?]| against)",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\b(\d{1,5}) words\b")
_FACT = re.compile(rf"\bThe ([a-z -]{{1,60}}?) (?:{'|'.join(VERBS)})\b")
_SUMMARY = re.compile(r"\b(summari[sz]e|key points|tl;dr|sum up)\b", re.IGNORECASE)
# What a prompt begins with or speaks of, and the domain that says so; the first that matches.
_DOMAINS = tuple(
    (domain, re.compile(pattern, re.IGNORECASE))
    for domain, pattern in (
        ("summary", _SUMMARY.pattern),
        ("code", r"```|\b(code|function|python|javascript|sql|bug|debug|refactor|class|regex|api)\b"),
        ("translation", r"\btranslat"),
        ("extraction", r"\b(extract|find all|list all|json)\b"),
        ("math", r"\b(calculate|equation|integral|derivative|probability|solve|percent)\b"),
        ("analysis", r"\b(analy[sz]e|compare|evaluate|assess|pros and cons|trade-?offs?)\b"),
        ("writing", r"\b(write|draft|compose|story|poem|article|e-?mail|essay)\b"),
        ("conversation", r"^\s*(hi|hello|hey|thanks|how are you|good morning)\b"),
        ("reasoning", r"\b(why|prove|deduce|puzzle|logic|step by step|therefore)\b"),
        ("knowledge", r"\b(what|who|when|where|which|explain|describe|define)\b"),
    )
)
_COMMON = """
about above after again against also among another because been before being below between both came cannot could
does doing down during each even every from further have having here into itself just keep like made make many  more
most much must need only other over please said same shall should since some such tell than that their them  then
there these they this those through under until upon very want were what when where which while will with  without
would write your words explain describe translate summarise summarize analyse compare answer question  following
text give list
"""
_STOP = frozenset(_COMMON.split())
_WORD = re.compile(r"[^\W\d_]{4,}")


def draw(rng: Random, domain: str, complexity: str) -> Task:
    """An open task of a domain that has them: see `TEMPLATES`, and "summary"."""
    words = WORDS.draw(rng, complexity)
    parts = rng.sample(ASPECTS, PARTS.draw(rng, complexity))
    if domain == "summary":
        text = rng.choice(SUMMARIES).format(words=words, text=_report(rng, parts))
    else:
        text = rng.choice(TEMPLATES[domain]).format(
            topic=rng.choice(TOPICS), parts=_listed(parts), words=words, code=rng.choice(CODE)
        )
    return recognise(text)


def recognise(text: str) -> Task:
    """The open task that a text states; any text states one, be it by its words alone."""
    shown = text[:20_000]
    domain = next((domain for domain, pattern in _DOMAINS if pattern.search(shown)), "conversation")
    wanted = _WORDS.search(shown)
    named = _PARTS.search(shown)
    if domain == "summary" and (facts := _FACT.findall(shown)):
        parts = tuple(dict.fromkeys(facts))
        complexity = PARTS.complexity(len(parts))
    elif named is not None:
        parts = tuple(part.strip() for part in re.split(r", | and ", named[1]))
        complexity = PARTS.complexity(len(parts))
    else:
        found = dict.fromkeys(word.lower() for word in _WORD.findall(shown[:4_000]))
        complexity = LENGTHS.complexity(len(shown.split()))
        most = PARTS.draw(drawn_from(len(shown)), complexity)
        parts = tuple(word for word in found if word not in _STOP)[:most] or ("that",)
    words = int(wanted[1]) if wanted else WORDS.draw(drawn_from(len(shown)), complexity)
    topic = next((topic for topic in TOPICS if topic in shown), parts[0])
    return Task(text, domain, complexity, "open", topic=topic, parts=parts, words=words)


def covered(task: Task, answer: str) -> float:
    """Share of what a complete answer speaks of that an answer does speak of; 0 to 1."""
    said = answer.casefold()
    return sum(part.casefold() in said for part in task.parts) / len(task.parts)


def _listed(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _report(rng: Random, parts: list[str]) -> str:
    lines = []
    for part in parts:
        verb = rng.choice(VERBS)
        much = "" if verb in {"stayed flat", "doubled"} else f" by {rng.randint(2, 40)} per cent"
        lines.append(f"The {part} {verb}{much} {rng.choice(WHEN)}.")
        lines += rng.sample(DETAILS, rng.randint(1, 3))
    return " ".join(lines)
