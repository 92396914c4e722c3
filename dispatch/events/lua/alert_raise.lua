-- Raises an alert to the operators, unless the same one was raised a short while ago.
-- KEYS  1 the mark of this alert  2 the list of alerts
-- ARGV  1 the alert  2 for how long it is not repeated (ms)  3 alerts kept  4 the list's life (ms)
--       5 the channel  6 now (ms)
-- Returns 1 where it was raised, 0 where it was not.
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
