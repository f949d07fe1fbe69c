"""The ledger of every call: written to the journal before and after, and from there to the database in batches.

A call costs two short writes to a file; concurrent calls share a database transaction. The journal is the queue: when
the database is slow or away nothing piles up in memory, and when this process is killed the next one to start reads
what it had not stored. A call that was opened and never closed is charged what was reserved for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gateway.account import lines
from gateway.account.contents import Content
from gateway.account.journal import Journal
from gateway.account.posting import Posting
from gateway.account.record import CallRecord
from gateway.account.recovery import recover
from gateway.prompt import Tenant
from store.database import migrate
from store.errors import ServiceUnavailable
from store.settings import Settings

log = logging.getLogger("merit.gateway")

# Of journal that the database has not taken yet; beyond it no new call is made.
MOST_BEHIND = 1 << 30
# When closing: what the database does not take is in the journal, and recovered by the next start.
GIVE_UP_SECONDS = 3.0


@dataclass(frozen=True)
class LedgerState:
    """Where the ledger stands.

    Attributes
    ----------
    open : calls under way.
    behind_bytes : of journal that the database has not taken yet.
    written : lines that this process has brought into the database.
    unwritable : lines that the database can never hold; they lie in `journal/unwritable.lines`.
    failing : why the last write failed; None when it did not.
    recovered : calls of processes that died, brought into the database by this one.
    """

    open: int
    behind_bytes: int
    written: int
    unwritable: int
    failing: str | None
    recovered: int


class Ledger:
    """One per process. `open` and `close_call` may be called from any thread and never wait for the database.

    Parameters
    ----------
    interval : seconds between two batches: the fewer there are, the less the event loop waits for the interpreter. Who
        reads calls of this process has them stored first (`flush`).
    most_behind : bytes of journal beyond which no call is opened.

    Attributes
    ----------
    recovered : what `start` found of processes that died.
    on_stored : called, in the thread that writes, after lines were brought into the database; neither raises nor waits.
    """

    def __init__(self, settings: Settings, *, interval: float = 0.4, most_behind: int = MOST_BEHIND) -> None:
        self._settings = settings
        self._root = settings.root / "journal"
        self._interval = interval
        self._most_behind = most_behind
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._progress = threading.Condition()
        # Ends of calls that the journal could not take, because the disk is full: for the database alone.
        self._aside: deque[tuple[str, bytes]] = deque()
        self._posting = Posting(settings, self._root / "unwritable.lines")
        self._recovered = 0
        self._failing: str | None = None
        self._journal: Journal | None = None
        self._thread: threading.Thread | None = None
        self.recovered: list[CallRecord] = []
        self.on_stored: Callable[[], None] | None = None

    def start(self) -> None:
        """Recover what dead processes left, and begin to write.

        Raises
        ------
        ServiceUnavailable : the database does not answer.
        """
        migrate(self._settings)
        self._journal = Journal(self._root)
        self.recovered = self.recover()
        self._thread = threading.Thread(target=self._run, name="merit-ledger", daemon=True)
        self._thread.start()

    def open(
        self,
        call_id: str,
        at: datetime,
        tenant: Tenant,
        *,
        kind: str,
        asked: str,
        strategy: str,
        model: str | None,
        provider: str | None,
        reserved: int,
        parent: str | None = None,
    ) -> None:
        """Put on record that a call is about to be made; once more when another model takes over.

        Raises
        ------
        ServiceUnavailable : it cannot be put on record, so the call must not be made.
        """
        journal = self._journal
        assert journal is not None
        if journal.appended - journal.stored > self._most_behind:
            raise ServiceUnavailable(
                f"The ledger has {journal.behind:,} bytes that the database has not taken.{self._reason()}",
                remedy="Try again shortly; `merit doctor` tells what is wrong with the database.",
            )
        line = lines.opened(call_id, at, tenant, kind, asked, strategy, model, provider, reserved, parent)
        try:
            journal.append(line, opens=call_id)
        except OSError as error:
            raise ServiceUnavailable(
                f"The ledger cannot be written: {error.strerror}.", remedy=f"Make room at {self._root}."
            ) from error

    def close_call(self, record: CallRecord, content: Content | None = None) -> None:
        """Put the end of a call on record. Never raises, never waits for the database."""
        journal = self._journal
        assert journal is not None
        line = lines.closed(record)
        if content is not None:
            line += lines.kept(content, record.at)
        try:
            journal.append(line, closes=record.id)
        except OSError as error:
            log.error("The journal cannot be written, calls go to the database alone: %s", error.strerror)
            self._aside.append((record.id, line))
            self._wake.set()

    def flush(self, timeout: float = 10.0) -> bool:
        """Block until everything written so far is in the database; False when that did not happen in time."""
        journal = self._journal
        if journal is None:
            return True
        target = journal.appended
        if journal.stored >= target and not self._aside:
            return True
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: journal.stored >= target and not self._aside, timeout)

    def close(self, timeout: float = 30.0) -> None:
        """Bring what is written into the database and stop. What remains is recovered by the next start."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return  # still trying: the journal stays as it is
            self._thread = None
        if self._journal is not None:
            if self._journal.behind or self._journal.open_calls:
                log.warning("The ledger was closed before everything was stored; the next start recovers it.")
            self._journal.close()
            self._journal = None

    def state(self) -> LedgerState:
        journal = self._journal
        return LedgerState(
            open=journal.open_calls if journal is not None else 0,
            behind_bytes=journal.behind if journal is not None else 0,
            written=self._posting.written,
            unwritable=self._posting.unwritable,
            failing=self._failing,
            recovered=self._recovered,
        )

    def recover(self) -> list[CallRecord]:
        """Bring into the database what processes that died left in their journals; may be called again at any time.

        Returns
        -------
        The calls that were not in the database, without their attempts and decisions: those that had ended, and as
        `unknown`, at the price of what was reserved, those that had not.

        Raises
        ------
        ServiceUnavailable : the database does not answer.
        """
        found = recover(self._root, self._posting)
        self._recovered += len(found)
        return found

    def _run(self) -> None:
        journal = self._journal
        assert journal is not None
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            closing = self._closing.is_set()
            while data := journal.read():
                if not self._until_posted(data):
                    return
                journal.confirm()
                self._tell()
            while self._aside:
                call_id, line = self._aside[0]
                if not self._until_posted(line):
                    return
                journal.forget(call_id)
                self._aside.popleft()
                self._tell()
            if closing:
                return
            journal.rotate()

    def _tell(self) -> None:
        with self._progress:
            self._progress.notify_all()
        if self.on_stored is not None:
            self.on_stored()

    def _until_posted(self, data: bytes) -> bool:
        """Post lines, trying again until that is done; False when closing and it still fails after a few seconds."""
        pause, give_up = 0.1, None
        while True:
            try:
                self._posting.post(data)
            except Exception as error:  # noqa: BLE001  whatever the driver raises, the lines must not be lost
                if self._failing is None:
                    log.error("The ledger cannot be written to the database, trying on: %s", error)
                self._failing = type(error).__name__
                if self._closing.is_set():
                    give_up = give_up or time.monotonic() + GIVE_UP_SECONDS
                    if time.monotonic() > give_up:
                        return False
                time.sleep(pause)
                pause = min(2.0, pause * 2)
                continue
            if self._failing is not None:
                log.warning("The ledger is being written to the database again.")
                self._failing = None
            return True

    def _reason(self) -> str:
        return f" The last write failed: {self._failing}." if self._failing else ""
