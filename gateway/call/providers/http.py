"""The HTTP client that all wire formats share: pools, deadlines, bounds, and every error as a `ProviderFailure`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from gateway.call.providers.addresses import GuardedResolver, RefusedAddress, check_base_url
from gateway.call.providers.failures import MAX_ERROR_BYTES, failure_from_status
from gateway.call.providers.wire import Provider, ProviderFailure
from store.errors import SettingsError

MAX_BODY_BYTES = 64 * 1024 * 1024
# uvicorn, and so vLLM and SGLang, closes idle connections after 5 s; one that closes as it is used fails a request.
_KEEP_LOCAL_S, _KEEP_PUBLIC_S = 4.0, 50.0
# How long an ended stream may take to end on the wire too, for its connection to be used again.
_TAIL_S = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of a provider, with what is the same in every request to it.

    Attributes
    ----------
    stream_headers : the same but for compression, which would hold events back.
    """

    provider: Provider
    url: URL
    headers: CIMultiDict[str]
    stream_headers: CIMultiDict[str]


def endpoint(provider: Provider, path: str, headers: Mapping[str, str]) -> Endpoint:
    """Prepare a path once, for many requests; what is configured wins over the wire format's own headers.

    Raises
    ------
    ProviderFailure : the provider's address is refused, or a header holds a line break.
    """
    try:
        check_base_url(provider.base_url, local=provider.local)
    except SettingsError as error:
        raise ProviderFailure("connect", f"{provider.name}: {error}", sent=False) from None
    merged: CIMultiDict[str] = CIMultiDict({"Content-Type": "application/json", "Accept-Encoding": "gzip", **headers})
    merged.update(provider.headers)
    if any(not value.isprintable() for value in merged.values()):
        raise ProviderFailure(
            "credentials", f"The key or a header of {provider.name} holds a character that HTTP forbids.", sent=False
        )
    streamed = merged.copy()
    streamed["Accept-Encoding"] = "identity"
    return Endpoint(provider, URL(provider.base_url.rstrip("/") + path), merged, streamed)


def encode(body: Any) -> bytes:
    """JSON of a request."""
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise ProviderFailure("refused", f"The request cannot be written as JSON: {error}.", sent=False) from None


