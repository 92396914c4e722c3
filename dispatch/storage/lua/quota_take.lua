-- Take one token from a token bucket, so that all nodes together keep to one rate.
-- KEYS  1 the bucket (string)
-- ARGV  1 microseconds between two tokens  2 tokens that the bucket holds
-- Returns {1 where there was a token, tokens left, ms until there is one}
--
-- The value is the time at which the bucket will be full again (generic cell rate algorithm, ITU-T
-- I.371 annex A): a full bucket needs no key, and a key expires when its bucket is full.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local interval_us, capacity_us = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full_us = math.max(now_us, tonumber(redis.call('GET', KEYS[1]) or 0))
local new_full_us = full_us + interval_us
if new_full_us - now_us > capacity_us then
  return {0, 0, math.ceil((new_full_us - now_us - capacity_us) / 1000)}
end
redis.call('SET', KEYS[1], string.format('%.0f', new_full_us), 'PX', math.ceil((new_full_us - now_us) / 1000))
return {1, math.floor((capacity_us - (new_full_us - now_us)) / interval_us), 0}
