"""Events over SSE and WebSocket, from the API as a process of its own."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from store import events, keys
from store.database import dispose, migrate, session
from store.settings import Settings
from store.tables.gateway import LlmCallRow

KEYS = (
    ("app", "application", None),
    ("energy-app", "application", "energy"),
    ("energy-analyst", "analyst", "energy"),
    ("water-analyst", "analyst", "water"),
    ("boss", "analyst", None),
)


@dataclass
class Event:
    id: str
    kind: str
    data: dict[str, Any]

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = self.data["payload"]
        return payload


class Stream:
    """An open stream of server-sent events, read as a browser does."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()
        self.last = ""
        self.signs = 0

    def next(self) -> Event:
        """The next event; signs of life on the way are counted, and their ids kept."""
        kind, data = "message", ""
        for line in self._lines:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self.last = value
            elif name == "event":
                kind = value
            elif name == "data":
                data += value
            elif line.startswith(": still"):
                self.signs += 1
            elif not line and data:
                return Event(self.last, kind, json.loads(data))
        raise EOFError

    def take(self, count: int) -> list[Event]:
        return [self.next() for _ in range(count)]


@dataclass(frozen=True)
class Api:
    settings: Settings
    url: str
    keys: dict[str, str]

    @contextmanager
    def listen(self, key: str = "boss", last: str | None = None, **query: str) -> Iterator[Stream]:
        headers = {"Authorization": f"Bearer {self.keys[key]}"} | ({} if last is None else {"Last-Event-ID": last})
        with httpx.stream("GET", f"{self.url}/v1/events", params=query, headers=headers, timeout=20) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            stream = Stream(answer)
            # Listening begins before anything that follows happens.
            while not stream.last:
                line = next(stream._lines)
                if line.startswith("id:"):
                    stream.last = line[3:].strip()
            yield stream

    @contextmanager
    def socket(self, key: str | None = "boss", query: str = "", **options: Any) -> Iterator[ClientConnection]:
        headers = {} if key is None else {"X-API-Key": self.keys[key]}
        address = self.url.replace("http", "ws") + "/v1/events" + query
        with connect(address, additional_headers=headers, open_timeout=20, max_size=None, **options) as opened:
            yield opened

    def chat(self, key: str = "app", model: str = "simulated/nano") -> str:
        """Id of a call."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        headers = {"X-API-Key": self.keys[key]}
        answer = httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=20)
        return str(answer.headers.get("x-merit-id", ""))

    def publish(self, kind: str = "custom.x", key: str = "boss", **body: Any) -> httpx.Response:
        headers = {"X-API-Key": self.keys[key]}
        return httpx.post(f"{self.url}/v1/events", json={"kind": kind, **body}, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, api_process: Callable[..., Any], simulator_process: Any
) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("events")
    settings = Settings(home=folder / "home")
    migrate(settings)
    made = {name: keys.create(settings, name, role, workspace=where)[1] for name, role, where in KEYS}
    process = api_process(
        settings,
        folder / "api.log",
        MERIT_SIMULATOR_PORT=str(simulator_process.port),
        MERIT_EVENTS_HEARTBEAT_SECONDS="0.3",
    )
    try:
        process.wait("/healthz")
        yield Api(settings, process.url, made)
    finally:
        process.stop()
        dispose(settings)


def said(opened: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of a type; others are passed over."""
    while True:
        message: dict[str, Any] = json.loads(opened.recv(20))
        if message["type"] == kind:
            return message


def ask(opened: ClientConnection, type_: str, **fields: Any) -> None:
    opened.send(json.dumps({"type": type_, **fields}))


def closed(opened: ClientConnection) -> int:
    """The code that it closes with."""
    try:
        while True:
            opened.recv(20)
    except ConnectionClosed as gone:
        return 0 if gone.rcvd is None else gone.rcvd.code


