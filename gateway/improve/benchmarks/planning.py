"""What a benchmark would cost, told before it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.choose.virtual import Strategy
from gateway.improve.benchmarks.prompts import BenchmarkPrompt
from gateway.money import dollars
from gateway.prompt import Limits, Options, Prompt, Tenant
from store.errors import BudgetExceeded, InvalidValue
from store.tables.base import new_id

if TYPE_CHECKING:
    from gateway.gateway import Gateway

MOST_MODELS, MOST_REPEATS, MOST_ANSWERS = 20, 20, 50_000
MAX_TOKENS = 1_024
_AT_ONCE = 20


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be measured.

    Attributes
    ----------
    models : ids, strategies or ensembles.
    repeats : times that each prompt is asked of each model.
    max_cost : nanos; more is never spent, and nothing is begun that is expected to cost more.
    max_tokens : of an answer, where a prompt says nothing of it.
    temperature : None: as each provider has it.
    concurrency : calls at once.
    """

    name: str
    prompts: Sequence[BenchmarkPrompt]
    models: Sequence[str]
    repeats: int = 1
    max_cost: int
    max_tokens: int = MAX_TOKENS
    temperature: float | None = None
    concurrency: int = 4
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        models = list(self.models)
        if not 1 <= len(models) <= MOST_MODELS or len(set(models)) < len(models):
            raise InvalidValue(
                f"models holds {len(models)} names, {len(set(models))} of them different.",
                remedy=f"Name 1 to {MOST_MODELS} different models.",
                field="models",
                value=models[:MOST_MODELS],
            )
        for name, value, most in (("repeats", self.repeats, MOST_REPEATS), ("concurrency", self.concurrency, 64)):
            if not 1 <= value <= most:
                raise InvalidValue(
                    f"{name} = {value} is not between 1 and {most}.", remedy="Correct it.", field=name, value=value
                )
        if self.total > MOST_ANSWERS:
            raise InvalidValue(
                f"{len(self.prompts)} prompts, {len(models)} models, {self.repeats} repeats: {self.total:,} calls.",
                remedy=f"{MOST_ANSWERS:,} are the most: draw some of the prompts.",
                field="prompts",
                value=self.total,
            )

    @property
    def total(self) -> int:
        """Answers wanted."""
        return len(self.prompts) * len(self.models) * self.repeats

    def prompt(self, one: BenchmarkPrompt, model: str, tenant: Tenant, benchmark_id: str | None = None) -> Prompt:
        """The request, which no cache answers and no other model in its place."""
        body = one.body(model)
        body.setdefault("max_tokens", self.max_tokens)
        if self.temperature is not None:
            body["temperature"] = self.temperature
        tags = () if benchmark_id is None else (f"benchmark:{benchmark_id}",)
        options = Options(cache="off", explore=False, fallbacks=False, tags=tags)
        return Prompt(new_id(), tenant, "chat", model, body, Limits(), options)


@dataclass(frozen=True)
class Plan:
    """What it would cost, in nanos: expected, and if every answer were as long as it may be.

    Attributes
    ----------
    by_model : expected.
    """

    expected: int
    most: int
    by_model: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """In dollars, JSON-ready."""
        return {
            "expected": dollars(self.expected),
            "most": dollars(self.most),
            "by_model": {name: dollars(value) for name, value in self.by_model.items()},
        }


async def plan(gateway: Gateway, order: Order, tenant: Tenant) -> Plan:
    """Decide every prompt for every model without calling any.

    Raises
    ------
    UnknownLlm, NoCandidate : a model is none, or may not answer one of the prompts; the message says why.
    """
    most, by_model = 0, dict.fromkeys(order.models, 0)
    for model in order.models:
        for place, one in enumerate(order.prompts):
            decision = gateway.decide(order.prompt(one, model, tenant))
            asked = decision.ranked if decision.strategy == Strategy.ENSEMBLE else decision.ranked[:1]
            by_model[model] += order.repeats * round(sum(choice.cost for choice in asked))
            most += order.repeats * sum(choice.reserve for choice in asked)
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)  # others are to be answered meanwhile
    return Plan(sum(by_model.values()), most, by_model)


def refuse_dear(planned: Plan, max_cost: int) -> None:
    """
    Raises
    ------
    BudgetExceeded : it is expected to cost more than it may.
    """
    if planned.expected > max_cost:
        expected, limit = dollars(planned.expected), dollars(max_cost)
        raise BudgetExceeded(
            f"The benchmark is expected to cost ${expected:.6g}, and it may cost ${limit:.6g}.",
            remedy="Raise max_cost, or take fewer prompts, models or repeats.",
            field="max_cost",
            value=limit,
            details={"limit": limit, **planned.to_dict()},
        )
