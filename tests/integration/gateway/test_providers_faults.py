"""A provider that is slow, silent, cut off, wrong or hostile is a failure of one kind, and shows no key."""

from __future__ import annotations

import asyncio
import gzip
import socket
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.call.providers.http import Http
from gateway.call.providers.openai import OpenAIWire
from gateway.call.providers.wire import Piece, Provider, ProviderFailure
from gateway.prompt import Prompt, Tenant
from tests.integration.gateway.providers_upstream import CHAT, EVENTS, KEY, OK, Exchange, Script, Upstream, upstream

PROMPT = Prompt(
    "1" * 32, Tenant(), "chat", "acme/m", {"model": "acme/m", "messages": [{"role": "user", "content": "hi"}]}
)
TEXT = {"choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": None}]}
LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DONE = b"data: [DONE]\n\n"

Ask = Callable[[OpenAIWire, Provider], Awaitable[Any]]


def provider(server: Upstream, **more: Any) -> Provider:
    given: dict[str, Any] = {"base_url": f"{server.url}/v1", "key": KEY, "local": True, "stall_s": 5.0, **more}
    return Provider("acme", "openai", **given)


async def complete(wire: OpenAIWire, asked: Provider) -> Any:
    return await wire.complete(asked, "m", PROMPT, 5.0)


async def stream(wire: OpenAIWire, asked: Provider, pieces: list[Piece] | None = None) -> list[Piece]:
    found: list[Piece] = [] if pieces is None else pieces
    async with wire.stream(asked, "m", PROMPT, 5.0) as answer:
        async for piece in answer:
            found.append(piece)
    return found


def run(script: Script, ask: Ask = complete, http: Http | None = None, *, connected: bool = False, **more: Any) -> Any:
    """What asking a server with this script gives, or the failure; `connected` asks on a connection that there is
    already, so that a short time is not spent on connecting."""

    async def scenario() -> Any:
        async def answers(exchange: Exchange) -> None:
            await (exchange.answer(CHAT) if connected and len(server.seen) == 1 else script(exchange))

        client = http or Http()
        async with upstream(answers) as server:
            wire = OpenAIWire(client)
            if connected:
                await complete(wire, provider(server))
            try:
                return await ask(wire, provider(server, **more))
            except ProviderFailure as failure:
                return failure
            finally:
                await client.close()

    return asyncio.run(scenario())


def failed(found: Any, kind: str, *, sent: bool = True) -> ProviderFailure:
    assert isinstance(found, ProviderFailure), found
    assert (found.kind, found.sent) == (kind, sent), found.message
    shown = "".join(traceback.format_exception(found)) + repr(found) + found.message + str(found.body)
    assert KEY not in shown
    assert KEY[3:-4] not in shown
    return found


async def silent(exchange: Exchange) -> None:
    await exchange.gone()


def test_an_answer_that_never_begins_runs_into_the_deadline() -> None:
    async def briefly(wire: OpenAIWire, asked: Provider) -> Any:
        return await wire.complete(asked, "m", PROMPT, 0.05)

    failed(run(silent, briefly, connected=True), "timeout")
    failed(run(silent, connected=True, timeout_s=0.05), "timeout")


