"""The prediction log: everything that was accepted is written, also when the database is slow, down, or closing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from serving.prediction_log import PredictionLog
from store.errors import ServiceUnavailable


class Sink:
    """Keeps what is written; can be slow or refuse."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.rows: list[int] = []
        self.batches = 0
        self.seconds = seconds
        self.broken = threading.Event()

    def __call__(self, rows: Sequence[int]) -> None:
        time.sleep(self.seconds)
        if self.broken.is_set():
            raise OSError("disk full")
        self.rows.extend(rows)
        self.batches += 1


def test_rows_are_written_in_batches_and_in_order() -> None:
    sink = Sink()
    log = PredictionLog(sink)
    log.start()

    async def send() -> None:
        for value in range(1_000):
            await log.put([value])

    asyncio.run(send())
    assert log.flush()
    assert sink.rows == list(range(1_000))
    assert sink.batches < 50
    log.close()


def test_closing_writes_what_is_queued() -> None:
    sink = Sink(seconds=0.01)
    log = PredictionLog(sink, batch=10)
    log.start()
    asyncio.run(log.put(list(range(500))))
    log.close()
    assert sink.rows == list(range(500))
    assert log.state().pending == 0


def test_a_full_queue_makes_requests_wait_and_is_counted() -> None:
    sink = Sink(seconds=0.02)
    log = PredictionLog(sink, capacity=100, batch=50, patience=60)
    log.start()

    async def send() -> None:
        await asyncio.gather(*(log.put(list(range(50))) for _ in range(10)))

    asyncio.run(send())
    log.close()
    assert len(sink.rows) == 500
    assert log.state().waited > 0
    assert log.state().refused == 0


def test_without_room_the_request_is_refused_not_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    sink = Sink()
    sink.broken.set()
    log = PredictionLog(sink, capacity=10, batch=10, patience=0.2)
    log.start()
    asyncio.run(log.put(list(range(10))))
    deadline = time.monotonic() + 60
    while log.state().failing is None:  # the first ten are with the writer then, and there is room for ten more
        assert time.monotonic() < deadline
        time.sleep(0.01)
    asyncio.run(log.put(list(range(10, 20))))
    with pytest.raises(ServiceUnavailable, match="cannot be recorded"):
        asyncio.run(log.put([99]))
    assert log.state().failing == "OSError"
    sink.broken.clear()
    log.close()
    assert sink.rows == list(range(20))
    assert log.state().refused == 1
    assert caplog.text.count("trying on") == 1


def test_a_batch_larger_than_the_queue_is_taken() -> None:
    sink = Sink()
    log = PredictionLog(sink, capacity=10)
    log.start()
    asyncio.run(log.put(list(range(1_000))))
    log.close()
    assert len(sink.rows) == 1_000


def test_flush_says_when_it_could_not() -> None:
    sink = Sink()
    sink.broken.set()
    log = PredictionLog(sink)
    log.start()
    asyncio.run(log.put([1]))
    assert not log.flush(timeout=0.3)
    sink.broken.clear()
    log.close()


def test_a_row_that_cannot_be_stored_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[int] = []

    def write(rows: Sequence[int]) -> None:
        if 13 in rows:
            raise ValueError("NUL in text")
        kept.extend(rows)

    log = PredictionLog(write)
    log.start()
    asyncio.run(log.put(list(range(100))))
    assert log.flush()
    log.close()
    assert sorted(kept) == [number for number in range(100) if number != 13]
    assert (log.state().unwritable, log.state().written, log.state().pending) == (1, 99, 0)
    assert "13" in caplog.text