def test_calls_and_events_come_as_they_happen(api: Api, simulator: Any) -> None:
    with api.listen() as stream, api.socket(query="?kinds=call,custom.*") as opened:
        said(opened, "subscribed")
        one = api.chat()
        call = stream.next()
        assert api.publish(payload={"a": 1}).status_code == 201
        event = stream.next()
        assert (call.kind, call.payload["id"], call.payload["outcome"]) == ("call", one, "ok")
        assert call.payload["model"] == "simulated/nano"
        assert "Hi" not in json.dumps(call.data)
        assert (event.kind, event.payload["data"], event.payload["published_by"]) == ("custom.x", {"a": 1}, "boss")
        assert [call.data["id"], event.data["id"]] == [call.id, event.id]
        # Over both ways it is the same.
        for sent in (call, event):
            message = said(opened, "event")
            del message["type"]
            assert message == sent.data


def test_who_connects_again_and_again_misses_nothing(api: Api, simulator: Any) -> None:
    expected: list[str] = []

    def work() -> None:
        mine = [api.chat() for _ in range(25)]
        expected.extend(mine)

    with api.listen(kinds="call") as stream:
        last = begin = stream.last
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    while len(seen) < 75:
        with api.listen(kinds="call", last=last) as stream:
            for event in stream.take(min(7, 75 - len(seen))):
                seen.append(event.payload["id"])
                last = event.id
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 75
    assert set(seen) == set(expected)
    with session(api.settings, readonly=True) as opened:
        ledger = list(opened.scalars(sa.select(LlmCallRow.id).order_by(LlmCallRow.seq)))
    assert seen == ledger[-75:]
    # All of it again, by the other way, from where it began.
    with api.socket(query=f"?kinds=call&after={begin}") as socket_:
        assert [said(socket_, "event")["payload"]["id"] for _ in range(75)] == seen


def test_everybody_sees_what_is_theirs(api: Api, simulator: Any) -> None:
    start = str(_now(api))
    own, others = api.chat("energy-app"), api.chat("app")
    for workspace in ("energy", "water", None):
        assert api.publish("custom.w", workspace=workspace).status_code == 201
    events.emit(api.settings, "promotion", {"model": "churn"})
    events.emit(api.settings, "batch", {"workspace": "energy", "key_id": api.keys["energy-app"].split("_")[1]})
    assert api.publish("custom.end", key="energy-analyst").json()["event"]
    assert api.publish("custom.end", key="water-analyst").json()["event"]
    expected = {
        "app": [others],
        "energy-app": [own, "batch"],
        "energy-analyst": [own, "custom.w", "batch", "custom.end"],
        "water-analyst": ["custom.w", "custom.end"],
        "boss": [own, others, "custom.w", "custom.w", "custom.w", "promotion", "batch", "custom.end", "custom.end"],
    }
    end = _now(api)
    for key, names in expected.items():
        with api.listen(key, after=start) as stream:
            found = stream.take(len(names))
            assert sorted(one.payload["id"] if one.kind == "call" else one.kind for one in found) == sorted(names)
            # And no more: it has looked through all that there is.
            signs = stream.signs
            headers = iter(stream._lines)
            while stream.last != str(end) or stream.signs == signs:
                line = next(headers)
                assert not line.startswith("event:")
                if line.startswith("id:"):
                    stream.last = line[3:].strip()
                stream.signs += line.startswith(": still")
        with api.socket(key, query=f"?after={start}") as opened:
            told = [said(opened, "event") for _ in names]
            assert sorted(one["payload"]["id"] if one["kind"] == "call" else one["kind"] for one in told) == sorted(
                names
            )


def _now(api: Api) -> Any:
    from store import event_log

    # The ledger is a little behind the calls, until it is read.
    read = httpx.get(f"{api.url}/v1/llm/runs", params={"limit": 1}, headers={"X-API-Key": api.keys["boss"]}, timeout=60)
    assert read.json()["complete"]
    return event_log.now(api.settings)


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({"kinds": "custom.a"}, ["custom.a"]),
        ({"kinds": "custom.a,custom.b"}, ["custom.a", "custom.b"]),
        ({"kinds": "custom.*", "workspace": "energy"}, ["custom.b"]),
        ({"model": "churn"}, ["promotion"]),
        ({"workspace": "energy"}, ["custom.b"]),
    ],
)
def test_only_what_is_wanted_comes(api: Api, query: dict[str, str], kinds: list[str]) -> None:
    start = str(_now(api))
    api.publish("custom.a")
    api.publish("custom.b", workspace="energy")
    events.emit(api.settings, "promotion", {"model": "churn"})
    api.publish("custom.end", workspace="energy", payload={"model": "churn"})
    wanted = dict(query)
    if "kinds" in wanted:
        wanted["kinds"] += ",custom.end"
    with api.listen(after=start, **wanted) as stream:
        found = stream.take(len(kinds))
    assert [one.kind for one in found] == kinds


