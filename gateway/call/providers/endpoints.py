"""Paths of providers: everything of a request but its body, checked and written down once for many requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from multidict import CIMultiDict
from yarl import URL

from gateway.call.providers.addresses import check_base_url
from gateway.call.providers.wire import Provider, ProviderFailure
from store.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of a provider.

    Attributes
    ----------
    host : scheme, host and port; what has the same one may share connections.
    target : path and query, as they stand in a request.
    whole, streamed : the lines of its headers for an answer that comes whole and one that comes piece by piece, which
        differ in compression: it would hold events back.
    """

    provider: Provider
    host: URL
    target: bytes
    whole: bytes
    streamed: bytes

    def message(self, method: str, body: bytes | None, *, streamed: bool) -> bytes:
        """The request as it is sent."""
        lines = self.streamed if streamed else self.whole
        sent = body or b""
        length = b"" if body is None and method == "GET" else b"Content-Length: %d\r\n" % len(sent)
        return b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (method.encode(), self.target, lines, length, sent)


def endpoint(provider: Provider, path: str, headers: Mapping[str, str]) -> Endpoint:
    """Prepare a path; what is configured wins over the wire format's own headers.

    Raises
    ------
    ProviderFailure : the provider's address is refused, or a header holds a line break.
    """
    try:
        check_base_url(provider.base_url, local=provider.local)
    except SettingsError as error:
        raise ProviderFailure("connect", f"{provider.name}: {error}", sent=False) from None
    url = URL(provider.base_url.rstrip("/") + path)
    merged: CIMultiDict[str] = CIMultiDict(
        {
            "Host": url.host_port_subcomponent or "",
            "User-Agent": "meritorder",
            "Accept": "*/*",
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip",
            **headers,
        }
    )
    merged.update(provider.headers)
    if any(not text.isprintable() for header in merged.items() for text in header):
        raise ProviderFailure(
            "credentials", f"The key or a header of {provider.name} holds a character that HTTP forbids.", sent=False
        )
    whole = _lines(merged)
    merged["Accept-Encoding"] = "identity"
    return Endpoint(provider, url.origin(), url.raw_path_qs.encode(), whole, _lines(merged))


def encode(body: Any) -> bytes:
    """JSON of a request."""
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise ProviderFailure("refused", f"The request cannot be written as JSON: {error}.", sent=False) from None


def _lines(headers: CIMultiDict[str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
