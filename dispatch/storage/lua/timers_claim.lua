-- Takes the orders whose time has come, so that they are not looked at twice at once.
-- KEYS  1 the timers (sorted set)  2 the last token of the zone's lease
-- ARGV  1 token  2 now (ms)  3 how many  4 until when they are taken (ms)
-- Returns {orders taken, when the next one is due}, nil where another engine has taken the lease.
--
-- An engine that dies under its claims leaves them to come up again.
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then
  return false
end
local due = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, order in ipairs(due) do
  redis.call('ZADD', KEYS[1], ARGV[4], order)
end
local later = redis.call('ZRANGE', KEYS[1], '-inf', '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
return {due, later[2] or ''}