def test_a_stream_without_news_shows_that_it_lives_and_moves_on(api: Api) -> None:
    with api.listen(kinds="custom.never") as stream, api.socket(query="?kinds=custom.never") as opened:
        before = stream.last
        api.publish("custom.other")
        lines = iter(stream._lines)
        while stream.last == before or not stream.signs:
            line = next(lines)
            assert not line.startswith("data")
            if line.startswith("id:"):
                stream.last = line[3:].strip()
            stream.signs += line.startswith(": still")
        while said(opened, "ping")["id"] != stream.last:
            pass
        ask(opened, "pong")
        ask(opened, "ping", ref=7)
        assert said(opened, "pong")["ref"] == 7


def test_what_a_socket_wants_changes_on_the_way(api: Api) -> None:
    with api.socket() as opened:
        assert said(opened, "ready")
        ask(opened, "subscribe", kinds=["custom.a"])
        assert said(opened, "subscribed")["kinds"] == ["custom.a"]
        api.publish("custom.b")
        api.publish("custom.a", payload={"n": 1})
        first = said(opened, "event")
        assert first["payload"]["data"] == {"n": 1}
        ask(opened, "subscribe", kinds=["custom.b"])
        assert said(opened, "subscribed")["kinds"] == ["custom.a", "custom.b"]
        ask(opened, "unsubscribe", kinds=["custom.a"])
        assert said(opened, "subscribed")["kinds"] == ["custom.b"]
        ask(opened, "filter", workspace="energy")
        assert said(opened, "subscribed")["workspace"] == "energy"
        api.publish("custom.a", workspace="energy")
        api.publish("custom.b")
        api.publish("custom.b", workspace="energy", payload={"n": 2})
        assert said(opened, "event")["payload"]["data"] == {"n": 2}
        # From the first on once more, and all of it.
        ask(opened, "filter")
        ask(opened, "subscribe", after=first["id"])
        assert [said(opened, "event")["kind"] for _ in range(3)] == ["custom.a", "custom.b", "custom.b"]
        ask(opened, "unsubscribe")
        while said(opened, "subscribed")["kinds"]:
            pass
        api.publish("custom.a")
        ask(opened, "ping", ref="silent")
        message = json.loads(opened.recv(20))
        while message["type"] == "ping":
            message = json.loads(opened.recv(20))
        assert message["type"] == "pong"


def test_publishing_over_a_socket(api: Api) -> None:
    with api.socket("energy-analyst", "?kinds=custom.*") as opened, api.socket("app") as app:
        ask(opened, "publish", kind="custom.done", payload={"x": [1]}, ref="a")
        number = said(opened, "published")
        assert number["ref"] == "a"
        event = said(opened, "event")
        assert event["workspace"] == "energy"
        assert event["id"].startswith(f"e{number['event']}-")
        ask(app, "publish", kind="custom.done", payload={}, ref="b")
        refused = said(app, "error")
        assert (refused["status"], refused["field"], refused["ref"]) == (403, "role", "b")
        for wrong, field in (
            ({"kind": "promotion"}, "kind"),
            ({"kind": "custom.X"}, "kind"),
            ({"kind": 7}, "kind"),
            ({"kind": "custom.x", "payload": []}, "kind"),
            ({"kind": "custom.x", "payload": {"x": "y" * 20_000}}, "payload"),
            ({"kind": "custom.x", "workspace": "water"}, "workspace"),
            ({"kind": "custom.x", "workspace": 3}, "workspace"),
        ):
            ask(opened, "publish", **wrong)
            assert said(opened, "error")["field"] == field
        for wrong_message, field in (
            ({"type": "dance"}, "type"),
            ({"type": "subscribe", "kinds": "call"}, "kinds"),
            ({"type": "subscribe", "kinds": ["Ä"]}, "kinds"),
            ({"type": "subscribe", "after": "yesterday"}, "after"),
            ({"type": "filter", "workspace": "water"}, "workspace"),
            ({"type": "filter", "model": 7}, "model"),
        ):
            opened.send(json.dumps(wrong_message))
            assert said(opened, "error")["field"] == field


