"""Booking: what a call used and cost, written down once, whichever way it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway import metrics
from gateway.account.record import CallRecord, Outcome
from gateway.account.tokens import count_text
from gateway.call.providers.wire import Answer
from gateway.call.reading import Reading, text_of_answer
from gateway.call.run import Run
from gateway.call.streaming import Streamed
from gateway.usage import Usage
from store.errors import (
    BudgetExceeded,
    ContentRefused,
    GatewayError,
    NoCandidate,
    NoConsensus,
    RateLimited,
    UnknownLlm,
)

if TYPE_CHECKING:
    from gateway.gateway import Parts

# What the ledger calls "refused": the gateway itself said no. Of rates and unknown names nothing is written: whoever
# sends them by the thousand would fill the ledger.
_REFUSED = (BudgetExceeded, NoCandidate, ContentRefused, NoConsensus)
_UNWRITTEN = (RateLimited, UnknownLlm)

# Told of every call that has ended, with its answer in OpenAI's shape or as it was read; must not wait.
Ended = Callable[[Run, CallRecord, Mapping[str, Any] | Reading | None], None]


class Booking:
    """Ledger, budgets, rates, cache and conversation of a call that has ended. One for the whole gateway."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def charge(self, run: Run, answer: Answer) -> None:
        """What a whole answer used and cost."""
        assert run.current is not None
        usage = answer.usage
        if usage is None or not usage.total:
            output = 0 if run.prompt.kind == "embeddings" else count_text(text_of_answer(answer.body))
            usage = Usage(input=run.task.input_tokens, output=output, estimated=True)
        run.usage = usage
        run.finish_reason = answer.finish_reason
        run.charge(run.current.model.provider, run.current.model.price.cost(usage))

    async def stream(self, streamed: Streamed, outcome: Outcome, error: str | None) -> None:
        """A stream that a model gave."""
        run, reading = streamed.run, streamed.reading
        assert run.current is not None
        run.usage = reading.counted(run.task.input_tokens, ended=streamed.ended)
        run.finish_reason = reading.finish_reason
        run.charge(run.current.model.provider, run.current.model.price.cost(run.usage))
        await self.finish(run, outcome, said(streamed), error, streamed.shown)

    async def cached(self, streamed: Streamed, outcome: Outcome, error: str | None) -> None:
        """A stream of what the cache held."""
        await self.finish(streamed.run, "cached" if outcome == "ok" else outcome, said(streamed), error)

    async def voted(self, streamed: Streamed, outcome: Outcome, error: str | None) -> None:
        """A stream of what an ensemble decided on."""
        await self.finish(streamed.run, outcome, said(streamed), error)

    async def finish(
        self,
        run: Run,
        outcome: Outcome,
        body: dict[str, Any] | None = None,
        error: str | None = None,
        shown: Reading | None = None,
    ) -> None:
        """Book a call that has ended, whichever way. A second call does nothing.

        Parameters
        ----------
        shown : of a stream, where nobody wanted its whole body.
        """
        if run.closed:
            return
        content = None
        if run.workspace.keep != "nothing":
            content = self._parts.contents.for_call(run.workspace, run.prompt, body)
        record = await self._parts.payment.finish(run, outcome, error, content)
        await self._parts.rates.settle(run.ticket, run.usage.total)
        metrics.observe(record)
        if self._parts.ended is not None:
            self._parts.ended(run, record, shown if body is None else body)
        if body is not None and outcome in ("ok", "cached"):
            await self._parts.recall.keep(run, body)
            if run.thread is not None:
                model = record.model
                lost = await self._parts.threads.append(run.prompt, run.workspace, run.thread, body, model)
                run.extra |= {} if lost is None else {"conversation_not_kept": lost}

    async def failed(self, run: Run, error: BaseException) -> None:
        """Book a call that ended without an answer; what the caller is told leads to its line."""
        if isinstance(error, _UNWRITTEN):
            await self._parts.rates.settle(run.ticket, 0)
            return
        if isinstance(error, GatewayError):
            headers = {**error.details.get("headers", {}), "x-merit-id": run.prompt.id}
            error.details |= {"merit": run.merit(), "headers": headers}
            outcome: Outcome = "refused" if isinstance(error, _REFUSED) else "failed"
            kind = next((one.failure for one in reversed(run.attempts) if one.failure), None)
            await self.finish(run, outcome, error=kind or type(error).__name__)
            return
        if not isinstance(error, Exception):  # the caller went away, or the gateway stops
            run.charge_cut_off()
            await self.finish(run, "cancelled", error="client_gone")
            return
        await self.finish(run, "failed", error=type(error).__name__)


def said(streamed: Streamed) -> dict[str, Any] | None:
    """The whole of what was streamed, where anybody will want it."""
    run = streamed.run
    wanted = run.workspace.keep != "nothing" or run.cache_key is not None or run.prompt.options.conversation
    return streamed.shown.body() if wanted else None
