"""Calls that have ended, on their way to what is done with them beside the traffic: a bounded queue and one thread.

A call is handed over in a microsecond and never waited for. Where calls end faster than they can be looked at, some of
them are left out: the thread takes a small share of a processor, and what finds the queue full is not looked at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.account.record import CallRecord
from gateway.call.reading import Reading
from gateway.call.run import Run
from gateway.choose.decision import Ranked
from gateway.choose.request import text_of

log = logging.getLogger("merit.gateway")

CAPACITY = 256
# Of one processor.
SHARE = 0.02
_LONGEST_PAUSE_S = 0.25


@dataclass(slots=True)
class EndedCall:
    """What is looked at of a call.

    Attributes
    ----------
    prompt : the last words of the user.
    answer : in OpenAI's shape, or what was read of a stream; None where there is none.
    expected : of the model that answered, by the decision.
    """

    record: CallRecord
    prompt: str
    answer: Mapping[str, Any] | Reading | None
    response_format: Mapping[str, Any] | None
    expected: Ranked | None


Step = Callable[[EndedCall], None]


@dataclass(frozen=True)
class QueueState:
    """Where the queue stands: calls waiting, looked at, and left out since the start."""

    waiting: int
    taken: int
    left_out: int


class EndedCalls:
    """One per process.

    Parameters
    ----------
    steps : what is done with each call, in this order, by one thread.
    idle : done when nothing waits, and at the end; says whether there was anything to do.
    """

    def __init__(
        self, steps: Sequence[Step], idle: Callable[[], None] = lambda: None, *, capacity: int = CAPACITY
    ) -> None:
        self._steps = steps
        self._idle = idle
        self._capacity = capacity
        self._waiting: deque[EndedCall] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._looked = threading.Condition()
        self._thread: threading.Thread | None = None
        self._taken = 0
        self._left_out = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="merit-ended", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; what waits is not looked at any more."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(10.0)
            self._thread = None

    def offer(self, run: Run, record: CallRecord, answer: Mapping[str, Any] | Reading | None) -> None:
        """Hand a call over. Never waits."""
        if len(self._waiting) >= self._capacity:
            self._left_out += 1
            return
        body = run.prompt.body
        wanted = body.get("response_format")
        self._waiting.append(
            EndedCall(
                record,
                text_of(body) if record.kind == "chat" else "",
                answer,
                wanted if isinstance(wanted, Mapping) else None,
                run.current,
            )
        )
        if len(self._waiting) == 1:
            self._wake.set()

    def drain(self, timeout: float = 10.0) -> bool:
        """Wait until everything that was handed over has been looked at; False when that took too long."""
        self._wake.set()
        with self._looked:
            return self._looked.wait_for(lambda: not self._waiting, timeout)

    def state(self) -> QueueState:
        return QueueState(len(self._waiting), self._taken, self._left_out)

    def _run(self) -> None:
        while not self._closing.is_set():
            if not self._waiting:
                self._do_idle()
                with self._looked:
                    self._looked.notify_all()
                self._wake.wait(1.0)
                self._wake.clear()
                continue
            # It stays in line until it has been looked at: whoever drains the queue waits for it.
            ended = self._waiting[0]
            begin = time.thread_time()
            for step in self._steps:
                try:
                    step(ended)
                except Exception:  # one call must not keep the others from being looked at
                    log.exception("The call %s could not be looked at.", ended.record.id)
            self._waiting.popleft()
            self._taken += 1
            took = time.thread_time() - begin
            if self._waiting and len(self._waiting) < self._capacity:
                self._closing.wait(min(_LONGEST_PAUSE_S, took * (1.0 / SHARE - 1.0)))
        self._do_idle()

    def _do_idle(self) -> None:
        try:
            self._idle()
        except Exception as error:  # noqa: BLE001 - the database may be away; the next time may do
            log.warning("What was learned of ended calls could not be written: %s", type(error).__name__)
