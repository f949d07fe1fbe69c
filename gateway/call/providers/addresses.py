"""Which addresses a provider may have: nothing inside the own network unless it is configured as local.

A configured address is checked twice: as it is written, when the configuration is loaded, and as it resolves, at the
moment of connecting. A name that points elsewhere later (DNS rebinding) therefore gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from store.errors import SettingsError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds hand credentials to whoever asks from within: never a provider, local or not.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
    )
)  # fmt: skip
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_V4_COMPATIBLE = ipaddress.IPv6Network("::/96")


class RefusedAddress(OSError):
    """A name resolves only to addresses that its provider may not have."""


def refusal(address: Address, *, local: bool) -> str | None:
    """Why an address is refused, in words that complete "it is …"; None for one that is not.

    Addresses of IPv4 written as IPv6 (mapped, 6to4, Teredo, NAT64) are judged as what they lead to.
    """
    for seen in _meanings(address):
        if seen in METADATA:
            return "a metadata service"
        if local:
            continue
        if seen.is_loopback:
            return "this very machine"
        if seen.is_link_local:
            return "link-local"
        if seen.is_multicast:
            return "multicast"
        if seen.is_unspecified:
            return "unspecified"
        if not seen.is_global or (isinstance(seen, ipaddress.IPv6Address) and seen.is_site_local):
            return "private or reserved"
    return None


def check_base_url(url: str, *, local: bool) -> None:
    """Refuse a provider's address that is not a plain https URL of a public host, or http where it is local.

    Raises
    ------
    SettingsError : with what to write instead; it never repeats a user, a password or a query.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip(".").lower(), parts.port
    except ValueError:
        raise _refused("A provider's base_url is not a URL.", "Write it as https://HOST/PATH.") from None
    if len(url) > 2_000 or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise _refused(
            "A provider's base_url holds spaces, control or other characters that no URL has.",
            "Write it as https://HOST/PATH, an international name as xn--….",
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise _refused(
            f"The base_url of the provider at {host!r} holds a user, a query or a fragment.",
            "Give the key by the name of an environment variable, and only scheme, host and path here.",
        )
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise _refused(f"{url!r} is not an address of HTTP.", "Write it as https://HOST/PATH.")
    if parts.scheme == "http" and not local:
        raise _refused(
            f"The provider at {host!r} would be sent its key and every prompt in the clear.",
            "Use https://, or set local = true where it is a server of your own.",
        )
    if host in _METADATA_NAMES:
        raise _refused(f"{host!r} is a metadata service, not a provider.", "Write the provider's own address.")
    reason = _refusal_of_host(host, local=local)
    if reason is not None:
        raise _refused(
            f"The provider's address {host!r} is refused: it is {reason}.",
            "Write the provider's public address."
            if local or "metadata" in reason
            else "Set local = true where it is a server of your own, or write its public address.",
        )


class GuardedResolver(AbstractResolver):
    """Resolves names, and keeps only addresses that a provider may have.

    Parameters
    ----------
    local : whether private addresses are allowed; those of metadata services never are.
    """

    def __init__(self, *, local: bool, inner: AbstractResolver | None = None) -> None:
        self._local = local
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [result for result in found if refusal(_parse(result["host"]), local=self._local) is None]
        if found and not allowed:
            reason = refusal(_parse(found[0]["host"]), local=self._local)
            raise RefusedAddress(f"its name resolves to an address that is {reason}")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


def _refusal_of_host(host: str, *, local: bool) -> str | None:
    try:
        return refusal(_parse(host), local=local)
    except ValueError:
        pass
    last = host.rpartition(".")[2]
    if last.isdecimal() or last.startswith("0x"):
        # 2130706433, 127.1 and 0x7f.1 are 127.0.0.1 to some, and a name to others.
        return "not a canonical IPv4 address"
    if not local and (host == "localhost" or host.endswith(".localhost")):
        return "this very machine"
    return None


def _parse(host: str) -> Address:
    return ipaddress.ip_address(host.partition("%")[0])


def _meanings(address: Address) -> tuple[Address, ...]:
    """The address, and those of IPv4 that it stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    hidden: list[Address] = [address]
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        hidden.append(address.sixtofour)
    if address.teredo is not None:
        hidden.extend(address.teredo)
    if address in _NAT64 or (address in _V4_COMPATIBLE and int(address) > 0xFFFF):
        hidden.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(hidden)


def _refused(message: str, remedy: str) -> SettingsError:
    return SettingsError(message, remedy=remedy, field="base_url")
