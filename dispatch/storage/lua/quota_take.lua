-- Take one token from a bucket that fills by itself, so that all nodes together keep to one rate.
-- KEYS  1 the bucket (string)
-- ARGV  1 microseconds between two tokens  2 tokens that fit
-- Returns {1 where there was one, tokens left, ms until there is one}
--
-- Kept is the moment at which the bucket will be full again (generic cell rate algorithm, ITU-T
-- I.371 annex A): a full one needs no key, and a key goes when its bucket is full.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local apart_us, room_us = tonumber(ARGV[1]), tonumber(ARGV[1]) * tonumber(ARGV[2])
local full_us = math.max(now_us, tonumber(redis.call('GET', KEYS[1]) or 0))
local taken = full_us + apart_us
if taken - now_us > room_us then
  return {0, 0, math.ceil((taken - now_us - room_us) / 1000)}
end
redis.call('SET', KEYS[1], string.format('%.0f', taken), 'PX', math.ceil((taken - now_us) / 1000))
return {1, math.floor((room_us - (taken - now_us)) / apart_us), 0}
