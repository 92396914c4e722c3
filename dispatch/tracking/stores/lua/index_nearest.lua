-- The riders of one cell that are nearest to a point and were seen lately, free or not; nearest
-- first.
-- KEYS  1 the cell's geo set (not read; it shares the slot)  2 the cell's facts
-- ARGV  1 lng  2 lat  3 radius (km)  4 how many  5 seen since (ms)
-- Returns {rider, facts, rider, facts, ...}.
--
-- It reads every rider of the cell; only operators ask for it.
-- The layout of the facts is defined in dispatch/tracking/stores/rider_facts.py.
local LAYOUT_VERSION = 2
-- lat and lng come after version (1 byte) and time (8 bytes); Lua counts from 1.
local POSITION_OFFSET = 1 + 1 + 8
local EARTH_RADIUS_KM = 6371.0088

local lng, lat = math.rad(tonumber(ARGV[1])), math.rad(tonumber(ARGV[2]))
local radius, limit, since = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function distance_km(facts)
  local to_lat, to_lng = struct.unpack('<dd', facts, POSITION_OFFSET)
  to_lat, to_lng = math.rad(to_lat), math.rad(to_lng)
  local h = math.sin((to_lat - lat) / 2) ^ 2
    + math.cos(lat) * math.cos(to_lat) * math.sin((to_lng - lng) / 2) ^ 2
  return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(math.min(1, h)))
end

local found = {}
local entries = redis.call('HGETALL', KEYS[2])
for i = 1, #entries, 2 do
  local facts = entries[i + 1]
  if string.byte(facts) == LAYOUT_VERSION then
    local _, seen = struct.unpack('<Bd', facts)
    local km = seen >= since and distance_km(facts)
    if km and km <= radius then
      found[#found + 1] = {km, entries[i], facts}
    end
  end
end
table.sort(found, function(a, b) return a[1] < b[1] end)

local answer = {}
for i = 1, math.min(limit, #found) do
  answer[2 * i - 1] = found[i][2]
  answer[2 * i] = found[i][3]
end
return answer
