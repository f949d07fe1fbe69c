"""Rates in one process: exact in every minute, neither early nor late, all limits of a call or none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.account import rate_local
from gateway.account.rate_limits import _duration
from gateway.account.rate_window import STEP_MS, WINDOW_MS
from gateway.account.rates import Rates
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.prompt import Tenant
from store.errors import RateLimited
from store.settings import Settings

pytestmark = pytest.mark.anyio
NO_LIMITS = WorkspaceSettings()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    """Milliseconds that go by when told to."""

    def __init__(self) -> None:
        self.ms = 1_000_000_000

    def __call__(self) -> float:
        return self.ms / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rates(settings: Settings, clock: Clock) -> Rates:
    return Rates(settings, clock=clock)


def key(requests: int | None = None, tokens: int | None = None, **values: Any) -> Tenant:
    given = {"key_id": "k1", "key_name": "shop", **values}
    return Tenant(requests_per_minute=requests, tokens_per_minute=tokens, **given)


async def test_no_limits_no_ticket(rates: Rates) -> None:
    assert await rates.take(key(), NO_LIMITS, 10**9) is None
    await rates.settle(None, 5)
    # An open API knows no keys, and so no limits of one.
    assert await rates.take(key(1, 1, key_id=None), NO_LIMITS, 10**9) is None


async def test_all_that_is_allowed_passes_at_once_and_the_next_is_told_when(rates: Rates, clock: Clock) -> None:
    for _ in range(60):
        await rates.take(key(60), NO_LIMITS, 1)
    clock.ms += 10_000
    with pytest.raises(RateLimited, match="'shop' may use 60 requests a minute: 60 were used") as refused:
        await rates.take(key(60), NO_LIMITS, 1)
    assert refused.value.retry_after == 50.0
    assert refused.value.details["limit"] == "requests_per_minute"
    assert refused.value.details["headers"] == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "50s",
    }
    clock.ms += 49_999
    with pytest.raises(RateLimited):
        await rates.take(key(60), NO_LIMITS, 1)
    clock.ms += 1
    assert await rates.take(key(60), NO_LIMITS, 1) is not None


async def test_concurrent_calls_cannot_pass_on_tokens_that_none_has_used_yet(rates: Rates) -> None:
    # Five calls of 130 tokens against 100 a minute: it once took 663 elsewhere.
    found = await asyncio.gather(
        *(rates.take(key(tokens=100), NO_LIMITS, 30) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, RateLimited) for one in found) == 2
    assert sum(one is not None and not isinstance(one, BaseException) for one in found) == 3


async def test_tokens_are_corrected_to_what_was_used_once(rates: Rates, clock: Clock) -> None:
    tenant = key(tokens=100)
    ticket = await rates.take(tenant, NO_LIMITS, 90)
    with pytest.raises(RateLimited):
        await rates.take(tenant, NO_LIMITS, 11)
    await rates.settle(ticket, 20)
    await rates.settle(ticket, 0)
    more = await rates.take(tenant, NO_LIMITS, 80)
    assert more is not None
    assert more.headers["x-ratelimit-remaining-tokens"] == "0"
    # More than was taken counts as well.
    await rates.settle(more, 85)
    clock.ms += WINDOW_MS - 1
    with pytest.raises(RateLimited):
        await rates.take(tenant, NO_LIMITS, 1)
    clock.ms += 1
    assert await rates.take(tenant, NO_LIMITS, 100) is not None


async def test_a_call_that_lasts_longer_than_the_minute_changes_nothing_later(rates: Rates, clock: Clock) -> None:
    tenant = key(tokens=100)
    old = await rates.take(tenant, NO_LIMITS, 100)
    clock.ms += WINDOW_MS
    new = await rates.take(tenant, NO_LIMITS, 60)
    await rates.settle(old, 0)
    assert new is not None
    assert new.headers["x-ratelimit-remaining-tokens"] == "40"


async def test_what_can_never_fit_is_not_told_to_wait(rates: Rates) -> None:
    with pytest.raises(RateLimited, match="may take 101 tokens") as refused:
        await rates.take(key(tokens=100), NO_LIMITS, 101)
    assert refused.value.retry_after is None


async def test_key_and_workspace_together_or_not_at_all(rates: Rates, clock: Clock) -> None:
    workspace = WorkspaceSettings(requests_per_minute=3, tokens_per_minute=1000)
    await rates.take(key(10, 500), workspace, 400)
    with pytest.raises(RateLimited) as refused:
        await rates.take(key(10, 500), workspace, 400)
    assert (refused.value.details["of"], refused.value.details["limit"]) == ("key", "tokens_per_minute")
    # What was refused took nothing: the workspace has two requests and 600 tokens left.
    await rates.take(key(10, 500, key_id="k2"), workspace, 300)
    ticket = await rates.take(key(10, 500, key_id="k3"), workspace, 300)
    assert ticket is not None
    assert ticket.headers["x-ratelimit-limit-requests"] == "3"
    assert ticket.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(RateLimited) as refused:
        await rates.take(key(10, 500, key_id="k4"), workspace, 0)
    assert (refused.value.details["of"], refused.value.details["name"]) == ("workspace", "default")
    # Another workspace has its own, also under the name of a key.
    await rates.take(key(1, 1000, key_id="default", workspace="other"), workspace, 1000)


async def test_calls_at_the_same_time(rates: Rates) -> None:
    workspace = WorkspaceSettings(concurrent=2)
    first = await rates.take(key(), workspace, 1)
    await rates.take(key(key_id="k2"), workspace, 1)
    with pytest.raises(RateLimited, match="2 calls at a time") as refused:
        await rates.take(key(), workspace, 1)
    assert refused.value.retry_after == 1.0
    await rates.settle(first, 1)
    await rates.settle(first, 1)
    third = await rates.take(key(), workspace, 1)
    with pytest.raises(RateLimited):
        await rates.take(key(), workspace, 1)
    assert third is not None
    assert third.headers == {}


async def test_names_that_are_not_used_are_forgotten(settings: Settings, clock: Clock) -> None:
    rates = Rates(settings, clock=clock)
    held = await rates.take(key(5, 50, key_id="held"), NO_LIMITS, 50)
    clock.ms += WINDOW_MS - 1
    for number in range(5 * rate_local._SWEEP_FROM):
        await rates.take(key(5, 50, key_id=f"k{number}"), NO_LIMITS, 1)
        clock.ms += 100
    assert len(rates._local._windows) < 4 * rate_local._SWEEP_FROM
    assert len(rates._local._plans) < 4 * rate_local._SWEEP_FROM
    await rates.settle(held, 0)
    for _ in range(5):
        await rates.take(key(5, 50, key_id="held"), NO_LIMITS, 1)
    with pytest.raises(RateLimited):
        await rates.take(key(5, 50, key_id="held"), NO_LIMITS, 1)


@given(
    calls=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 40), st.integers(0, 60)), max_size=60),
    limit=st.integers(20, 100),
)
def test_no_minute_holds_more_and_nothing_is_refused_early(calls: list[tuple[int, int, int]], limit: int) -> None:
    """Every refusal is due to what was asked within the last minute and a step; what passes fits into every minute."""

    async def run() -> None:
        clock = Clock()
        rates = Rates(Settings(), clock=clock)
        tenant = key(tokens=limit)
        taken: list[tuple[int, int]] = []
        for pause, tokens, used in calls:
            clock.ms += pause
            recent = sum(amount for at, amount in taken if at > clock.ms - WINDOW_MS)
            lately = sum(amount for at, amount in taken if at > clock.ms - WINDOW_MS - STEP_MS)
            try:
                ticket = await rates.take(tenant, NO_LIMITS, tokens)
            except RateLimited as refused:
                assert lately + tokens > limit
                wait = refused.retry_after
                if tokens <= limit:
                    assert wait is not None
                    # It says the moment: one millisecond before is too early, then is not.
                    assert 0 < wait <= (WINDOW_MS + STEP_MS) / 1000
                    clock.ms += round(wait * 1000) - 1
                    with pytest.raises(RateLimited):
                        await rates.take(tenant, NO_LIMITS, tokens)
                    clock.ms += 1
                    ticket = await rates.take(tenant, NO_LIMITS, tokens)
                    await rates.settle(ticket, used)
                    taken.append((clock.ms, used))
                else:
                    assert wait is None
                continue
            assert recent + tokens <= limit
            await rates.settle(ticket, used)
            taken.append((clock.ms, used))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0ms"), (0, "0ms"), (120, "120ms"), (7500, "7.5s"), (60_000, "1m0s"), (60_100, "1m0.1s")],
)
def test_durations_are_written_as_clients_read_them(milliseconds: int, text: str) -> None:
    assert _duration(milliseconds) == text