def test_a_stream_that_never_begins_is_given_up_before_the_deadline() -> None:
    failed(run(silent, stream, first_byte_s=0.05), "timeout")

    async def only_headers(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        await exchange.gone()

    failed(run(only_headers, stream, first_byte_s=0.05), "timeout")


def test_a_stream_that_falls_silent_has_stalled() -> None:
    async def stalls(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        await exchange.events(TEXT, end=False)
        await exchange.gone()

    pieces: list[Piece] = []

    async def ask(wire: OpenAIWire, asked: Provider) -> Any:
        return await stream(wire, asked, pieces)

    failed(run(stalls, ask, stall_s=0.05), "stalled")
    assert [piece.chunk for piece in pieces] == [TEXT]
    failed(run(stalls, stream, connected=True, timeout_s=0.1), "timeout")


def test_a_slow_stream_is_no_stalled_one() -> None:
    async def slow(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        for event in (TEXT, b": keep-alive\n\n", TEXT, LAST, DONE):
            await asyncio.sleep(0.5)
            await exchange.events(event, end=False)
        await exchange.chunk(b"")

    # All of it takes longer than either limit.
    assert len(run(slow, stream, first_byte_s=2.0, stall_s=2.0)) == 3


def test_a_stream_is_asked_for_uncompressed() -> None:
    async def looks(exchange: Exchange) -> None:
        assert exchange.headers["accept-encoding"] == "identity"
        await exchange.send(EVENTS)
        await exchange.events(TEXT, LAST, DONE)

    assert len(run(looks, stream)) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        OK + b'Content-Length: 500\r\n\r\n{"id": 1',
        OK + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
    ],
)
def test_an_answer_that_is_cut_off_is_closed(raw: bytes) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.send(raw)
        raise ConnectionError

    failed(run(cut), "closed")
    failed(run(cut, stream), "closed")


def test_a_stream_that_is_cut_off_hands_out_what_came() -> None:
    def script(*events: Any) -> Script:
        async def cut(exchange: Exchange) -> None:
            await exchange.send(EVENTS)
            await exchange.events(*events, end=False)
            await asyncio.sleep(0.02)
            raise ConnectionError

        return cut

    pieces: list[Piece] = []

    async def ask(wire: OpenAIWire, asked: Provider) -> Any:
        return await stream(wire, asked, pieces)

    failed(run(script(TEXT, TEXT, b'data: {"choi'), ask), "closed")
    assert [piece.chunk for piece in pieces] == [TEXT, TEXT]
    assert len(run(script(TEXT, LAST), stream)) == 2, "it was whole but for its end"


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0-OpenSSH_9\r\n", b"\x00\x01\x02\x03\r\n\r\n", OK + b"Content-Length: x\r\n\r\n"]
)
def test_what_is_not_http_is_malformed(raw: bytes) -> None:
    async def other(exchange: Exchange) -> None:
        await exchange.send(raw)
        await exchange.gone()

    failed(run(other), "malformed")


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait"),
    [
        ("429 Too Many Requests", "Retry-After: 7\r\n", "overloaded", 7.0),
        ("429 Too Many Requests", "", "overloaded", None),
        ("429 Too Many Requests", "retry-after-ms: 250\r\n", "overloaded", 0.25),
        ("529 Overloaded", "", "overloaded", None),
        ("500 Oops", "", "server", None),
        ("503 Unavailable", "Retry-After: 2\r\n", "server", 2.0),
        ("401 Unauthorized", "", "credentials", None),
        ("404 Not Found", "", "unknown_model", None),
        ("422 Unprocessable", "", "refused", None),
    ],
)
def test_a_status_says_what_went_wrong(status: str, headers: str, kind: str, wait: float | None) -> None:
    async def says(exchange: Exchange) -> None:
        told = f"{exchange.headers['authorization']} may not do that"
        await exchange.answer({"error": {"message": told, "headers": exchange.headers}}, status, headers)

    for ask in (complete, stream):
        failure = failed(run(says, ask), kind)
        assert failure.retry_after == wait
        assert str(failure.status) == status[:3]
        assert failure.body is not None


