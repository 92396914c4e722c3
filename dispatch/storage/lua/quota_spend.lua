-- Take tokens that a node has already given away, so that all nodes together keep to one rate.
-- KEYS  1 the bucket (string), as quota_take keeps it
-- ARGV  1 microseconds between two tokens  2 tokens that fit  3 tokens that were given
-- Returns the tokens left; below 0 where more were given than there were, by as much as fits at most:
-- so long nobody gives any.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local apart_us, room_us = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full_us = math.max(now_us, tonumber(redis.call('GET', KEYS[1]) or 0))
local taken = math.min(full_us + apart_us * tonumber(ARGV[3]), now_us + 2 * room_us)
redis.call('SET', KEYS[1], string.format('%.0f', taken), 'PX', math.ceil((taken - now_us) / 1000))
return math.floor((room_us - (taken - now_us)) / apart_us)
