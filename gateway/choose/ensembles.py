"""How one answer comes of several: votes of models that answered the same prompt.

| rule | weight of a vote | wins |
|---|---|---|
| majority | 1 | the answer with most votes |
| weighted | as configured for the member | the answer with the largest sum of weights |
| confidence | how sure the member is, see below | the answer with the largest sum |
| best-of-n | 1 | the answer with the highest score; votes only show who agrees |
| consensus | 1 | the answer with most votes, if at least `threshold` of those who answered gave it |

A member is as sure as the probabilities of its tokens say where they are known, else as it says itself, else as its
expected quality.

Answers are the same when `gateway.choose.answers` says so. Of those who gave the winning answer, the text returned is
that of the member with the heaviest vote, the highest expected quality, the lowest cost, the first name, in this order;
between answers with equal votes the same holds of their best members. So the order in which members answered never
matters.

A member that failed, was cut off by a filter, or answered nothing has no vote. One answer is enough for every rule but
consensus, which needs a majority of all that were asked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.choose.answers import groups_of, normalised
from gateway.choose.ensemble import RULES
from store.errors import InvalidValue, NoConsensus, UpstreamFailed

TIE_RULE = "equal votes: the higher expected quality, then the lower cost, then the first name"
_SHOWN = 80
_SAME = 1e-9
_SURE = re.compile(
    r"(?:confidence|certainty|konfidenz|sicherheit|confiance|confianza)[ \t]*[*_]*[:=][ \t]*[*_]*[ \t]*"
    r"(\d{1,3}(?:\.\d+)?|0?\.\d+)[ \t]*(%|/[ \t]*10\b)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One model's answer.

    Attributes
    ----------
    text : of the answer; for a call of tools, its JSON.
    finish : as the provider said why the answer ended.
    confidence : 0 to 1 from the tokens' probabilities, see `confidence_of`; None where they are not known.
    quality : expected, 0 to 1.
    weight : of its vote under "weighted".
    cost : nanos.
    """

    model: str
    text: str
    finish: str | None = None
    confidence: float | None = None
    quality: float | None = None
    weight: float = 1.0
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Vote:
    """An answer and who gave it.

    Attributes
    ----------
    answer : as it is compared, shortened.
    members : places of the members.
    weight : sum of their votes.
    score : the highest of theirs, for "best-of-n".
    """

    answer: str
    members: tuple[int, ...]
    weight: float
    score: float | None = None

    def explain(self, members: Sequence[Member]) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "answer": self.answer,
            "models": [members[place].model for place in self.members],
            "weight": round(self.weight, 4),
        }
        return shown if self.score is None else {**shown, "score": round(self.score, 4)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it.

    Attributes
    ----------
    winner : place of the member whose text is returned.
    votes : the winning answer first, then by weight; together they hold every member that answered, once.
    agreement : share of the weight of all votes that the winning answer has, 0 to 1.
    reason : one sentence.
    tie_rule : by which equals were told apart; None where nothing was equal.
    """

    rule: str
    winner: int
    votes: tuple[Vote, ...]
    agreement: float
    reason: str
    tie_rule: str | None = None

    def explain(self, members: Sequence[Member], failed: Sequence[str] = ()) -> dict[str, Any]:
        """JSON of the verdict."""
        return {
            "rule": self.rule,
            "model": members[self.winner].model,
            "agreement": round(self.agreement, 4),
            "votes": [vote.explain(members) for vote in self.votes],
            "failed": list(failed),
            "reason": self.reason,
            "tie_rule": self.tie_rule,
        }


def combine(
    rule: str,
    members: Sequence[Member],
    failed: Sequence[str] = (),
    *,
    threshold: float = 0.6,
    scorer: Callable[[Member], float] | None = None,
) -> Verdict:
    """Let the members' answers become one.

    Parameters
    ----------
    members : those who answered, in any order.
    failed : models that did not.
    threshold : share of the answers that must be the same, for "consensus".
    scorer : how good a member's answer is, for "best-of-n"; higher is better, and NaN is worse than everything.

    Raises
    ------
    UpstreamFailed : nobody answered.
    NoConsensus : too few answered, or too few agree; `details` has the votes.
    InvalidValue : no such rule, or "best-of-n" without a scorer.
    """
    if rule not in RULES:
        raise InvalidValue(
            f"There is no rule {rule!r}.", remedy=f"Use one of {', '.join(RULES)}.", field="rule", value=rule
        )
    voting = [place for place, member in enumerate(members) if _answers(member)]
    asked = len(members) + len(failed)
    silent = sorted([*failed, *(member.model for member in members if not _answers(member))])
    if not voting:
        raise UpstreamFailed(
            f"None of the {asked} members of the ensemble answered: {', '.join(silent)}.",
            remedy="Try again later; `/v1/llm/health` shows how each model does.",
            field="model",
            details={"failed": silent},
        )
    scores = _scores(rule, members, voting, scorer)
    weights = _weights(rule, members, voting)
    votes, tied = _votes(members, voting, weights, scores)
    total = sum(weights.values())
    agreement = votes[0].weight / total if total > 0.0 else 1.0 / len(votes)
    told = _told(rule, votes, asked, silent)
    if rule == "consensus":
        _need_consensus(votes, members, asked, silent, agreement, threshold)
    winner = min(votes[0].members, key=lambda place: _standing(members[place], weights[place], scores.get(place)))
    return Verdict(rule, winner, votes, agreement, told, TIE_RULE if tied else None)


def confidence_of(logprobs: Sequence[float]) -> float | None:
    """Geometric mean of the tokens' probabilities, exp(mean log p); None where there are none."""
    known = [one for one in logprobs if math.isfinite(one)]
    return min(1.0, math.exp(sum(known) / len(known))) if known else None


def stated_confidence(text: str) -> float | None:
    """What an answer says of itself, `Confidence: 85%`, `confidence: 0.85` or `confidence: 8/10`, as 0 to 1; None where
    it says nothing."""
    found = _SURE.findall(text[-2_000:])
    if not found:
        return None
    number, unit = found[-1]
    value = float(number) / (10.0 if unit.startswith("/") else 100.0 if unit or float(number) > 1.0 else 1.0)
    return value if value <= 1.0 else None


def _answers(member: Member) -> bool:
    return bool(member.text.strip()) and member.finish not in ("content_filter", "error")


def _weights(rule: str, members: Sequence[Member], voting: Sequence[int]) -> dict[int, float]:
    if rule == "weighted":
        weights = {place: max(0.0, members[place].weight) for place in voting}
    elif rule == "confidence":
        weights = {place: _confidence(members[place]) for place in voting}
    else:
        return dict.fromkeys(voting, 1.0)
    # Where nobody has a voice, all have the same one.
    return weights if sum(weights.values()) > 0.0 else dict.fromkeys(voting, 1.0)


def _confidence(member: Member) -> float:
    for known in (member.confidence, stated_confidence(member.text), member.quality):
        if known is not None and not math.isnan(known):
            return min(1.0, max(0.0, known))
    return 0.5


def _scores(
    rule: str, members: Sequence[Member], voting: Sequence[int], scorer: Callable[[Member], float] | None
) -> dict[int, float]:
    if rule != "best-of-n":
        return {}
    if scorer is None:
        raise InvalidValue("The rule best-of-n needs a scorer.", remedy="Give one.", field="scorer")
    scores = {place: scorer(members[place]) for place in voting}
    return {place: -math.inf if math.isnan(score) else score for place, score in scores.items()}


def _votes(
    members: Sequence[Member], voting: Sequence[int], weights: dict[int, float], scores: dict[int, float]
) -> tuple[tuple[Vote, ...], bool]:
    """Votes, the winning one first, and whether the tie rule had to tell the first two apart."""
    made = []
    for group in groups_of([members[place].text for place in voting]):
        places = sorted((voting[one] for one in group), key=lambda place: _standing(members[place], weights[place]))
        best = min(_standing(members[place], weights[place], scores.get(place)) for place in places)
        score = max((scores[place] for place in places), default=None) if scores else None
        # A sum that does not depend on the order of its parts.
        weight = math.fsum(weights[place] for place in places)
        vote = Vote(normalised(members[places[0]].text)[:_SHOWN], tuple(places), weight, score)
        rank = -score if score is not None else -weight
        made.append((rank, best[1:], vote))
    made.sort(key=lambda one: one[:2])
    # Sums of the same weights in another order differ in their last digits.
    first = [one for one in made if one[0] - made[0][0] <= _SAME]
    first.sort(key=lambda one: one[1])
    ordered = first + made[len(first) :]
    return tuple(vote for _, _, vote in ordered), len(first) > 1


def _standing(member: Member, weight: float, score: float | None = None) -> tuple[Any, ...]:
    """Smallest for the member that stands best: score or weight, quality, cost, name, text."""
    quality = member.quality if member.quality is not None and not math.isnan(member.quality) else 0.5
    return (-weight if score is None else -score, -quality, member.cost, member.model, member.text)


def _need_consensus(
    votes: Sequence[Vote],
    members: Sequence[Member],
    asked: int,
    silent: Sequence[str],
    agreement: float,
    threshold: float,
) -> None:
    answered = sum(len(vote.members) for vote in votes)
    details = {"votes": [vote.explain(members) for vote in votes], "failed": list(silent), "agreement": agreement}
    if answered < asked // 2 + 1:
        raise NoConsensus(
            f"Only {answered} of {asked} members of the ensemble answered, and a consensus needs {asked // 2 + 1}.",
            remedy="Try again later, or use ensemble/majority.",
            field="model",
            details=details,
        )
    if agreement < threshold - _SAME:
        shown = "; ".join(f"{len(vote.members)} say {vote.answer[:40]!r}" for vote in votes)
        raise NoConsensus(
            f"The members of the ensemble do not agree: {shown}. {agreement:.0%} agree, {threshold:.0%} must.",
            remedy="Ask more precisely, lower the ensemble's threshold, or use ensemble/majority.",
            field="model",
            details=details,
        )


def _told(rule: str, votes: Sequence[Vote], asked: int, silent: Sequence[str]) -> str:
    first = votes[0]
    answered = sum(len(vote.members) for vote in votes)
    missing = f"; {len(silent)} of {asked} did not answer" if silent else ""
    if rule == "best-of-n":
        return f"The best of {answered} answers, score {first.score:.3f}{missing}."
    if rule in ("weighted", "confidence"):
        total = math.fsum(vote.weight for vote in votes)
        return (
            f"{len(first.members)} of {answered} answers with {first.weight:.2f} of {total:.2f} votes agree{missing}."
        )
    return f"{len(first.members)} of {answered} answers agree{missing}."
