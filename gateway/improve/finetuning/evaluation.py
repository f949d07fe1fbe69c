"""A tuned model beside its base on the same examples that neither has learned from, judged by the gate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gateway.choose.catalogue import Model
from gateway.improve.benchmarks.scoring import grade
from gateway.improve.finetuning.examples import Example
from gateway.improve.scoring import Scorer
from gateway.money import NANOS_PER_DOLLAR
from gateway.prompt import Options, Prompt, Tenant
from models.lifecycle.comparison import mean_of
from models.lifecycle.evaluation import Estimate, Evaluation, slices_of
from models.lifecycle.family import Metric
from models.lifecycle.gate import GatePolicy, GateReport, decide
from models.quality.features import answer_of
from store.errors import BudgetExceeded, GatewayError, RateLimited
from store.tables.base import new_id

if TYPE_CHECKING:
    from gateway.gateway import Gateway

METRIC = Metric("quality", "higher", "points of quality lost")
_AT_ONCE = 4
_LONGER = 1.5
_LEAST_TOKENS, _MOST_TOKENS = 256, 4_096
_WAITS, _LONGEST_WAIT_S = 5, 30.0
# Pseudo-examples by which the prior of a domain is held where few were seen.
_HELD_BY = 10.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of one model to one example."""

    call: str
    group: int
    domain: str
    score: float
    cost: int
    latency_ms: float | None
    error: str | None


@dataclass(frozen=True)
class Compared:
    """What came of it.

    Attributes
    ----------
    cost : nanos of all answers.
    """

    gate: GateReport
    base: Evaluation
    tuned: Evaluation
    cost: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with answers as numbers alone."""
        return {
            "verdict": self.gate.verdict,
            "reason": self.gate.reason,
            "gate": self.gate.to_dict(),
            "base": _shown(self.base),
            "tuned": _shown(self.tuned),
        }


async def evaluate(
    gateway: Gateway,
    held: Sequence[tuple[Example, int]],
    base: Model,
    tuned: str,
    tenant: Tenant,
    *,
    own_workspaces: bool,
    tag: str,
    scorer: Scorer,
    seed: int,
) -> Compared:
    """Ask both models every example through the gateway, and compare what they say with the answer that was liked.

    Parameters
    ----------
    held : examples and the groups that they belong to.
    tuned : id of the model on trial.
    own_workspaces : each example is asked in the workspace it is from, so that no words get into another.
    tag : of the calls, in the ledger.

    Raises
    ------
    BudgetExceeded : a budget does not allow it.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(example: Example, group: int, model: str) -> Answered:
        async with turns:
            payer = replace(tenant, workspace=example.workspace) if own_workspaces else tenant
            return await _ask(gateway, example, group, model, tuned, payer, tag, scorer)

    try:
        async with asyncio.TaskGroup() as tasks:
            asked = [
                (tasks.create_task(ask(one, group, base.id)), tasks.create_task(ask(one, group, tuned)))
                for one, group in held
            ]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    pairs = [(first.result(), second.result()) for first, second in asked]
    return compared(pairs, base.id, tuned, seed=seed)


def compared(pairs: Sequence[tuple[Answered, Answered]], base: str, tuned: str, *, seed: int = 0) -> Compared:
    """The gate's word on pairs of answers, the base's first; the base is the bar that has to be beaten."""
    first = _evaluation(base, [one for one, _ in pairs], seed)
    second = _evaluation(tuned, [one for _, one in pairs], seed)
    gate = decide(second, baseline=first, metric=METRIC, comparison="paired_bootstrap", policy=GatePolicy(), seed=seed)
    return Compared(gate, first, second, sum(one.cost + other.cost for one, other in pairs))


