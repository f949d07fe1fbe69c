"""What the gateway believes of its models, and why that has changed: the policy, shares of traffic, the scorer."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.dependencies import Analyst, GatewayDep
from serving.moments import Moment
from store import ledger
from store.errors import ServiceUnavailable

router = APIRouter(prefix="/v1/llm", tags=["LLM gateway"])

MODELS = ("routing", "quality")


class Exploration(BaseModel):
    """How much is tried to learn of models that are used little."""

    share: float = Field(description="Of `auto` calls; never of those that stay on the own machines or opt out")
    dearer: float = Field(description="So many times the best one's price such a model may cost")


class BeliefAnswer(BaseModel):
    """What is believed of one model since the last training."""

    model: str
    share: float = Field(description="Of the traffic that would be its own, what it gets")
    held_down_by: dict[str, str] = Field(description="Rules that hold it down, each with its reason")
    usual_ms: float | None = Field(description="Its usual time for an answer of 200 tokens")
    now_ms: float | None = Field(description="The same, now")
    cost_over_expected: float | None = Field(description="What calls cost over what their decisions expected")
    usual_score: float | None = Field(description="Mean score of its answers before the latest hundred of a kind")
    scores: int = Field(description="Answers scored since the gateway started")
    drop: float = Field(description="How far scores or feedback have dropped; 0 without an alarm")
    drop_evidence: float = Field(description="An alarm is given at 3,000: one in so many scores, or fewer, is false")


class ShiftAnswer(BaseModel):
    """A share that was shifted."""

    at: Moment
    model: str
    rule: str = Field(description="latency, errors, cost, load, quality or recovery")
    before: float
    after: float
    size: float
    why: str
    evidence: dict[str, Any]


class ChangeAnswer(BaseModel):
    """A promotion or a rollback of the policy or the scorer."""

    at: Moment
    model: str = Field(description="routing, which decides, or quality, which scores")
    kind: str
    state: str
    from_version: int | None
    to_version: int | None
    actor: str
    why: str


class RefusedAnswer(BaseModel):
    version: int
    why: str


class ScorerAnswer(BaseModel):
    """What scores answers."""

    name: str
    refused: RefusedAnswer | None = Field(description="A promoted version that could not be put to work")
    scored: int = Field(description="Answers since the gateway started")
    waiting: int
    left_out: int = Field(description="Answers that were not looked at because too many came at once")


class JudgeAnswer(BaseModel):
    """The model that judges a sample of answers."""

    model: str
    share: float
    dollars_a_day: float
    judged: int
    skipped: int = Field(description="For the budget, because too many waited, or because it gave no number")
    spent: float = Field(description="Dollars, of this day")


class PolicyAnswer(BaseModel):
    """What is believed, and why it changed."""

    policy: str = Field(description="What predicts quality, length and time: priors, or a promoted version")
    exploration: Exploration
    models: list[BeliefAnswer] = Field(description="Every model that was called since the gateway started")
    shifts: list[ShiftAnswer] = Field(description="Of shares, newest first, since the gateway started")
    changes: list[ChangeAnswer] = Field(description="Of policy and scorer, newest first")
    scorer: ScorerAnswer
    repeats: int = Field(description="Prompts that somebody asked again at once")
    judge: JudgeAnswer | None


@router.get("/policy", summary="What the gateway believes")
def policy(
    services: GatewayDep,
    caller: Analyst,  # noqa: ARG001
    limit: Annotated[int, Query(description="Shifts and changes to show", ge=1, le=200)] = 50,
) -> PolicyAnswer:
    """Which policy decides, what each model's share of traffic is and which rule lowered it on what evidence, what
    scores answers, and who changed policy and scorer. Each shift is also an event `adaptation` in `/v1/events`."""
    chooser = services.gateway.parts.chooser
    opened = services.llm.opened
    if opened is None:
        raise ServiceUnavailable("The LLM gateway is being opened.", remedy="Try again in a few seconds.")
    told = opened.improvement.explain()
    share, dearer = chooser.exploration
    lines = [line for name in MODELS for line in ledger.history(services.settings, name, limit=limit)]
    lines.sort(key=lambda line: line.created_at, reverse=True)
    return PolicyAnswer(
        policy=chooser.policy.name,
        exploration=Exploration(share=share, dearer=dearer),
        models=told["models"],
        shifts=told["shifts"][:limit],
        changes=[
            ChangeAnswer(
                at=line.settled_at or line.created_at,
                model=line.name,
                kind=line.kind,
                state=line.state,
                from_version=line.from_version,
                to_version=line.to_version,
                actor=line.actor,
                why=line.reason,
            )
            for line in lines[:limit]
        ],
        scorer=told["scorer"],
        repeats=told["repeats"],
        judge=told["judge"],
    )