def test_an_error_of_any_size_is_read_only_as_far_as_it_explains() -> None:
    async def long(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(1000):
                await exchange.chunk(b"x" * 100_000)

    failed(run(long), "server")
    failed(run(long, stream), "server")


def test_answers_are_bounded_compressed_or_not() -> None:
    large = {**CHAT, "filler": "x" * 100_000}

    async def plain(exchange: Exchange) -> None:
        await exchange.answer(large)

    async def packed(exchange: Exchange) -> None:
        assert exchange.headers["accept-encoding"] == "gzip"
        raw = gzip.compress(b'{"filler": "' + b"x" * 50_000_000 + b'"}')
        await exchange.answer(raw, headers="Content-Encoding: gzip\r\n")

    failed(run(plain, http=Http(max_body_bytes=50_000)), "malformed")
    failed(run(packed, http=Http(max_body_bytes=50_000)), "malformed")
    assert run(plain).body == large

    async def small(exchange: Exchange) -> None:
        import orjson

        await exchange.answer(gzip.compress(orjson.dumps(CHAT)), headers="Content-Encoding: gzip\r\n")

    assert run(small).body == CHAT


def test_an_event_without_end_is_given_up() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        with suppress(ConnectionError):
            for _ in range(100):
                await exchange.chunk(b"x" * 65_536)
            await exchange.gone()

    failed(run(endless, stream), "malformed")


def test_nobody_there_is_told_before_anything_was_sent() -> None:
    async def scenario(url: str, **more: Any) -> Any:
        http = Http()
        try:
            return await complete(OpenAIWire(http), Provider("acme", "openai", url, key=KEY, **more))
        except ProviderFailure as failure:
            return failure
        finally:
            await http.close()

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        failed(asyncio.run(scenario(f"http://127.0.0.1:{port}/v1", local=True)), "connect", sent=False)
        failed(asyncio.run(scenario("https://nobody.invalid/v1")), "connect", sent=False)
        refused = failed(asyncio.run(scenario(f"http://127.0.0.1:{port}/v1")), "connect", sent=False)
        assert "local" in refused.message
        failed(asyncio.run(scenario("http://169.254.169.254/v1", local=True)), "connect", sent=False)


def test_a_server_without_tls_is_no_connection() -> None:
    async def other(exchange: Exchange) -> None:
        await exchange.gone()

    async def ask(wire: OpenAIWire, asked: Provider) -> Any:
        secure = Provider(
            "acme", "openai", asked.base_url.replace("http:", "https:"), key=KEY, local=True, connect_s=1.0
        )
        return await complete(wire, secure)

    failed(run(other, ask), "connect", sent=False)


class Rebound(AbstractResolver):
    """A name that points to this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is open."""


def test_a_public_name_that_points_inside_is_not_connected_to() -> None:
    async def scenario() -> None:
        http = Http(names=Rebound())
        async with upstream(silent) as server:
            outside = Provider("acme", "openai", f"https://api.acme.example:{server.port}/v1", key=KEY)
            with pytest.raises(ProviderFailure) as caught:
                await complete(OpenAIWire(http), outside)
            failed(caught.value, "connect", sent=False)
            assert "this very machine" in caught.value.message
            assert server.connections == 0
            await http.close()

    asyncio.run(scenario())


def test_a_redirect_is_not_followed() -> None:
    async def elsewhere(exchange: Exchange) -> None:
        assert exchange.path == "/v1/chat/completions"
        await exchange.answer(
            b"", "307 Temporary Redirect", f"Location: http://{exchange.headers['host']}/elsewhere\r\n"
        )

    failed(run(elsewhere), "malformed")


def test_cookies_are_not_kept_and_proxies_of_the_environment_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def cookie(exchange: Exchange) -> None:
        assert "cookie" not in exchange.headers
        await exchange.answer(CHAT, headers="Set-Cookie: a=b; Path=/\r\n")

    async def twice(wire: OpenAIWire, asked: Provider) -> Any:
        await complete(wire, asked)
        return await complete(wire, asked)

    assert run(cookie, twice).body == CHAT


def test_a_key_that_no_header_can_hold_is_told_without_showing_it() -> None:
    async def never(exchange: Exchange) -> None:
        raise AssertionError

    found = run(never, key=f"{KEY}\r\nX-Other: 1")
    failed(found, "credentials", sent=False)


def test_a_caller_who_goes_away_closes_the_connection_at_once() -> None:
    async def begins(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        await exchange.events(TEXT, end=False)
        await exchange.gone()

    async def scenario() -> None:
        for script, ask in ((silent, complete), (silent, stream), (begins, stream)):
            http = Http()
            async with upstream(script) as server:
                asked = provider(server)
                task = asyncio.create_task(ask(OpenAIWire(http), asked))  # type: ignore[arg-type]
                await server.until(lambda server: len(server.seen) == 1)
                await asyncio.sleep(0.02)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await server.until(lambda server: server.closed == 1)
                await http.close()

    asyncio.run(scenario())


def test_leaving_a_stream_early_closes_the_connection() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        with suppress(ConnectionError):
            while True:
                await exchange.events(TEXT, end=False)
                await asyncio.sleep(0.005)

    async def scenario() -> None:
        http = Http()
        async with upstream(endless) as server:
            async with OpenAIWire(http).stream(provider(server), "m", PROMPT, 5.0) as answer:
                assert (await anext(answer)).chunk == TEXT
            await server.until(lambda server: server.closed == 1)
            await http.close()

    asyncio.run(scenario())


def test_connections_are_used_again_after_answers_and_ended_streams() -> None:
    async def both(exchange: Exchange) -> None:
        if not exchange.json.get("stream"):
            await exchange.answer(CHAT)
            return
        await exchange.send(EVENTS)
        await exchange.events(TEXT, LAST, DONE, end=False)
        await asyncio.sleep(0.02)
        await exchange.chunk(b"")

    async def scenario() -> None:
        http = Http()
        async with upstream(both) as server:
            wire, asked = OpenAIWire(http), provider(server)
            for _ in range(3):
                await complete(wire, asked)
                await stream(wire, asked)
                await asyncio.gather(*http._tails)
            assert server.connections == 1
            await http.close()

    asyncio.run(scenario())


def test_a_client_can_be_closed_twice_and_used_again() -> None:
    async def answers(exchange: Exchange) -> None:
        await exchange.answer(CHAT)

    async def scenario() -> None:
        http = Http()
        await http.close()
        async with upstream(answers) as server:
            wire, asked = OpenAIWire(http), provider(server)
            for _ in range(2):
                assert (await complete(wire, asked)).body == CHAT
                await http.close()

    asyncio.run(scenario())


def test_a_provider_that_was_reconfigured_is_asked_as_configured_now() -> None:
    async def answers(exchange: Exchange) -> None:
        await exchange.answer({**CHAT, "asked": exchange.headers["authorization"]})

    async def both(wire: OpenAIWire, asked: Provider) -> Any:
        await complete(wire, asked)
        changed = Provider("acme", "openai", asked.base_url, key="sk-new-key-0123456789", local=True)
        return await complete(wire, changed)

    assert run(answers, both).body["asked"] == "Bearer sk-new-key-0123456789"


def test_what_is_said_before_the_answer_is_passed_over() -> None:
    async def hinted(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style>; rel=preload\r\n\r\n")
        await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await exchange.answer(CHAT)

    assert run(hinted).body == CHAT


def test_the_time_that_is_given_holds_for_connecting_too() -> None:
    """Nobody takes the connection, and the caller has less time than a provider is given to take one."""

    async def scenario() -> Any:
        http = Http(names=Silent())
        asked = Provider("acme", "openai", "http://acme.example/v1", key=KEY, local=True)
        try:
            return await OpenAIWire(http).complete(asked, "m", PROMPT, 0.05)
        except ProviderFailure as failure:
            return failure
        finally:
            await http.close()

    failed(asyncio.run(scenario()), "timeout", sent=False)


class Silent(AbstractResolver):
    """A name server that never answers."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""


def test_time_runs_out_for_whoever_reads() -> None:
    """A stream is begun by one task and read by another; its deadline is for both."""

    async def endless(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        while True:
            await exchange.events(TEXT, end=False)
            await asyncio.sleep(0.01)

    async def briefly(wire: OpenAIWire, asked: Provider) -> Any:
        async def rest() -> None:
            async for _ in answer:
                pass

        async with wire.stream(asked, "m", PROMPT, 0.2) as answer:
            await asyncio.create_task(rest())

    failed(run(endless, briefly, connected=True), "timeout")


@pytest.mark.parametrize("asks", ["models", "complete"])
def test_a_kept_connection_that_ends_as_it_is_used_fails_only_what_may_not_be_asked_twice(asks: str) -> None:
    async def once(exchange: Exchange) -> None:
        if sum(one.writer is exchange.writer for one in server.seen) > 1:
            raise ConnectionResetError
        await exchange.answer({"data": [{"id": "m"}]} if exchange.method == "GET" else CHAT)

    async def ask(wire: OpenAIWire, asked: Provider) -> Any:
        return await (wire.models(asked, 5.0) if asks == "models" else wire.complete(asked, "m", PROMPT, 5.0))

    async def scenario() -> tuple[Any, int]:
        nonlocal server
        http = Http()
        async with upstream(once) as server:
            wire, asked = OpenAIWire(http), provider(server)
            await ask(wire, asked)
            try:
                return await ask(wire, asked), server.connections
            except ProviderFailure as failure:
                return failure, server.connections
            finally:
                await http.close()

    server = Upstream()
    found, connections = asyncio.run(scenario())
    if asks == "models":
        assert (found, connections) == (["m"], 2)
    else:
        failed(found, "closed")
        assert connections == 1
