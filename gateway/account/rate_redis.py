"""Rates in Redis, which all gateways share: taking of every limit of a call is one script and one round trip.

    {merit}:rate:<of>:<kind>:<name>     hash: n → total, f → first step kept, <step> → amount
    {merit}:rate:workspace:concurrent:<name>    sorted set: calls under way, by when they are no longer believed in

A step is a tenth of a second by the clock of Redis; see `gateway.account.rate_window`, which counts the same way.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import count

from redis.asyncio import Redis

from gateway.account.rate_limits import Limit, Reached, Standing, headers
from gateway.account.rate_window import STEP_MS, WINDOW_MS
from gateway.account.shared_state import PREFIX

# A call that has not ended by then was of a gateway that died: its slot is free again.
LEASE_MS = 3_600_000

_COMMON = f"""
pcall(redis.replicate_commands)
local moment = redis.call('TIME')
local now = moment[1] * 1000 + math.floor(moment[2] / 1000)
local dead = math.floor((now - {WINDOW_MS}) / {STEP_MS})

local function steps(from, to)
  local names = {{}}
  for step = from, to do names[#names + 1] = string.format('%.0f', step) end
  return names
end

-- Total and first step of a window from which what has left is taken out.
local function move(key)
  local head = redis.call('HMGET', key, 'n', 'f')
  local total, first = tonumber(head[1] or 0), tonumber(head[2])
  if not first then return 0, nil end
  if first <= dead then
    local names = steps(first, math.min(dead, first + {WINDOW_MS // STEP_MS}))
    for _, amount in ipairs(redis.call('HMGET', key, unpack(names))) do
      if amount then total = total - tonumber(amount) end
    end
    redis.call('HDEL', key, unpack(names))
    first = dead + 1
    redis.call('HSET', key, 'n', string.format('%.0f', total), 'f', string.format('%.0f', first))
  end
  return total, first
end
"""

# KEYS: of each limit. ARGV: name of the call, milliseconds of its slot, and of each limit: kind, most, asked. Returns
# 1, the step, and of each limit what is left and when all of it is back; or 0, and of each limit that is reached its
# number, what was used, and how long to wait (-1: for ever).
_TAKE = (
    _COMMON
    + f"""
local reached, totals = {{0}}, {{}}
for i, key in ipairs(KEYS) do
  local kind, most, asked = ARGV[3 * i], tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  local used, first, wait = 0, nil, 0
  if kind == 'concurrent' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    used = redis.call('ZCARD', key)
  else
    used, first = move(key)
  end
  totals[i] = used
  if used + asked > most then
    if asked > most then
      wait = -1
    elseif first then
      local needed = used + asked - most
      local names = steps(first, math.floor(now / {STEP_MS}) + 1)
      for j, amount in ipairs(redis.call('HMGET', key, unpack(names))) do
        needed = needed - tonumber(amount or 0)
        if needed <= 0 then
          wait = (first + j - 1) * {STEP_MS} + {WINDOW_MS} - now
          break
        end
      end
    end
    reached[#reached + 1] = i
    reached[#reached + 1] = used
    reached[#reached + 1] = wait
  end
end
if #reached > 1 then return reached end
local step = math.ceil(now / {STEP_MS})
local name = string.format('%.0f', step)
local taken = {{1, step}}
for i, key in ipairs(KEYS) do
  local most, asked = tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  if ARGV[3 * i] == 'concurrent' then
    redis.call('ZADD', key, string.format('%.0f', now + ARGV[2]), ARGV[1])
    redis.call('PEXPIRE', key, ARGV[2])
  else
    redis.call('HINCRBY', key, name, ARGV[3 * i + 2])
    redis.call('HINCRBY', key, 'n', ARGV[3 * i + 2])
    redis.call('HSETNX', key, 'f', name)
    redis.call('PEXPIRE', key, {WINDOW_MS + 1000})
  end
  taken[#taken + 1] = most - totals[i] - asked
  taken[#taken + 1] = step * {STEP_MS} + {WINDOW_MS} - now
end
return taken
"""
)

# KEYS: of the limits of tokens, and last of the slot, or "". ARGV: name of the call, step, by how many
# tokens it changes. A step that has left is not changed.
_SETTLE = (
    _COMMON
    + """
for i = 1, #KEYS - 1 do
  if tonumber(ARGV[2]) > dead and redis.call('HEXISTS', KEYS[i], ARGV[2]) == 1 then
    redis.call('HINCRBY', KEYS[i], ARGV[2], ARGV[3])
    redis.call('HINCRBY', KEYS[i], 'n', ARGV[3])
  end
end
if KEYS[#KEYS] ~= '' then redis.call('ZREM', KEYS[#KEYS], ARGV[1]) end
return 1
"""
)


class SharedTicket:
    """What a call has taken of the limits in Redis, and how they stood then."""

    __slots__ = ("_left", "_rates", "limits", "name", "settled", "step", "tokens")

    def __init__(
        self, rates: RedisRates, limits: Sequence[Limit], tokens: int, name: str, step: int, left: list[int]
    ) -> None:
        self._rates, self.limits, self.tokens, self.name, self.step = rates, limits, tokens, name, step
        self._left = left
        self.settled = False

    @property
    def headers(self) -> dict[str, str]:
        """How the limits stood: `x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests`, …"""
        stood = zip(self.limits, self._left[::2], self._left[1::2], strict=True)
        return headers(Standing(limit.kind, limit.most, left, reset) for limit, left, reset in stood)

    async def settle(self, tokens: int) -> None:
        """Correct the tokens to what was used, and free the slot."""
        if not self.settled:
            self.settled = True
            await self._rates.settle(self, tokens)


class RedisRates:
    """Windows in Redis. Every method raises what Redis does."""

    def __init__(self, redis: Redis) -> None:
        self._take = redis.register_script(_TAKE)
        self._settle = redis.register_script(_SETTLE)
        self._process = secrets.token_hex(6)
        self._number = count()

    async def take(self, limits: Sequence[Limit], tokens: int) -> SharedTicket | list[Reached]:
        """Take of all limits, or of none where one is reached."""
        name = f"{self._process}-{next(self._number)}"
        args: list[str | int] = [name, LEASE_MS]
        for limit in limits:
            args += (limit.kind, limit.most, _asked(limit, tokens))
        answer: list[int] = await self._take(keys=[_key(limit) for limit in limits], args=args)
        if answer[0]:
            return SharedTicket(self, limits, tokens, name, answer[1], answer[2:])
        return [
            Reached(limits[number - 1], _asked(limits[number - 1], tokens), used, None if wait < 0 else wait)
            for number, used, wait in zip(answer[1::3], answer[2::3], answer[3::3], strict=True)
        ]

    async def settle(self, ticket: SharedTicket, tokens: int) -> None:
        """See `SharedTicket.settle`."""
        by = tokens - ticket.tokens
        changed = [_key(limit) for limit in ticket.limits if limit.kind == "tokens"] if by else []
        slot = next((_key(limit) for limit in ticket.limits if limit.kind == "concurrent"), "")
        if changed or slot:
            await self._settle(keys=[*changed, slot], args=[ticket.name, ticket.step, by])


def _asked(limit: Limit, tokens: int) -> int:
    return tokens if limit.kind == "tokens" else 1


def _key(limit: Limit) -> str:
    return f"{PREFIX}rate:{limit.of}:{limit.kind}:{limit.name}"
