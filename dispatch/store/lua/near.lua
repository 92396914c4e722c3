-- The riders of one cell nearest to a point, as long as they are of use; nearest first.
-- KEYS  1 the cell's geo set  2 the cell's facts
-- ARGV  1 lng  2 lat  3 radius (km)  4 how many  5 seen since (ms)  6 "free" or "any"
-- Returns {rider, facts, rider, facts, ...}.
--
-- The circle grows until there are enough, so that a crowded cell is not read to its end. Every
-- smaller circle is the beginning of the greater one's list, hence `examined` goes on from there;
-- riders who are of no use are passed over and never count, however many they are.
local VERSION = 1
local SHARES = {0.125, 0.25, 0.5, 1}
-- HMGET's arguments stand on Lua's stack, which holds some 8,000.
local CHUNK = 200

local radius, limit, since = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local free_only = ARGV[6] == 'free'

local function of_use(facts)
  if not facts or string.byte(facts) ~= VERSION then
    return false
  end
  local _, seen, available, active, capacity = struct.unpack('<BdBBB', facts)
  if seen < since then
    return false
  end
  return not free_only or (available == 1 and active < capacity)
end

local answer, examined = {}, 0
for _, share in ipairs(SHARES) do
  local riders = redis.call('GEOSEARCH', KEYS[1], 'FROMLONLAT', ARGV[1], ARGV[2],
    'BYRADIUS', radius * share, 'km', 'ASC')
  while examined < #riders do
    local last = math.min(examined + CHUNK, #riders)
    local facts = redis.call('HMGET', KEYS[2], unpack(riders, examined + 1, last))
    for i = 1, last - examined do
      if of_use(facts[i]) then
        answer[#answer + 1] = riders[examined + i]
        answer[#answer + 1] = facts[i]
        if #answer == 2 * limit then
          return answer
        end
      end
    end
    examined = last
  end
end
return answer
