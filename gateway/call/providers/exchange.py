"""One request and its answer, on a connection of aiohttp's pool.

Resolving, connecting, TLS, the pool and reading HTTP are aiohttp's. What its session does around them for every request
(URLs, cookies, redirects, proxies, objects for request and answer) a gateway has no use for: it knows its few paths
beforehand, and that was half of the processor time of a request.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from multidict import CIMultiDictProxy

from gateway.call.providers.wire import Provider

READ_BYTES = 2**18
# aiohttp rounds times to whole seconds from here on.
ROUNDED_FROM_S = 3600.0


class NothingSent(TimeoutError):
    """The time that the caller gave was up before there was a connection."""


class Exchange:
    """Begun by `begin`; ended by `release`, whatever happens in between, and until then it holds a connection.

    Attributes
    ----------
    content : the body, of which what has come may be read before all of it has.
    """

    __slots__ = ("_connection", "_deadline", "_protocol", "content", "headers", "status")

    content: aiohttp.StreamReader
    headers: CIMultiDictProxy[str]
    status: int

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._protocol: ResponseHandler | None = None
        self._deadline: asyncio.TimerHandle | None = None

    async def begin(
        self,
        connector: aiohttp.BaseConnector,
        place: aiohttp.ClientRequest,
        message: bytes,
        provider: Provider,
        timeout_s: float,
        first_byte_s: float | None = None,
    ) -> None:
        """Send, and wait for status and headers.

        Parameters
        ----------
        place : where to connect to; nothing else of it is used.
        message : the whole request.
        timeout_s : for all of the exchange, the reading of the answer included.
        first_byte_s : for status, headers and the first bytes of the body; None: no limit of their own.

        Raises
        ------
        aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError : there is no answer. The connection is closed.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        connection = await _connect(connector, place, provider.connect_s, timeout_s)
        self._connection = connection
        protocol = self._protocol = connection.protocol
        transport = connection.transport
        assert protocol is not None
        assert transport is not None
        try:
            protocol.set_response_params(
                read_until_eof=True,
                read_timeout=first_byte_s,
                read_bufsize=READ_BYTES,
                timeout_ceil_threshold=ROUNDED_FROM_S,
            )
            self._deadline = loop.call_at(until, self._expire)
            transport.write(message)
            if first_byte_s is not None:
                protocol.start_timeout()
            head, self.content = await protocol.read()
            while _is_interim(head):
                head, self.content = await protocol.read()
        except BaseException:
            self.close()
            raise
        self.status = head.code
        self.headers = head.headers

    @property
    def held(self) -> bool:
        """Whether it still has its connection."""
        return self._connection is not None

    def limit_silence(self, seconds: float) -> None:
        """From now on no more than so many seconds between two pieces, whatever was the limit before."""
        protocol = self._protocol
        if protocol is not None and not self.content.is_eof():
            protocol.read_timeout = seconds
            protocol.start_timeout()

    def release(self) -> None:
        """Give the connection back, to be used again where the answer was read to its end. A second call does
        nothing."""
        if self._connection is not None and self.content.is_eof():
            self._take().release()
        else:
            self.close()

    def close(self) -> None:
        """Close the connection now."""
        if self._connection is not None:
            self._take().close()

    def _take(self) -> Connection:
        connection, self._connection, self._protocol = self._connection, None, None
        assert connection is not None
        if self._deadline is not None:
            self._deadline.cancel()
        return connection

    def _expire(self) -> None:
        """The time is up: whoever reads is told, in whichever task that is."""
        protocol = self._protocol
        if protocol is None:
            return
        error = TimeoutError()
        protocol.set_exception(error)
        content: aiohttp.StreamReader | None = getattr(self, "content", None)
        if content is not None:
            content.set_exception(error)


async def _connect(
    connector: aiohttp.BaseConnector, place: aiohttp.ClientRequest, seconds: float, left: float
) -> Connection:
    try:
        return await connector.connect(place, traces=[], timeout=_timeout(min(seconds, left)))
    except TimeoutError:
        if left < seconds:
            raise NothingSent from None
        raise aiohttp.ConnectionTimeoutError from None


@lru_cache(maxsize=64)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=seconds, ceil_threshold=ROUNDED_FROM_S)


def _is_interim(head: RawResponseMessage) -> bool:
    return 100 <= head.code < 200 and head.code != 101
