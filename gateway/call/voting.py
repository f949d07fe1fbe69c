"""Ensembles: several models answer the same prompt side by side, under one reservation, and one answer comes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway import metrics
from gateway.account.ledger import Ledger
from gateway.account.payment import Payment
from gateway.account.tokens import count_text
from gateway.call.dispatch import Dispatcher
from gateway.call.judging import Judge
from gateway.call.providers.wire import Answer
from gateway.call.reading import text_of_answer
from gateway.call.run import Run
from gateway.choose.chooser import Chooser
from gateway.choose.decision import Decision, Ranked
from gateway.choose.ensemble import Ensemble
from gateway.choose.ensembles import Member, combine, confidence_of
from gateway.usage import Usage
from store.errors import BudgetExceeded, GatewayError, UpstreamFailed
from store.tables.base import new_id

# Once enough members have answered, the others have so many times as long as those took, and at least so many seconds.
_PATIENCE = 3.0
_LEAST_PATIENCE_S = 2.0


class Voting:
    """Asks the members and lets the rule decide."""

    def __init__(
        self, chooser: Chooser, dispatcher: Dispatcher, payment: Payment, ledger: Ledger, judge: Judge
    ) -> None:
        self.chooser = chooser
        self.dispatcher = dispatcher
        self._payment = payment
        self._ledger = ledger
        self._judge = judge

    async def answer(self, run: Run) -> Answer:
        """The answer of the ensemble that a run asks for. Its members have lines of their own in the ledger.

        Raises
        ------
        BudgetExceeded : not even the least number of members fits.
        NoConsensus, UpstreamFailed : of the rule.
        """
        assert run.decision is not None
        ensemble = self.chooser.ensemble_of(run.prompt)
        assert ensemble is not None
        asked = await self._reserve(run, ensemble, run.decision.ranked)
        runs = [self._member_run(run, one) for one in asked]
        tasks = [asyncio.ensure_future(self._ask(one, choice)) for one, choice in zip(runs, asked, strict=True)]
        try:
            await self._wait(tasks, max(2, ensemble.least))
        finally:
            for task in tasks:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            self._total(run, runs)
        answers = [self._given(one, choice) for one, choice in zip(found, asked, strict=True)]
        return await self._decide(run, ensemble, asked, answers)

    async def _wait(self, tasks: Sequence[asyncio.Future[Answer | GatewayError]], least: int) -> None:
        """Until all have ended; when enough have answered, for the others only a little longer."""
        start, waiting = time.monotonic(), set(tasks)
        patience: float | None = None
        while waiting:
            left = None if patience is None else patience - time.monotonic()
            if left is not None and left <= 0:
                return
            _, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            answered = sum(one.done() and isinstance(one.result(), Answer) for one in tasks)
            if patience is None and answered >= least:
                now = time.monotonic()
                patience = now + max(_LEAST_PATIENCE_S, (_PATIENCE - 1.0) * (now - start))

    @staticmethod
    def _given(found: Answer | BaseException, choice: Ranked) -> Answer | GatewayError:
        if isinstance(found, Answer | GatewayError):
            return found
        if not isinstance(found, asyncio.CancelledError):
            raise found
        return UpstreamFailed(f"{choice.model.id} took too long: enough others had answered.")

    async def _reserve(self, run: Run, ensemble: Ensemble, ranked: Sequence[Ranked]) -> list[Ranked]:
        """As many members as fit into the budgets, the last ones left out first."""
        asked = list(ranked)
        while True:
            amounts: dict[str, int] = {}
            for one in asked:
                amounts[one.model.provider] = amounts.get(one.model.provider, 0) + one.reserve
            try:
                await self._payment.reserve_together(run, amounts)
            except BudgetExceeded:
                if len(asked) - 1 < max(2, ensemble.least):
                    raise
                asked.pop()
                continue
            if len(asked) < len(ranked):
                run.extra["left_out"] = [one.model.id for one in ranked[len(asked) :]]
            return asked

    def _member_run(self, run: Run, choice: Ranked) -> Run:
        body = dict(run.prompt.body)
        body.pop("stream", None)
        body.pop("stream_options", None)
        prompt = replace(
            run.prompt, id=new_id(), model=choice.model.id, body=body, stream=False, native=None, wire="openai"
        )
        assert run.decision is not None
        decision = Decision(
            prompt.id, prompt.model, "member", run.task, (choice,), policy=run.decision.policy, reason="of an ensemble"
        )
        made = Run(
            prompt, run.workspace, run.task, decision, upstreams=run.upstreams, current=choice, parent=run.prompt.id,
            batch=run.batch,
        )  # fmt: skip
        # Paid from the ensemble's own reservation; its line tells the part that was meant for it.
        made.reserved = choice.reserve
        made.member = True
        return made

    async def _ask(self, run: Run, choice: Ranked) -> Answer | GatewayError:
        try:
            answer = await self.dispatcher.complete(run, [choice])
        except GatewayError as error:
            kind = next((one.failure for one in reversed(run.attempts) if one.failure), None)
            await self._close(run, "failed", kind or type(error).__name__)
            return error
        except BaseException as error:
            run.charge_cut_off()
            # Cut off because the others were enough, or because the caller went away.
            await self._close(
                run, "cancelled", "cut_off" if isinstance(error, asyncio.CancelledError) else "unexpected"
            )
            raise
        usage = answer.usage
        if usage is None or not usage.total:
            output = count_text(text_of_answer(answer.body))
            usage = Usage(input=run.task.input_tokens, output=output, estimated=True)
        run.usage = usage
        run.finish_reason = answer.finish_reason
        run.charge(choice.model.provider, choice.model.price.cost(usage))
        await self._close(run, "ok", None)
        return answer

    async def _close(self, run: Run, outcome: Any, error: str | None) -> None:
        run.closed = True
        record = run.record(outcome, error)
        self._ledger.close_call(record, None)
        metrics.observe(record)

    def _total(self, run: Run, members: Sequence[Run]) -> None:
        """What all members used and cost is the ensemble's, to be settled; in the ledger it stands on their lines."""
        run.usage = Usage.together(one.usage for one in members)
        for one in members:
            for provider, nanos in one.spent.items():
                run.charge(provider, nanos)
        run.members_tried = sum(len(one.attempts) for one in members)
        run.upstream_s += max((one.upstream_s for one in members), default=0.0)
        run.on_members = True

    async def _decide(
        self, run: Run, ensemble: Ensemble, asked: Sequence[Ranked], answers: Sequence[Answer | GatewayError]
    ) -> Answer:
        members: list[Member] = []
        bodies: list[Answer] = []
        choices: list[Ranked] = []
        failed: list[str] = []
        for choice, answer in zip(asked, answers, strict=True):
            if isinstance(answer, GatewayError):
                failed.append(choice.model.id)
                continue
            bodies.append(answer)
            choices.append(choice)
            members.append(
                Member(
                    model=choice.model.id,
                    text=text_of_answer(answer.body),
                    finish=answer.finish_reason,
                    confidence=confidence_of(_logprobs(answer.body)),
                    quality=choice.quality,
                    weight=ensemble.weights.get(choice.model.id, 1.0),
                    cost=choice.model.price.cost(answer.usage) if answer.usage is not None else choice.cost,
                )
            )
        scores = await self._judge.scores(run, ensemble, members) if ensemble.rule == "best-of-n" and members else {}
        verdict = combine(
            ensemble.rule,
            members,
            failed,
            threshold=ensemble.threshold,
            scorer=(lambda member: scores.get(id(member), 0.0)) if scores else None,
        )
        winner = bodies[verdict.winner]
        run.current = choices[verdict.winner]
        run.finish_reason = winner.finish_reason
        run.extra["ensemble"] = verdict.explain(members, failed)
        return Answer({**winner.body, "usage": run.usage.as_openai()}, run.usage, winner.finish_reason)


def _logprobs(body: Mapping[str, Any]) -> list[float]:
    found: list[float] = []
    for choice in body.get("choices") or ():
        told = choice.get("logprobs")
        for token in (told.get("content") or ()) if isinstance(told, Mapping) else ():
            value = token.get("logprob") if isinstance(token, Mapping) else None
            if isinstance(value, int | float):
                found.append(float(value))
    return found