def test_what_is_published_is_bounded_and_of_its_own_kind(api: Api) -> None:
    for kind, body, status in (
        ("promotion", {}, 422),
        ("call", {}, 422),
        ("custom.", {}, 422),
        ("custom.x", {"payload": {"x": "y" * 20_000}}, 422),
        ("custom.x", {"payload": [1]}, 422),
        ("custom.x", {"colour": 1}, 422),
        ("custom.x", {"payload": {"deep": _deep(300)}}, 422),
    ):
        assert api.publish(kind, **body).status_code == status
    assert api.publish("custom.x", "energy-app").status_code == 403
    assert api.publish("custom.x", "energy-analyst", workspace="water").status_code == 403


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"after": "yesterday"}, 422),
        ({"kinds": "Ä"}, 422),
        ({"kinds": ",".join(f"k{number}" for number in range(40))}, 422),
        ({"since": "1"}, 422),
        ({"workspace": "water"}, 403),
    ],
)
def test_what_is_asked_wrongly_is_told(api: Api, query: dict[str, str], status: int) -> None:
    headers = {"X-API-Key": api.keys["energy-analyst"]}
    answer = httpx.get(f"{api.url}/v1/events", params=query, headers=headers)
    assert answer.status_code == status
    assert answer.json()["remedy"]


def test_a_cursor_from_elsewhere_is_told(api: Api) -> None:
    with api.listen(last="e999999999-c0", kinds="custom.*") as stream:
        assert stream.next().kind == "reset"
        api.publish("custom.new")
        assert stream.next().kind == "custom.new"
    with api.socket(query="?after=e999999999-c0") as opened:
        assert said(opened, "reset")["id"].startswith("e")


def test_a_key_is_needed_and_may_come_in_three_ways(api: Api) -> None:
    assert httpx.get(f"{api.url}/v1/events").status_code == 401
    key = api.keys["boss"]
    offered = [Subprotocol("merit.events"), Subprotocol(f"merit.key.{key}")]
    with api.socket(None, subprotocols=offered) as opened:
        assert opened.subprotocol == "merit.events"
        assert said(opened, "ready")
    with api.socket(None) as opened:
        ask(opened, "auth", key=key)
        assert said(opened, "ready")
    for first in ({"type": "auth", "key": "merit_0_0"}, {"type": "auth"}, {"type": "subscribe"}):
        with api.socket(None) as opened:
            opened.send(json.dumps(first))
            assert closed(opened) == 4401
    wrong = [Subprotocol("merit.events"), Subprotocol("merit.key.nonsense")]
    with api.socket(None, subprotocols=wrong) as opened:
        assert closed(opened) == 4401
    # A key in the address is none: it would be in every log on the way.
    with api.socket(None, query=f"?key={key}") as opened:
        ask(opened, "subscribe")
        assert closed(opened) == 4401


@pytest.mark.parametrize(
    ("message", "code"), [("nonsense", 1008), ("[1]", 1008), (b"\xff", 1008), (json.dumps({"x": "y" * 70_000}), 1009)]
)
def test_what_is_no_message_closes(api: Api, message: str | bytes, code: int) -> None:
    with api.socket() as opened:
        opened.send(message)
        assert closed(opened) == code


def test_a_key_that_is_revoked_hears_no_more(api: Api) -> None:
    info, secret = keys.create(api.settings, "leaver", "analyst")
    api.keys["leaver"] = secret
    with api.listen("leaver") as stream, api.socket("leaver", "?kinds=custom.*") as opened:
        keys.revoke(api.settings, info.id)
        assert closed(opened) == 4401
        with pytest.raises(EOFError):
            stream.next()
        api.publish()


