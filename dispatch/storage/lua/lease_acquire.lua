-- Acquire a lease that no other node holds, with a fencing token greater than every one before.
-- KEYS  1 the lease (hash)  2 the last token
-- ARGV  1 holder  2 time to live (ms)
-- Returns the token, 0 where another node holds the lease.
--
-- The token is at least the server's time in microseconds (exact in a double until 2255), so that it
-- grows even after Redis was emptied.
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and holder ~= ARGV[1] then
  return 0
end
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local token = math.max(now_us, tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
redis.call('SET', KEYS[2], string.format('%.0f', token))
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', string.format('%.0f', token))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return token
