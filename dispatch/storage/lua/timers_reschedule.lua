-- Set when a claimed order is due next, or remove its timer.
-- KEYS  1 the timers (sorted set)  2 the last token of the zone's lease
-- ARGV  1 token  2 order  3 end of its claim (ms)  4 when it is due next (ms), '' for never
-- Returns 1 where the timer was changed, 0 where an earlier one stays, nil where another engine has a
-- newer lease.
--
-- A timer that was set during the claim belongs to a later state of the order than the engine saw.
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or 0) then
  return false
end
local set = redis.call('ZSCORE', KEYS[1], ARGV[2])
local is_unchanged = not set or tonumber(set) == tonumber(ARGV[3])
if ARGV[4] == '' then
  return is_unchanged and redis.call('ZREM', KEYS[1], ARGV[2]) or 0
end
if is_unchanged or tonumber(ARGV[4]) < tonumber(set) then
  redis.call('ZADD', KEYS[1], ARGV[4], ARGV[2])
  return 1
end
return 0
