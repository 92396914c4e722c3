-- The free riders of one cell that are nearest to a point and were seen lately; nearest first.
-- KEYS  1 the cell's geo set  2 the cell's facts
-- ARGV  1 lng  2 lat  3 radius (km)  4 how many  5 seen since (ms)
-- Returns {rider, facts, rider, facts, ...}.
--
-- The geo set holds free riders only, so that busy ones are never read. Riders without a recent fix
-- stay in it for a while; they are skipped and do not count towards the limit.
-- The layout of the facts is defined in dispatch/tracking/stores/rider_facts.py.
local LAYOUT_VERSION = 2
-- HMGET's arguments lie on Lua's stack, which holds some 8,000.
local CHUNK = 100

local limit, since = tonumber(ARGV[4]), tonumber(ARGV[5])

local function is_fresh(facts)
  if not facts or string.byte(facts) ~= LAYOUT_VERSION then
    return false
  end
  local _, seen = struct.unpack('<Bd', facts)
  return seen >= since
end

local riders = redis.call('GEOSEARCH', KEYS[1], 'FROMLONLAT', ARGV[1], ARGV[2],
  'BYRADIUS', ARGV[3], 'km', 'ASC')
local answer = {}
for from = 1, #riders, CHUNK do
  local last = math.min(from + CHUNK - 1, #riders)
  local facts = redis.call('HMGET', KEYS[2], unpack(riders, from, last))
  for i = 1, last - from + 1 do
    if is_fresh(facts[i]) then
      answer[#answer + 1] = riders[from + i - 1]
      answer[#answer + 1] = facts[i]
      if #answer == 2 * limit then
        return answer
      end
    end
  end
end
return answer
