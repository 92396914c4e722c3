-- Add one socket of an identity.
-- KEYS  1 its sockets (sorted set "<node> <sid>" by the time each was added)
-- ARGV  1 "<node> <sid>"  2 how many it may hold  3 time to live (ms)
-- Returns the time (ms) where these are too many, else 0.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- A socket that is added again keeps its age.
redis.call('ZADD', KEYS[1], 'NX', now_ms, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.call('ZCARD', KEYS[1]) > tonumber(ARGV[2]) and now_ms or 0
