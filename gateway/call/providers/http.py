"""The HTTP client that all wire formats share: pools, deadlines, bounds, and every error as a `ProviderFailure`."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.http import HttpProcessingError
from yarl import URL

from gateway.call.providers.addresses import GuardedResolver, RefusedAddress
from gateway.call.providers.endpoints import Endpoint
from gateway.call.providers.exchange import Exchange, NothingSent
from gateway.call.providers.failures import MAX_ERROR_BYTES, failure_from_status
from gateway.call.providers.wire import Provider, ProviderFailure

MAX_BODY_BYTES = 64 * 1024 * 1024
# uvicorn, and so vLLM and SGLang, closes idle connections after 5 s; one that closes as it is used fails a request.
_KEEP_LOCAL_S, _KEEP_PUBLIC_S = 4.0, 50.0
_MOST_PLACES = 1_024
# What aiohttp and the system raise.
_ERRORS = (aiohttp.ClientError, HttpProcessingError, OSError)
_CUT = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
# How long an ended stream may take to end on the wire too, for its connection to be used again.
_TAIL_S = 1.0


class Http:
    """One per process. Pools are opened by the first request, within the loop that runs it.

    How many connections a provider gets is told by how many calls it is given at once, see `gateway.call.concurrency`.
    There are two pools, for providers on the own network and for those outside, because they differ in which addresses
    a name may resolve to. There are no cookies, redirects or proxies; TCP_NODELAY is on.

    Parameters
    ----------
    max_body_bytes : most that a whole answer may take, decompressed.
    names : resolves names, by default as the system does; what it finds is guarded either way.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES, names: AbstractResolver | None = None) -> None:
        self.max_body_bytes = max_body_bytes
        self._names = names
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._places: dict[tuple[bool, URL], aiohttp.ClientRequest] = {}
        self._tails: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close every connection. The object can be used again afterwards."""
        for task in tuple(self._tails):
            task.cancel()
        if self._tails:
            await asyncio.gather(*self._tails, return_exceptions=True)
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()
        self._places.clear()

    async def request(self, endpoint: Endpoint, body: bytes | None, timeout_s: float, *, method: str = "POST") -> bytes:
        """Ask, and read the whole answer of status 200.

        The only deadline besides that of connecting is `timeout_s`: an answer that comes whole is silent until then.

        Raises
        ------
        ProviderFailure : whatever went wrong.
        """
        message = endpoint.message(method, body, streamed=False)
        try:
            return await self._asked(endpoint, message, timeout_s)
        except _ERRORS as error:
            # A kept connection may end as it is used. What changes nothing may be asked once more, on another one.
            cut = isinstance(error, _CUT) and not isinstance(error, aiohttp.ClientConnectorError)
            if method != "GET" or not cut:
                raise _failure(endpoint.provider, error, reading=False) from None
        try:
            return await self._asked(endpoint, message, timeout_s)
        except _ERRORS as error:
            raise _failure(endpoint.provider, error, reading=False) from None

    async def _asked(self, endpoint: Endpoint, message: bytes, timeout_s: float) -> bytes:
        exchange = Exchange()
        await self._begin(exchange, endpoint, message, timeout_s)
        try:
            raw = await self._read(exchange, endpoint.provider, self.max_body_bytes)
        finally:
            exchange.release()
        if exchange.status != 200:
            raise failure_from_status(endpoint.provider, exchange.status, exchange.headers, raw)
        return raw

    def open(self, endpoint: Endpoint, body: bytes, timeout_s: float) -> Opened:
        """Ask for a stream: a context within which its bytes can be read."""
        return Opened(self, endpoint, body, timeout_s)

    async def _begin(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        message: bytes,
        timeout_s: float,
        first_byte_s: float | None = None,
    ) -> None:
        provider = endpoint.provider
        place = self._places.get((provider.local, endpoint.host)) or self._place(provider.local, endpoint.host)
        connector = place.session.connector
        assert connector is not None
        seconds = max(0.001, min(timeout_s, provider.timeout_s))
        await exchange.begin(connector, place, message, provider, seconds, first_byte_s)

    def _place(self, local: bool, host: URL) -> aiohttp.ClientRequest:
        """What aiohttp connects to and keeps connections of."""
        session = self._sessions.get(local)
        if session is None:
            connector = aiohttp.TCPConnector(
                limit=0,
                resolver=GuardedResolver(local=local, inner=self._names),
                ttl_dns_cache=30,
                keepalive_timeout=_KEEP_LOCAL_S if local else _KEEP_PUBLIC_S,
            )
            session = self._sessions[local] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar()
            )
        place = aiohttp.ClientRequest("POST", host, loop=asyncio.get_running_loop(), session=session)
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        self._places[local, host] = place
        return place

    async def _read(self, exchange: Exchange, provider: Provider, most: int) -> bytes:
        """The body, up to a limit; of an error only as much as explains it."""
        failed = exchange.status != 200
        content = exchange.content
        raw = await content.readany()
        if len(raw) <= most and content.at_eof():
            return raw
        pieces, size = [raw], len(raw)
        while size <= most and (piece := await content.readany()):
            pieces.append(piece)
            size += len(piece)
            if failed and size > MAX_ERROR_BYTES:
                break
        if size > most and not failed:
            raise ProviderFailure(
                "malformed", f"{provider.name} sent more than {most / 2**20:.3g} MiB.", status=exchange.status
            )
        return b"".join(pieces)

    def drain(self, exchange: Exchange) -> None:
        """Let an ended stream end on the wire as well, without anybody waiting for it."""
        task = asyncio.get_running_loop().create_task(_drain(exchange))
        self._tails.add(task)
        task.add_done_callback(self._tails.discard)


class Opened:
    """A streamed answer, within its context. Leaving before `done` was set closes the connection at once."""

    __slots__ = ("_begun", "_body", "_endpoint", "_exchange", "_http", "_timeout_s", "done", "provider")

    def __init__(self, http: Http, endpoint: Endpoint, body: bytes, timeout_s: float) -> None:
        self.provider = endpoint.provider
        self.done = False
        self._http = http
        self._endpoint = endpoint
        self._body = body
        self._timeout_s = timeout_s
        self._exchange = Exchange()
        self._begun = False

    async def __aenter__(self) -> Opened:
        """Wait for status and headers.

        Raises
        ------
        ProviderFailure : there is no stream.
        """
        provider, exchange = self.provider, self._exchange
        message = self._endpoint.message("POST", self._body, streamed=True)
        try:
            await self._http._begin(exchange, self._endpoint, message, self._timeout_s, provider.first_byte_s)
            if exchange.status != 200:
                raw = await self._http._read(exchange, provider, MAX_ERROR_BYTES)
                raise failure_from_status(provider, exchange.status, exchange.headers, raw)
        except _ERRORS as error:
            exchange.close()
            raise _failure(provider, error, reading=False) from None
        except BaseException:
            exchange.release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        exchange = self._exchange
        if self.done and exchange.held and not exchange.content.is_eof():
            self._http.drain(exchange)
        else:
            exchange.release()

    async def read(self) -> bytes:
        """The next bytes; none at the end.

        Raises
        ------
        ProviderFailure : "timeout" before the first bytes, "stalled" after them, "closed" when it was cut off.
        """
        exchange = self._exchange
        try:
            piece = await exchange.content.readany()
        except _ERRORS as error:
            raise _failure(self.provider, error, reading=self._begun) from None
        if not self._begun and piece:
            self._begun = True
            # From here on silence is a stall.
            exchange.limit_silence(self.provider.stall_s)
        return piece


async def _drain(exchange: Exchange) -> None:
    try:
        async with asyncio.timeout(_TAIL_S):
            for _ in range(8):
                if not await exchange.content.readany():
                    return
    except _ERRORS:
        pass
    finally:
        with contextlib.suppress(Exception):
            exchange.release()


def _failure(provider: Provider, error: BaseException, *, reading: bool) -> ProviderFailure:
    """What an exception of aiohttp or the system means. Their own texts hold addresses, so none is repeated."""
    name = provider.name
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ProviderFailure("connect", f"{name} took no connection within {provider.connect_s:g} s.", sent=False)
    if isinstance(error, aiohttp.SocketTimeoutError):
        if reading:
            return ProviderFailure("stalled", f"{name} said nothing for {provider.stall_s:g} s.")
        return ProviderFailure("timeout", f"{name} did not begin to answer within {provider.first_byte_s:g} s.")
    if isinstance(error, NothingSent):
        return ProviderFailure("timeout", f"{name} took no connection within the time given.", sent=False)
    if isinstance(error, TimeoutError):
        return ProviderFailure("timeout", f"{name} did not finish within the time given.")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ProviderFailure("connect", f"The certificate of {name} is not valid or not trusted.", sent=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, RefusedAddress):
            return ProviderFailure("connect", f"{name} was not called: {error.os_error}.", sent=False)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return ProviderFailure("connect", f"The host of {name} has no address.", sent=False)
        reason = "TLS failed" if isinstance(error, aiohttp.ClientSSLError) else "it was refused or is unreachable"
        return ProviderFailure("connect", f"{name} took no connection: {reason}.", sent=False)
    if isinstance(error, aiohttp.InvalidURL):
        return ProviderFailure("connect", f"The address of {name} is no address of HTTP.", sent=False)
    if isinstance(error, HttpProcessingError):
        return ProviderFailure("malformed", f"{name} did not answer in HTTP.")
    return ProviderFailure("closed", f"{name} closed the connection before the answer was whole.")
