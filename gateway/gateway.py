"""The gateway: what every prompt passes, in the order in which it passes it.

admitted (workspace, tokens, task, rate) → conversation → cache → decided → paid for → called → settled → answered
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from gateway.account.budgets import Budgets
from gateway.account.contents import Contents
from gateway.account.ledger import Ledger
from gateway.account.payment import Payment
from gateway.account.preference_store import PreferenceStore
from gateway.account.rates import Rates
from gateway.account.record import Outcome
from gateway.account.tokens import count_prompt
from gateway.account.workspaces import Workspaces
from gateway.booking import Booking, Ended
from gateway.call.breaker import Breakers
from gateway.call.dispatch import Dispatcher
from gateway.call.filters import filter_of
from gateway.call.health import Health
from gateway.call.probes import Prober
from gateway.call.providers.wire import Answer
from gateway.call.recall import Recall
from gateway.call.replay import Told
from gateway.call.run import Run
from gateway.call.streaming import Streamed
from gateway.call.threads import Thread, Threads
from gateway.call.voting import Voting
from gateway.choose.chooser import MOST_RANKED, Chooser
from gateway.choose.decision import Decision, Ranked
from gateway.choose.listing import described, permitted
from gateway.choose.substitution import substituted, substitution
from gateway.choose.task import analyse
from gateway.choose.virtual import Strategy
from gateway.configuration.loading import Configuration
from gateway.prompt import Prompt, Tenant
from store.errors import BudgetExceeded, NoCandidate, UnknownLlm


@dataclass(slots=True)
class Answered:
    """A whole answer. What the gateway adds is `run.merit()`.

    Attributes
    ----------
    body : in OpenAI's shape.
    native : in the caller's own shape, where provider and caller speak the same and it is not OpenAI's.
    outcome : as the ledger will call it.
    """

    run: Run
    body: dict[str, Any]
    native: dict[str, Any] | None = None
    outcome: Outcome = "ok"


@dataclass
class Parts:
    """What the gateway is made of; `gateway.opening` puts it together and replaces what a new configuration changes."""

    configuration: Configuration
    chooser: Chooser
    dispatcher: Dispatcher
    payment: Payment
    budgets: Budgets
    rates: Rates
    ledger: Ledger
    workspaces: Workspaces
    contents: Contents
    recall: Recall
    threads: Threads
    voting: Voting
    breakers: Breakers
    health: Health
    prober: Prober
    preferences: PreferenceStore
    ended: Ended | None = None


class Gateway:
    """Everything a prompt passes. One in a process."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._booking = Booking(parts)
        self._allowed: dict[tuple[tuple[str, ...], str, str | None], frozenset[str] | None] = {}

    def decide(self, prompt: Prompt) -> Decision:
        """The decision alone: nothing is called, reserved or written.

        Raises
        ------
        UnknownLlm, NoCandidate : nothing may answer.
        """
        return self._decide(self._enter(prompt), dry=True)

    async def look(self, prompt: Prompt) -> Decision:
        """As `decide`, with what must be read before: the conversation that the prompt continues, likings.

        Raises
        ------
        InvalidValue, UnknownEntity : it cannot continue that conversation.
        UnknownLlm, NoCandidate : nothing may answer.
        """
        return self.decide((await self._joined(prompt))[0])

    async def answer(self, prompt: Prompt, *, batch: str | None = None) -> Answered:
        """A whole answer, chat or embeddings.

        Parameters
        ----------
        batch : id of the batch that the prompt belongs to.

        Raises
        ------
        GatewayError : of the class that says why there is none.
        """
        answered = await self.ask(prompt, batch=batch)
        await self.book(answered)
        return answered

    async def ask(self, prompt: Prompt, *, batch: str | None = None) -> Answered:
        """As `answer`, but not booked yet: the caller may send it first, and must `book` it whatever happens then.

        Until it is booked its money stays set aside; should this process die before, its line in the ledger is open
        and charged what was reserved.
        """
        run = await self._admit(prompt)
        run.batch = batch
        try:
            if (known := await self.parts.recall.find(run)) is not None:
                return Answered(run, known, outcome="cached")
            choices = await self._choose(run)
            if run.decision is not None and run.decision.strategy == Strategy.ENSEMBLE:
                answer = await self.parts.voting.answer(run)
            else:
                answer = await self.parts.dispatcher.complete(run, choices)
                self._booking.charge(run, answer)
            answer = filtered(run, answer)
        except BaseException as error:
            await self._booking.failed(run, error)
            raise
        answered = Answered(run, answer.body, answer.native)
        if run.thread is not None:
            # The answer tells whether the conversation was kept.
            await self.book(answered)
        return answered

    async def book(self, answered: Answered) -> None:
        """Write down what was answered. A second time does nothing."""
        await self._booking.finish(answered.run, answered.outcome, answered.body)

    async def stream(self, prompt: Prompt) -> Streamed:
        """An answer that has begun; iterate its `pieces()`.

        Raises
        ------
        GatewayError : of the class that says why there is none; nothing was sent to the caller yet.
        """
        run = await self._admit(prompt)
        try:
            if (known := await self.parts.recall.find(run)) is not None:
                return Streamed(run, Told(known), self._booking.cached)
            choices = await self._choose(run)
            if run.decision is not None and run.decision.strategy == Strategy.ENSEMBLE:
                # There is a winner when all have answered: its text is then sent as a stream.
                answer = filtered(run, await self.parts.voting.answer(run))
                return Streamed(run, Told(answer.body), self._booking.voted)
            begun = await self.parts.dispatcher.begin(run, choices)
        except BaseException as error:
            await self._booking.failed(run, error)
            raise
        assert run.current is not None
        assert run.upstreams is not None
        provider = run.upstreams.providers[run.current.model.provider]
        rule = filter_of(run.workspace.filters)
        return Streamed(
            run,
            begun,
            self._booking.stream,
            filter=None if rule is None else rule.stream(),
            drain=provider.on_disconnect == "drain",
        )

    def offered(self, tenant: Tenant) -> list[dict[str, Any]]:
        """Strategies, ensembles and the models that a workspace may use, as `GET /v1/models` shows them."""
        allowed = self._models_of(self.parts.workspaces.get(tenant.workspace).allowed_models, tenant.workspace)
        models = self.parts.configuration.models.values()
        shown = [described(model) for model in models if allowed is None or model.id in allowed]
        return [*self.parts.chooser.names.listed(), *shown]

    async def _admit(self, prompt: Prompt) -> Run:
        """What may enter: its conversation joined, its rate taken.

        Raises
        ------
        RateLimited : not now.
        """
        prompt, thread = await self._joined(prompt)
        run = self._enter(prompt)
        run.thread = thread
        run.ticket = await self.parts.rates.take(
            prompt.tenant, run.workspace, run.task.input_tokens + run.task.output_tokens
        )
        return run

    async def _joined(self, prompt: Prompt) -> tuple[Prompt, Thread | None]:
        """The prompt with the conversation that it continues, where it does."""
        if self._strategy(prompt.model) is Strategy.PREFERRED:
            # Read here, since deciding must not wait for it.
            await asyncio.to_thread(self.parts.preferences.of, prompt.tenant)
        if prompt.options.conversation is None:
            return prompt, None
        workspace = self.parts.workspaces.get(prompt.tenant.workspace)
        return await self.parts.threads.continued(prompt, workspace, self._longest_context())

    def _enter(self, prompt: Prompt) -> Run:
        """The prompt within what its workspace allows, counted and analysed."""
        workspace = self.parts.workspaces.get(prompt.tenant.workspace)
        limits = workspace.within(prompt.limits)
        if not limits.local_only and self._strategy(prompt.model) is Strategy.PRIVATE:
            # A limit, so that whatever else is done with these words keeps to it: substitutes, judges, training.
            limits = replace(limits, local_only=True)
        if limits is not prompt.limits:
            prompt = replace(prompt, limits=limits)
        tokens = count_prompt(prompt.body, prompt.kind)
        run = Run(prompt, workspace, analyse(prompt.body, prompt.kind, tokens, prompt.options.task))
        if whereabouts := limits.explain_whereabouts():
            run.extra["whereabouts"] = whereabouts
        return run

    def _strategy(self, name: str) -> Strategy | None:
        try:
            return self.parts.chooser.ask(name).strategy
        except UnknownLlm:
            return None  # told when it is decided, and counted until then like any other request

    def _longest_context(self) -> int:
        return max((one.context for one in self.parts.configuration.models.values()), default=0)

    def _decide(self, run: Run, *, dry: bool = False, most: int = MOST_RANKED) -> Decision:
        prompt, workspace = run.prompt, run.workspace
        if prompt.options.explore and not workspace.explore:
            prompt = replace(prompt, options=replace(prompt.options, explore=False))
        allowed = self._models_of(workspace.allowed_models, prompt.tenant.workspace, prompt.options.trial)
        try:
            decision = self.parts.chooser.decide(
                prompt, run.task, allowed=allowed, stay=run.prompt.stay, dry=dry, most=most
            )
        except NoCandidate as none:
            if none.details.get("unavailable"):
                self._say_when(none)
            raise
        if workspace.substitutes:
            return self._substituted(run, prompt, decision, allowed, dry=dry)
        return decision

    def _substituted(
        self, run: Run, prompt: Prompt, as_asked: Decision, allowed: frozenset[str] | None, *, dry: bool
    ) -> Decision:
        """The decision where the workspace may have another model answer such calls."""
        found = substitution(run.workspace.substitutes, prompt, run.task)
        if found is None or as_asked.strategy == Strategy.ENSEMBLE:
            return as_asked
        instead = None
        with suppress(NoCandidate, UnknownLlm):
            other = replace(prompt, model=found.rule.use)
            instead = self.parts.chooser.decide(other, run.task, allowed=allowed, dry=dry or found.part != "used")
        if instead is not None and instead.strategy == Strategy.ENSEMBLE:
            instead = None
        decision, found = substituted(found, as_asked, instead)
        run.extra |= {"substitution": found.explain()}
        return decision

    def _say_when(self, none: NoCandidate) -> None:
        """When a model that gets no calls now may be asked again: the request is right, and comes too early."""
        breakers = self.parts.breakers
        away = [one for one, why in none.details["excluded"].items() if why.startswith("unavailable")]
        waits = [wait for one in away if (wait := breakers.ready_in(one)) is not None]
        none.retry_after = min(waits, default=None)
        none.details = {**none.details, "overloaded": all(breakers.aside_for(one) is not None for one in away)}

    def _models_of(self, patterns: tuple[str, ...], workspace: str, trial: str | None = None) -> frozenset[str] | None:
        """Ids that a workspace may ask; None: all."""
        configuration = self.parts.configuration
        if not patterns and not configuration.restricted:
            return None
        key = (patterns, workspace if configuration.restricted else "", trial)
        if key not in self._allowed:
            if len(self._allowed) >= 1024:
                self._allowed.clear()
            self._allowed[key] = permitted(patterns, configuration.models, workspace, trial)
        return self._allowed[key]

    def reconfigured(self) -> None:
        """The configuration is another: what was derived from the old one is forgotten."""
        self._allowed.clear()

    async def _choose(self, run: Run) -> list[Ranked]:
        """Decide and set money aside; the choice that it was set aside for comes first."""
        decision = run.decision = self._decide(run)
        # Of the same configuration as the decision.
        run.upstreams = self.parts.dispatcher.upstreams
        ranked = list(decision.ranked)
        if decision.strategy == Strategy.ENSEMBLE:
            return ranked
        try:
            chosen = await self.parts.payment.reserve(run, ranked)
        except BudgetExceeded as refused:
            if refused.details.get("action") != "downgrade":
                raise
            # None of the best fits; of another provider, or further down, one may.
            every = self._decide(run, dry=True, most=len(self.parts.configuration.models)).ranked
            if len(every) <= len(ranked):
                raise
            chosen = await self.parts.payment.reserve(run, [ranked[0], *every])
        if chosen is not ranked[0]:
            ranked = [chosen, *(one for one in ranked if one is not chosen and one.reserve <= chosen.reserve)]
        run.current = chosen
        return ranked

    async def before_attempt(self, run: Run, choice: Ranked) -> None:
        """Money and a line in the ledger before anything is sent; see `Dispatcher`."""
        if run.member:
            self.parts.payment.announce(run, choice)
            return
        if run.attempts or run.current is not choice:
            await self.parts.payment.move(run, choice)
        self.parts.payment.announce(run, choice)


def filtered(run: Run, answer: Answer) -> Answer:
    """The answer without what its workspace does not let out.

    Raises
    ------
    ContentRefused : the workspace wants such answers held back.
    """
    rule = filter_of(run.workspace.filters)
    return answer if rule is None else rule.answer(answer)
