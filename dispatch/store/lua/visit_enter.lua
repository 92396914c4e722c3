-- Note one more socket of an identity, and send the oldest of too many away wherever it is.
-- KEYS  1 its sockets (sorted set "<node> <sid>" by the moment each was noted)
-- ARGV  1 the identity's channel  2 "<node> <sid>"  3 how many it may hold  4 ms kept
--       5... the nodes that live; none where that is not known
-- Returns how many were sent away.
-- Atomic, because two that come at once must not both be the last that fits.
local living = {}
for at = 5, #ARGV do
  living[ARGV[at]] = true
end
if next(living) then
  -- A node that was killed has said goodbye for none of its sockets.
  for _, visit in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if not living[string.match(visit, '^%S+')] then
      redis.call('ZREM', KEYS[1], visit)
    end
  end
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- One that is noted again keeps its place in the line.
redis.call('ZADD', KEYS[1], 'NX', now_ms, ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local over = redis.call('ZCARD', KEYS[1]) - ARGV[3]
for at = 1, over do
  local visit = redis.call('ZPOPMIN', KEYS[1])[1]
  local sid = string.match(visit, '%S+$')
  redis.call('SPUBLISH', ARGV[1],
    '0\n\n' .. now_ms .. '\none_too_many\n{"sid":"' .. sid .. '"}')
end
return math.max(over, 0)
