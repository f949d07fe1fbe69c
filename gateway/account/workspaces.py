"""The workspaces there are, known to every call without asking the database."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.account.encryption import Keyring, no_key
from gateway.account.workspace_settings import DEFAULTS, Filters, WorkspaceSettings, as_json, parse
from gateway.prompt import DEFAULT_WORKSPACE
from store import workspaces as stored
from store.database import migrate
from store.errors import InvalidValue, MeritError, StateConflict
from store.settings import Settings

__all__ = ["Filters", "WorkspaceSettings", "Workspaces", "as_json", "parse"]

log = logging.getLogger("merit.gateway")

REFRESH_SECONDS = 2.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}", re.ASCII)


class Workspaces:
    """All workspaces, in memory. Changes made here count at once, those of other processes within seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, WorkspaceSettings] = {}
        self._stamp: tuple[int, datetime | None] | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read them, and look for changes from now on.

        Raises
        ------
        ServiceUnavailable : the database does not answer.
        """
        migrate(self._settings)
        self.refresh()
        self._thread = threading.Thread(target=self._watch, name="merit-workspaces", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def get(self, name: str) -> WorkspaceSettings:
        """What is set for a workspace; the defaults for one that nobody has made."""
        return self._known.get(name, DEFAULTS)

    def every(self) -> dict[str, WorkspaceSettings]:
        """All there are, by name; "default" is always among them."""
        return {DEFAULT_WORKSPACE: DEFAULTS, **dict(sorted(self._known.items()))}

    def refresh(self) -> None:
        """Read what was changed in the database.

        Raises
        ------
        ServiceUnavailable : the database does not answer.
        """
        with self._lock:
            stamp = stored.stamp(self._settings)
            if stamp == self._stamp:
                return
            known = {}
            for one in stored.every(self._settings):
                try:
                    known[one.name] = parse({"organisation": one.organisation, **one.settings})
                except InvalidValue as error:
                    # Of a later version, or written by hand: what it forbids is not known.
                    log.error(
                        "The workspace %r is not understood, and only local models answer it: %s", one.name, error
                    )
                    known[one.name] = replace(DEFAULTS, local_only=True)
            self._known = known
            self._stamp = stamp

    def put(self, name: str, values: Mapping[str, Any]) -> WorkspaceSettings:
        """Make a workspace, or replace everything that is set for it.

        Raises
        ------
        InvalidValue : a name or a value that does not fit; the message names the field.
        SettingsError : words are to be kept encrypted and there is no key.
        """
        if not _NAME.fullmatch(name):
            raise InvalidValue(
                f"{name[:64]!r} cannot name a workspace.",
                remedy="Use 1 to 128 letters, digits and . _ @ -, a letter or digit first.",
                field="workspace",
                value=name[:64],
            )
        made = parse(values)
        if made.keep == "encrypted" and Keyring(self._settings).key_id is None:
            raise no_key()
        shown = as_json(made)
        stored.put(self._settings, name, str(shown.pop("organisation")), shown)
        self._again()
        return made

    def change(self, name: str, changes: Mapping[str, Any]) -> WorkspaceSettings:
        """Change some of what is set for a workspace; objects within it are merged. Raises as `put` does."""
        self._again()
        return self.put(name, _merged(as_json(self.get(name)), changes))

    def delete(self, name: str) -> WorkspaceSettings:
        """Forget what is set for a workspace, so that the defaults count; what was set.

        Raises
        ------
        UnknownEntity : there is none of that name.
        StateConflict : the default workspace always exists.
        """
        if name == DEFAULT_WORKSPACE:
            raise StateConflict(
                f"The workspace {name!r} always exists.", remedy="Change it instead.", field="workspace", value=name
            )
        gone = stored.delete(self._settings, name)
        self._again()
        return parse({"organisation": gone.organisation, **gone.settings})

    def _again(self) -> None:
        # Two changes within one tick of the clock leave the same stamp.
        self._stamp = None
        self.refresh()

    def _watch(self) -> None:
        failing = False
        while not self._closing.wait(REFRESH_SECONDS):
            try:
                self.refresh()
                failing = False
            except (MeritError, SQLAlchemyError) as error:
                if not failing:
                    log.error("Workspaces cannot be read, what was known of them counts on: %s", error)
                failing = True


def _merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for name, value in changes.items():
        known = merged.get(name)
        merged[name] = _merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return merged
