"""Redis, which several gateways share budgets, rate limits and breakers through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.exceptions import RedisError

from store.errors import ServiceUnavailable, SettingsError
from store.settings import Settings

# Everything of ours begins so. The braces keep it on one node where a proxy spreads keys over several.
PREFIX = "{merit}:"
# A gateway waits no longer than this for an answer: a call is refused rather than held up.
ANSWER_SECONDS = 2.0
CONNECTIONS = 64
_OLDEST = (6, 0)


@dataclass(frozen=True)
class SharedState:
    """What `merit doctor` and `/readyz` tell of Redis.

    Attributes
    ----------
    address : without user and password; None where none is set.
    version : of the server; None where it does not answer.
    problem : what is wrong with it, in words; None when nothing is.
    """

    address: str | None
    version: str | None = None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        return self.problem is None


def open_redis(settings: Settings) -> Redis | None:
    """A client for the Redis of `MERIT_REDIS_URL`, connected when it is first used; None where none is set.

    Close it with `aclose()`.

    Raises
    ------
    SettingsError : not the address of a Redis.
    """
    if settings.redis_url is None:
        return None
    options: dict[str, Any] = {"socket_timeout": ANSWER_SECONDS, "socket_connect_timeout": ANSWER_SECONDS}
    try:
        options.update(parse_url(settings.redis_url.get_secret_value()))
        # A connection that the server has closed meanwhile is made anew, once.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisUnreachable,))
        options.update(protocol=2, decode_responses=False, retry=retry)
        kind = options.pop("connection_class", Connection)
        made = kind(**options)
    except (ValueError, TypeError):
        # Neither the text nor the cause is shown: either may hold a password.
        raise _no_address() from None
    if not getattr(made, "path" if kind is UnixDomainSocketConnection else "host", ""):
        raise _no_address()
    pool = BlockingConnectionPool(CONNECTIONS, ANSWER_SECONDS, kind, **options)
    return Redis.from_pool(pool)


def address(settings: Settings) -> str | None:
    """Where Redis is, without user and password."""
    if settings.redis_url is None:
        return None
    try:
        parts = urlsplit(settings.redis_url.get_secret_value())
        host = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return "not an address"
    return f"{parts.scheme}://{host}{parts.path}"


def unanswered(settings: Settings, error: Exception) -> ServiceUnavailable:
    """The error for a Redis that does not answer."""
    return ServiceUnavailable(
        f"Redis at {address(settings)} does not answer: {type(error).__name__}.",
        remedy="Start it, or correct MERIT_REDIS_URL; `merit doctor` shows every setting.",
        field="MERIT_REDIS_URL",
    )


async def check(settings: Settings, redis: Redis | None) -> SharedState:
    """How Redis does. Never raises."""
    where = address(settings)
    if redis is None:
        return SharedState(where)
    try:
        server = await redis.info("server")
        memory = await redis.info("memory")
    except (RedisError, OSError) as error:
        return SharedState(where, problem=f"does not answer: {type(error).__name__}")
    version = str(server.get("redis_version", "0"))
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    problem = None
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
        problem = f"is version {version}; {_OLDEST[0]}.{_OLDEST[1]} or later is needed"
    elif policy != "noeviction" and memory.get("maxmemory"):
        problem = f"may forget what was spent when memory is short (maxmemory-policy {policy}); set it to noeviction"
    return SharedState(where, version, problem)


def _no_address() -> SettingsError:
    return SettingsError(
        "MERIT_REDIS_URL is not the address of a Redis.",
        remedy="Use redis://[user:password@]host:6379/0, rediss://… for TLS, or unix:///path/to/socket.",
        field="MERIT_REDIS_URL",
    )
