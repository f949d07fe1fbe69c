"""What a user likes, learned from what they did with answers, model by model and kind of task by kind of task.

Every sign is a number of good and bad answers, possibly a part of one:

| sign | counts as | score |
|---|---|---|
| thumb, stars | one answer | as given, 0 to 1 |
| edit: the answer was used after changes | half an answer | the part that was kept |
| repeat: the same was asked again at once | half an answer | 0.2 |

Old signs fade, to a half in 90 days. A liking is the mean of a Beta distribution, shrunk twice, so that two thumbs do
not make a rule: a model's liking in general starts from indifference with the weight of four answers (Beta(2, 2)), and
its liking in a domain starts from its liking in general with the weight of four.

    general = (good + 2) / (all + 4)        in a domain = (good there + 4 · general) / (all there + 4)

What a user says outright (`say`) wins over what was learned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from gateway.choose.catalogue import DOMAINS
from gateway.choose.reading import split
from store.errors import InvalidValue

INDIFFERENT = 0.5
WEIGHTS = {"thumb": 1.0, "stars": 1.0, "edit": 0.5, "repeat": 0.5}
REPEATED = 0.2
HALF_LIFE_DAYS = 90.0
_PRIOR = 4.0
# A repeat comes so soon, and of so much the same words.
REPEAT_SECONDS, REPEAT_LIKENESS = 600.0, 0.85
_MOST_MODELS = 500
_COMPARED = 2_000


class Preferences:
    """The likings of one user.

    Parameters
    ----------
    said : model → liking 0 to 1, as the user said it.
    tradeoff : 0 wants quality at any price, 1 the lowest price, 0.5 as everybody.
    """

    def __init__(self, said: Mapping[str, float] | None = None, tradeoff: float = 0.5) -> None:
        self.said: dict[str, float] = {}
        self.tradeoff = 0.5
        # model → domain → [good, all], as of `_at`.
        self._seen: dict[str, dict[str, list[float]]] = {}
        self._at: datetime | None = None
        for model, liking in (said or {}).items():
            self.say(model, liking)
        self.trade(tradeoff)

    def learn(self, model: str, domain: str, source: str, score: float, at: datetime) -> None:
        """Take a sign into account.

        Parameters
        ----------
        domain : of the task; one that is not known counts as "knowledge".
        source : "thumb", "stars", "edit" or "repeat".
        score : 0 to 1.
        at : naive UTC; signs may come in any order.
        """
        weight = WEIGHTS.get(source)
        if weight is None:
            _refuse("source", source, f"Use one of {', '.join(WEIGHTS)}.")
        if not 0.0 <= score <= 1.0:
            _refuse("score", score, "Use a number from 0 (bad) to 1 (good).")
        if self._at is None:
            self._at = at
        elif at > self._at:
            self._fade(_faded((at - self._at).total_seconds()))
            self._at = at
        else:
            weight = weight * _faded((self._at - at).total_seconds())
        if model not in self._seen and len(self._seen) >= _MOST_MODELS:
            self._forget()
        counts = self._seen.setdefault(model, {}).setdefault(domain if domain in DOMAINS else "knowledge", [0.0, 0.0])
        counts[0] += weight * score
        counts[1] += weight

    def liking(self, model: str, domain: str) -> float:
        """0 to 1, ½ being indifference."""
        said = self.said.get(model)
        if said is not None:
            return said
        seen = self._seen.get(model)
        if not seen:
            return INDIFFERENT
        good = total = 0.0
        for one in seen.values():
            good += one[0]
            total += one[1]
        general = (good + _PRIOR * INDIFFERENT) / (total + _PRIOR)
        there = seen.get(domain)
        return general if there is None else (there[0] + _PRIOR * general) / (there[1] + _PRIOR)

    def rank(self, models: Sequence[str], domain: str) -> list[tuple[str, float]]:
        """Models with their likings, the best liked first."""
        return sorted(((model, self.liking(model, domain)) for model in models), key=lambda one: (-one[1], one[0]))

    def say(self, model: str, liking: float | None) -> None:
        """Set what the user says of a model; None takes it back."""
        if liking is None:
            self.said.pop(model, None)
            return
        if not 0.0 <= liking <= 1.0:
            _refuse(f"said.{model[:80]}", liking, "Use a number from 0 (never again) to 1 (always).")
        if model not in self.said and len(self.said) >= _MOST_MODELS:
            _refuse("said", len(self.said), f"Say something of {_MOST_MODELS} models at most.")
        self.said[model] = liking

    def trade(self, tradeoff: float) -> None:
        """Set how much price counts against quality."""
        if not 0.0 <= tradeoff <= 1.0:
            _refuse("tradeoff", tradeoff, "Use a number from 0 (quality at any price) to 1 (the lowest price).")
        self.tradeoff = tradeoff

    def forget(self) -> None:
        """Drop what was learned; what was said stays."""
        self._seen.clear()
        self._at = None

    def as_dict(self) -> dict[str, Any]:
        """JSON, from which `from_dict` makes the same again."""
        return {
            "said": dict(self.said),
            "tradeoff": self.tradeoff,
            "at": self._at.isoformat() if self._at is not None else None,
            "seen": {
                model: {domain: [round(part, 6) for part in counts] for domain, counts in domains.items()}
                for model, domains in self._seen.items()
            },
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Preferences:
        """What `as_dict` wrote."""
        made = cls(stored.get("said"), stored.get("tradeoff", 0.5))
        at = stored.get("at")
        made._at = datetime.fromisoformat(at) if at else None
        for model, domains in (stored.get("seen") or {}).items():
            made._seen[model] = {domain: [float(part) for part in counts] for domain, counts in domains.items()}
        return made

    def explain(self) -> list[dict[str, Any]]:
        """Every model that something is known of, the best liked first, with the evidence."""
        models = sorted({*self._seen, *self.said}, key=lambda model: (-self.liking(model, ""), model))
        return [
            {
                "model": model,
                "liking": round(self.liking(model, ""), 4),
                "said": self.said.get(model),
                "answers": round(sum(counts[1] for counts in self._seen.get(model, {}).values()), 2),
                "domains": {
                    domain: round(self.liking(model, domain), 4) for domain in sorted(self._seen.get(model, {}))
                },
            }
            for model in models
        ]

    def _fade(self, factor: float) -> None:
        for domains in self._seen.values():
            for counts in domains.values():
                counts[0] *= factor
                counts[1] *= factor

    def _forget(self) -> None:
        """Drop the model with the least evidence."""
        least = min(self._seen, key=lambda model: sum(counts[1] for counts in self._seen[model].values()))
        del self._seen[least]


def asked_again(before: str, now: str, seconds: float) -> bool:
    """Whether somebody asks the same again so soon that the answer cannot have satisfied."""
    return alike(gist_of(before), gist_of(now), seconds)


def gist_of(text: str) -> Counter[int]:
    """What is compared of a prompt: hashes of its words, which tell nothing outside this process."""
    return Counter(hash(word) for word in split(text[:_COMPARED].lower()))


def alike(before: Counter[int], now: Counter[int], seconds: float) -> bool:
    """As `asked_again`, of gists."""
    if not 0.0 <= seconds <= REPEAT_SECONDS:
        return False
    total = max(before.total(), now.total())
    return total > 0 and (before & now).total() / total >= REPEAT_LIKENESS


def part_kept(answer: str, used: str) -> float:
    """Part of an answer's words that stand in what was made of it, 0 to 1."""
    first, second = Counter(split(answer.lower())), Counter(split(used.lower()))
    total = max(first.total(), second.total())
    return (first & second).total() / total if total else 1.0


def _faded(seconds: float) -> float:
    return float(0.5 ** (seconds / (86_400.0 * HALF_LIFE_DAYS)))


def _refuse(name: str, value: object, remedy: str) -> NoReturn:
    raise InvalidValue(f"A preference cannot have {name} = {value!r}.", remedy=remedy, field=name, value=value)
