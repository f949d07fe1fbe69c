"""Everything that the gateway learns while it runs, put together: scores, repeats, reported feedback, shares.

A call that has ended is handed over in a microsecond (`ended`); one thread scores its answer and compares its prompt,
and every few seconds the shares of traffic are shifted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.account.preference_store import PreferenceStore
from gateway.account.record import CallRecord
from gateway.call.health import Health
from gateway.call.reading import Reading
from gateway.call.run import Run
from gateway.improve.adaptation import Adaptation, Shift, explained
from gateway.improve.feedback import Repeats, Reported
from gateway.improve.scoring import Scorer, Scoring, Words
from gateway.improve.scoring_judge import WORKSPACE, SampledJudge
from gateway.improve.scoring_queue import EndedCall, EndedCalls
from gateway.improve.spending import Spending
from gateway.promoted import Promoted
from store.events import emit
from store.settings import Settings

if TYPE_CHECKING:
    from gateway.call.concurrency import Slots
    from gateway.call.providers.wire import Upstreams

log = logging.getLogger("merit.gateway")

EVENT = "adaptation"
QUALITY = "quality"


class Improvement:
    """One per process.

    Parameters
    ----------
    health : gets its shares of traffic from here.
    busy : load of a model's provider; see `Adaptation`.
    clock : seconds that never go back.

    Attributes
    ----------
    judge : asked for a sample of answers; None: nobody is.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        preferences: PreferenceStore | None = None,
        *,
        busy: Callable[[str], float | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._untold: list[Shift] = []
        self.adaptation = Adaptation(health, clock, busy=busy, tell=self._untold.append)
        health.adaptation = self.adaptation.share
        self.scoring = Scoring(settings, self.adaptation.scored)
        self.repeats = Repeats(settings, preferences)
        self.reported = Reported(settings, self.adaptation.judged)
        self.queue = EndedCalls((self._paid, self.scoring, self.repeats), self.scoring.idle)
        self.promoted = Promoted(settings, QUALITY, self._put_scorer)
        self.spending = Spending(settings)
        self.judge: SampledJudge | None = None

    def start(self) -> None:
        """Begin to look at calls."""
        self.queue.start()

    async def close(self) -> None:
        """Stop; what was scored is written."""
        if self.judge is not None:
            await self.judge.close()
        await asyncio.to_thread(self._close)

    def ended(self, run: Run, record: CallRecord, answer: Mapping[str, Any] | Reading | None) -> None:
        """A call has ended. Never waits."""
        if record.tenant.workspace == WORKSPACE:
            return
        self.queue.offer(run, record, answer)
        if self.judge is not None:
            self.judge.offer(run, record, answer)

    async def adapt(self) -> None:
        """Read what was reported, and shift shares; each shift becomes an event."""
        await asyncio.to_thread(self.reported.look)
        self.adaptation.tick()
        untold = self._untold[:]
        del self._untold[: len(untold)]
        for shift in untold:
            log.info(
                "%s gets %.0f %% of its traffic, %.0f %% before (%s): %s",
                *(shift.model, 100 * shift.after, 100 * shift.before, shift.rule, shift.why),
            )
            await asyncio.to_thread(emit, self._settings, EVENT, shift.explain())

    async def watch_spending(self) -> None:
        """See whose program runs away; what is found is told by an event and the webhook."""
        for one in await asyncio.to_thread(self.spending.look):
            log.warning("%s", one.words)

    async def follow(self) -> None:
        """See which scorer is champion."""
        await asyncio.to_thread(self.promoted.look)

    def explain(self) -> dict[str, Any]:
        """What is believed, JSON-ready."""
        state, standing = self.queue.state(), self.promoted.standing
        return {
            "models": self.adaptation.beliefs(),
            "shifts": explained(tuple(self.adaptation.shifts)),
            "scorer": {
                "name": self.scoring.scorer.name,
                "refused": None if standing.refused is None else {"version": standing.refused, "why": standing.why},
                "scored": self.scoring.scored,
                "waiting": state.waiting,
                "left_out": state.left_out,
            },
            "repeats": self.repeats.noticed,
            "spending": self.spending.explain(),
            "judge": None
            if self.judge is None
            else {
                "model": self.judge.sample.model,
                "share": self.judge.sample.share,
                "dollars_a_day": self.judge.sample.dollars,
                "judged": self.judge.judged,
                "skipped": self.judge.skipped,
                "spent": self.judge.spent / 1e9,
            },
        }

    def _paid(self, ended: EndedCall) -> None:
        line = ended.record
        if line.outcome == "ok" and line.model is not None and ended.expected is not None and len(line.attempts) <= 1:
            self.adaptation.paid(line.model, float(line.cost), float(ended.expected.cost))

    def _put_scorer(self, model: Any, name: str) -> None:
        scorer: Scorer = Words() if model is None else model.named(name)
        self.scoring.scorer = scorer
        # Another scorer has another scale.
        self.adaptation.rescored()

    def _close(self) -> None:
        self.queue.drain(2.0)
        self.queue.close()
        self.scoring.flush()


def load_of(model: str, upstreams: Upstreams, slots: Slots) -> float | None:
    """Calls under way and waiting at a model's provider, over its slots; None for a provider that there is not."""
    name = model.partition("/")[0]
    provider = upstreams.providers.get(name)
    if provider is None or not provider.concurrency:
        return None
    return (slots.in_use(name) + slots.waiting(name)) / provider.concurrency
