"""Events: a row each, and a webhook told of it in the background."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session, to_json
from store.locks import transaction_lock
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.platform import EventRow

logger = logging.getLogger(__name__)
WEBHOOK_SECONDS = 3.0
# Notifications that wait for a slow receiver; more than that are logged and dropped, their rows are kept.
_waiting: queue.Queue[tuple[str, str]] = queue.Queue(maxsize=1000)
_guard = threading.Lock()
_sender: threading.Thread | None = None
_listeners: list[Callable[[], None]] = []

# Name of the lock that orders events: their ids become visible in their order.
LOCK = "events"


@dataclass(frozen=True)
class Event:
    """Something that happened; `created_at` is naive UTC."""

    id: int
    kind: str
    payload: Mapping[str, Any]
    created_at: datetime


def emit(settings: Settings, kind: str, payload: Mapping[str, Any]) -> int | None:
    """Keep an event and tell the webhook, if one is set. Never raises, never waits for the webhook.

    Where it concerns one workspace, the payload has its name as `workspace`; where it concerns a key, its id as
    `key_id`. Others than those of the platform are told of no other event.

    The webhook receives `{"id": …, "kind": …, "payload": …, "created_at": …}` by POST; `id` is null where the database
    could not be written.

    Returns
    -------
    Its id; None where the database could not be written.
    """
    now = utc_now()
    number: int | None = None
    try:
        migrate(settings)
        with session(settings) as opened:
            transaction_lock(opened, LOCK)
            row = EventRow(kind=kind, payload=dict(payload), created_at=now)
            opened.add(row)
            opened.flush()
            number = row.id
    except Exception as error:  # noqa: BLE001  what is told of must not fail because telling failed
        number = None
        logger.warning("The event %s was not kept: %s", kind, error)
    else:
        for heard in tuple(_listeners):
            heard()
    if settings.webhook_url is None:
        return number
    try:
        body = to_json({"id": number, "kind": kind, "payload": payload, "created_at": now})
        _start()
        _waiting.put_nowait((settings.webhook_url.get_secret_value(), body))
    except queue.Full:
        logger.warning("The webhook is too slow: the event %s (%s) was not sent.", kind, number)
    except Exception as error:  # noqa: BLE001  as above
        logger.warning("The event %s (%s) was not sent: %s", kind, number, type(error).__name__)
    return number


def listen(heard: Callable[[], None]) -> Callable[[], None]:
    """Have a function called after each event of this process, in any thread; call what is returned to end that.

    It must neither raise nor wait.
    """
    _listeners.append(heard)
    return lambda: _listeners.remove(heard)


def recent(settings: Settings, kind: str | None = None, *, limit: int = 100, after: int | None = None) -> list[Event]:
    """Events in time order: the newest `limit`, or the first `limit` whose id is larger than `after`."""
    migrate(settings)
    order = EventRow.id.desc() if after is None else EventRow.id.asc()
    query = sa.select(EventRow).order_by(order).limit(limit)
    if kind is not None:
        query = query.where(EventRow.kind == kind)
    if after is not None:
        query = query.where(EventRow.id > after)
    with session(settings, readonly=True) as opened:
        found = [Event(row.id, row.kind, row.payload, row.created_at) for row in opened.scalars(query)]
    return found if after is not None else found[::-1]


def flush(timeout: float = 5.0) -> bool:
    """Wait until the notifications that wait have been tried; False when `timeout` seconds did not suffice."""
    done = threading.Event()

    def wait() -> None:
        _waiting.join()
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    return done.wait(timeout)


def _start() -> None:
    global _sender
    with _guard:
        if _sender is None or not _sender.is_alive():
            # A command that ends right after a promotion still gets its notification out.
            if _sender is None:
                atexit.register(flush)
            _sender = threading.Thread(target=_send_all, name="merit-webhook", daemon=True)
            _sender.start()


def _send_all() -> None:
    while True:
        url, body = _waiting.get()
        try:
            _send(url, body)
        except Exception as error:  # noqa: BLE001  a receiver's failure is not ours; the URL may hold a secret
            logger.warning("The webhook did not take an event (%s); its address is not shown.", _named(error))
        finally:
            _waiting.task_done()


def _send(url: str, body: str) -> None:
    import httpx

    headers = {"content-type": "application/json", "user-agent": "meritorder"}
    httpx.post(url, content=body, headers=headers, timeout=WEBHOOK_SECONDS).raise_for_status()


def _named(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"status {status}" if status else type(error).__name__