class Http:
    """One per process. Sessions are opened by the first request, within the loop that runs it.

    How many connections a provider gets is told by how many calls it is given at once, see `gateway.call.concurrency`.
    There are two sessions, for providers on the own network and for those outside, because they differ in which
    addresses a name may resolve to. Cookies, redirects and proxies from the environment are off in both; TCP_NODELAY
    is on.

    Parameters
    ----------
    max_body_bytes : most that a whole answer may take, decompressed.
    names : resolves names, by default as the system does; what it finds is guarded either way.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES, names: AbstractResolver | None = None) -> None:
        self.max_body_bytes = max_body_bytes
        self._names = names
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
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

    async def request(self, endpoint: Endpoint, body: bytes | None, timeout_s: float, *, method: str = "POST") -> bytes:
        """Ask, and read the whole answer of status 200.

        The only deadline besides that of connecting is `timeout_s`: an answer that comes whole is silent until then.

        Raises
        ------
        ProviderFailure : whatever went wrong.
        """
        provider = endpoint.provider
        try:
            response = await self._send(endpoint, method, body, timeout_s, None)
            try:
                raw = await self._read(response, provider, self.max_body_bytes)
            finally:
                # Back into the pool when all was read, closed otherwise.
                response.release() if response.content.is_eof() else response.close()
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(provider, error, reading=False) from None
        if response.status != 200:
            raise failure_from_status(provider, response.status, response.headers, raw)
        return raw

    def open(self, endpoint: Endpoint, body: bytes, timeout_s: float) -> Opened:
        """Ask for a stream: a context within which its bytes can be read."""
        return Opened(self, endpoint, body, timeout_s)

    def session(self, local: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(local)
        if session is None or session.closed:
            connector = aiohttp.TCPConnector(
                limit=0,
                resolver=GuardedResolver(local=local, inner=self._names),
                ttl_dns_cache=30,
                keepalive_timeout=_KEEP_LOCAL_S if local else _KEEP_PUBLIC_S,
            )
            session = self._sessions[local] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                headers={"User-Agent": "meritorder"},
                read_bufsize=2**18,
            )
        return session

    async def _send(
        self, endpoint: Endpoint, method: str, body: bytes | None, timeout_s: float, first_byte_s: float | None
    ) -> aiohttp.ClientResponse:
        """Send, and wait for status and headers; with a limit for the first byte it is a stream that is asked for."""
        provider = endpoint.provider
        timeout = aiohttp.ClientTimeout(
            total=max(0.001, min(timeout_s, provider.timeout_s)),
            connect=provider.connect_s,
            sock_read=first_byte_s,
            ceil_threshold=3600.0,
        )
        return await self.session(provider.local).request(
            method,
            endpoint.url,
            data=body,
            headers=endpoint.headers if first_byte_s is None else endpoint.stream_headers,
            allow_redirects=False,
            timeout=timeout,
        )

    async def _read(self, response: aiohttp.ClientResponse, provider: Provider, most: int) -> bytes:
        """The body, up to a limit; of an error only as much as explains it."""
        failed = response.status != 200
        content = response.content
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
                "malformed", f"{provider.name} sent more than {most / 2**20:.3g} MiB.", status=response.status
            )
        return b"".join(pieces)

    def drain(self, response: aiohttp.ClientResponse) -> None:
        """Let an ended stream end on the wire as well, without anybody waiting for it."""
        task = asyncio.get_running_loop().create_task(_drain(response))
        self._tails.add(task)
        task.add_done_callback(self._tails.discard)


class Opened:
    """A streamed answer, within its context. Leaving before `done` was set closes the connection at once."""

    __slots__ = ("_begun", "_body", "_endpoint", "_http", "_response", "_timeout_s", "done", "provider")

    def __init__(self, http: Http, endpoint: Endpoint, body: bytes, timeout_s: float) -> None:
        self.provider = endpoint.provider
        self.done = False
        self._http = http
        self._endpoint = endpoint
        self._body = body
        self._timeout_s = timeout_s
        self._response: aiohttp.ClientResponse | None = None
        self._begun = False

    async def __aenter__(self) -> Opened:
        """Wait for status and headers.

        Raises
        ------
        ProviderFailure : there is no stream.
        """
        provider = self.provider
        try:
            response = await self._http._send(
                self._endpoint, "POST", self._body, self._timeout_s, provider.first_byte_s
            )
            self._response = response
            if response.status != 200:
                raw = await self._http._read(response, provider, MAX_ERROR_BYTES)
                raise failure_from_status(provider, response.status, response.headers, raw)
        except (aiohttp.ClientError, OSError) as error:
            self._release()
            raise _failure(provider, error, reading=False) from None
        except BaseException:
            self._release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    async def read(self) -> bytes:
        """The next bytes; none at the end.

        Raises
        ------
        ProviderFailure : "timeout" before the first bytes, "stalled" after them, "closed" when it was cut off.
        """
        response = self._response
        assert response is not None, "read within the context"
        try:
            piece = await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _failure(self.provider, error, reading=self._begun) from None
        if not self._begun and piece:
            self._begun = True
            connection = response.connection
            if connection is not None and connection.protocol is not None and not response.content.is_eof():
                # From here on silence is a stall. aiohttp has one limit for both, so it is changed on the way.
                connection.protocol.read_timeout = self.provider.stall_s
                connection.protocol.start_timeout()
        return piece

    def _release(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            if response.content.is_eof():
                response.release()
            elif self.done:
                self._http.drain(response)
            else:
                response.close()


async def _drain(response: aiohttp.ClientResponse) -> None:
    try:
        async with asyncio.timeout(_TAIL_S):
            for _ in range(8):
                if not await response.content.readany():
                    response.release()
                    return
    except (aiohttp.ClientError, OSError):
        pass
    finally:
        with contextlib.suppress(Exception):
            response.close()


def _failure(provider: Provider, error: BaseException, *, reading: bool) -> ProviderFailure:
    """What an exception of aiohttp or the system means. Their own texts hold addresses, so none is repeated."""
    name = provider.name
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ProviderFailure("connect", f"{name} took no connection within {provider.connect_s:g} s.", sent=False)
    if isinstance(error, aiohttp.SocketTimeoutError):
        if reading:
            return ProviderFailure("stalled", f"{name} said nothing for {provider.stall_s:g} s.")
        return ProviderFailure("timeout", f"{name} did not begin to answer within {provider.first_byte_s:g} s.")
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
    if isinstance(error, aiohttp.ClientResponseError):
        return ProviderFailure("malformed", f"{name} did not answer in HTTP.")
    return ProviderFailure("closed", f"{name} closed the connection before the answer was whole.")
