-- Takes riders without a recent fix out of one cell, a bounded number at a time.
-- KEYS  1 the cell's geo set  2 the cell's facts
-- ARGV  1 cursor  2 how many to look at  3 seen before (ms)
-- Returns {next cursor, riders removed, riders left}.
local before = tonumber(ARGV[3])
local page = redis.call('HSCAN', KEYS[2], ARGV[1], 'COUNT', ARGV[2])
local entries, removed = page[2], 0
for i = 1, #entries, 2 do
  local _, seen = struct.unpack('<Bd', entries[i + 1])
  if seen < before then
    redis.call('HDEL', KEYS[2], entries[i])
    redis.call('ZREM', KEYS[1], entries[i])
    removed = removed + 1
  end
end
return {page[1], removed, redis.call('HLEN', KEYS[2])}
