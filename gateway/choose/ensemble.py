"""What an ensemble is: which models answer the same prompt, and by which rule one answer comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from store.errors import InvalidValue

RULES = ("majority", "weighted", "confidence", "best-of-n", "consensus")
MOST_MEMBERS = 9


@dataclass(frozen=True, slots=True)
class Ensemble:
    """An ensemble as configured, or as a request describes it.

    Attributes
    ----------
    rule : one of `RULES`; see `gateway.choose.ensembles.combine`.
    members : models by name; the same one may stand there several times, as several samples of it. Empty: the `size`
        best models for the prompt are taken, of different providers where they are equally good.
    weights : member → weight of its vote, for "weighted"; 1 for those not named.
    size : how many members are taken where none is named.
    threshold : share of the answers that must agree, for "consensus"; more than a half.
    judge : the model that scores the answers, for "best-of-n"; None: the gateway's own score.
    """

    rule: str
    members: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    size: int = 3
    threshold: float = 0.6
    judge: str | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            _refuse("rule", self.rule, f"Use one of {', '.join(RULES)}.")
        if len(self.members) == 1 or len(self.members) > MOST_MEMBERS:
            _refuse("members", len(self.members), f"Name 2 to {MOST_MEMBERS} of them, or none.")
        if not 2 <= self.size <= MOST_MEMBERS:
            _refuse("size", self.size, f"Use 2 to {MOST_MEMBERS}.")
        if not 0.5 < self.threshold <= 1.0:
            _refuse("threshold", self.threshold, "Use more than 0.5 and at most 1.")
        for member, weight in self.weights.items():
            if not 0.0 <= weight <= 1e6:
                _refuse(f"weights.{member}", weight, "Use a number from 0 to a million.")

    @property
    def least(self) -> int:
        """How many members must answer: a majority of those asked for a consensus, 1 for every other rule."""
        asked = len(self.members) or self.size
        return asked // 2 + 1 if self.rule == "consensus" else 1


def _refuse(name: str, value: object, remedy: str) -> NoReturn:
    raise InvalidValue(f"An ensemble cannot have {name} = {value!r}.", remedy=remedy, field=name, value=value)
