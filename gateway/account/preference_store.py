"""Where the preferences of users are kept: one row each, read at most every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from gateway.choose.preferences import Preferences
from gateway.prompt import Tenant
from store.database import migrate, session
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import PreferenceRow

FRESH_S = 5.0
_MOST_USERS = 2_000


def subject_of(tenant: Tenant) -> str:
    """Whose preferences count: those of the person that the application names, otherwise those of the key."""
    return tenant.user or f"key:{tenant.key_name}"


class PreferenceStore:
    """Reads, learns and edits. Another process sees a change after a few seconds at the latest.

    Parameters
    ----------
    clock : seconds that never go back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        migrate(settings)
        self._settings = settings
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[float, Preferences | None]] = {}

    def of(self, tenant: Tenant) -> Preferences | None:
        """For `gateway.choose.chooser.Chooser`; None for a user of whom nothing is known. Not to be changed."""
        key = (tenant.workspace, subject_of(tenant))
        known = self._known.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        with session(self._settings, readonly=True) as opened:
            row = opened.get(PreferenceRow, key)
        return self._remember(key, None if row is None else Preferences.from_dict(row.preferences))

    def get(self, workspace: str, user: str) -> Preferences:
        """As they are stored now; empty ones for a user of whom nothing is known."""
        with session(self._settings, readonly=True) as opened:
            row = opened.get(PreferenceRow, (workspace, user))
        return Preferences() if row is None else Preferences.from_dict(row.preferences)

    def learn(
        self, workspace: str, user: str, model: str, domain: str, source: str, score: float, at: datetime | None = None
    ) -> None:
        """Take a sign into account; see `Preferences.learn`.

        Raises
        ------
        InvalidValue : an unknown source, or a score outside 0 to 1.
        """
        self._change(workspace, user, lambda one: one.learn(model, domain, source, score, at or utc_now()))

    def edit(
        self,
        workspace: str,
        user: str,
        *,
        said: Mapping[str, float | None] | None = None,
        tradeoff: float | None = None,
        forget: bool = False,
    ) -> Preferences:
        """Change what a user says outright.

        Parameters
        ----------
        said : model → liking 0 to 1; None takes back what was said of it. Models that are not named stay as they are.
        forget : drop what was learned.

        Raises
        ------
        InvalidValue : a number outside 0 to 1.
        """

        def change(preferences: Preferences) -> None:
            for model, liking in (said or {}).items():
                preferences.say(model, liking)
            if tradeoff is not None:
                preferences.trade(tradeoff)
            if forget:
                preferences.forget()

        return self._change(workspace, user, change)

    def erase(self, workspace: str, user: str) -> bool:
        """Remove everything about a user; whether there was anything."""
        with session(self._settings) as opened:
            row = opened.get(PreferenceRow, (workspace, user))
            if row is not None:
                opened.delete(row)
        self._known.pop((workspace, user), None)
        return row is not None

    def _change(self, workspace: str, user: str, change: Callable[[Preferences], None]) -> Preferences:
        try:
            return self._write(workspace, user, change)
        except IntegrityError:
            # Somebody else made the first row of this user in between: now there is one to change.
            return self._write(workspace, user, change)

    def _write(self, workspace: str, user: str, change: Callable[[Preferences], None]) -> Preferences:
        with session(self._settings) as opened:
            row = opened.get(PreferenceRow, (workspace, user), with_for_update=True)
            preferences = Preferences() if row is None else Preferences.from_dict(row.preferences)
            change(preferences)
            if row is None:
                row = PreferenceRow(workspace=workspace, user=user)
                opened.add(row)
            row.preferences = preferences.as_dict()
            row.updated_at = utc_now()
        self._remember((workspace, user), preferences)
        return preferences

    def _remember(self, key: tuple[str, str], preferences: Preferences | None) -> Preferences | None:
        self._known.pop(key, None)
        if len(self._known) >= _MOST_USERS:
            del self._known[next(iter(self._known))]
        self._known[key] = self._clock() + FRESH_S, preferences
        return preferences