def expected_quality(base: Model, outcome: Compared) -> dict[str, float]:
    """Priors of the tuned model by domain: the base's, moved by what was measured, little where little was."""
    made = dict(base.quality)
    before, after = outcome.base.losses, outcome.tuned.losses
    for domain, rows in after.groupby("slice.domain"):
        gain = float((before["loss"].reindex(rows.index) - rows["loss"]).mean())
        weight = len(rows) / (len(rows) + _HELD_BY)
        made[str(domain)] = float(np.clip(base.expected_quality(str(domain)) + weight * gain, 0.01, 0.99))
    return made


async def _ask(
    gateway: Gateway, example: Example, group: int, model: str, trial: str, tenant: Tenant, tag: str, scorer: Scorer
) -> Answered:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{name: part for name, part in one.items() if name != "weight"} for one in example.messages[:-1]],
        "max_tokens": _longest(example.answer),
    }
    if example.tools:
        body["tools"] = list(example.tools)
    for _ in range(_WAITS):
        options = Options(cache="off", explore=False, fallbacks=False, tags=(tag,), trial=trial)
        started = time.perf_counter()
        try:
            answered = await gateway.answer(Prompt(new_id(), tenant, "chat", model, body, options=options))
        except RateLimited as limited:
            await asyncio.sleep(min(limited.retry_after or 1.0, _LONGEST_WAIT_S))
            continue
        except BudgetExceeded:
            raise
        except GatewayError as error:
            cost = sum(round(NANOS_PER_DOLLAR * float(one.get("cost", 0))) for one in error.details.get("attempts", ()))
            return Answered(example.call, group, example.domain, 0.0, cost, None, type(error).__name__)
        took_ms = 1000.0 * (time.perf_counter() - started)
        text, finish_reason = answer_of(answered.body) or ("", None)
        asked = next((str(m.get("content")) for m in reversed(example.messages[:-1]) if m.get("role") == "user"), "")
        task = answered.run.task
        graded = await asyncio.to_thread(
            grade, asked, text, finish_reason, reference=example.answer, domain=task.domain,
            complexity=task.complexity, scorer=scorer,
        )  # fmt: skip
        return Answered(example.call, group, example.domain, graded.score, answered.run.cost, took_ms, None)
    return Answered(example.call, group, example.domain, 0.0, 0, None, "RateLimited")


def _longest(answer: str) -> int:
    """Tokens that a comparable answer may have: a third of the characters is more than any language needs."""
    return int(min(_MOST_TOKENS, max(_LEAST_TOKENS, _LONGER * len(answer) / 3)))


def _evaluation(name: str, answers: Sequence[Answered], seed: int) -> Evaluation:
    losses = pd.DataFrame(
        {
            "loss": [1.0 - one.score for one in answers],
            "group": [one.group for one in answers],
            "step": 0,
            "slice.domain": [one.domain for one in answers],
        },
        index=pd.Index([one.call for one in answers], name="call"),
    )
    groups = [one.group for one in answers]
    scores = np.array([one.score for one in answers])
    costs = np.array([one.cost / NANOS_PER_DOLLAR for one in answers])
    metrics: dict[str, Estimate] = {
        "quality": mean_of(scores, groups, seed=seed),
        "cost": mean_of(costs, groups, seed=seed),
    }
    latencies = [one.latency_ms for one in answers if one.latency_ms is not None]
    failed = sum(one.error is not None for one in answers)
    return Evaluation(
        candidate=name,
        losses=losses,
        metrics=metrics,
        slices=slices_of(losses, at_least=5),
        latency_ms=float(np.median(latencies)) if latencies else 0.0,
        details={"failed": failed, "answers": len(answers)},
    )


def _shown(one: Evaluation) -> dict[str, Any]:
    return {
        "model": one.candidate,
        **{name: estimate.to_dict() for name, estimate in one.metrics.items()},
        "latency_ms": one.latency_ms,
        "quality_by_domain": {
            str(name).partition("=")[2]: 1.0 - value
            for name, value in zip(one.slices["slice"], one.slices["value"].to_numpy(dtype=np.float64), strict=True)
        },
        **one.details,
    }
