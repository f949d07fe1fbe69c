"""Counters against the ledger: what drifted apart is brought together, without stopping calls.

A call is in the counters and in the ledger, but not at the same moment. So neither is compared as it stands: counters
of earlier than the ledger may not exceed it, counters of later may not fall short of it, whichever is written first
and as long as both happen within the pause between two looks. What is beyond that is drift: counters that Redis lost,
a call that was charged twice by a recovery, lines that another process wrote while the shared state was away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from gateway.account.budget_counters import REST, Counters, History
from gateway.account.budget_index import BudgetIndex, period_start

log = logging.getLogger("merit.gateway")
Counts = dict[str, dict[str, int]]
# What looking and adding up may take besides the pauses.
_LONGEST_S = 120.0


class Reconciliation:
    """Brings counters up to what the ledger says at once, and down only when two rounds in a row agree and the ledger
    has been written meanwhile: a ledger that is behind must not give back what was spent.

    Parameters
    ----------
    keeps_up : whether the ledger holds calls that were asked after a moment.
    pause_s : longer than a finished call may take to be in both places.
    """

    def __init__(
        self,
        counters: Counters,
        history: History,
        keeps_up: Callable[[float], Awaitable[bool]],
        clock: Callable[[], float] = time.time,
        pause_s: float = 30.0,
    ) -> None:
        self._counters, self._history, self._keeps_up = counters, history, keeps_up
        self._clock, self._pause_s = clock, pause_s
        self._excess: dict[tuple[str, str, float], int] = {}

    async def run(self, index: BudgetIndex, *, pause_s: float | None = None) -> int:
        """One round; how many counters were changed. None where another gateway is at it.

        Parameters
        ----------
        pause_s : another pause for this round.
        """
        pause = self._pause_s if pause_s is None else pause_s
        async with self._counters.alone(2 * pause + _LONGEST_S) as alone:
            return await self._compare(index, pause) if alone else 0

    async def _compare(self, index: BudgetIndex, pause: float) -> int:
        starts = {period: period_start(period, self._clock()) for period in ("day", "month")}
        began = self._clock()
        earlier = await self._read(index)
        await asyncio.sleep(pause)
        ledger = await self._history(index.counted)
        fresh = await self._keeps_up(began)
        await asyncio.sleep(pause)
        later = await self._read(index)
        changed = 0
        excess: dict[tuple[str, str, float], int] = {}
        for budget in index.counted:
            start = starts[budget.period]
            if period_start(budget.period, self._clock()) != start:
                continue
            written = _folded(ledger.get(budget.id, {}), later[budget.id])
            changes: dict[str, int] = {}
            for subject in {*written, *earlier[budget.id]}:
                lacking = written.get(subject, 0) - later[budget.id].get(subject, 0)
                beyond = earlier[budget.id].get(subject, 0) - written.get(subject, 0)
                if lacking > 0:
                    changes[subject] = lacking
                elif beyond > 0:
                    name = (budget.id, subject, start)
                    excess[name] = beyond
                    agreed = min(beyond, self._excess.get(name, 0))
                    if agreed and fresh:
                        changes[subject] = -agreed
                        excess[name] = beyond - agreed
            if changes:
                log.warning(
                    "The budget %s and the ledger had drifted apart for %d it counts, by up to %d nanos.",
                    budget.id,
                    len(changes),
                    max(abs(change) for change in changes.values()),
                )
                await self._counters.correct(budget, start, changes)
                changed += len(changes)
        self._excess = excess
        return changed

    async def _read(self, index: BudgetIndex) -> Counts:
        found: Counts = {}
        for budget in index.counted:
            found[budget.id] = {subject: spent for subject, (spent, _) in (await self._counters.read(budget)).items()}
        return found


def _folded(written: Mapping[str, int], counted: Mapping[str, int]) -> Mapping[str, int]:
    """The ledger's sums by the names that the counters know: those that share a counter are summed up."""
    if REST not in counted:
        return written
    folded: dict[str, int] = {}
    for subject, amount in written.items():
        name = subject if subject in counted else REST
        folded[name] = folded.get(name, 0) + amount
    return folded
