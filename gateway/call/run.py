"""One call while it is under way: what has been decided, tried and spent so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.account.record import Attempt, CallRecord, Outcome, wordless
from gateway.choose.decision import Decision, Ranked, Task
from gateway.prompt import Prompt
from gateway.usage import Usage
from store.tables.base import utc_now

if TYPE_CHECKING:
    from gateway.account.budgets import Reservation
    from gateway.account.rates import Ticket
    from gateway.account.workspaces import WorkspaceSettings
    from gateway.call.providers.wire import Upstreams
    from gateway.call.threads import Thread
    from gateway.choose.catalogue import Model


@dataclass(slots=True)
class Run:
    """Written by one task alone.

    Attributes
    ----------
    started : moment of `time.perf_counter()`.
    upstreams : the providers that it began with; a new configuration in between changes nothing for it.
    current : the candidate that is being tried, or that answered.
    spent : nanos of all attempts so far, by provider; what is settled in the end.
    upstream_s : seconds spent waiting for providers, so that the rest is the gateway's own.
    ticket : what was taken of rate limits.
    member : of an ensemble: the ensemble's reservation pays.
    on_members : what it used and cost stands on the lines of its members, not on its own.
    members_tried : attempts of all members of an ensemble together.
    bare : a provider refused the reasoning in the thread, and is asked without it.
    extra : JSON-ready, stored with the call and told to the caller.
    """

    prompt: Prompt
    workspace: WorkspaceSettings
    task: Task
    decision: Decision | None = None
    at: datetime = field(default_factory=utc_now)
    started: float = field(default_factory=time.perf_counter)
    upstreams: Upstreams | None = None
    current: Ranked | None = None
    reservation: Reservation | None = None
    reserved: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    spent: dict[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    first_token_s: float | None = None
    upstream_s: float = 0.0
    finish_reason: str | None = None
    cache: str | None = None
    parent: str | None = None
    batch: str | None = None
    ticket: Ticket | None = None
    cache_key: bytes | None = None
    thread: Thread | None = None
    member: bool = False
    on_members: bool = False
    members_tried: int = 0
    closed: bool = False
    bare: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> int:
        """Nanos so far, all attempts together."""
        return sum(self.spent.values())

    @property
    def tried(self) -> int:
        """Calls of providers so far, those of members among them."""
        return len(self.attempts) + self.members_tried

    def charge(self, provider: str, nanos: int) -> None:
        self.spent[provider] = self.spent.get(provider, 0) + nanos

    def charge_cut_off(self) -> None:
        """Charge what a whole answer had used when nobody waited for it any more: nobody tells, so by the time that
        it took."""
        if self.current is None or not self.attempts or self.attempts[-1].failure != "cancelled":
            return
        model = self.current.model
        self.usage = self.used_by(model, self.attempts[-1].took_ms)
        self.charge(model.provider, model.price.cost(self.usage))

    def used_by(self, model: Model, took_ms: float) -> Usage:
        """What a model had used of a whole answer by a moment, as its speed lets one guess."""
        written = max(0.0, took_ms - model.latency_ms) / 1000 * model.tokens_per_second
        output = min(round(written), self.task.most_output_tokens)
        return Usage(input=self.task.input_tokens, output=output, estimated=True)

    def elapsed_ms(self) -> float:
        return 1000.0 * (time.perf_counter() - self.started)

    def record(self, outcome: Outcome, error: str | None = None) -> CallRecord:
        """The line of the ledger."""
        prompt, decision, task = self.prompt, self.decision, self.task
        model = self.current.model if self.current is not None else None
        latency = self.elapsed_ms()
        # Words are kept where the workspace wants them plain, and nowhere else.
        plain = self.workspace.keep == "plain"
        return CallRecord(
            id=prompt.id,
            at=self.at,
            tenant=prompt.tenant,
            kind=prompt.kind,
            asked=prompt.model,
            strategy=decision.strategy if decision is not None else "none",
            outcome=outcome,
            model=model.id if model is not None else None,
            provider=model.provider if model is not None else None,
            usage=Usage() if self.on_members else self.usage,
            cost=0 if self.on_members else self.cost,
            reserved=self.reserved,
            latency_ms=latency,
            first_token_ms=None if self.first_token_s is None else 1000.0 * self.first_token_s,
            overhead_ms=max(0.0, latency - 1000.0 * self.upstream_s),
            stream=prompt.stream,
            error=error,
            finish_reason=self.finish_reason,
            complexity=task.complexity,
            domain=task.domain,
            confidence=decision.confidence if decision is not None else None,
            propensity=decision.propensity if decision is not None else 1.0,
            explored=decision.explored if decision is not None else False,
            policy=decision.policy if decision is not None else None,
            cache=self.cache,
            parent=self.parent,
            conversation=prompt.options.conversation,
            batch=self.batch,
            request_id=prompt.request_id,
            tags=prompt.options.tags,
            attempts=tuple(self.attempts) if plain else tuple([one.wordless() for one in self.attempts]),
            decision=decision.explain() if decision is not None else None,
            extra=self.extra if plain else wordless(self.extra),
        )

    def merit(self) -> dict[str, Any]:
        """What the gateway adds to an answer."""
        decision = self.decision
        return {
            "id": self.prompt.id,
            "model": self.current.model.id if self.current is not None else None,
            "strategy": decision.strategy if decision is not None else None,
            "reason": decision.reason if decision is not None else None,
            "cost": self.cost / 1e9,
            "attempts": self.tried,
            "cache": self.cache,
            "task": {"complexity": self.task.complexity, "domain": self.task.domain},
            "usage_estimated": self.usage.estimated,
            **self.extra,
        }
