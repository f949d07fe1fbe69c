"""Personal data taken out of examples: what has a shape of its own, and names where somebody gives one.

E-mail addresses, telephone, card and account numbers, internet addresses and keys are found as the output filters find
them (`gateway.call.detectors`, by shape and checksum), then whatever else DataFog knows by its shape: numbers of social
security, tax, passports. Names have no shape; they are found where they are given ("my name is …", "Dear …", a
signature), and the caller's own name as the application sent it; each is then taken out wherever it stands in the
example. What is nowhere introduced as a name stays: this lowers the risk, it does not end it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.account.workspace_settings import Filters
from gateway.call import filters
from gateway.improve.finetuning.examples import Example

NAME = "[name removed]"
_FILTER = filters.AnswerFilter(Filters(secrets=True, personal_data=True, mode="mask"))
_MASK = re.compile(r"\[([a-z -]+) removed\]")
_WORD = r"[A-ZÀ-ÖØ-Þ][\w'’-]{1,30}"
_FULL = rf"{_WORD}(?:[ \t]+(?:van|von|de|der|den|la|le|di|da|al|bin|zu)?[ \t]*{_WORD}){{0,3}}"
_GIVEN = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?i:my (?:full )?name is|i am called|mein name ist|ich hei(?:ß|ss)e|je m'appelle|me llamo)[ \t]+({_FULL})",
        rf"\b(?i:dear|hi|hello|hallo|liebe[r]?|cher|chère|estimad[oa])[ \t]+"
        rf"(?:(?i:mr|mrs|ms|mx|dr|prof|herr|frau|monsieur|madame|señora?)\.?[ \t]+)?({_FULL})[ \t]*[,!:\n]",
        rf"\b(?:Mr|Mrs|Ms|Mx|Dr|Prof|Herrn?|Frau|Mme|Sr|Sra)\.?[ \t]+({_FULL})",
        rf"(?i:regards|sincerely|yours|cheers|best wishes|gr(?:ü|ue)(?:ß|ss)en?|cordialement|saludos)[ \t]*,?[ \t]*\n+"
        rf"[ \t]*({_FULL})[ \t]*(?:\n|$)",
    )
)
# Words that stand where a name could, and are none.
_NO_NAMES = frozenset(
    "All Team Sir Madam Customer Customers Colleague Colleagues Friend Friends Everyone Everybody There Support Sales "  # noqa: SIM905
    "World Service Reader User Assistant Neighbour Neighbours Partner Partners Guest Guests Member Members Committee "
    "Damen Herren Kunde Kunden Kollegen Board Staff Council".split()
)
_SHORTEST = 3
# DataFog's name of a kind → ours. Dates, postal codes and the like are no data of one person by themselves.
_KINDS = {
    "EMAIL": "e-mail address",
    "PHONE": "telephone number",
    "CREDIT_CARD": "card number",
    "DE_IBAN": "account number",
    "SSN": "social security number",
    "DE_SOCIAL_SECURITY_NUMBER": "social security number",
    "DE_TAX_ID": "tax number",
    "DE_PASSPORT_NUMBER": "passport number",
    "DE_RESIDENCE_PERMIT_NUMBER": "residence permit number",
}


def without_personal_data(example: Example) -> tuple[Example, Counter[str]]:
    """The example without personal data, and how often what was taken out.

    Tool calls and tools keep their shape: only texts within them change.
    """
    names = _names(example)
    pattern = None if not names else re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")
    removed: Counter[str] = Counter()

    def clean(text: str) -> str:
        if pattern is not None:
            text, count = pattern.subn(NAME, text)
            removed["name"] += count
        masked = _without_known_shapes(_FILTER.text(text))
        if masked != text:
            found = Counter(_MASK.findall(masked))
            found.subtract(Counter(_MASK.findall(text)))
            removed.update({name: count for name, count in found.items() if count > 0})
        return masked

    messages = tuple(_cleaned(message, clean) for message in example.messages)
    return replace(example, messages=messages), +removed


def _without_known_shapes(text: str) -> str:
    # Imported here: a gateway that tunes nothing needs none of it.
    import datafog

    out, place = [], 0
    seen = datafog.scan(text, engine="regex", entity_types=list(_KINDS), locales=["de"]).entities
    for found in sorted(seen, key=lambda one: (one.start, -one.end)):
        # To it nine or ten digits anywhere are a number of a person, in code and in orders too.
        if found.start < place or (found.type in ("PHONE", "SSN") and found.text.isdigit()):
            continue
        out += [text[place : found.start], filters.masked(_KINDS[found.type])]
        place = found.end
    return "".join([*out, text[place:]])


def _cleaned(message: Mapping[str, Any], clean: Any) -> dict[str, Any]:
    made = dict(message)
    if isinstance(made.get("content"), str):
        made["content"] = clean(made["content"])
    if isinstance(made.get("tool_calls"), list):
        made["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": clean(call["function"].get("arguments") or "")}}
            if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping)
            else call
            for call in made["tool_calls"]
        ]
    made.pop("name", None)  # of a participant; a tool's stands in its call
    return made


def _names(example: Example) -> list[str]:
    """Names that are given in an example, longer ones first."""
    found: set[str] = set()
    for message in example.messages:
        content = message.get("content")
        if isinstance(content, str):
            for pattern in _GIVEN:
                found.update(" ".join(match[1].split()) for match in pattern.finditer(content))
    if example.person is not None and re.search(r"[^\W\d_]", example.person):
        found.add(example.person)
    parts = {part for name in found for part in _parts(name)}
    return sorted({name for name in found if _parts(name)} | parts, key=lambda one: (-len(one), one))


def _parts(name: str) -> Iterable[str]:
    return [part for part in name.split() if len(part) >= _SHORTEST and part.capitalize() not in _NO_NAMES]
