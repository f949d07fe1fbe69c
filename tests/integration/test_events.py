"""Events: rows in the database, and a real HTTP receiver that is fast, slow, wrong or gone."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from store import events
from store.settings import Settings


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted to it; answers as told, and when."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[dict] = []
        self.status = 204
        # While this is not set, nothing is answered.
        self.answers = threading.Event()
        self.answers.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/s3cret?token=s3cret"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.answers.wait(60)
        self.server.received.append(json.loads(body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    events.flush(10)
    server.shutdown()
    thread.join()
    server.server_close()


def hooked(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"webhook_url": SecretStr(url)})


def test_events_are_kept_in_order(on_both: Settings) -> None:
    for number in range(5):
        events.emit(on_both, "drift" if number % 2 else "promotion", {"n": number, "at": datetime(2026, 1, 1)})
    seen = events.recent(on_both)
    assert [one.payload["n"] for one in seen] == [0, 1, 2, 3, 4]
    assert seen[0].payload["at"] == "2026-01-01T00:00:00"
    assert [one.payload["n"] for one in events.recent(on_both, "drift")] == [1, 3]
    assert [one.payload["n"] for one in events.recent(on_both, limit=2)] == [3, 4]
    assert [one.payload["n"] for one in events.recent(on_both, after=seen[1].id, limit=2)] == [2, 3]


def test_the_webhook_is_told(settings: Settings, receiver: Receiver) -> None:
    events.emit(hooked(settings, receiver.url), "promotion", {"model": "churn"})
    assert events.flush(10)
    (body,) = receiver.received
    (row,) = events.recent(settings)
    assert (body["id"], body["kind"], body["payload"]) == (row.id, "promotion", {"model": "churn"})
    assert datetime.fromisoformat(body["created_at"]) == row.created_at


def test_a_slow_webhook_holds_nobody_up(settings: Settings, receiver: Receiver) -> None:
    receiver.answers.clear()
    for _ in range(3):
        events.emit(hooked(settings, receiver.url), "promotion", {})
    # Nothing was answered yet, and here we are.
    assert receiver.received == []
    assert not events.flush(0.2)
    receiver.answers.set()
    assert events.flush(10)
    assert len(receiver.received) == 3


def test_failures_are_logged_without_the_address(
    settings: Settings, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    with caplog.at_level(logging.DEBUG, logger="store.events"):
        for url in (receiver.url, "http://127.0.0.1:1/s3cret", "nonsense://s3cret"):
            events.emit(hooked(settings, url), "promotion", {})
        assert events.flush(20)
    assert len(caplog.records) == 3
    assert "status 500" in caplog.text
    assert "ConnectError" in caplog.text
    assert "s3cret" not in caplog.text
    assert len(events.recent(settings)) == 3


def test_emitting_never_raises(settings: Settings, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    gone = settings.model_copy(update={"database_url": SecretStr("postgresql://u:hunter2@127.0.0.1:1/none")})
    with caplog.at_level(logging.DEBUG, logger="store.events"):
        events.emit(hooked(gone, receiver.url), "drift", {"n": 1})
        events.emit(settings, "drift", {"not json": object()})
        assert events.flush(10)
    assert receiver.received[0]["id"] is None
    assert len(caplog.records) == 2
    assert "hunter2" not in caplog.text
