-- Take tokens that a node has already granted, so that all nodes together keep to one rate.
-- KEYS  1 the bucket (string), as in quota_take
-- ARGV  1 microseconds between two tokens  2 tokens that the bucket holds  3 tokens granted
-- Returns the tokens left, negative for a debt of at most one bucket; no node grants any until it is
-- repaid.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local interval_us, capacity_us = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full_us = math.max(now_us, tonumber(redis.call('GET', KEYS[1]) or 0))
local new_full_us = math.min(full_us + interval_us * tonumber(ARGV[3]), now_us + 2 * capacity_us)
redis.call('SET', KEYS[1], string.format('%.0f', new_full_us), 'PX', math.ceil((new_full_us - now_us) / 1000))
return math.floor((capacity_us - (new_full_us - now_us)) / interval_us)
