"""Rolls back a newly promoted champion that fails while it answers."""

from __future__ import annotations

import logging
from datetime import timedelta

from serving.vitals import Vitals
from store.errors import MeritError
from store.events import emit
from store.ledger import Promotion, lines
from store.promotions import rollback
from store.registry import Registry
from store.settings import Settings
from store.tables.base import utc_now

log = logging.getLogger("merit.serving")

ACTOR = "guard"


class Guard:
    """Looks at the vitals of champions; called by their watcher, off the request path.

    Every API process has one. The first whose champion breaks moves the alias, and only if that champion still has it;
    the others find another champion and do nothing.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry

    def look(self, name: str, version: int, vitals: Vitals) -> bool:
        """Whether the champion was rolled back now.

        Once a guard is broken it is acted upon once: a champion that was promoted long ago, or has no predecessor that
        was not rolled back from, stays, and is told of.
        """
        if vitals.told or not (reason := vitals.broken(self._settings.guard_latency_ms)):
            return False
        done = lines(self._settings, name, "done")
        if not done or done[-1].to_version != version:
            return False  # another process was faster, or the promotion is not settled yet: the next look will tell
        vitals.told = True
        problem = self._not_watched(done[-1])
        if not problem:
            try:
                rollback(
                    self._settings,
                    self._registry,
                    name,
                    actor=ACTOR,
                    reason=f"Rolled back by its guard: {reason}.",
                    expected=version,
                )
            except MeritError as error:
                problem = error.message
            else:
                log.error("%s version %d was rolled back by its guard: %s", name, version, reason)
                return True
        log.error("The guard of %s version %d is broken (%s) and it stays: %s", name, version, reason, problem)
        emit(
            self._settings,
            "guard_broken",
            {"model": name, "version": version, "reason": reason, "stays_because": problem},
        )
        return False

    def _not_watched(self, last: Promotion) -> str:
        """Why a broken guard does not move the champion; "" when it does."""
        if last.kind != "promotion":
            return f"It became champion by a {last.kind}, not by a promotion."
        since = last.settled_at or last.created_at
        if utc_now() - since > timedelta(hours=self._settings.guard_hours):
            return f"It was promoted more than {self._settings.guard_hours:g} hours ago."
        return ""