def test_who_reads_slowly_holds_up_nobody_and_misses_nothing(api: Api) -> None:
    count = 400
    host = httpx.URL(api.url)
    with socket.socket() as slow, api.listen(kinds="custom.big") as quick:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host.host, host.port))
        slow.sendall(
            f"GET /v1/events?kinds=custom.big&after={quick.last} HTTP/1.1\r\nHost: {host.host}\r\n"
            f"X-API-Key: {api.keys['boss']}\r\n\r\n".encode()
        )
        for number in range(count):
            payload = {"workspace": None, "data": {"n": number, "x": "y" * 15_000}}
            assert events.emit(api.settings, "custom.big", payload) is not None
        # All of it has passed, far more than fits on the way to one who takes nothing yet.
        assert [one.payload["data"]["n"] for one in quick.take(count)] == list(range(count))
        text = b""
        slow.settimeout(20)
        while text.count(b'"n":') < count or not text.endswith(b"\r\n"):
            text += slow.recv(1 << 20)
    numbers = [int(part.partition(b",")[0]) for part in text.split(b'"n":')[1:]]
    assert numbers == list(range(count))


def test_breakers_budgets_batches_and_configurations_are_among_them(api: Api, simulator: Any) -> None:
    from importlib.resources import files

    from store import budgets

    with api.listen(kinds="breaker,budget_alert,batch,configuration") as stream:
        simulator.fault("status", status=500, model="simulated/small")
        for _ in range(2):
            api.chat(model="simulated/small")
        opened = stream.next()
        assert (opened.kind, opened.payload["model"], opened.payload["state"]) == (
            "breaker", "simulated/small", "open",
        )  # fmt: skip
        shipped = (files("gateway") / "providers.toml").read_text(encoding="utf-8")
        (api.settings.root / "providers.toml").write_text(shipped + "\n# another\n")
        assert stream.next().kind == "configuration"
        budgets.create(api.settings, scope="workspace", subject="energy", amount=1, action="alert")
        with api.listen("energy-analyst", kinds="budget_alert") as own:
            told: list[Event] = []
            while not told:
                api.chat("energy-app")
                told = _soon(own)
            assert told[0].payload["workspace"] == "energy"


def _soon(stream: Stream) -> list[Event]:
    """An event, if there is one before the next sign of life."""
    kind, data = "", ""
    for line in stream._lines:
        if line.startswith("event:"):
            kind = line[6:].strip()
        elif line.startswith("data:"):
            data = line[5:]
        elif line.startswith(": still"):
            return []
        elif not line and data:
            return [Event("", kind, json.loads(data))]
    return []


def test_the_process_ends_although_somebody_listens(
    settings: Settings, api_process: Callable[..., Any], tmp_path: Path
) -> None:
    process = api_process(settings, tmp_path / "api.log")
    try:
        process.wait("/healthz")
        open_api = Api(settings, process.url, {"boss": "none"})
        with open_api.listen() as stream, open_api.socket(query="?kinds=*") as opened:
            said(opened, "subscribed")
            begun = time.monotonic()
            process.stop()
            assert time.monotonic() - begun < 15
            assert closed(opened) == 1012
            with pytest.raises((EOFError, httpx.RemoteProtocolError)):
                stream.next()
    finally:
        process.stop()


def test_a_foreign_web_page_cannot_use_an_open_api(settings: Settings) -> None:
    from serving.gateway_app import create_app

    with TestClient(create_app(settings), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        for origin, status in (
            ("http://evil.example", 401),
            ("null", 401),
            ("http://[", 401),
            ("http://127.0.0.1:8000", 422),
            ("http://localhost:3000", 422),
        ):
            answer = client.post("/v1/files", content=b"", headers={"Origin": origin})
            assert answer.status_code == status, origin
        address = "ws://127.0.0.1/v1/events"
        with client.websocket_connect(address, headers={"Origin": "http://evil.example"}) as opened:
            opened.send_json({"type": "subscribe"})
            assert opened.receive()["code"] == 4401
        with client.websocket_connect(address, headers={"Origin": "http://localhost:3000"}) as opened:
            assert opened.receive_json() == {"type": "ready"}
