"""The connection to a real Redis: opened, checked, told of without its password."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from gateway.account.shared_state import address, check, open_redis
from store.errors import SettingsError
from store.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def having(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr(url)})


async def test_a_redis_that_answers(settings: Settings, redis_url: str) -> None:
    mine = having(settings, redis_url)
    redis = open_redis(mine)
    assert redis is not None
    async with redis:
        state = await check(mine, redis)
        assert state.ok
        assert state.version is not None
        assert state.address == redis_url
        await redis.set("x", 1)
        assert await redis.get("x") == b"1"


async def test_one_that_may_forget_what_was_spent_is_told_of(settings: Settings, redis_url: str) -> None:
    mine = having(settings, redis_url)
    redis = open_redis(mine)
    assert redis is not None
    async with redis:
        await redis.config_set("maxmemory", "100mb")
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            state = await check(mine, redis)
        finally:
            await redis.config_set("maxmemory-policy", "noeviction")
            await redis.config_set("maxmemory", "0")
        assert state.problem is not None
        assert "noeviction" in state.problem


async def test_one_that_does_not_answer_and_none_at_all(settings: Settings) -> None:
    gone = having(settings, "redis://ada:s3cret@127.0.0.1:1/0")
    redis = open_redis(gone)
    assert redis is not None
    async with redis:
        state = await check(gone, redis)
    assert not state.ok
    assert "s3cret" not in repr(state)
    assert state.address == "redis://127.0.0.1:1/0"
    assert open_redis(settings) is None
    assert (await check(settings, None)).ok
    assert address(settings) is None


@pytest.mark.parametrize(
    "url",
    ["s3cret", "http://s3cret", "redis://:s3cret@h:port/0", "unix://", "redis://:s3cret@h?nonsense=1"],
)
def test_what_is_no_address_is_refused_without_being_shown(settings: Settings, url: str) -> None:
    with pytest.raises(SettingsError, match="MERIT_REDIS_URL") as refused:
        open_redis(having(settings, url))
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
