"""What Redis does with counters in one step. Each script is one round trip and changes everything or nothing.

    {merit}:budget:<budget>:<first day>    hash: s<subject> → nanos spent, r<subject> → nanos reserved
    {merit}:budget:seeded                  hash: budgets whose earlier spending was added
    {merit}:budget:held:<call>             hash: <counter>\\n<subject> → nanos that the call holds
    {merit}:budget:expiring                sorted set: calls that hold something, by when that expires
    {merit}:budget:done:<call>             a call that was settled lately

Amounts stay the texts that they come as, so that they are exact to the nano: Lua's own numbers only compare them. The
clock is that of Redis.
"""

from __future__ import annotations

# Reservations that one call to Redis lets go of at most, besides its own.
_SWEPT = 20

_COMMON = f"""
pcall(redis.replicate_commands)
local moment = redis.call('TIME')
local now = moment[1] * 1000 + math.floor(moment[2] / 1000)

local function let_go(key)
  local held = redis.call('HGETALL', key)
  for i = 1, #held, 2 do
    local cut = string.find(held[i], '\\n', 1, true)
    local counter, field = string.sub(held[i], 1, cut - 1), 'r' .. string.sub(held[i], cut + 1)
    if redis.call('HINCRBY', counter, field, '-' .. held[i + 1]) <= 0 then
      redis.call('HDEL', counter, field)
    end
  end
  redis.call('DEL', key)
end

local function sweep(expiring, prefix)
  local calls = redis.call('ZRANGEBYSCORE', expiring, '-inf', now, 'LIMIT', 0, {_SWEPT})
  for _, call in ipairs(calls) do
    let_go(prefix .. call)
    redis.call('ZREM', expiring, call)
  end
  return #calls
end
"""

# KEYS: seeded, expiring, held, counters. ARGV: call, milliseconds to live, prefix of held, and of each counter: budget,
# subject, nanos, limit or "" for none, and when it may be forgotten.
HOLD = (
    _COMMON
    + """
local lines = #KEYS - 3
for i = 1, lines do
  if redis.call('HEXISTS', KEYS[1], ARGV[5 * i - 1]) == 0 then return {'unseeded'} end
end
sweep(KEYS[2], ARGV[3])
local own = {}
local held = redis.call('HGETALL', KEYS[3])
for i = 1, #held, 2 do own[held[i]] = tonumber(held[i + 1]) end
local short = {'short'}
for i = 1, lines do
  local key, subject, amount, limit = KEYS[i + 3], ARGV[5 * i], tonumber(ARGV[5 * i + 1]), tonumber(ARGV[5 * i + 2])
  local mine = own[key .. '\\n' .. subject] or 0
  if limit and amount > mine then
    local counted = redis.call('HMGET', key, 's' .. subject, 'r' .. subject)
    local spent, others = tonumber(counted[1] or 0), tonumber(counted[2] or 0) - mine
    if spent + others + amount > limit then
      short[#short + 1] = i
      short[#short + 1] = string.format('%.0f', spent)
      short[#short + 1] = string.format('%.0f', others)
    end
  end
end
if #short > 1 then return short end
let_go(KEYS[3])
for i = 1, lines do
  local key, subject, amount = KEYS[i + 3], ARGV[5 * i], ARGV[5 * i + 1]
  if amount ~= '0' then
    redis.call('HINCRBY', key, 'r' .. subject, amount)
    redis.call('PEXPIREAT', key, ARGV[5 * i + 3])
    redis.call('HSET', KEYS[3], key .. '\\n' .. subject, amount)
  end
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[2]), ARGV[1])
return {'held'}
"""
)

# KEYS: expiring, held, done, counters. ARGV: call, milliseconds to remember it, and of each counter: subject, nanos,
# when it may be forgotten. Returns what each has spent after it; nothing where the call was settled before.
SETTLE = (
    _COMMON
    + """
if not redis.call('SET', KEYS[3], '1', 'NX', 'PX', ARGV[2]) then return {} end
let_go(KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
local spent = {}
for i = 1, #KEYS - 3 do
  spent[i] = redis.call('HINCRBY', KEYS[i + 3], 's' .. ARGV[3 * i], ARGV[3 * i + 1])
  redis.call('PEXPIREAT', KEYS[i + 3], ARGV[3 * i + 2])
end
return spent
"""
)

# KEYS: expiring, held. ARGV: call.
RELEASE = (
    _COMMON
    + """
let_go(KEYS[2])
return redis.call('ZREM', KEYS[1], ARGV[1])
"""
)

# KEYS: expiring. ARGV: call, milliseconds to live.
TOUCH = (
    _COMMON
    + """
return redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', now + ARGV[2]), ARGV[1])
"""
)

# KEYS: expiring. ARGV: prefix of held.
SWEEP = (
    _COMMON
    + """
return sweep(KEYS[1], ARGV[1])
"""
)

# KEYS: counter. ARGV: when it may be forgotten, and subjects with the nanos that each has spent at least.
RAISE = """
for i = 2, #ARGV, 2 do
  local spent = redis.call('HGET', KEYS[1], 's' .. ARGV[i])
  if not spent or tonumber(spent) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[1], 's' .. ARGV[i], ARGV[i + 1])
  end
end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return 1
"""

# KEYS: counter. ARGV: when it may be forgotten, and subjects with nanos to add. Returns what each has spent after it.
CORRECT = """
local spent = {}
for i = 2, #ARGV, 2 do
  local after = redis.call('HINCRBY', KEYS[1], 's' .. ARGV[i], ARGV[i + 1])
  if after < 0 then
    redis.call('HSET', KEYS[1], 's' .. ARGV[i], '0')
    after = 0
  end
  spent[#spent + 1] = after
end
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
return spent
"""
