"""A configuration that follows its file: a new one when the file is right, the old one while it is not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from gateway.configuration.loading import Configuration, load_configuration, source_of
from store.errors import SettingsError
from store.settings import Settings

log = logging.getLogger("merit.gateway")


class Reloader:
    """Look every few seconds whether there is another configuration: `poll()`. No thread, no timer of its own.

    The file's time of change and size tell when to read it, its content whether anything changed. A price that changes
    by the clock gives a new configuration, too.

    Attributes
    ----------
    current : what the gateway runs with.
    error : why the file as it is now was not taken; None: it was.
    """

    def __init__(self, settings: Settings, current: Configuration, *, environ: Mapping[str, str] | None = None) -> None:
        self.current = current
        self.error: SettingsError | None = None
        self._settings = settings
        self._environ = environ
        self._seen: tuple[Path, int, int] | None = None

    def poll(self, at: datetime | None = None) -> Configuration | None:
        """A new configuration; None where nothing changed, or what changed is wrong."""
        now = at or datetime.now(UTC)
        source = source_of(self._settings)
        seen = _stamp(source)
        due = self.current.changes_at is not None and now >= self.current.changes_at
        if seen == self._seen and not due:
            return None
        self._seen = seen
        try:
            read = load_configuration(self._settings, path=source, environ=self._environ, at=now)
        except SettingsError as error:
            if self.error is None or str(error) != str(self.error):
                log.error("The configuration of the gateway stays as it was: %s", error)
            self.error = error
            return None
        if self.error is not None:
            log.info("%s is right again.", source)
        self.error = None
        if read.digest == self.current.digest and read.source == self.current.source and not due:
            return None
        self.current = read
        log.info(
            "The configuration of the gateway was read anew from %s: %d models of %d providers.",
            source,
            len(read.models),
            len(read.providers),
        )
        for note in read.notes:
            log.info("%s", note)
        return read


def _stamp(source: Path) -> tuple[Path, int, int]:
    try:
        found = source.stat()
    except OSError:
        return source, -1, -1
    return source, found.st_mtime_ns, found.st_size
