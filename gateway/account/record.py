"""One line of the ledger: everything about a call but its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from gateway.prompt import Tenant
from gateway.usage import Usage

# ok: answered. cached: answered from the cache, at no cost. failed: no attempt succeeded. broken: the stream broke off
# after it had begun. cancelled: the client went away. refused: budget, rate, limit or filter said no, nothing was
# called. unknown: the gateway died during the call; its reservation is charged.
Outcome = Literal["ok", "cached", "failed", "broken", "cancelled", "refused", "unknown"]


@dataclass(slots=True)
class Attempt:
    """One call of a provider.

    Attributes
    ----------
    failure : a `FailureKind`; None for the attempt that answered.
    cost : nanos that this attempt cost, as far as anybody told.
    """

    model: str
    started_ms: float
    took_ms: float
    failure: str | None = None
    status: int | None = None
    message: str | None = None
    cost: int = 0

    def wordless(self) -> Attempt:
        """Without what a provider wrote, which may quote the prompt; kind and status say what happened."""
        if self.message is None or (cut := self.message.partition(": ")[0]) == self.message:
            return self
        return replace(self, message=f"{cut}.")

    def explain(self) -> dict[str, Any]:
        shown = {
            "model": self.model,
            "started_ms": round(self.started_ms, 2),
            "took_ms": round(self.took_ms, 2),
            "failure": self.failure,
            "status": self.status,
            "message": self.message,
            "cost": self.cost / 1e9,
        }
        return {name: value for name, value in shown.items() if value is not None}


# Not frozen, as nothing that every call makes: it would take ten times as long to make.
@dataclass(slots=True)
class CallRecord:
    """A finished call.

    Attributes
    ----------
    id : of the prompt; members of an ensemble have ids of their own and name the ensemble's call in `parent`.
    at : when it was asked, naive UTC.
    asked : the model field of the request.
    model : id of the model that answered, or that was tried last; None when none was called.
    cost : nanos, all attempts together.
    reserved : nanos that had been reserved.
    latency_ms : from the request to the end of the answer; `first_token_ms` to its first piece.
    overhead_ms : of it, what the gateway itself took.
    error : a `FailureKind` or the name of the error class; None when it was answered.
    decision : `Decision.explain()`.
    propensity, explored, policy : of the decision, for training on the ledger.
    cache : "exact", "semantic" or None.
    """

    id: str
    at: datetime
    tenant: Tenant
    kind: str
    asked: str
    strategy: str
    outcome: Outcome
    model: str | None = None
    provider: str | None = None
    usage: Usage = field(default_factory=Usage)
    cost: int = 0
    reserved: int = 0
    latency_ms: float = 0.0
    first_token_ms: float | None = None
    overhead_ms: float | None = None
    stream: bool = False
    error: str | None = None
    finish_reason: str | None = None
    complexity: str | None = None
    domain: str | None = None
    confidence: float | None = None
    propensity: float = 1.0
    explored: bool = False
    policy: str | None = None
    cache: str | None = None
    parent: str | None = None
    conversation: str | None = None
    batch: str | None = None
    request_id: str | None = None
    tags: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    decision: Mapping[str, Any] | None = None
    quality: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def wordless(extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """What else is told of a call, without words of answers or providers in it."""
    if "ensemble" not in extra and "judge" not in extra:
        return extra
    told = dict(extra)
    if isinstance(judge := told.get("judge"), str):
        told["judge"] = judge.partition(": ")[0]
    if isinstance(ensemble := told.get("ensemble"), Mapping):
        votes = [{name: one for name, one in vote.items() if name != "answer"} for vote in ensemble["votes"]]
        told["ensemble"] = {**ensemble, "votes": votes}
    return told
