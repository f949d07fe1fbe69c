"""Which answers a model is tuned on, and how much of everything is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.choose.catalogue import DOMAINS
from store.errors import InvalidValue

# Kinds of task by the domains that the gateway sees in prompts; see `gateway.choose.task`.
TASKS: Mapping[str, frozenset[str]] = {
    "creative": frozenset({"writing", "translation"}),
    "analytical": frozenset({"analysis", "reasoning", "math", "code", "extraction", "summary"}),
    "conversational": frozenset({"conversation", "knowledge"}),
    "any": frozenset(DOMAINS),
}
TAG = "tag:"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is collected.

    Attributes
    ----------
    task : one of `TASKS`, a domain, or `tag:NAME` for calls that were sent with a tag.
    days : calls of so many days before now.
    min_score : least judgement of a good answer, 0 to 1: 0.75 is a thumb up or four stars.
    unjudged : score from words from which answers count that nobody judged; None: they never do.
    models : only answers of these, or patterns such as `openai/*`; none: of every model.
    most : examples, the best and newest first.
    likeness : examples of which so much is the same are one (Jaccard, of five words in a row).
    validation : share of the examples that is held out.
    """

    task: str
    days: int = 90
    min_score: float = 0.75
    unjudged: float | None = None
    models: Sequence[str] = ()
    most: int = 2_000
    likeness: float = 0.8
    validation: float = 0.2

    def __post_init__(self) -> None:
        if not self.task.startswith(TAG) and self.task not in TASKS and self.task not in DOMAINS:
            raise InvalidValue(
                f"There is no kind of task {self.task[:80]!r}.",
                remedy=f"Use one of {', '.join((*TASKS, *DOMAINS))}, or {TAG}NAME for calls with a tag of yours.",
                field="task",
                value=self.task[:80],
            )
        bounds: Mapping[str, tuple[float | None, float, float]] = {
            "days": (self.days, 1, 3_650),
            "min_score": (self.min_score, 0.5, 1.0),
            "unjudged": (self.unjudged, 0.5, 1.0),
            "most": (self.most, 20, 100_000),
            "likeness": (self.likeness, 0.5, 1.0),
            "validation": (self.validation, 0.05, 0.5),
        }
        for name, (value, low, high) in bounds.items():
            if value is not None and not low <= value <= high:
                raise InvalidValue(
                    f"{name} = {value:g} is not between {low:g} and {high:g}.",
                    remedy="Correct it.",
                    field=name,
                    value=value,
                )

    @property
    def tag(self) -> str | None:
        """The tag that calls must have; None: their domain decides."""
        return self.task.removeprefix(TAG) if self.task.startswith(TAG) else None

    @property
    def domains(self) -> frozenset[str]:
        """The domains that count."""
        return frozenset(DOMAINS) if self.tag is not None else TASKS.get(self.task, frozenset({self.task}))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "models": list(self.models)}
