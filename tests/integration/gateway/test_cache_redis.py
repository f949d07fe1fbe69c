"""Answers shared through a real Redis: found by the other gateway, sealed where wanted, erased everywhere."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.account.encryption import Keyring
from gateway.call.cache import AnswerCache
from gateway.call.cache_redis import RedisAnswers
from store.errors import ServiceUnavailable
from store.settings import Settings

KEY = b"k" * 32
SECRET = "what ann asked, word for word"
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still is no Redis that is away."""
    monkeypatch.setattr("gateway.call.cache_redis._ANSWER_S", 30.0)


def answer(text: str = SECRET) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "choices": [choice]}


@asynccontextmanager
async def gateways(settings: Settings, url: str, count: int = 2) -> AsyncIterator[list[AnswerCache]]:
    clients = [Redis.from_url(url, protocol=2) for _ in range(count)]
    caches = [AnswerCache(shared=RedisAnswers(one, Keyring(settings), poll_s=0.01)) for one in clients]
    for cache in caches:
        await cache.start()
    try:
        yield caches
    finally:
        for cache in caches:
            await cache.close()
        for client in clients:
            await client.aclose()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30.0):
        while not condition():
            await asyncio.sleep(0.005)


def stored(url: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(url) as client:
        return {name: client.get(name) for name in client.scan_iter("{merit}:cache:*") if b":of:" not in name}  # type: ignore[misc]


def with_key(settings: Settings) -> Settings:
    return settings.model_copy(update={"data_key": SecretStr(base64.b64encode(b"s" * 32).decode())})


async def test_the_other_gateway_finds_it_with_the_time_that_is_left(settings: Settings, redis_url: str) -> None:
    async with gateways(settings, redis_url) as (a, b):
        assert a.put("space", KEY, answer(), keep="plain", ttl_s=100.0)
        await until(lambda: stored(redis_url))
        assert await b.get("space", KEY, keep="plain") == answer()
        assert b.has(KEY)
        assert await b.get("other", KEY, keep="plain") is None
        entry = b._entries[KEY]
        assert 90.0 < entry.until - b._clock() <= 100.0


async def test_what_is_not_to_be_kept_never_reaches_redis(settings: Settings, redis_url: str) -> None:
    async with gateways(settings, redis_url) as (a, b):
        assert a.put("space", KEY, answer(), keep="nothing")
        assert a.put("sealed", KEY, answer(), keep="encrypted")  # There is no key to seal with.
        assert await a.get("sealed", KEY, keep="encrypted") == answer()
    assert stored(redis_url) == {}
    async with gateways(settings, redis_url) as (a, b):
        a.put("space", KEY, answer(), keep="plain")
        await until(lambda: stored(redis_url))
        assert await b.get("space", KEY, keep="nothing") is None


async def test_what_is_to_be_encrypted_is(settings: Settings, redis_url: str) -> None:
    settings = with_key(settings)
    async with gateways(settings, redis_url) as (a, b):
        a.put("space", KEY, answer(), keep="encrypted", user="ann")
        await until(lambda: stored(redis_url))
        ((name, value),) = stored(redis_url).items()
        assert SECRET.encode() not in value
        assert b"ann" not in value
        assert b"space" not in name
        assert await b.get("space", KEY, keep="encrypted") == answer()
        # Moved to another key it does not open, and is as good as not there.
        with redis.Redis.from_url(redis_url) as client:
            client.set(name.replace(KEY.hex().encode(), (b"j" * 32).hex().encode()), value, px=60_000)
        assert await b.get("space", b"j" * 32, keep="encrypted") is None


async def test_erasing_reaches_every_gateway(settings: Settings, redis_url: str) -> None:
    async with gateways(settings, redis_url, 3) as (a, b, c):
        for number, user in enumerate(["ann", "bob", None]):
            a.put("space", bytes([number]) * 32, answer(), keep="plain", user=user)
            a.put("other", bytes([number + 10]) * 32, answer(), keep="plain", user=user)
        await until(lambda: len(stored(redis_url)) == 6)
        for number in range(3):
            assert await b.get("space", bytes([number]) * 32, keep="plain") is not None
        assert await c.erase("space", "ann") == 1
        await until(lambda: not a.has(b"\0" * 32) and not b.has(b"\0" * 32))
        assert await b.get("space", b"\0" * 32, keep="plain") is None
        assert await b.get("space", b"\1" * 32, keep="plain") is not None
        assert await c.erase("space") == 2
        await until(lambda: not b.has(b"\1" * 32) and not a.has(b"\2" * 32))
        assert len(stored(redis_url)) == 3
        assert a.has(b"\x0a" * 32)


async def test_a_gateway_that_starts_does_not_erase_what_was_erased_before(settings: Settings, redis_url: str) -> None:
    async with gateways(settings, redis_url, 1) as (a,):
        await a.erase("space")
        async with gateways(settings, redis_url, 1) as (late,):
            late.put("space", KEY, answer())
            await a.erase("other")
            await asyncio.sleep(0.05)
            assert late.has(KEY)


async def test_without_redis_each_has_its_own(settings: Settings, tmp_path: Any) -> None:
    async with gateways(settings, f"unix://{tmp_path}/nobody.sock", 1) as (a,):
        assert a.put("space", KEY, answer(), keep="plain")
        assert await a.get("space", KEY, keep="plain") == answer()
        assert await a.get("space", b"j" * 32, keep="plain") is None
        with pytest.raises(ServiceUnavailable, match="cached answers of the workspace 'space'"):
            await a.erase("space")
        assert not a.has(KEY)
