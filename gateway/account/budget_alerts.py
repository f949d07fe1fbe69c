"""Alerts at 50, 80 and 100 % of a budget: once each per period and subject, off the way of a call."""

from __future__ import annotations

import logging
import queue
import threading

from gateway.account.budget_index import as_date
from gateway.money import dollars
from store import budgets, events
from store.budgets import Budget, BudgetAlert
from store.errors import MeritError
from store.settings import Settings
from store.tables.base import utc_now

log = logging.getLogger("merit.gateway")

THRESHOLDS = (50, 80, 100)
# Of what this process has passed on; past it, the table of alerts alone knows.
_MOST_KNOWN = 100_000
_RETRIES = (0.5, 2.0, 10.0)


def thresholds(limit: int, before: int, after: int) -> list[int]:
    """The thresholds that spending passed on its way from `before` to `after`, in per cent."""
    return [one for one in THRESHOLDS if before * 100 < one * limit <= after * 100]


class Alerts:
    """A thread that keeps each alert and tells of it as the event `budget_alert`.

    The row in the database decides: whoever adds it tells of it, so that of several gateways one does. A gateway that
    dies between the two tells of it no more.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: queue.SimpleQueue[tuple[Budget, str, float, int, int] | None] = queue.SimpleQueue()
        self._known: set[tuple[str, str, float, int, int]] = set()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def watch(self, budget: Budget, subject: str, start: float, before: int, after: int) -> None:
        """Spending grew; alerts are given of the thresholds that it passed. Never waits."""
        for threshold in thresholds(budget.amount, before, after):
            # With another amount, the same per cent are another threshold.
            name = (budget.id, subject, start, threshold, budget.amount)
            if name not in self._known:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known.add(name)
                self._waiting.put((budget, subject, start, threshold, after))
                self._start()

    def close(self, timeout: float = 5.0) -> None:
        """Give the alerts that wait, and stop."""
        self._closing.set()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="merit-budget-alerts", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (alert := self._waiting.get()) is not None:
            for pause in (*_RETRIES, None):
                try:
                    self._give(*alert)
                    break
                except MeritError as error:
                    budget, threshold = alert[0].id, alert[3]
                    if pause is None or self._closing.wait(pause):
                        log.error("The alert at %d %% of the budget %s was not given: %s", threshold, budget, error)
                        break

    def _give(self, budget: Budget, subject: str, start: float, threshold: int, spent: int) -> None:
        alert = BudgetAlert(
            budget_id=budget.id,
            subject=subject,
            period_start=as_date(start),
            threshold=threshold,
            at=utc_now(),
            spent=spent,
        )
        if budgets.record_alert(self._settings, alert):
            name = subject or budget.subject
            told = {
                "budget": budget.id,
                "scope": budget.scope,
                "subject": name,
                # Whom it concerns: those of the workspace are told, too.
                "workspace": name if budget.scope == "workspace" else budget.workspace,
                "period": budget.period,
                "period_start": alert.period_start,
                "threshold": threshold,
                "spent": dollars(spent),
                "limit": dollars(budget.amount),
                "action": budget.action,
            }
            events.emit(self._settings, "budget_alert", told)
