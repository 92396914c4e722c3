-- Raise an alert to the operators, unless the same one was raised within its interval.
-- KEYS  1 when this alert was last raised  2 the list of alerts
-- ARGV  1 the alert  2 its interval (ms)  3 alerts stored  4 time to live of the list (ms)
--       5 the channel  6 now (ms)
-- Returns 1 where it was raised, else 0.
local raised = redis.call('GET', KEYS[1])
local last = raised and tonumber(raised)
if last and tonumber(ARGV[6]) - last < tonumber(ARGV[2]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[6], 'PX', ARGV[2])
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, ARGV[3] - 1)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('SPUBLISH', ARGV[5], ARGV[1])
return 1
