"""Answers that never end must end with the process: the server waits for them before it tells the app that it stops."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def on_exit(callback: Callable[[], None]) -> Iterator[None]:
    """Call a function, in the event loop, when the process is asked to end; the server's own handler follows.

    Only where the server handles these signals itself, which is in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            before[number] = handler
            signal.signal(number, _chained(loop, callback, handler))
    try:
        yield
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)


def _chained(
    loop: asyncio.AbstractEventLoop, callback: Callable[[], None], handler: Callable[[int, FrameType | None], Any]
) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        handler(number, frame)

    return handle
