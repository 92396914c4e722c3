-- Says when an order that was taken wants to be looked at next, or that it never does.
-- KEYS  1 the timers (sorted set)  2 the last token of the zone's lease
-- ARGV  1 token  2 order  3 until when it was taken (ms)  4 when next (ms), '' for never
-- Returns 1 where it is so, 0 where somebody wants an earlier look, nil where another engine has
-- taken the lease.
--
-- Whoever set the timer while the engine looked has seen the order later than the engine.
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then
  return false
end
local set = redis.call('ZSCORE', KEYS[1], ARGV[2])
local is_ours = not set or tonumber(set) == tonumber(ARGV[3])
if ARGV[4] == '' then
  return is_ours and redis.call('ZREM', KEYS[1], ARGV[2]) or 0
end
if is_ours or tonumber(ARGV[4]) < tonumber(set) then
  redis.call('ZADD', KEYS[1], ARGV[4], ARGV[2])
  return 1
end
return 0
