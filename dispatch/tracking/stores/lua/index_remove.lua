-- Takes one rider out of a cell, unless he was seen there after the one who asks knew of.
-- KEYS  1 the cell's geo set  2 the cell's facts
-- ARGV  1 rider  2 seen at the latest (ms)
-- Returns 1 where he is gone, 0 where he stays.
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
