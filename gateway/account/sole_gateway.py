"""Without Redis, one gateway per database: two that each count alone would each spend a whole budget."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from store.database import database_url, engine
from store.errors import ServiceUnavailable, SettingsError
from store.locks import file_lock
from store.settings import Settings

log = logging.getLogger("merit.gateway")

# The one before it may still be ending.
WAIT_SECONDS = 5.0
# Any fixed number: the key of the advisory lock on Postgres, which is one per database.
_KEY = 0x6D657267


class SoleGateway:
    """Holds a lock beside the database as long as the gateway runs: alone where it counts in its own process, together
    with others where all of them share a Redis, so that one which was started without it is noticed as well.

    The lock is gone when its holder dies, however it does: a file beside SQLite, a session of its own on Postgres.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shared = settings.redis_url is not None
        self._held = ExitStack()
        self._connection: sa.Connection | None = None

    def acquire(self, timeout: float = WAIT_SECONDS) -> None:
        """Take the lock. Blocks for up to `timeout` seconds.

        Raises
        ------
        SettingsError : another gateway has this database, and they do not share a Redis.
        ServiceUnavailable : the database does not answer.
        """
        url = database_url(self._settings)
        if url.get_backend_name() == "sqlite":
            path = Path(f"{Path(url.database or '').resolve()}.locks") / "gateway.lock"
            try:
                self._held.enter_context(file_lock(path, timeout, shared=self._shared))
            except ServiceUnavailable:
                raise self._refused(url.database or "") from None
            return
        try:
            self._acquire_on_postgres(timeout, url.render_as_string(hide_password=True))
        except sa.exc.OperationalError as error:
            raise ServiceUnavailable(
                f"The database {url.render_as_string(hide_password=True)} does not answer: {error.orig}",
                remedy="Start it, or correct MERIT_DATABASE_URL; `merit doctor` shows every setting.",
            ) from error

    def _acquire_on_postgres(self, timeout: float, shown: str) -> None:
        # A connection that goes back to no pool: the lock is its session's.
        connection = engine(self._settings).connect().execution_options(isolation_level="AUTOCOMMIT")
        self._held.callback(connection.close)
        connection.detach()
        deadline = time.monotonic() + timeout
        while not self._try(connection):
            if time.monotonic() >= deadline:
                self.release()
                raise self._refused(shown)
            time.sleep(0.05)
        self._connection = connection

    def _try(self, connection: sa.Connection) -> bool:
        function = "pg_try_advisory_lock_shared" if self._shared else "pg_try_advisory_lock"
        return bool(connection.scalar(sa.text(f"SELECT {function}(:key)"), {"key": _KEY}))

    def held(self) -> bool:
        """Whether the lock is still held; a Postgres that was restarted forgets it, and it is taken again if it can be.

        Raises
        ------
        SettingsError, ServiceUnavailable : see `acquire`.
        """
        if self._connection is None:
            return True
        try:
            self._connection.scalar(sa.text("SELECT 1"))
        except sa.exc.DBAPIError:
            log.warning("The session that holds the gateway's lock was lost; it is taken again.")
            self.release()
            self.acquire(0)
        return True

    def release(self) -> None:
        """Let others have it."""
        self._connection = None
        self._held.close()

    def _refused(self, shown: str) -> SettingsError:
        if self._shared:
            problem = "Another gateway without MERIT_REDIS_URL uses"
            remedy = "Set MERIT_REDIS_URL for all of them, or end the other one."
        else:
            problem = "Another gateway uses"
            remedy = "Set MERIT_REDIS_URL for both, so that they share budgets and limits, or end the other one."
        return SettingsError(f"{problem} the database {shown}.", remedy=remedy, field="MERIT_REDIS_URL")
