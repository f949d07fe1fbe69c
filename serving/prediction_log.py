"""Writes predictions to the database in batches, off the request path, and loses none of them.

A request only appends to a bounded queue. When the queue is full, because the database is slower than the traffic, a
request waits briefly for room; when there is still none it is refused with 503 rather than answered and forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.exc import DataError, IntegrityError

from store.errors import ServiceUnavailable

log = logging.getLogger("merit.serving")

# What a row itself is to blame for: trying again would fail for ever, and keep all others waiting.
HOPELESS = (DataError, IntegrityError, TypeError, ValueError)

Row = TypeVar("Row")


@dataclass(frozen=True)
class LogState:
    """Counts since the start.

    Attributes
    ----------
    pending : rows waiting to be written.
    written : rows in the database.
    waited : requests that had to wait for room in the queue.
    refused : requests answered with 503 since there was no room.
    unwritable : rows that the database can never hold, left out and told in the log.
    failing : why the last write failed; None when it did not.
    """

    pending: int
    written: int
    waited: int
    refused: int
    unwritable: int
    failing: str | None


class PredictionLog(Generic[Row]):
    """A bounded queue and the thread that empties it.

    Parameters
    ----------
    write : stores a batch in one transaction; raises when it could not, and is called again with the same rows.
    capacity : most rows in the queue.
    batch : most rows in one transaction.
    interval : seconds between two batches while there is little to do.
    patience : seconds that a request waits for room.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Row]], None],
        *,
        capacity: int = 50_000,
        batch: int = 2_000,
        interval: float = 0.25,
        patience: float = 2.0,
    ) -> None:
        self._write = write
        self._capacity = capacity
        self._batch = batch
        self._interval = interval
        self._patience = patience
        self._queue: deque[Row] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._progress = threading.Condition()
        self._accepted = 0
        self._written = 0
        self._waited = 0
        self._refused = 0
        self._unwritable = 0
        self._failing: str | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    async def put(self, rows: Sequence[Row]) -> None:
        """Queue rows for writing.

        Raises
        ------
        ServiceUnavailable : there was no room for them within the patience.
        """
        if self._offer(rows):
            return
        self._waited += 1
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            self._wake.set()
            await asyncio.sleep(0.01)
            if self._offer(rows):
                return
        self._refused += 1
        reason = f" The last write failed: {self._failing}." if self._failing else ""
        raise ServiceUnavailable(
            f"The prediction cannot be recorded: {len(self._queue):,} are waiting to be written.{reason}",
            remedy="Try again shortly; `merit doctor` tells what is wrong with the database.",
        )

    def _offer(self, rows: Sequence[Row]) -> bool:
        with self._lock:
            # A batch larger than the whole queue is taken when the queue is empty, or it never would be.
            if self._queue and len(self._queue) + len(rows) > self._capacity:
                return False
            self._queue.extend(rows)
            self._accepted += len(rows)
            return True

    def flush(self, timeout: float = 10.0) -> bool:
        """Block until everything queued so far is written; False when that did not happen in time."""
        target = self._accepted
        if self._written >= target:
            return True
        self._wake.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._written >= target, timeout)

    def close(self, timeout: float = 30.0) -> None:
        """Write what is queued and stop. What cannot be written within the timeout is counted in the log as lost."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            self._thread = None
        if lost := self._accepted - self._written:
            log.error("%d predictions could not be written before the shutdown: %s", lost, self._failing)

    def state(self) -> LogState:
        return LogState(
            pending=self._accepted - self._written,
            written=self._written - self._unwritable,
            waited=self._waited,
            refused=self._refused,
            unwritable=self._unwritable,
            failing=self._failing,
        )

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
                if not self._store(batch):
                    return
            if self._closing.is_set() and not self._queue:
                return

    def _store(self, batch: list[Row]) -> bool:
        """Write one batch, trying again until it is written; False when closing and it still fails after 20 s."""
        pause, give_up = 0.1, None
        while True:
            try:
                self._write(batch)
            except HOPELESS as error:
                if len(batch) > 1:
                    half = len(batch) // 2
                    return self._store(batch[:half]) and self._store(batch[half:])
                log.error("A prediction cannot be stored and is left out, %s: %r", error, batch[0])
                self._unwritable += 1
            except Exception as error:  # noqa: BLE001  whatever the driver raises, the rows must not be lost
                if self._failing is None:
                    log.error("Predictions cannot be written, trying on: %s", error)
                self._failing = f"{type(error).__name__}"
                if self._closing.is_set():
                    give_up = give_up or time.monotonic() + 20.0
                    if time.monotonic() > give_up:
                        return False
                time.sleep(pause)
                pause = min(2.0, pause * 2)
                continue
            if self._failing is not None:
                log.warning("Predictions are being written again.")
                self._failing = None
            with self._progress:
                self._written += len(batch)
                self._progress.notify_all()
            return True
