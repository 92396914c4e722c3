-- Send the oldest of too many sockets of an identity away, wherever it is.
-- KEYS  1 its sockets (sorted set "<node> <sid>" by the moment each was noted)
-- ARGV  1 the identity's channel  2 how many it may hold  3 the moment that is judged
--       4 ms after which a node that is silent counts as gone
--       5 how many of the nodes that follow have reported since that moment
--       6... the nodes that live, those first
-- Returns the moment to judge next where these still seem too many, else 0.
-- Atomic, because two who judge at once must not both send one away.
local MOST, MOMENT_MS = tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local living, reported = {}, {}
for at = 6, #ARGV do
  living[ARGV[at]] = true
  reported[ARGV[at]] = at - 5 <= tonumber(ARGV[5])
end
local noted = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local held, is_unsure = {}, false
for at = 1, #noted, 2 do
  local visit, came_ms = noted[at], tonumber(noted[at + 1])
  local node = string.match(visit, '^%S+')
  if not living[node] and came_ms < now_ms - ARGV[4] then
    -- A node that was killed has said goodbye for none of its sockets.
    redis.call('ZREM', KEYS[1], visit)
  elseif came_ms <= MOMENT_MS then
    if reported[node] then
      held[#held + 1] = visit
    else
      -- It may be dead, and its sockets may be the same apps that have come back elsewhere.
      is_unsure = true
    end
  end
end
for at = 1, #held - MOST do
  redis.call('ZREM', KEYS[1], held[at])
  local sid = string.match(held[at], '%S+$')
  redis.call('SPUBLISH', ARGV[1],
    '0\n\n' .. now_ms .. '\none_too_many\n{"sid":"' .. sid .. '"}')
end
if redis.call('ZCARD', KEYS[1]) <= MOST then
  return 0
end
return is_unsure and MOMENT_MS or now_ms
