"""Attempts and failover: the chosen model first, then others, until one answers or the caller's time is up.

A model that fails is not asked again while another one is left. Until the first piece of a stream has content, another
model may take over; afterwards nobody may, since the caller would read the beginning twice.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from gateway.account.record import Attempt
from gateway.call import unanswered
from gateway.call.backoff import delay
from gateway.call.bare_thread import without_reasoning
from gateway.call.begun import Begun, has_content
from gateway.call.breaker import Breakers, Permit
from gateway.call.concurrency import Slots
from gateway.call.health import Health
from gateway.call.providers.wire import ELSEWHERE, RETRIABLE, Answer, Piece, ProviderFailure, Upstreams
from gateway.call.retry_budget import RetryBudget
from gateway.call.run import Run
from gateway.choose.decision import Ranked
from gateway.usage import Usage
from store.errors import BudgetExceeded

Result = TypeVar("Result")
MOST_ATTEMPTS = 3
# Without a caller's own deadline, nobody waits longer than this for a whole answer, all attempts together.
DEFAULT_SECONDS = 300.0
# Nobody waits longer than this, all waits together, for models that ask to be left alone, whatever time there is.
LONGEST_WAIT_S = 30.0


class Ledgering(Protocol):
    """What must happen before each attempt: money set aside for that model, and a line in the ledger."""

    async def __call__(self, run: Run, choice: Ranked) -> None: ...


class Dispatcher:
    """Makes calls. One for the whole gateway."""

    def __init__(
        self,
        upstreams: Upstreams,
        breakers: Breakers,
        health: Health,
        slots: Slots,
        retries: RetryBudget,
        before_attempt: Ledgering,
        *,
        attempts: int = MOST_ATTEMPTS,
    ) -> None:
        self.upstreams = upstreams
        self._breakers = breakers
        self._health = health
        self._slots = slots
        self.retries = retries
        self._before_attempt = before_attempt
        self.most_attempts = attempts
        self.seconds = DEFAULT_SECONDS
        self._random = random.Random()  # noqa: S311  spreads retries; nothing secret

    async def complete(self, run: Run, choices: list[Ranked]) -> Answer:
        """A whole answer, chat or embeddings.

        Raises
        ------
        UpstreamRefused : a provider says that the request is wrong.
        UpstreamFailed : every attempt failed.
        DeadlineExceeded : the caller's time is up.
        BudgetExceeded : another model would have had to take over, and does not fit.
        """
        return await self._attempts(run, choices, self._complete)

    async def begin(self, run: Run, choices: list[Ranked]) -> Begun:
        """A stream that has begun; raises as `complete` does."""
        return await self._attempts(run, choices, self._begin)

    async def _attempts(
        self, run: Run, choices: list[Ranked], attempt: Callable[[Run, Ranked, Permit, float], Awaitable[Result]]
    ) -> Result:
        deadline = run.prompt.deadline or time.monotonic() + self.seconds
        patience = min(deadline, time.monotonic() + LONGEST_WAIT_S)
        if run.upstreams is None:
            run.upstreams = self.upstreams
        failures: list[ProviderFailure] = []
        failed_at: set[str] = set()  # providers
        spared: set[str] = set()  # providers that may not be asked once more
        not_again: set[str] = set()  # models that would fail the same way
        tried: dict[str, float] = {}  # model → moment from which it may be tried again
        closed: dict[str, str] = {}
        while len(failures) < self.most_attempts:
            left_over = [one for one in choices if one.model.id not in not_again and one.model.provider not in spared]
            choice, permit = await self._next(left_over, tried, closed)
            if choice is None or permit is None:
                if await self._wait_for_one(left_over, patience):
                    continue
                break
            provider = choice.model.provider
            if provider not in failed_at:
                self.retries.requested(provider)
            elif not self.retries.allow(provider, same_model=choice.model.id in tried):
                self._breakers.abandoned(permit)
                spared.add(provider)
                continue
            if failures:
                await self._pause(run, choice, tried, len(failures), failures[-1], deadline, permit)
            if time.monotonic() >= deadline:
                self._breakers.abandoned(permit)
                raise unanswered.late(run)
            try:
                await self._before_attempt(run, choice)
            except BaseException as error:
                self._breakers.abandoned(permit)
                if not failures or not isinstance(error, BudgetExceeded):
                    raise
                # What it would cost beside what failed already does not fit; a cheaper one may.
                not_again.add(choice.model.id)
                closed[choice.model.id] = "its cost does not fit a budget"
                continue
            run.current = choice
            try:
                return await attempt(run, choice, permit, deadline)
            except ProviderFailure as failure:
                if not run.bare and (prompt := without_reasoning(run.prompt, failure)) is not None:
                    run.prompt, run.bare = prompt, True
                    continue
                failures.append(failure)
                failed_at.add(provider)
                if failure.kind not in ELSEWHERE:
                    raise unanswered.refused(run, choice, failure) from failure
                if failure.kind not in RETRIABLE:
                    not_again.add(choice.model.id)
                tried[choice.model.id] = time.monotonic() + (failure.retry_after or 0.0)
        if time.monotonic() >= deadline:
            raise unanswered.late(run)
        waits = [self._breakers.ready_in(model) for model in closed]
        raise unanswered.failed(run, failures, closed, min((one for one in waits if one is not None), default=None))

    async def _next(
        self, choices: list[Ranked], tried: Mapping[str, float], closed: dict[str, str]
    ) -> tuple[Ranked | None, Permit | None]:
        """The best model not tried yet whose breaker lets it through; when all were tried, the one whose time to try
        again comes first."""
        fresh = [one for one in choices if one.model.id not in tried]
        again = sorted((one for one in choices if one.model.id in tried), key=lambda one: tried[one.model.id])
        for choice in (*fresh, *again):
            permit = await self._breakers.admit_probe(choice.model.id)
            if permit is not None:
                return choice, permit
            closed[choice.model.id] = self._breakers.why_closed_to(choice.model.id) or "not admitted"
        return None, None

    async def _wait_for_one(self, choices: Sequence[Ranked], until: float) -> bool:
        """Wait for the first model that only asked to be left alone for a while; False when none comes in time."""
        waits = [self._breakers.aside_for(one.model.id) for one in choices]
        first = min((one for one in waits if one is not None), default=None)
        if first is None:
            return False
        # Not all at the same moment: whoever was told so was told the same.
        seconds = first + self._random.uniform(0.0, min(0.1 * first, 1.0)) + 0.001
        if seconds >= until - time.monotonic():
            return False
        await asyncio.sleep(seconds)
        return True

    async def _pause(
        self,
        run: Run,
        choice: Ranked,
        tried: Mapping[str, float],
        attempt: int,
        last: ProviderFailure,
        deadline: float,
        permit: Permit,
    ) -> None:
        """Before the same model is asked again. Another one is asked at once: it did nothing wrong."""
        if choice.model.id not in tried:
            return
        left = deadline - time.monotonic()
        asked_for = max(0.0, tried[choice.model.id] - time.monotonic()) or last.retry_after
        seconds = delay(attempt, asked_for, left, self._random)
        try:
            if seconds is None:
                raise unanswered.late(run)
            await asyncio.sleep(seconds)
        except BaseException:
            self._breakers.abandoned(permit)
            raise

    async def _complete(self, run: Run, choice: Ranked, permit: Permit, deadline: float) -> Answer:
        assert run.upstreams is not None
        provider, wire = run.upstreams.of(choice.model.provider)
        model_id = choice.model.id
        ask = wire.embed if run.prompt.kind == "embeddings" else wire.complete
        start, given = time.perf_counter(), deadline - time.monotonic()
        self._health.started(model_id)
        try:
            async with self._slots.hold(provider, given):
                left = deadline - time.monotonic()  # waiting for a slot took some
                answer = await ask(provider, choice.model.name, run.prompt, min(left, provider.timeout_s))
        except ProviderFailure as failure:
            self._note_failure(run, choice, permit, failure, start, given)
            raise
        except BaseException:
            self._note_abandoned(run, choice, permit, start)
            raise
        took = time.perf_counter() - start
        run.upstream_s += took
        self._breakers.succeeded(permit)
        self._health.succeeded(model_id, 1000 * took, 1000 * took, answer.usage.output if answer.usage else 0)
        run.attempts.append(Attempt(model_id, 1000 * (start - run.started), 1000 * took))
        run.finish_reason = answer.finish_reason
        return answer

    async def _begin(self, run: Run, choice: Ranked, permit: Permit, deadline: float) -> Begun:
        assert run.upstreams is not None
        provider, wire = run.upstreams.of(choice.model.provider)
        model_id = choice.model.id
        start, given = time.perf_counter(), deadline - time.monotonic()
        self._health.started(model_id)
        slot = self._slots.hold(provider, given)
        entered: list[AbstractAsyncContextManager[object]] = []
        head: list[Piece] = []
        try:
            await slot.__aenter__()
            entered.append(slot)
            left = deadline - time.monotonic()
            opened = wire.stream(provider, choice.model.name, run.prompt, min(left, provider.timeout_s))
            pieces = await opened.__aenter__()
            entered.append(opened)
            async for piece in pieces:
                head.append(piece)
                if has_content(piece):
                    break
        except BaseException as error:
            for one in reversed(entered):
                await one.__aexit__(None, None, None)
            if isinstance(error, ProviderFailure):
                self._note_failure(run, choice, permit, error, start, given)
            else:
                self._note_abandoned(run, choice, permit, start)
            raise
        first = time.perf_counter() - start
        run.first_token_s = time.perf_counter() - run.started
        # It counts from now on; how it ended is written over it.
        run.attempts.append(Attempt(model_id, 1000 * (start - run.started), 1000 * first))

        async def release(failure: ProviderFailure | None, complete: bool, tokens: int) -> None:
            await slot.__aexit__(None, None, None)
            run.attempts.pop()
            if failure is not None:
                # What was streamed is counted and charged by who read it.
                self._note_failure(run, choice, permit, failure, start, given, charge=False)
            elif complete:
                took = time.perf_counter() - start
                run.upstream_s += took
                run.attempts.append(Attempt(model_id, 1000 * (start - run.started), 1000 * took))
                self._breakers.succeeded(permit)
                self._health.succeeded(model_id, 1000 * first, 1000 * took, tokens)
            else:
                self._note_abandoned(run, choice, permit, start)

        return Begun(opened, pieces, head, release)

    def _note_failure(
        self,
        run: Run,
        choice: Ranked,
        permit: Permit,
        failure: ProviderFailure,
        start: float,
        given: float,
        *,
        charge: bool = True,
    ) -> None:
        took = time.perf_counter() - start
        run.upstream_s += took
        if failure.kind == "timeout" and given < choice.latency_ms / 1000:
            # The caller gave it less time than it was expected to take: that says nothing about the model.
            self._breakers.abandoned(permit)
            self._health.cancelled(choice.model.id)
        else:
            self._breakers.failed(permit, failure.kind, failure.retry_after)
            self._health.failed(choice.model.id, failure.kind, 1000 * took)
        cost = 0
        if (
            charge
            and failure.sent
            and failure.status in (None, 200)
            and failure.kind in ("timeout", "stalled", "closed", "malformed")
        ):
            cost = choice.model.price.cost(_unseen(run, choice, failure, took))
            run.charge(choice.model.provider, cost)
        run.attempts.append(
            Attempt(
                choice.model.id,
                1000 * (start - run.started),
                1000 * took,
                failure=failure.kind,
                status=failure.status,
                message=failure.message,
                cost=cost,
            )
        )

    def _note_abandoned(self, run: Run, choice: Ranked, permit: Permit, start: float) -> None:
        took = time.perf_counter() - start
        run.upstream_s += took
        self._breakers.abandoned(permit)
        self._health.cancelled(choice.model.id)
        run.attempts.append(Attempt(choice.model.id, 1000 * (start - run.started), 1000 * took, failure="cancelled"))


def _unseen(run: Run, choice: Ranked, failure: ProviderFailure, took: float) -> Usage:
    """What a provider may have used for an answer that nobody got to see: it read the prompt; a stream had not begun to
    speak; a whole answer had been written as far as the time went, or altogether where it came and was broken."""
    most = run.task.output_tokens
    if run.prompt.stream or run.prompt.kind == "embeddings":
        return Usage(input=run.task.input_tokens, estimated=True)
    if failure.kind == "timeout":
        most = min(most, run.used_by(choice.model, 1000 * took).output)
    return Usage(input=run.task.input_tokens, output=most, estimated=True)
