"""Which limits a call falls under, and how it is told that one of them is reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from gateway.prompt import Tenant
from store.errors import RateLimited

# Seconds after which a slot of those that run at the same time is worth asking for again.
_SLOT_S = 1.0
_PER_MINUTE = {"requests": "requests_per_minute", "tokens": "tokens_per_minute", "concurrent": "concurrent"}
_HEADERS = {
    kind: (f"x-ratelimit-limit-{kind}", f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}")
    for kind in ("requests", "tokens")
}


class RateSettings(Protocol):
    """What a workspace may do; None: no limit."""

    @property
    def requests_per_minute(self) -> int | None: ...
    @property
    def tokens_per_minute(self) -> int | None: ...
    @property
    def concurrent(self) -> int | None: ...


class Limit(NamedTuple):
    """A limit that a call falls under.

    Attributes
    ----------
    of : "key" or "workspace"; `name` of it.
    kind : "requests" or "tokens" within a minute, or "concurrent" calls.
    """

    of: str
    name: str
    kind: str
    most: int


class Standing(NamedTuple):
    """How a limit stands: what is left of it, and milliseconds until all of it is there again."""

    kind: str
    most: int
    left: int
    reset_ms: int


class Reached(NamedTuple):
    """A limit that has no room; `wait_ms` None where it never has for so much."""

    limit: Limit
    asked: int
    used: int
    wait_ms: int | None


def limits_of(tenant: Tenant, workspace: RateSettings) -> tuple[Limit, ...]:
    """The limits that a call falls under."""
    # A caller of an open API has no key, and with it no limits of a key.
    key = tenant.key_id or ""
    found = (
        Limit("key", key, "requests", tenant.requests_per_minute or 0),
        Limit("key", key, "tokens", tenant.tokens_per_minute or 0),
        Limit("workspace", tenant.workspace, "requests", workspace.requests_per_minute or 0),
        Limit("workspace", tenant.workspace, "tokens", workspace.tokens_per_minute or 0),
        Limit("workspace", tenant.workspace, "concurrent", workspace.concurrent or 0),
    )
    return tuple(limit for limit in found if limit.most and limit.name)


def headers(standings: Iterable[Standing]) -> dict[str, str]:
    """The headers that OpenAI's clients know, of the limit with the least left of each kind."""
    told: dict[str, str] = {}
    tightest: dict[str, Standing] = {}
    for one in standings:
        if one.kind != "concurrent" and (one.kind not in tightest or one.left < tightest[one.kind].left):
            tightest[one.kind] = one
    for kind, one in tightest.items():
        limit, remaining, reset = _HEADERS[kind]
        told[limit] = str(one.most)
        told[remaining] = str(max(0, one.left))
        told[reset] = _duration(one.reset_ms)
    return told


def rate_limited(reached: list[Reached], tenant: Tenant, standings: Iterable[Standing]) -> RateLimited:
    """The error for a call that has to wait: of several limits the one that makes it wait longest."""
    limit, asked, used, wait_ms = max(reached, key=lambda one: float("inf") if one.wait_ms is None else one.wait_ms)
    name = tenant.key_name if limit.of == "key" else limit.name
    whose = f"The {limit.of} {name!r}"
    if limit.kind == "concurrent":
        message = (
            f"{whose} may have {limit.most:,} {'call' if limit.most == 1 else 'calls'} at a time, and has {used:,}."
        )
        remedy = "Wait until one of them has ended."
        retry_after: float | None = _SLOT_S
    elif wait_ms is None:
        message = f"This call may take {asked:,} tokens, and {whose.lower()} has {limit.most:,} a minute."
        remedy = "Ask for less, or have the limit raised."
        retry_after = None
    else:
        retry_after = wait_ms / 1000
        message = (
            f"{whose} may use {limit.most:,} {limit.kind} a minute: {used:,} were used in the last one, and this call "
            f"takes {asked:,}."
        )
        remedy = f"Try again in {retry_after:.1f} s."
    details: dict[str, Any] = {
        "of": limit.of,
        "name": name,
        "limit": _PER_MINUTE[limit.kind],
        "most": limit.most,
        "used": used,
        "asked": asked,
        "headers": headers(standings),
    }
    return RateLimited(message, remedy=remedy, retry_after=retry_after, details=details)


def _duration(milliseconds: int) -> str:
    """As OpenAI writes it: 120ms, 7.5s, 1m0s."""
    if milliseconds < 1000:
        return f"{max(0, milliseconds)}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
