"""No provider lies within the own network unless it is configured so, and none is a metadata service."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.addresses import GuardedResolver, RefusedAddress, check_base_url, refusal
from store.errors import SettingsError


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://openrouter.ai/api/v1",
        "https://[2606:4700::1111]:8443/v1",
        "https://8.8.8.8/v1",
    ],
)
def test_public_addresses_are_taken(url: str) -> None:
    check_base_url(url, local=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:8000/v1", "https://localhost/v1", "https://LOCALHOST./v1", "https://api.localhost/v1",
        "https://10.0.0.5/v1", "https://172.16.1.1/v1", "https://192.168.1.4/v1", "https://100.64.0.1/v1",
        "https://169.254.1.1/v1", "https://0.0.0.0/v1", "https://224.0.0.1/v1", "https://[::1]/v1", "https://[::]/v1",
        "https://[fd12::1]/v1", "https://[fe80::1]/v1", "https://[ff02::1]/v1", "https://[::ffff:127.0.0.1]/v1",
        "https://[::ffff:a00:5]/v1", "https://[64:ff9b::7f00:1]/v1", "https://[2002:7f00:1::]/v1",
        "https://2130706433/v1", "https://127.1/v1", "https://0x7f.0.0.1/v1", "https://0177.0.0.1/v1",
        "http://api.openai.com/v1", "ftp://api.openai.com", "https:///v1", "api.openai.com/v1", "", "https://a:99999/v1",
        "https://user:pass@api.openai.com/v1", "https://api.openai.com/v1?key=abc", "https://api.openai.com/v1#x",
        "https://api.openai.com/v1\r\nX: y", "https://api.openai.com/ v1", "https://api.openai.com\\@127.0.0.1/v1",
        "https://b\u00fccher.example/v1",
    ],
)  # fmt: skip
def test_private_and_strange_addresses_are_refused_with_what_to_do(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_base_url(url, local=False)
    assert caught.value.remedy
    assert caught.value.field == "base_url"
    assert "pass@" not in str(caught.value)
    assert "key=abc" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/v1", "http://localhost:11434/v1", "http://10.0.0.5/v1", "http://vllm.internal:8000/v1"],
)
def test_local_addresses_are_taken_where_configured(url: str) -> None:
    check_base_url(url, local=True)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "100.100.100.200",
     "168.63.129.16", "metadata.google.internal", "Metadata.Google.Internal."],
)  # fmt: skip
def test_metadata_services_are_never_taken(host: str, local: bool) -> None:
    with pytest.raises(SettingsError, match="metadata"):
        check_base_url(f"{'http' if local else 'https'}://{host}/v1", local=local)


class Names(AbstractResolver):
    """A name server that answers as it is told."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""


def resolve(local: bool, *addresses: str) -> list[str]:
    async def ask() -> list[str]:
        resolver = GuardedResolver(local=local, inner=Names(*addresses))
        return [found["host"] for found in await resolver.resolve("api.example", 443)]

    return asyncio.run(ask())


def test_a_name_that_comes_to_point_inside_is_not_followed() -> None:
    assert resolve(False, "93.184.216.34") == ["93.184.216.34"]
    for inside in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1%eth0", "fd00:ec2::254"):
        with pytest.raises(RefusedAddress):
            resolve(False, inside)
    assert resolve(False, "10.0.0.1", "93.184.216.34") == ["93.184.216.34"], "only what is allowed is left"
    assert resolve(True, "10.0.0.1") == ["10.0.0.1"]
    with pytest.raises(RefusedAddress, match="metadata"):
        resolve(True, "169.254.169.254")


@given(st.ip_addresses(v=4))
def test_ipv4_written_as_ipv6_is_judged_as_what_it_is(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert (refusal(address, local=False) is None) == (refusal(mapped, local=False) is None)
    if refusal(address, local=False) is not None:
        through = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
        assert refusal(through, local=False) is not None
    if not address.is_global:
        assert refusal(address, local=False) is not None
