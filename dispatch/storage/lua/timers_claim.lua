-- Claim due orders: move their timers to the end of the claim, so that none is processed twice.
-- KEYS  1 the timers (sorted set)  2 the last token of the zone's lease
-- ARGV  1 token  2 now (ms)  3 how many at most  4 end of the claim (ms)
-- Returns {orders claimed, when the next one is due}, nil where another engine has a newer lease.
--
-- Orders claimed by an engine that dies are due again at the end of the claim.
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then
  return false
end
local due = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, order in ipairs(due) do
  redis.call('ZADD', KEYS[1], ARGV[4], order)
end
local next_due = redis.call('ZRANGE', KEYS[1], '-inf', '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
return {due, next_due[2] or ''}
