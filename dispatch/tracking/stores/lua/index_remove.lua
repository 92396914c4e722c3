-- Takes one rider out of a cell, unless the cell has a newer fix of it than the caller knew.
-- KEYS  1 the cell's geo set  2 the cell's facts
-- ARGV  1 rider  2 time of the newest fix that the caller knew (ms)
-- Returns 1 if the rider was removed or absent, 0 if it stays.
local facts = redis.call('HGET', KEYS[2], ARGV[1])
if facts then
  local _, seen = struct.unpack('<Bd', facts)
  if seen > tonumber(ARGV[2]) then
    return 0
  end
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
